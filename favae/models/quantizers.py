"""Vector quantisers: the cosine codebook of FA-VAE and the Euclidean codebook of VQ-GAN.

Tensor legend: B batch, C latent channels, h w latent size, N = B*h*w vectors, K codes, D code dimension.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from favae.models.bounds import CODES, whole
from favae.models.precision import full_precision

CodeOutput = Literal["raw", "normalized"]
BetaOn = Literal["codebook", "commitment"]


class Quantized(NamedTuple):
    """Output of a quantiser.

    z: quantised latent [B, C, h, w]; its value is that of the codes, and its gradient passes to the encoder unchanged
        (straight-through).
    indices: [B, h, w], int64, in [0, K).
    commitment_loss: scalar, fp32, unweighted.
    """

    z: Tensor
    indices: Tensor
    commitment_loss: Tensor


class Quantizer(nn.Module):
    """Layout, projection and straight-through estimation; subclasses choose and learn the codes.

    Args:
        channels: C, channels of the latent.
        codes: K.
        dim: D, or None for D = C. If D != C, one linear map projects into the code space and another one back.

    Raises:
        ValueError: a size out of range.
    """

    codebook: Tensor  # [K, D], a buffer or a parameter

    def __init__(self, channels: int, codes: int, dim: int | None) -> None:
        super().__init__()
        whole("quantizer.channels", channels)
        whole("quantizer.codes", codes, CODES)
        whole("quantizer.dim", channels if dim is None else dim)
        self.channels = channels
        self.codes = codes
        self.dim = dim or channels
        projects = self.dim != channels
        self.project_in = nn.Linear(channels, self.dim) if projects else nn.Identity()
        self.project_out = nn.Linear(self.dim, channels) if projects else nn.Identity()

    @property
    def config(self) -> dict[str, Any]:
        """`kind` and all arguments except `channels`, as plain values."""
        return {"codes": self.codes, "dim": self.dim}

    def forward(self, z_BChw: Tensor, update: bool = True) -> Quantized:
        """Quantise a latent [B, C, h, w].

        The codebook's moving average is updated only in training mode and only with `update`. Pass False for a batch
        that is quantised a second time, as in the discriminator's step.

        Raises:
            ValueError: the latent does not have C channels.
        """
        if z_BChw.ndim != 4 or z_BChw.shape[1] != self.channels:
            raise ValueError(f"the quantiser got shape {tuple(z_BChw.shape)}; expected [B, {self.channels}, h, w]")
        # In 16 bits, distances and statistics would select wrong codes, so there is no autocast here.
        with full_precision(z_BChw.device):
            z_ND = self._to_codes(z_BChw)
            indices_N = self._nearest(z_ND.detach())
            e_ND = self._lookup(indices_N)
            loss = self._commitment_loss(z_ND, e_ND)
            # e + (z - sg[z]) rather than z + sg[e - z]: the same gradient, and exactly e in floating point.
            q_ND = e_ND.detach() + (z_ND - z_ND.detach())
            q_BChw = self._to_map(self.project_out(q_ND), z_BChw.shape)
            if update and self.training:
                self._update(z_ND.detach(), indices_N)
        b, _, h, w = z_BChw.shape
        return Quantized(q_BChw.to(z_BChw.dtype), indices_N.view(b, h, w), loss)

    @torch.no_grad()
    def learn(self, z_BChw: Tensor, indices_Bhw: Tensor) -> None:
        """Update the codebook from latents and the codes chosen for them, as a forward pass with `update=True` does.

        For batches that were processed with `update=False`, whole or in parts: all parts together count as one batch.
        """
        with full_precision(z_BChw.device):
            self._update(self._to_codes(z_BChw), indices_Bhw.reshape(-1))

    def latents(self, indices_Bhw: Tensor) -> Tensor:
        """Quantised latent [B, C, h, w] of indices [B, h, w], int64 in [0, K).

        Applies the projection back from the code space, if there is one. The official code omits it here, and so
        decodes codes of a projected codebook wrongly.

        Raises:
            ValueError: the indices are not [B, h, w].
        """
        if indices_Bhw.ndim != 3:
            raise ValueError(
                f"indices have shape {tuple(indices_Bhw.shape)}; expected [B, h, w]: reshape them row-major"
            )
        b, h, w = indices_Bhw.shape
        with full_precision(indices_Bhw.device):
            q_NC = self.project_out(self._lookup(indices_Bhw.reshape(-1)))
        return self._to_map(q_NC, torch.Size((b, self.channels, h, w)))

    def _to_codes(self, z_BChw: Tensor) -> Tensor:
        flat_NC = z_BChw.permute(0, 2, 3, 1).reshape(-1, self.channels)
        return self.project_in(flat_NC.to(self.codebook.dtype))

    @staticmethod
    def _to_map(q_NC: Tensor, shape: torch.Size) -> Tensor:
        b, c, h, w = shape
        return q_NC.view(b, h, w, c).permute(0, 3, 1, 2).contiguous()

    def _nearest(self, z_ND: Tensor) -> Tensor:
        raise NotImplementedError

    def _lookup(self, indices_N: Tensor) -> Tensor:
        return F.embedding(indices_N, self.codebook)

    def _commitment_loss(self, z_ND: Tensor, e_ND: Tensor) -> Tensor:
        raise NotImplementedError

    def _update(self, z_ND: Tensor, indices_N: Tensor) -> None:
        """Update the codebook from a batch, without the optimiser; does nothing by default."""


class CosineQuantizer(Quantizer):
    """Codebook by cosine similarity, learned by an exponential moving average (FA-VAE, all released configurations).

    Index k(z) = argmax_k <z/|z|, e_k/|e_k|>. After a batch with counts n_k and sums s_k of unit vectors z/|z|,
    e_k <- decay e_k + (1 - decay) m_k, m_k = unit(s_k / n_k) where n_k > 0 and unit(e_k) elsewhere. Initially
    Kaiming-uniform, scaled to unit length, without k-means.

    Args:
        channels, codes, dim: see `Quantizer`.
        decay: weight of the past in the moving average, in [0, 1].
        output: "raw" returns e_k as it is, of length <= 1 (official code); "normalized" returns e_k/|e_k|.
        dead_code_threshold: a code is replaced by the direction of a random vector of the batch if its moving average
            of counts per batch is below this; 0 replaces none (all released configurations). Without replacement, a
            small model uses only a few codes after a short training.

    Raises:
        ValueError: invalid `decay`, `output` or `dead_code_threshold`.
    """

    counts: Tensor  # [K], moving average of n_k; only with a threshold

    def __init__(
        self,
        channels: int,
        codes: int,
        dim: int | None = None,
        decay: float = 0.8,
        output: CodeOutput = "raw",
        dead_code_threshold: float = 0.0,
    ) -> None:
        super().__init__(channels, codes, dim)
        if not 0.0 <= decay <= 1.0:
            raise ValueError(f"quantizer.decay got {decay}; expected a number in [0, 1]")
        if output not in ("raw", "normalized"):
            raise ValueError(f"quantizer.output got {output!r}; expected 'raw' or 'normalized'")
        if dead_code_threshold < 0:
            raise ValueError(f"quantizer.dead_code_threshold got {dead_code_threshold}; expected a number >= 0")
        self.decay = decay
        self.dead_code_threshold = dead_code_threshold
        if dead_code_threshold:
            self.register_buffer("counts", torch.zeros(codes))
        self.output = output
        codebook_KD = torch.empty(1, codes, self.dim)
        # For [1, K, D] Kaiming uses K * D as fan-in. This has no effect, because the codes are scaled to unit length.
        nn.init.kaiming_uniform_(codebook_KD)
        self.register_buffer("codebook", F.normalize(codebook_KD[0], dim=-1))

    @property
    def config(self) -> dict[str, Any]:
        """As `Quantizer.config`."""
        return super().config | {
            "kind": "cosine",
            "decay": self.decay,
            "output": self.output,
            "dead_code_threshold": self.dead_code_threshold,
        }

    def _nearest(self, z_ND: Tensor) -> Tensor:
        # Only the codes are normalised: the length of z scales a whole row and does not change the argmax.
        return (z_ND @ F.normalize(self.codebook, dim=-1).T).argmax(dim=-1)

    def _lookup(self, indices_N: Tensor) -> Tensor:
        e_ND = super()._lookup(indices_N)
        return F.normalize(e_ND, dim=-1) if self.output == "normalized" else e_ND

    def _commitment_loss(self, z_ND: Tensor, e_ND: Tensor) -> Tensor:
        # z is not normalised here, so the loss also pulls its length towards that of the codes.
        return F.mse_loss(z_ND, e_ND.detach())

    @torch.no_grad()
    def _update(self, z_ND: Tensor, indices_N: Tensor) -> None:
        """One step of the moving average over the batches of all ranks, so that every rank has the same codebook."""
        statistics = self.codebook.new_zeros(self.codes, self.dim + 1)  # sums and counts together: one all-reduce
        sums_KD, counts_K1 = statistics[:, :-1], statistics[:, -1:]
        sums_KD.index_add_(0, indices_N, F.normalize(z_ND, dim=-1))
        counts_K1.index_add_(0, indices_N, z_ND.new_ones(len(z_ND), 1))
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(statistics)
        # unit(s/n) = unit(s): the length of the mean does not matter, so counts only tell which codes were used.
        mean_KD = F.normalize(torch.where(counts_K1 > 0, sums_KD, self.codebook), dim=-1)
        self.codebook.lerp_(mean_KD, 1.0 - self.decay)
        if self.dead_code_threshold:
            self._replace_dead_codes(F.normalize(z_ND, dim=-1), counts_K1[:, 0])

    def _replace_dead_codes(self, unit_ND: Tensor, counts_K: Tensor) -> None:
        """Give every dead code a vector of the batch, the same on every rank, and the threshold as its count."""
        self.counts.lerp_(counts_K, 1.0 - self.decay)
        chosen_KD = unit_ND[torch.randint(len(unit_ND), (self.codes,), device=unit_ND.device)]
        if dist.is_available() and dist.is_initialized():
            dist.broadcast(chosen_KD, 0)
        dead_K = self.counts < self.dead_code_threshold
        self.codebook.copy_(torch.where(dead_K[:, None], chosen_KD, self.codebook))
        self.counts.masked_fill_(dead_K, self.dead_code_threshold)


class EuclideanQuantizer(Quantizer):
    """Codebook by Euclidean distance, learned by gradient (van den Oord et al. 2017; VQ-GAN), initially U(-1/K, 1/K).

    Args:
        channels, codes, dim: see `Quantizer`.
        beta: weight of one of the two terms of the loss, >= 0.
        beta_on: "commitment": mean (sg[z] - e)^2 + beta mean (z - sg[e])^2, as published (VQ-VAE, equation 3);
            "codebook": mean (z - sg[e])^2 + beta mean (sg[z] - e)^2, which the `legacy` default of taming-transformers
            computes and with which its published models were trained.

    Raises:
        ValueError: invalid `beta` or `beta_on`.
    """

    def __init__(
        self, channels: int, codes: int, dim: int | None = None, beta: float = 0.25, beta_on: BetaOn = "codebook"
    ) -> None:
        super().__init__(channels, codes, dim)
        if beta < 0:
            raise ValueError(f"quantizer.beta got {beta}; expected a number >= 0")
        if beta_on not in ("codebook", "commitment"):
            raise ValueError(f"quantizer.beta_on got {beta_on!r}; expected 'codebook' or 'commitment'")
        self.beta = beta
        self.beta_on = beta_on
        self.codebook = nn.Parameter(torch.empty(codes, self.dim).uniform_(-1.0 / codes, 1.0 / codes))

    @property
    def config(self) -> dict[str, Any]:
        """As `Quantizer.config`."""
        return super().config | {"kind": "euclidean", "beta": self.beta, "beta_on": self.beta_on}

    def _nearest(self, z_ND: Tensor) -> Tensor:
        # |z|^2 is the same for all codes: argmin |z - e|^2 = argmax <z, e> - |e|^2 / 2.
        codebook_KD = self.codebook.detach()
        return torch.addmm(codebook_KD.square().sum(dim=-1), z_ND, codebook_KD.T, beta=-0.5).argmax(dim=-1)

    def _commitment_loss(self, z_ND: Tensor, e_ND: Tensor) -> Tensor:
        commitment = F.mse_loss(z_ND, e_ND.detach())
        codebook = F.mse_loss(e_ND, z_ND.detach())
        if self.beta_on == "commitment":
            return codebook + self.beta * commitment
        return commitment + self.beta * codebook


_KINDS: dict[str, type[Quantizer]] = {"cosine": CosineQuantizer, "euclidean": EuclideanQuantizer}


def build_quantizer(config: Mapping[str, Any], channels: int) -> Quantizer:
    """The quantiser of a configuration: `kind` ("cosine" or "euclidean"), `codes`, and the other arguments of that class.

    Raises:
        ValueError: unknown kind, unknown or missing keys, or values that the class refuses.
    """
    arguments = dict(config)
    kind = arguments.pop("kind", None)
    if kind not in _KINDS:
        raise ValueError(f"quantizer.kind got {kind!r}; expected one of {sorted(_KINDS)}")
    if "codes" not in arguments:
        raise ValueError("quantizer.codes is missing; give the number of codes K")
    try:
        return _KINDS[kind](channels, **arguments)
    except TypeError as error:
        raise ValueError(f"quantizer got {sorted(arguments)} for kind {kind!r}: {error}") from error
