"""Cached guided sampling of CAT against two full forward passes per token, and its number of operations."""

import numpy as np
import pytest
import torch

from favae.models import CAT
from favae.models.cat import _Decoder

torch.set_num_threads(1)

CODES, GRID, TOKENS, TEXT = 13, (4, 3), 12, 5


def small(**options) -> CAT:
    torch.manual_seed(0)
    sizes = {"codes": CODES, "grid": GRID, "layers": 2, "dim": 16, "heads": 2, "head_dim": 8, "text_dim": 6}
    return CAT(**(sizes | {"token_embedding_std": 0.3} | options)).eval()


def texts(batch: int = 3):
    generator = torch.Generator().manual_seed(1)
    text = torch.randn(batch, TEXT, 6, generator=generator)
    return text, torch.rand(batch, TEXT, generator=generator) > 0.3


def filtered(logits, top_k, top_p):
    """NumPy: one row of logits, the k largest, then the nucleus of p."""
    order = np.argsort(-logits)[:top_k]
    probability = np.exp(logits[order] - logits.max())
    probability /= probability.sum()
    kept, total = [], 0.0
    for code, p in zip(order, probability, strict=True):
        kept.append(code)
        total += p
        if total > top_p:
            break
    row = np.full_like(logits, -np.inf)
    row[kept] = logits[kept]
    return row


@torch.no_grad()
def slow_samples(model, text, mask, *, guidance, top_k, top_p, temperature, seed):
    """The official procedure: two full forward passes per token, without a cache."""
    generator = torch.Generator().manual_seed(seed)
    codes = torch.zeros(len(text), 0, dtype=torch.int64)
    nobody = torch.zeros(len(text), dtype=torch.bool)
    for _ in range(TOKENS):
        conditional = model.prefix_logits(codes, text, mask)[:, -1].double()
        null = model.prefix_logits(codes, text, mask, nobody)[:, -1].double()
        logits = (null + guidance * (conditional - null)).numpy()
        logits = np.stack([filtered(row, top_k, top_p) for row in logits])
        gumbel = -np.log(torch.empty(logits.shape).exponential_(generator=generator).double().numpy())
        chosen = logits.argmax(-1) if temperature == 0 else (logits / temperature + gumbel).argmax(-1)
        codes = torch.cat((codes, torch.from_numpy(chosen)[:, None]), dim=1)
    return codes


@pytest.mark.parametrize("key_value", ["shared", "separate"])
@pytest.mark.parametrize("relative_position", ["official", "aligned"])
@pytest.mark.parametrize(
    "options",
    [
        {"guidance": 3.0, "top_k": 500, "top_p": 0.95, "temperature": 1.0},
        {"guidance": 1.0, "top_k": 5, "top_p": 0.8, "temperature": 0.7},
        {"guidance": 0.0, "top_k": 3, "top_p": 1.0, "temperature": 1.3},
        {"guidance": 2.0, "top_k": 4, "top_p": 0.9, "temperature": 0.0},
    ],
)
def test_cached_sampling_equals_two_full_passes_per_token(relative_position, key_value, options):
    model = small(relative_position=relative_position, key_value=key_value).double()
    text, mask = texts()
    codes = model.generate(text.double(), mask, generator=torch.Generator().manual_seed(7), **options)
    assert torch.equal(codes, slow_samples(model, text.double(), mask, seed=7, **options))
    assert codes.unique().numel() > 2


def count_rows(model: CAT) -> dict[str, int]:
    """Number of tokens in each feed-forward and each text key projection, counted by hooks."""
    rows = {"feedforward": 0, "text": 0}

    def add(key):
        def hook(_, inputs, output):
            rows[key] += output.shape[0] * output.shape[1]

        return hook

    for block in model.blocks:
        block.feedforward.register_forward_hook(add("feedforward"))
        block.cross_attention.to_kv.register_forward_hook(add("text"))
    return rows


@pytest.mark.parametrize(("guidance", "passes"), [(3.0, 2), (1.0, 1)])
def test_each_token_goes_through_the_network_once(guidance, passes):
    model = small()
    rows = count_rows(model)
    text, mask = texts()
    model.generate(text, mask, guidance=guidance)
    layers, batch = 2, 3
    assert rows["feedforward"] == layers * passes * batch * TOKENS
    assert rows["text"] == layers * batch * TEXT


def test_samples_follow_the_generator_and_the_seed_decides():
    model = small()
    text, mask = texts()
    first = model.generate(text, mask, generator=torch.Generator().manual_seed(1))
    torch.rand(5)  # the default generator is not used
    again = model.generate(text, mask, generator=torch.Generator().manual_seed(1))
    other = model.generate(text, mask, generator=torch.Generator().manual_seed(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (3, TOKENS)
    assert first.dtype == torch.int64
    assert first.min() >= 0
    assert first.max() < CODES


def test_without_guidance_by_text_all_captions_give_the_same_image():
    model = small()
    text, mask = texts()
    codes = model.generate(text, mask, guidance=0.0, temperature=0.0)
    assert torch.equal(codes, codes[:1].expand(3, -1))
    guided = model.generate(text, mask, guidance=3.0, temperature=0.0)
    assert not torch.equal(guided, guided[:1].expand(3, -1))


def test_sampling_has_no_dropout_and_leaves_mode_and_gradients_alone():
    model = small(dropout=0.9).train()
    text, mask = texts()
    codes = model.generate(text, mask, temperature=0.0)
    assert all(module.training for module in model.modules())
    assert torch.equal(codes, model.eval().generate(text, mask, temperature=0.0))
    assert all(p.grad is None for p in model.parameters())


def test_mode_is_restored_after_an_error():
    model = small().train()
    text, mask = texts()
    with pytest.raises(ValueError, match="top_k"):
        model.generate(text, mask, top_k=0)
    assert model.training


def test_sampling_under_bfloat16_autocast():
    model = small()
    text, mask = texts()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        codes = model.generate(text, mask, temperature=0.0)
    agreement = (codes == model.generate(text, mask, temperature=0.0)).float().mean()
    assert agreement > 0.5  # of 13 codes; rounding may change a near tie, and the codes after it


@torch.no_grad()
@pytest.mark.parametrize("relative_position", ["official", "aligned"])
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_a_step_of_fixed_shape_has_the_logits_of_a_growing_one(guidance: float, relative_position: str):
    """A GPU replays one recorded step; later keys are hidden there, not left out."""
    model = small(relative_position=relative_position)
    text, mask = texts()
    growing, fixed = (_Decoder(model, text, mask, guided=guidance != 1) for _ in range(2))
    for position in range(TOKENS):
        x = torch.randn(3, 1, 16, generator=torch.Generator().manual_seed(position))
        expected = growing.step(x, position, guidance)
        torch.testing.assert_close(fixed.step_at(x, torch.tensor([position]), guidance), expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_samples_what_the_cpu_samples():
    model = small().double()
    text, mask = (x.double() if x.is_floating_point() else x for x in texts())
    expected = model.generate(text, mask, generator=torch.Generator().manual_seed(1))
    model.cuda()
    codes = model.generate(text.cuda(), mask.cuda(), generator=torch.Generator().manual_seed(1))
    assert torch.equal(codes.cpu(), expected)
