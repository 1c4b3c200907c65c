"""FA-VAE: shapes of every tap and complement, the wiring of each FCM, configuration, refusals."""

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from favae.models import FAVAE
from favae.models.layers import Downsample, ResBlock, SelfAttention, Upsample, group_norm

TOY: dict[str, Any] = {
    "image_size": 32,
    "base_channels": 8,
    "channel_multipliers": [1, 2],
    "attention_resolutions": [16],
    "res_blocks": 1,
    "latent_channels": 8,
    "norm_groups": 4,
    "fcm_groups": 4,
    "quantizer": {"kind": "cosine", "codes": 16},
}
KINDS = ["conv", "residual", "attention", "none"]


def make(seed: int = 0, **changes: Any) -> FAVAE:
    torch.manual_seed(seed)
    return FAVAE(**(TOY | changes))


def images(batch: int = 2, size: int = 32, seed: int = 0) -> Tensor:
    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


LAYOUTS = {
    16: {"channel_multipliers": [1, 1, 2, 2, 4], "attention_resolutions": [4], "latent_channels": 8},
    8: {"channel_multipliers": [1, 2, 2, 4], "attention_resolutions": [8], "latent_channels": 8},
    4: {"channel_multipliers": [1, 2, 4], "attention_resolutions": [], "latent_channels": 3, "fcm_groups": 3},
}


@pytest.mark.parametrize("factor", LAYOUTS)
def test_taps_and_complements_have_the_published_places_and_pair_up(factor: int) -> None:
    model = make(image_size=64, **LAYOUTS[factor])
    d, deep, h = LAYOUTS[factor]["latent_channels"], 8 * 4, 64 // factor
    output = model(images(size=64))
    taps = [(2, 8, 64, 64), (2, deep, h, h), (2, deep, h, h), (2, d, h, h)]
    assert [tuple(a.shape) for a in output.taps] == taps
    assert [tuple(c.shape) for c in output.complements] == taps[::-1]
    assert output.reconstruction.shape == (2, 3, 64, 64)
    assert output.indices.shape == (2, h, h)
    assert (model.downsampling_factor, model.latent_size) == (factor, h)
    paired = list(output.pairs())
    assert [(id(a), id(c)) for a, c in paired] == [
        (id(output.taps[i]), id(output.complements[3 - i])) for i in range(4)
    ]


def test_taps_are_what_passes_the_named_places() -> None:
    model, seen = make().eval(), {}
    for name, module in (("A0", model.encoder.conv_in), ("A1", model.encoder.down), ("A2", model.encoder.middle)):
        module.register_forward_hook(lambda _, __, out, name=name: seen.__setitem__(name, out))
    z, taps = model.encode(images())
    assert all(torch.equal(tap, seen[f"A{i}"]) for i, tap in enumerate(taps[:3]))
    assert taps[3] is z


@pytest.mark.parametrize(("kind", "sums"), [("conv", True), ("residual", False), ("attention", False)])
def test_the_decoder_continues_with_the_sum_or_the_complement(kind: str, sums: bool) -> None:
    model, inputs, outputs = make(fcm=kind).eval(), [], []
    for module in model.decoder.fcms:
        module.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
        module.register_forward_hook(lambda _, __, out: outputs.append(out))
    z = model.quantize(model.encode(images()).z).z
    complements = model.decode(z).complements
    assert torch.equal(inputs[0], z)
    for before, (onward, recorded), complement in zip(inputs, outputs, complements, strict=True):
        assert complement is recorded
        assert torch.equal(onward, before + recorded if sums else recorded)
    assert torch.equal(inputs[1], model.decoder.conv_in(outputs[0][0]))
    assert torch.equal(inputs[2], model.decoder.middle(outputs[1][0]))


def test_residual_complement_is_the_whole_feature() -> None:
    """B + branch(B): the same branch as `conv`, recorded with its input."""
    conv, residual = make(fcm="conv").decoder.fcms[1], make(fcm="residual").decoder.fcms[1]
    residual.block.branch.load_state_dict(conv.branch.state_dict())
    b = torch.randn(2, 16, 4, 4)
    onward, complement = conv(b)
    assert torch.equal(residual(b)[1], b + complement)
    assert torch.equal(residual(b)[0], onward)


@pytest.mark.parametrize("kind", ["conv", "residual"])
def test_silent_fcms_leave_a_decoder_without_them(kind: str) -> None:
    with_fcm, without = make(fcm=kind).eval(), make(fcm="none").eval()
    for module in with_fcm.decoder.fcms:
        branch = module.branch if kind == "conv" else module.block.branch
        nn.init.zeros_(branch[-1].weight)
        nn.init.zeros_(branch[-1].bias)
    without.decoder.load_state_dict(with_fcm.decoder.state_dict(), strict=False)
    nn.init.dirac_(without.decoder.post_quant.weight)
    nn.init.zeros_(without.decoder.post_quant.bias)
    z = torch.randn(2, 8, 16, 16)
    torch.testing.assert_close(with_fcm.decode(z).image, without.decode(z).image)


def test_attention_fcm_is_a_transformer_layer_with_dropout_and_a_block_at_full_size() -> None:
    fcms = make(fcm="attention").decoder.fcms
    b = torch.randn(1, 16, 4, 4)
    onward, complement = fcms[1].train()(b)
    assert onward is complement and onward.shape == b.shape
    assert not torch.equal(complement, fcms[1](b)[1])  # dropout
    permutation = torch.randperm(16)
    shuffled = b.flatten(2)[..., permutation].view_as(b)
    expected = fcms[1].eval()(b)[1].flatten(2)[..., permutation]
    torch.testing.assert_close(fcms[1](shuffled)[1].flatten(2), expected)  # no position code
    assert fcms[3].block.branch[5].p == 0.1


def test_baseline_has_no_complements_and_a_convolution_after_the_quantiser() -> None:
    model = make(fcm="none")
    output = model(images())
    assert output.complements == () and list(output.pairs()) == []
    assert model.decoder.post_quant.weight.shape == (8, 8, 1, 1)
    assert isinstance(make(fcm="conv").decoder.post_quant, nn.Identity)


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_learns(kind: str) -> None:
    model = make(fcm=kind)
    output = model(images())
    features = sum((c - a).square().mean() for a, c in output.pairs())
    (output.reconstruction.square().mean() + output.commitment_loss + features).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@pytest.mark.parametrize("kind", KINDS)
def test_indices_decode_to_the_reconstruction(kind: str) -> None:
    model = make(fcm=kind).eval()
    output = model(images())
    assert torch.equal(model.reconstruct(images()), output.reconstruction)
    assert torch.equal(model.decode_indices(output.indices), output.reconstruction)


def test_the_codebook_is_updated_only_on_request() -> None:
    model = make()
    before = model.quantizer.codebook.clone()
    model.reconstruct(images())
    model(images(), update_codebook=False)
    model.eval()(images())
    assert torch.equal(model.quantizer.codebook, before)
    model.train()(images())
    assert not torch.equal(model.quantizer.codebook, before)


@pytest.mark.parametrize("kind", KINDS)
def test_configuration_survives_json_and_rebuilds_the_model(kind: str) -> None:
    model = make(fcm=kind).eval()
    rebuilt = FAVAE.from_config(json.loads(json.dumps(model.config))).eval()
    assert rebuilt.config == model.config
    rebuilt.load_state_dict(model.state_dict())
    assert torch.equal(rebuilt.reconstruct(images()), model.reconstruct(images()))


def test_configuration_cannot_be_changed_from_outside() -> None:
    model = make()
    model.config["quantizer"]["codes"] = 1
    assert model.config["quantizer"]["codes"] == 16


def test_defaults_are_the_published_16_fold_model() -> None:
    with torch.device("meta"):
        model = FAVAE()
    assert (model.downsampling_factor, model.latent_size, model.quantizer.codes) == (16, 16, 1024)


def test_images_of_other_sizes_pass_if_the_factor_divides_them() -> None:
    assert make().reconstruct(torch.zeros(1, 3, 24, 36)).shape == (1, 3, 24, 36)


@pytest.mark.parametrize("shape", [(1, 3, 33, 32), (1, 1, 32, 32), (3, 32, 32), (0, 3, 32, 32)], ids=str)
def test_refuses_images_that_do_not_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"the encoder got shape .* expected \[B, 3, H, W\], H and W multiples of 2"):
        make()(torch.zeros(shape))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 33}, "image_size got 33.* use 32 or 34"),
        ({"channel_multipliers": []}, "channel_multipliers is empty"),
        ({"attention_resolutions": [16, 5]}, r"attention_resolutions got \[5\]"),
        ({"norm_groups": 3}, "norm_groups got 3 for a layer of 8 channels.* use for example 1"),
        ({"fcm_groups": 3}, "fcm_groups got 3 for a layer of 8 channels"),
        ({"fcm": "wavelet"}, "fcm got 'wavelet'"),
        ({"fcm": "attention", "latent_channels": 4}, "fcm 'attention' got a feature of 4 channels.*for example 8"),
        ({"quantizer": {"kind": "cosine"}}, "quantizer.codes is missing"),
        ({"z_channels": 8}, r"unknown keys \['z_channels'\]"),
    ],
)
def test_refuses_configurations_that_do_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FAVAE.from_config(TOY | changes)


def norm(channels: int) -> nn.Module:
    return group_norm(channels, 4, 1e-5)


def test_attention_is_torch_s_with_one_head() -> None:
    ours, reference = SelfAttention(8, norm), nn.MultiheadAttention(8, 1, batch_first=True)
    reference.load_state_dict(
        {
            "in_proj_weight": ours.qkv.weight, "in_proj_bias": ours.qkv.bias,
            "out_proj.weight": ours.out.weight, "out_proj.bias": ours.out.bias,
        }
    )  # fmt: skip
    x = torch.randn(2, 8, 3, 5)
    tokens = ours.norm(x).flatten(2).transpose(1, 2)
    expected = x + reference(tokens, tokens, tokens)[0].transpose(1, 2).view_as(x)
    torch.testing.assert_close(ours(x), expected)


def test_blocks_keep_halve_and_double_the_size() -> None:
    x = torch.randn(1, 8, 6, 10)
    assert ResBlock(8, 12, norm)(x).shape == (1, 12, 6, 10)
    assert Downsample(8)(x).shape == (1, 8, 3, 5)
    assert Upsample(8)(x).shape == (1, 8, 12, 20)


def test_downsampling_pads_below_and_right_only() -> None:
    """VQ-GAN's asymmetric padding: output (0, 0) sees input rows and columns 0 to 2."""
    down, x = Downsample(1), torch.randn(1, 1, 4, 4)
    expected = (down.conv.weight[0, 0] * x[0, 0, :3, :3]).sum() + down.conv.bias[0]
    torch.testing.assert_close(down(x)[0, 0, 0, 0], expected)
