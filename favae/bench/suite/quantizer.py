"""Cosine quantiser, compared with vector-quantize-pytorch, of which the official code has a copy."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F

from favae.bench.compare import Case, Disagreement, Work, comparison, largest_difference
from favae.bench.section import Settings
from favae.models.quantizers import CosineQuantizer

_DECAY = 0.8


@contextmanager
def _build(settings: Settings) -> Iterator[Work]:
    from vector_quantize_pytorch import VectorQuantize

    batch, side, codes, dim = (1, 4, 32, 8) if settings.quick else (8, 16, 16384, 256)
    torch.manual_seed(0)
    z_BChw = torch.randn(batch, dim, side, side).to(settings.device)
    ours = CosineQuantizer(dim, codes, decay=_DECAY).to(settings.device).train()
    peer = VectorQuantize(
        dim=dim,
        codebook_size=codes,
        use_cosine_sim=True,
        decay=_DECAY,
        threshold_ema_dead_code=0,
        sample_codebook_temp=0.0,
        rotation_trick=False,
        accept_image_fmap=True,
    )
    peer = peer.to(settings.device).train()
    start = ours.codebook.clone()

    def agree() -> str:
        """One pass of both with the same codebook. z has unit length, because newer versions of the library normalise it."""
        ours.codebook.copy_(start)
        peer._codebook.embed.copy_(start[None])
        unit_BChw = F.normalize(z_BChw, dim=1)
        mine, theirs = ours(unit_BChw), peer(unit_BChw)
        share = float((mine.indices == theirs[1]).float().mean())
        if share < 0.999:
            raise Disagreement(f"only {share:.2%} of the codes are equal")
        same = (mine.indices == theirs[1])[:, None]
        return f"{share:.1%} of codes, " + largest_difference([mine.z * same], [theirs[0] * same], 1e-5, "latents")

    yield Work(lambda: ours(z_BChw), lambda: peer(z_BChw), agree)


SECTION = comparison(
    3,
    "Cosine quantiser, forward and moving average",
    [Case("2048 vectors, 16384 codes of 256", _build, faster=1.5, faster_on_gpu=1.5, memory=0.5)],
    "Peer: `vector-quantize-pytorch` from PyPI, `use_cosine_sim`, the same decay, deterministic choice, no dead codes "
    "replaced. The current version updates the moving average by another rule than the official code, whose rule is tested in "
    "`tests/models/test_quantizers.py`.",
)
