"""Drawing a code from logits: top-k, top-p (nucleus) and Gumbel-max sampling.

Legend: B batch, K codes. Filters set rejected logits to -inf. Results are on the device of the logits.
"""

import torch
from torch import Tensor


def top_k_filter(logits_BK: Tensor, k: int | None) -> Tensor:
    """Keep exactly the `k` largest logits of each row; all of them if `k` is None or at least K.

    Source: FA-VAE official code, sampling of CAT (k = 500).

    Args:
        logits_BK: [..., K], any real values.
        k: number of codes to keep, at least 1.

    Returns:
        [..., K], rejected entries -inf.

    Raises:
        ValueError: `k` is below 1.
    """
    if k is None:
        return logits_BK
    if k < 1:
        raise ValueError(f"top_k is {k}; give a number of codes of at least 1, or None to keep them all")
    if k >= logits_BK.shape[-1]:
        return logits_BK
    values, indices = logits_BK.topk(k, dim=-1)
    return torch.full_like(logits_BK, -torch.inf).scatter(-1, indices, values)


def top_p_filter(logits_BK: Tensor, p: float | None) -> Tensor:
    """Keep the smallest set of codes whose cumulative probability exceeds `p`, the code that crosses `p` included.

    Source: Holtzman et al. 2020 (nucleus sampling), with the boundary of the FA-VAE official code (p = 0.95): a code is
    kept while the probability of all codes before it is at most `p`, so the most probable one is always kept.

    Args:
        logits_BK: [..., K], entries may be -inf (rejected earlier).
        p: in (0, 1]; None or 1 keeps everything.

    Returns:
        [..., K], rejected entries -inf.

    Raises:
        ValueError: `p` is outside (0, 1].
    """
    if p is None or p == 1:
        return logits_BK
    if not 0 < p < 1:
        raise ValueError(f"top_p is {p}; give a probability in (0, 1], or None to keep every code")
    sorted_BK, order_BK = logits_BK.float().sort(dim=-1, descending=True)
    cumulative_BK = sorted_BK.softmax(dim=-1).cumsum(dim=-1)
    rejected_BK = torch.zeros_like(order_BK, dtype=torch.bool)
    rejected_BK[..., 1:] = cumulative_BK[..., :-1] > p
    return logits_BK.masked_fill(torch.zeros_like(rejected_BK).scatter(-1, order_BK, rejected_BK), -torch.inf)


def sample_codes(logits_BK: Tensor, *, temperature: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
    """Draw one code per row from softmax(logits / temperature) by the Gumbel-max trick; temperature 0 takes the largest logit.

    Noise is drawn on the generator's device: a CPU generator gives the same codes on every device.

    Args:
        logits_BK: [..., K], entries may be -inf (never drawn).
        temperature: 0 or above.
        generator: source of the noise; None uses the default generator of the logits' device.

    Returns:
        [...] int64 in 0..K-1.

    Raises:
        ValueError: `temperature` is negative.
    """
    if temperature < 0:
        raise ValueError(f"temperature is {temperature}; give 0 (largest logit) or a positive number")
    if temperature == 0:
        return logits_BK.argmax(dim=-1)
    device = logits_BK.device if generator is None else generator.device
    noise_BK = torch.empty(logits_BK.shape, device=device).exponential_(generator=generator)
    return (logits_BK / temperature - noise_BK.to(logits_BK.device).log()).argmax(dim=-1)
