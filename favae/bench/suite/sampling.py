"""Sampling from CAT with classifier-free guidance, compared with two full forward passes per token."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from favae.bench.compare import Case, Disagreement, Work, comparison
from favae.bench.section import Settings
from favae.models import CAT
from favae.models.sampling import sample_codes, top_k_filter, top_p_filter

_GUIDANCE, _TOP_K, _TOP_P = 3.0, 500, 0.95
_EVERY = 64  # the peer is measured at one token in 64, the middle one


@torch.inference_mode()
def _next_codes(model: CAT, codes_Bn: Tensor, text_BTD: Tensor, mask_BT: Tensor, temperature: float) -> Tensor:
    """As in the official code: a conditional and an unconditional pass over all tokens so far; only the last logits are used."""
    hidden_B = torch.zeros(len(codes_Bn), dtype=torch.bool, device=codes_Bn.device)
    conditional_BK = model.prefix_logits(codes_Bn, text_BTD, mask_BT)[:, -1]
    null_BK = model.prefix_logits(codes_Bn, text_BTD, mask_BT, hidden_B)[:, -1]
    logits_BK = null_BK + _GUIDANCE * (conditional_BK - null_BK)
    return sample_codes(top_p_filter(top_k_filter(logits_BK, _TOP_K), _TOP_P), temperature=temperature)


@contextmanager
def _build(settings: Settings, layers: int = 1) -> Iterator[Work]:
    torch.manual_seed(0)
    batch = 2 if settings.quick else 8
    toy = {"dim": 16, "heads": 2, "head_dim": 8, "text_dim": 8}
    with settings.device:
        model = CAT(layers=layers, **(toy if settings.quick else {})).eval()  # type: ignore[arg-type]
    text_BTD = torch.randn(batch, 77, model.text_dim).to(settings.device)
    mask_BT = torch.ones(batch, 77, dtype=torch.bool, device=settings.device)
    positions = range(_EVERY // 2, model.tokens, _EVERY)

    def generate(temperature: float) -> Tensor:
        return model.generate(
            text_BTD, mask_BT, guidance=_GUIDANCE, top_k=_TOP_K, top_p=_TOP_P, temperature=temperature
        )

    codes_BN = generate(0.0)

    def run_peer(temperature: float) -> list[Tensor]:
        return [_next_codes(model, codes_BN[:, :n], text_BTD, mask_BT, temperature) for n in positions]

    def agree() -> str:
        """Without randomness both must choose the same code after the same prefix."""
        same = torch.stack(run_peer(0.0), dim=1) == codes_BN[:, list(positions)]
        if same.float().mean() < 0.98:  # ties in rounding
            raise Disagreement(f"{int(same.sum())} of {same.numel()} most probable codes are equal")
        return f"{int(same.sum())} of {same.numel()} most probable codes equal"

    yield Work(lambda: generate(1.0), lambda: run_peer(1.0), agree, peer_share=len(positions) / model.tokens)


SECTION = comparison(
    5,
    "Sampling 256 tokens with guidance",
    [
        Case("CAT of width 1536, 1 of 24 layers, batch 8", _build, faster=20, measures_memory=False, devices=("cpu",)),
        Case(
            "CAT of width 1536, all 24 layers, batch 8",
            partial(_build, layers=24),
            faster_on_gpu=20,
            measures_memory=False,
            devices=("cuda",),
        ),
    ],
    "Peer: for each token one pass with and one without text over all tokens so far, as in the official code. It is measured at "
    f"every {_EVERY}th token and scaled up, because a complete run takes minutes. fp32, random weights.",
)
