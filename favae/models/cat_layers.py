"""Layers of CAT: multi-query attention with a null key-value, transformer block. Source and legend: `cat.py`."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KeyValue = Literal["shared", "separate"]


class GainNorm(nn.LayerNorm):
    """Layer normalisation with a learned gain and no bias, the only normalisation of CAT."""

    def __init__(self, dim: int):
        super().__init__(dim, bias=False)


class MultiQueryAttention(nn.Module):
    """Pre-norm attention of H query heads to one key-value head (Shazeer 2019), with a learned null key-value first.

    The null is never masked. For the first token, or a sample without text, it is the only key besides the query's own.
    Source: official code of CAT. `key_value="shared"` uses one vector as key and as value, as in the official code;
    `"separate"` projects two.
    """

    def __init__(self, dim: int, context_dim: int, heads: int, head_dim: int, dropout: float, key_value: KeyValue):
        super().__init__()
        self.heads, self.head_dim, self.key_value = heads, head_dim, key_value
        width = head_dim if key_value == "shared" else 2 * head_dim
        self.norm = GainNorm(dim)
        self.to_q = nn.Sequential(nn.Dropout(dropout), nn.Linear(dim, heads * head_dim, bias=False))
        self.to_kv = nn.Sequential(nn.Dropout(dropout), nn.Linear(context_dim, width, bias=False))
        self.null_kv = nn.Parameter(torch.randn(width))
        self.to_out = nn.Sequential(nn.Linear(heads * head_dim, dim, bias=False), GainNorm(dim))

    def keys(self, context_BMc: Tensor) -> Tensor:
        """Project a context to key-values and put the null before them: [B,M,c] -> [B,1+M,k]."""
        kv_BMk = self.to_kv(context_BMc)
        return torch.cat((self.null_kv.to(kv_BMk.dtype).expand(len(kv_BMk), 1, -1), kv_BMk), dim=1)

    def empty_cache(self, batch: int, tokens: int, dtype: torch.dtype) -> Tensor:
        """Empty key-value cache of a sequence, [B,1+tokens,k], with the null filled in."""
        return self.null_kv.detach().to(dtype).expand(batch, 1 + tokens, -1).clone()

    def attend(self, x_Bnd: Tensor, kv_BMk: Tensor, bias: Tensor) -> Tensor:
        """Attention of x (already normalised) to key-values (already projected): [B,n,d], [B,M,k] -> [B,n,d].

        Heads are folded into the query axis (row i*H + h), so the single key-value head is never copied.

        Args:
            bias: added to the logits, broadcasts to [B,1,n*H,M]; -inf hides a key.
        """
        batch, length, _ = x_Bnd.shape
        q = self.to_q(x_Bnd).view(batch, 1, length * self.heads, self.head_dim)
        key = kv_BMk[:, None, :, : self.head_dim]
        value = kv_BMk[:, None, :, -self.head_dim :]
        out = F.scaled_dot_product_attention(q, key, value, attn_mask=bias.to(q.dtype))  # softmax accumulates in fp32
        return self.to_out(out.view(batch, length, self.heads * self.head_dim))


class CatBlock(nn.Module):
    """One layer: causal self-attention, cross-attention to the text, feed-forward, each a pre-norm residual branch."""

    def __init__(self, dim: int, text_dim: int, offsets: int, multiplier: int, attention: dict[str, Any]):
        super().__init__()
        self.relative_bias = nn.Embedding(offsets, attention["heads"])
        self.self_attention = MultiQueryAttention(dim, dim, **attention)
        self.cross_attention = MultiQueryAttention(dim, text_dim, **attention)
        self.feedforward = nn.Sequential(
            GainNorm(dim),
            nn.Linear(dim, dim * multiplier, bias=False),
            nn.GELU(),
            GainNorm(dim * multiplier),
            nn.Linear(dim * multiplier, dim, bias=False),
        )

    def self_bias(self, offsets_nn: Tensor, visible_nM: Tensor) -> Tensor:
        """Relative position bias and causal mask of the self-attention: [n,H,1+n].

        `offsets_nn` may be shorter than n: then the first positions have no bias, like the null.
        """
        length, keys = visible_nM.shape
        bias = self.relative_bias(offsets_nn).transpose(1, 2)
        bias = F.pad(bias, (keys - bias.shape[2], 0, 0, 0, length - len(bias), 0))
        return bias.masked_fill(~visible_nM[:, None], -torch.inf)

    def forward(
        self,
        x_Bnd: Tensor,
        bias_nHM: Tensor,
        text_kv: Tensor,
        text_bias: Tensor,
        cache_BMk: Tensor | None = None,
        position: Tensor | None = None,
    ) -> Tensor:
        """[B,n,d] -> [B,n,d].

        Args:
            bias_nHM: from `self_bias`, its last axis the null and the tokens up to the last of x.
            text_kv: [B,1+T,k], from `cross_attention.keys`.
            text_bias: [B,1,1,1+T], -inf hides a text token.
            cache_BMk: key-values of earlier tokens, M at least that of the bias; the key-value of the one new token in
                x is written at the last position that the bias covers. None: x has all tokens.
            position: where in the cache that key-value is written instead, int64 [1]; the bias then covers the whole cache.
        """
        normed_Bnd = self.self_attention.norm(x_Bnd)
        if cache_BMk is None:
            kv_BMk = self.self_attention.keys(normed_Bnd)
        elif position is not None:
            kv_BMk = cache_BMk.index_copy_(1, position, self.self_attention.to_kv(normed_Bnd))
        else:
            kv_BMk = cache_BMk[:, : bias_nHM.shape[-1]]
            kv_BMk[:, -1:] = self.self_attention.to_kv(normed_Bnd)
        x_Bnd = x_Bnd + self.self_attention.attend(normed_Bnd, kv_BMk, bias_nHM.flatten(0, 1))
        x_Bnd = x_Bnd + self.cross_attention.attend(self.cross_attention.norm(x_Bnd), text_kv, text_bias)
        return x_Bnd + self.feedforward(x_Bnd)
