"""A small text transformer that is trained together with CAT, for use where CLIP's weights are not available.

Legend: B batch, T text tokens, D width. Token id 0 is padding.
"""

import math

import torch
from torch import Tensor, nn

from favae.models.bounds import CODES, DEPTH, WIDTH, below_one, whole


class LearnedTextEncoder(nn.Module):
    """Bidirectional pre-norm transformer over word ids. Not in the paper, which uses the text tower of CLIP.

    Args:
        vocab_size: number of token ids, padding (id 0) included.
        dim: width D of the embeddings.
        layers, heads: size of the transformer; its feed-forward width is 4 D.
        max_tokens: longest sequence T.
        dropout: inside the transformer layers.

    Raises:
        ValueError: a size or `dropout` is out of range, or `heads` does not divide `dim`.
    """

    def __init__(self, vocab_size: int, dim: int, layers: int, heads: int, max_tokens: int, dropout: float):
        super().__init__()
        sizes = {"vocab_size": vocab_size, "dim": dim, "layers": layers, "heads": heads, "max_tokens": max_tokens}
        for name, size in sizes.items():
            whole(name, size, {"vocab_size": CODES, "layers": DEPTH}.get(name, WIDTH))
        if dim % heads:
            raise ValueError(f"heads got {heads}; expected a divisor of dim {dim}: for example {math.gcd(heads, dim)}")
        below_one("dropout", dropout)
        self.dim, self.max_tokens = dim, max_tokens
        self.token_embedding = nn.Embedding(vocab_size, dim)
        self.position = nn.Parameter(torch.empty(max_tokens, dim))
        for embedding in (self.token_embedding.weight, self.position):
            nn.init.normal_(embedding, std=0.02)
        layer = nn.TransformerEncoderLayer(
            dim, heads, 4 * dim, dropout=dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.transformer = nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(dim), enable_nested_tensor=False)

    def forward(self, ids_BT: Tensor) -> Tensor:
        """Embed token ids: [B,T] int64, T at most max_tokens -> [B,T,D].

        Padding is masked. The first position is never masked, so that an empty sequence gives no NaN.

        Raises:
            ValueError: the sequence is longer than max_tokens.
        """
        length = ids_BT.shape[1]
        if length > self.max_tokens:
            raise ValueError(
                f"text of {length} tokens, expected at most {self.max_tokens}; truncate it when tokenizing"
            )
        padding_BT = ids_BT == 0
        padding_BT[:, 0] = False
        x_BTD = self.token_embedding(ids_BT) + self.position[:length]
        return self.transformer(x_BTD, src_key_padding_mask=padding_BT)
