"""Codebooks against NumPy, against vector-quantize-pytorch, and across processes."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from vector_quantize_pytorch import VectorQuantize

from favae.models import build_quantizer
from favae.models.quantizers import CosineQuantizer, EuclideanQuantizer, Quantizer

C, K = 6, 20


def latent(batch: int = 2, size: int = 4, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(batch, C, size, size, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def make(kind: str = "cosine", seed: int = 0, **options: Any) -> Quantizer:
    torch.manual_seed(seed)
    return build_quantizer({"kind": kind, "codes": K, **options}, C).double()


def rows(z_BChw: Tensor) -> np.ndarray:
    return z_BChw.detach().permute(0, 2, 3, 1).reshape(-1, z_BChw.shape[1]).numpy()


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def ema_by_hand(codebook: np.ndarray, z: np.ndarray, indices: np.ndarray, decay: float) -> np.ndarray:
    """e <- decay e + (1 - decay) unit(mean of the unit vectors it was chosen for, or itself)."""
    updated = codebook.copy()
    for k, code in enumerate(codebook):
        chosen = unit(z)[indices == k]
        target = unit(chosen.mean(axis=0)) if len(chosen) else unit(code)
        updated[k] = decay * code + (1 - decay) * target
    return updated


@pytest.mark.parametrize("kind", ["cosine", "euclidean"])
def test_nearest_code_and_its_value(kind: str) -> None:
    quantizer, z = make(kind).eval(), latent()
    codebook = quantizer.codebook.detach().numpy()
    if kind == "cosine":
        expected = (unit(rows(z)) @ unit(codebook).T).argmax(axis=1)
    else:
        expected = np.linalg.norm(rows(z)[:, None] - codebook, axis=2).argmin(axis=1)
    quantized = quantizer(z)
    assert quantized.indices.shape == (2, 4, 4) and quantized.indices.dtype == torch.int64
    np.testing.assert_array_equal(quantized.indices.flatten().numpy(), expected)
    np.testing.assert_array_equal(rows(quantized.z), codebook[expected])  # exactly, not up to rounding


def test_cosine_index_does_not_depend_on_the_length_of_z() -> None:
    quantizer, z = make().eval(), latent()
    lengths = torch.rand(2, 1, 4, 4, dtype=torch.float64) * 100 + 0.01
    assert torch.equal(quantizer(z).indices, quantizer(z * lengths).indices)


def test_initial_cosine_codes_have_unit_length_and_euclidean_ones_are_in_their_range() -> None:
    torch.testing.assert_close(make().codebook.norm(dim=1), torch.ones(K).double())
    assert make("euclidean").codebook.abs().max() <= 1 / K


@pytest.mark.parametrize("kind", ["cosine", "euclidean"])
def test_gradient_passes_straight_through(kind: str) -> None:
    quantizer, z = make(kind), latent().requires_grad_()
    upstream = latent(seed=1)
    (gradient,) = torch.autograd.grad((quantizer(z, update=False).z * upstream).sum(), z)
    assert torch.equal(gradient, upstream)


@pytest.mark.parametrize("output", ["raw", "normalized"])
def test_cosine_commitment_loss_pulls_z_itself_to_the_code(output: str) -> None:
    quantizer, z = make(output=output), latent().requires_grad_()
    quantizer.codebook *= 0.7
    quantized = quantizer(z, update=False)
    difference = rows(z) - rows(quantized.z)
    assert quantized.commitment_loss.item() == pytest.approx((difference**2).mean())
    (gradient,) = torch.autograd.grad(quantized.commitment_loss, z)
    np.testing.assert_allclose(rows(gradient), 2 * difference / difference.size, rtol=1e-12)


@pytest.mark.parametrize(("beta_on", "to_z", "to_codes"), [("codebook", 1.0, 0.25), ("commitment", 0.25, 1.0)])
def test_euclidean_loss_weights_encoder_and_codebook(beta_on: str, to_z: float, to_codes: float) -> None:
    quantizer, z = make("euclidean", beta_on=beta_on), latent().requires_grad_()
    quantized = quantizer(z)
    gradient_z, gradient_codes = torch.autograd.grad(quantized.commitment_loss, [z, quantizer.codebook])
    difference = rows(z) - rows(quantized.z)
    assert quantized.commitment_loss.item() == pytest.approx(1.25 * (difference**2).mean())
    np.testing.assert_allclose(rows(gradient_z), to_z * 2 * difference / difference.size, rtol=1e-10)
    expected = np.zeros((K, C))
    np.add.at(expected, quantized.indices.flatten().numpy(), -to_codes * 2 * difference / difference.size)
    np.testing.assert_allclose(gradient_codes.numpy(), expected, atol=1e-15)


@pytest.mark.parametrize("decay", [0.8, 0.0, 1.0])
def test_moving_average_of_several_batches(decay: float) -> None:
    quantizer = make(decay=decay)
    expected = quantizer.codebook.numpy().copy()
    for seed in range(3):
        z = latent(batch=1, seed=seed)
        indices = quantizer(z).indices.flatten().numpy()  # chosen with the codebook before its update
        assert 1 < len(np.unique(indices)) < K  # some codes seen, some not
        expected = ema_by_hand(expected, rows(z), indices, decay)
        np.testing.assert_allclose(quantizer.codebook.numpy(), expected, rtol=1e-12)


def test_returned_codes_are_those_before_the_update() -> None:
    quantizer, z = make(), latent()
    before = quantizer.codebook.clone()
    quantized = quantizer(z)
    assert not torch.equal(quantizer.codebook, before)
    assert torch.equal(quantized.z.permute(0, 2, 3, 1), before[quantized.indices])


def test_the_codebook_is_bit_identical_in_evaluation_and_without_update() -> None:
    quantizer = make()
    before = quantizer.codebook.clone()
    quantizer(latent(), update=False)
    quantizer.eval()(latent())
    quantizer.latents(torch.zeros(1, 2, 2, dtype=torch.int64))
    assert torch.equal(quantizer.codebook, before)


def test_raw_codes_shrink_below_unit_length_and_normalized_output_does_not() -> None:
    raw, normalized = make(), make(output="normalized")
    for seed in range(10):
        raw(latent(seed=seed))
        normalized(latent(seed=seed))
    assert torch.equal(raw.codebook, normalized.codebook)
    lengths = raw.codebook.norm(dim=1)
    assert lengths.max() <= 1 + 1e-12 and lengths.min() < 0.99
    torch.testing.assert_close(normalized.eval()(latent()).z.norm(dim=1), torch.ones(2, 4, 4).double())


def test_the_public_package_agrees_on_unit_vectors() -> None:
    """Its current release normalises z first; FA-VAE's copy does so only for choosing the code."""
    ours = make().float()
    theirs = VectorQuantize(
        dim=C, codebook_size=K, use_cosine_sim=True, threshold_ema_dead_code=0, sample_codebook_temp=0.0,
        commitment_weight=1.0, accept_image_fmap=True, freeze_codebook=True, rotation_trick=False,
    )  # fmt: skip
    theirs._codebook.embed.copy_(ours.codebook[None])
    z, upstream = latent(dtype=torch.float32).requires_grad_(), latent(seed=1, dtype=torch.float32)
    value, indices, loss = theirs.train()(z)
    quantized = ours.train()(F.normalize(z, dim=1), update=False)
    assert torch.equal(quantized.indices, indices)
    torch.testing.assert_close(quantized.z, value)
    torch.testing.assert_close(quantized.commitment_loss, loss.squeeze())
    expected = torch.autograd.grad((value * upstream).sum() + loss.sum(), z)
    torch.testing.assert_close(
        torch.autograd.grad((quantized.z * upstream).sum() + quantized.commitment_loss, z), expected
    )


@pytest.mark.parametrize("kind", ["cosine", "euclidean"])
@pytest.mark.parametrize("dim", [None, C, 4])
def test_latents_of_indices_are_what_quantising_gave(kind: str, dim: int | None) -> None:
    """Also with a projection, which both apply back from the code space."""
    quantizer, z = make(kind, dim=dim).eval(), latent()
    quantized = quantizer(z)
    assert quantizer.codebook.shape == (K, dim or C)
    assert quantized.z.shape == z.shape
    assert torch.equal(quantizer.latents(quantized.indices), quantized.z)


def test_projection_is_searched_and_committed_in_code_space() -> None:
    quantizer, z = make(dim=4), latent().requires_grad_()
    projected = rows(z) @ quantizer.project_in.weight.detach().numpy().T + quantizer.project_in.bias.detach().numpy()
    quantized = quantizer(z, update=False)
    indices = quantized.indices.flatten().numpy()
    codes = quantizer.codebook.numpy().copy()
    np.testing.assert_array_equal(indices, (projected @ unit(codes).T).argmax(axis=1))
    assert quantized.commitment_loss.item() == pytest.approx(((projected - codes[indices]) ** 2).mean())
    (quantized.z.sum() + quantized.commitment_loss).backward()
    assert all(parameter.grad is not None for parameter in quantizer.parameters())
    quantizer(z)
    np.testing.assert_allclose(quantizer.codebook.numpy(), ema_by_hand(codes, projected, indices, 0.8), rtol=1e-12)


def test_autocast_and_16_bit_latents_keep_codebook_and_loss_in_single_precision() -> None:
    quantizer, reference = make().float(), make().float()
    z = latent().bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        quantized = quantizer(z)
    expected = reference(z.float())
    assert quantized.z.dtype == torch.bfloat16 and quantized.commitment_loss.dtype == torch.float32
    assert torch.equal(quantized.indices, expected.indices)
    assert torch.equal(quantizer.codebook, reference.codebook)


def test_the_quantiser_never_synchronises_the_device() -> None:
    with FakeTensorMode():
        quantizer = CosineQuantizer(C, K)
        z = torch.randn(2, C, 4, 4, requires_grad=True)
        quantized = quantizer(z)
        (quantized.z.sum() + quantized.commitment_loss).backward()
        assert z.grad is not None and z.grad.shape == z.shape


_ONE_RANK = """
import sys, torch, torch.distributed as dist
from favae.models import build_quantizer
rank, folder = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
given = torch.load(f"{folder}/given.pt", weights_only=True)
codes, dim = given["codebook"].shape
quantizer = build_quantizer({"kind": "cosine", "codes": codes}, dim).double()
quantizer.codebook.copy_(given["codebook"])
for batch in given["batches"]:
    quantizer(batch[:1] if rank == 0 else batch[1:])
torch.save(quantizer.codebook, f"{folder}/{rank}.pt")
dist.destroy_process_group()
"""


def test_two_processes_learn_the_codebook_of_one_on_both_batches(tmp_path: Path) -> None:
    """Ranks have different images, and different numbers of them, so that some codes are used on one rank only."""
    single, batches = make(), [latent(batch=3, seed=step) for step in range(3)]
    torch.save({"codebook": single.codebook, "batches": batches}, tmp_path / "given.pt")
    ranks = [subprocess.Popen([sys.executable, "-c", _ONE_RANK, str(rank), str(tmp_path)]) for rank in range(2)]
    assert [rank.wait(timeout=120) for rank in ranks] == [0, 0]
    codebooks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for batch in batches:
        single(batch)
    assert torch.equal(*codebooks)
    torch.testing.assert_close(codebooks[0], single.codebook, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"kind": "fsq", "codes": 8}, "quantizer.kind got 'fsq'"),
        ({"kind": "cosine"}, "quantizer.codes is missing"),
        ({"kind": "cosine", "codes": 8, "beta": 0.25}, "unexpected keyword argument 'beta'"),
        ({"kind": "cosine", "codes": 8, "decay": 1.5}, "quantizer.decay got 1.5"),
        ({"kind": "cosine", "codes": 8, "output": "unit"}, "quantizer.output got 'unit'"),
        ({"kind": "cosine", "codes": 0}, "quantizer.codes got 0"),
        ({"kind": "euclidean", "codes": 8, "beta": -1.0}, "quantizer.beta got -1.0"),
        ({"kind": "euclidean", "codes": 8, "beta_on": "both"}, "quantizer.beta_on got 'both'"),
    ],
)
def test_refuses_impossible_configurations(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_quantizer(config, C)


def test_refuses_latents_and_indices_of_other_shapes() -> None:
    quantizer = EuclideanQuantizer(C, K)
    with pytest.raises(ValueError, match=rf"expected \[B, {C}, h, w\]"):
        quantizer(torch.zeros(1, C + 1, 4, 4))
    with pytest.raises(ValueError, match=r"expected \[B, h, w\]"):
        quantizer.latents(torch.zeros(1, 16, dtype=torch.int64))
