"""CAT's forward pass: equations, causality, text dropping, sizes, optimiser groups."""

import math

import numpy as np
import pytest
import torch
from scipy.special import erf
from torch import nn

from favae.models import CAT, LearnedTextEncoder, cat_parameter_groups
from favae.models.cat import raster_offsets
from favae.models.cat_layers import GainNorm

torch.set_num_threads(1)

ROWS, COLUMNS, CODES, TEXT = 3, 4, 11, 5
TOKENS = ROWS * COLUMNS


def small(**options) -> CAT:
    torch.manual_seed(0)
    sizes = {"codes": CODES, "grid": (ROWS, COLUMNS), "layers": 2, "dim": 12, "heads": 3, "head_dim": 4, "text_dim": 6}
    return CAT(**(sizes | options)).eval()


def example(batch: int = 3):
    generator = torch.Generator().manual_seed(1)
    indices = torch.randint(CODES, (batch, TOKENS), generator=generator)
    text = torch.randn(batch, TEXT, 6, generator=generator)
    mask = torch.arange(TEXT) < torch.tensor([[5], [3], [1]])[:batch]
    return indices, text, mask


def numpy_norm(x, gain):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * gain


def numpy_attention(state, prefix, x, kv, bias, heads, head_dim):
    """x [n,d] normalised, kv [M,k] with the null first, bias [n,heads,M]; one head and one query at a time."""
    q = (x @ state[f"{prefix}.to_q.1.weight"].T).reshape(len(x), heads, head_dim)
    key, value = kv[:, :head_dim], kv[:, -head_dim:]
    out = np.zeros_like(q)
    for i in range(len(x)):
        for h in range(heads):
            logits = key @ q[i, h] / math.sqrt(head_dim) + bias[i, h]
            weights = np.exp(logits - logits.max())
            out[i, h] = (weights / weights.sum()) @ value
    projected = out.reshape(len(x), -1) @ state[f"{prefix}.to_out.0.weight"].T
    return numpy_norm(projected, state[f"{prefix}.to_out.1.weight"])


def numpy_relative_bias(table, relative_position, heads):
    """[N,heads,1+N]: 0 for the null, -inf for later tokens, else the table at the offset of the two cells."""
    bias = np.zeros((TOKENS, heads, 1 + TOKENS))
    shift = 0 if relative_position == "official" else 1
    for i in range(TOKENS):
        for j in range(TOKENS):
            if j > i:
                bias[i, :, 1 + j] = -np.inf
            elif min(i, j) >= shift:
                (row, column), (key_row, key_column) = divmod(i - shift, COLUMNS), divmod(j - shift, COLUMNS)
                offset = (row - key_row + ROWS - 1) * (2 * COLUMNS - 1) + column - key_column + COLUMNS - 1
                bias[i, :, 1 + j] = table[offset]
    return bias


def numpy_logits(model, relative_position, indices, text, mask):
    """Logits [N,K] of one sample, written from the description of the network, one operation at a time."""
    state = {name: value.double().numpy() for name, value in model.state_dict().items()}
    heads, head_dim = 3, 4
    cells = (state["row_position"][:, None] + state["column_position"][None]).reshape(TOKENS, -1)
    embedded = state["token_embedding.weight"][indices] + cells
    x = numpy_norm(np.concatenate((state["start_token"][None], embedded[:-1])), state["input_norm.weight"])
    hidden = np.where(np.concatenate(([True], mask)), 0.0, -np.inf)
    for layer in range(2):
        block = f"blocks.{layer}"
        bias = numpy_relative_bias(state[f"{block}.relative_bias.weight"], relative_position, heads)
        for name, context, bias_nHM in (
            ("self_attention", None, bias),
            ("cross_attention", text, np.broadcast_to(hidden, (TOKENS, heads, 1 + TEXT))),
        ):
            prefix = f"{block}.{name}"
            normed = numpy_norm(x, state[f"{prefix}.norm.weight"])
            keys = (normed if context is None else context) @ state[f"{prefix}.to_kv.1.weight"].T
            kv = np.concatenate((state[f"{prefix}.null_kv"][None], keys))
            x = x + numpy_attention(state, prefix, normed, kv, bias_nHM, heads, head_dim)
        inner = numpy_norm(x, state[f"{block}.feedforward.0.weight"]) @ state[f"{block}.feedforward.1.weight"].T
        inner = numpy_norm(inner * 0.5 * (1 + erf(inner / math.sqrt(2))), state[f"{block}.feedforward.3.weight"])
        x = x + inner @ state[f"{block}.feedforward.4.weight"].T
    return numpy_norm(x, state["output_norm.weight"]) @ state["token_embedding.weight"].T


@pytest.mark.parametrize("key_value", ["shared", "separate"])
@pytest.mark.parametrize("relative_position", ["official", "aligned"])
def test_forward_is_the_described_network(relative_position, key_value):
    model = small(relative_position=relative_position, key_value=key_value).double()
    indices, text, mask = example()
    logits = model(indices, text.double(), mask, torch.tensor([True, True, False]))
    for b, keep in enumerate([True, True, False]):
        expected = numpy_logits(
            model, relative_position, indices[b].numpy(), text[b].double().numpy(), mask[b].numpy() & keep
        )
        np.testing.assert_allclose(logits[b].detach().numpy(), expected, rtol=1e-9, atol=1e-9)


def test_official_relative_position_counts_each_token_as_the_next_cell():
    official, aligned = small(), small(relative_position="aligned")
    assert torch.equal(official.offsets_NN, raster_offsets(ROWS, COLUMNS))
    # place 1 is cell 0 and place 4 is cell 3, same row; the official table treats them as cells 1 and 4, one row apart
    assert official.offsets_NN[4, 1] == (1 + ROWS - 1) * (2 * COLUMNS - 1) + -1 + COLUMNS - 1
    assert aligned.offsets_NN[4 - 1, 1 - 1] == (0 + ROWS - 1) * (2 * COLUMNS - 1) + 3 + COLUMNS - 1


@pytest.mark.parametrize("position", [0, 5, TOKENS - 2])
def test_a_code_changes_later_logits_only(position):
    model = small()
    indices, text, mask = example()
    changed = indices.clone()
    changed[:, position] = (changed[:, position] + 1) % CODES
    before, after = model(indices, text, mask), model(changed, text, mask)
    assert torch.equal(before[:, : position + 1], after[:, : position + 1])
    assert (before[:, position + 1] != after[:, position + 1]).any(dim=-1).all()


def test_the_last_code_is_never_an_input():
    model = small()
    indices, text, mask = example()
    changed = indices.clone()
    changed[:, -1] = (changed[:, -1] + 1) % CODES
    assert torch.equal(model(indices, text, mask), model(changed, text, mask))


def test_dropped_text_and_hidden_tokens_have_no_influence():
    model = small()
    indices, text, mask = example()
    other = torch.randn_like(text)
    drop = torch.zeros(3, dtype=torch.bool)
    assert torch.equal(model(indices, text, mask, drop), model(indices, other, mask, drop))
    assert torch.equal(model(indices, text, mask, drop), model(indices, text, torch.zeros_like(mask)))
    assert not torch.allclose(model(indices, text, mask), model(indices, other, mask), atol=1e-3)
    behind_mask = torch.where(mask[..., None], text, other)
    assert torch.equal(model(indices, text, mask), model(indices, behind_mask, mask))


@pytest.mark.parametrize("length", [0, 1, TOKENS - 1])
@pytest.mark.parametrize("relative_position", ["official", "aligned"])
def test_prefix_logits_are_those_of_the_whole_sequence(relative_position, length):
    model = small(relative_position=relative_position)
    indices, text, mask = example()
    prefix = model.prefix_logits(indices[:, :length], text, mask)
    torch.testing.assert_close(prefix, model(indices, text, mask)[:, : length + 1])


@pytest.mark.parametrize(
    ("options", "published_millions"),
    [
        ({}, 611),  # gpt2_medium
        ({"heads": 24}, 687),  # gpt2_mini
        ({"layers": 36, "dim": 1280, "heads": 32}, 858),  # gpt2_large
    ],
)
def test_parameter_counts_of_the_official_sizes(options, published_millions):
    with torch.device("meta"):
        model = CAT(**options)
    ours = sum(p.numel() for p in model.parameters())
    dim = options.get("dim", 1536)
    never_used = 768 * dim + dim  # the released network's projection of the text, which its forward pass skips
    assert round((ours + never_used) / 1e6) == published_millions


def test_loss_is_mean_cross_entropy_in_nats():
    model = small()
    indices, text, mask = example()
    probability = model(indices, text, mask).softmax(dim=-1).gather(-1, indices[..., None])
    torch.testing.assert_close(model.loss(indices, text, mask), -probability.log().mean())


def test_first_loss_is_far_above_uniform_as_released_and_near_it_with_small_embeddings():
    uniform = math.log(512)
    options = {"codes": 512, "dim": 256, "layers": 1}
    indices, text, mask = example()
    assert small(**options).loss(indices, text, mask) > 5 * uniform
    assert abs(small(**options, token_embedding_std=256**-0.5).loss(indices, text, mask) - uniform) < 1.0


def test_training_step_never_reads_a_value_back():
    """On the meta device reading the value of a tensor raises; on a GPU it would synchronise."""
    with torch.device("meta"):
        model = small().train()
        indices = torch.zeros(2, TOKENS, dtype=torch.int64)
        keep = torch.ones(2, dtype=torch.bool)
        loss = model.loss(indices, torch.zeros(2, TEXT, 6), torch.ones(2, TEXT, dtype=torch.bool), keep)
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())


def test_gradients_are_deterministic_and_dropout_follows_the_mode():
    indices, text, mask = example()
    gradients = []
    for _ in range(2):
        model = small(dropout=0.5).train()
        torch.manual_seed(3)
        model.loss(indices, text, mask).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert torch.equal(*gradients)
    assert model.loss(indices, text, mask) != model.loss(indices, text, mask)
    model.eval()
    assert model.loss(indices, text, mask) == model.loss(indices, text, mask)


def test_bfloat16_autocast_stays_close():
    model = small(token_embedding_std=12**-0.5)
    indices, text, mask = example()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model.loss(indices, text, mask)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, model.loss(indices, text, mask), rtol=0.02, atol=0)


class CatWithText(nn.Module):
    def __init__(self):
        super().__init__()
        self.cat = small()
        self.text = LearnedTextEncoder(vocab_size=7, dim=6, layers=1, heads=2, max_tokens=TEXT, dropout=0.0)


@pytest.mark.parametrize("no_decay", ["official", "standard"])
def test_parameter_groups_hold_every_parameter_once(no_decay):
    model = CatWithText()
    model.cat.start_token.requires_grad_(False)
    groups = cat_parameter_groups(model, 0.01, no_decay)
    assert [g["weight_decay"] for g in groups] == [0.01, 0.0]
    ids = [id(p) for group in groups for p in group["params"]]
    assert sorted(ids) == sorted(id(p) for p in model.parameters() if p.requires_grad)


def test_parameter_groups_decay_what_each_rule_says():
    model = CatWithText()
    names = {id(p): name for name, p in model.named_parameters()}

    def decayed(rule):
        return {names[id(p)] for p in cat_parameter_groups(model, 0.01, rule)[0]["params"]}

    official, standard = decayed("official"), decayed("standard")
    gains = {f"{n}.weight" for n, m in model.named_modules() if isinstance(m, GainNorm)}
    assert gains <= official
    assert {"cat.start_token", "cat.row_position", "cat.blocks.0.self_attention.null_kv"} <= official
    tables = {"cat.token_embedding.weight", "cat.blocks.0.relative_bias.weight", "text.token_embedding.weight"}
    assert not tables & official
    assert "text.transformer.norm.weight" not in official
    assert not any(name.endswith("bias") for name in official)
    assert standard < official
    assert official - standard == gains | {
        name for name in names.values() if name.endswith(("start_token", "position", "null_kv"))
    }
    assert {dict(model.named_parameters())[name].ndim for name in standard} == {2}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"relative_position": "none"}, "relative_position"),
        ({"key_value": True}, "key_value"),
        ({"layers": 0}, "layers got 0"),
        ({"grid": (0, 4)}, "grid got 0"),
    ],
)
def test_wrong_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        small(**options)


def test_wrong_inputs_are_refused_with_the_expected_ones():
    model = small()
    indices, text, mask = example()
    with pytest.raises(ValueError, match=r"indices \(3, 11\), expected \[B, 12\]"):
        model(indices[:, 1:], text, mask)
    with pytest.raises(ValueError, match=r"torch\.int64"):
        model(indices.int(), text, mask)
    with pytest.raises(ValueError, match="each of the 2 texts"):
        model(indices, text[:2], mask[:2])
    with pytest.raises(ValueError, match=r"\[B, T, 6\]"):
        model(indices, text[..., :5], mask)
    with pytest.raises(ValueError, match=r"torch\.bool"):
        model(indices, text, mask.long())
    with pytest.raises(ValueError, match="no_decay"):
        cat_parameter_groups(model, 0.01, "none")
