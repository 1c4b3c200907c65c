"""A small text transformer that is trained together with CAT, where no pretrained CLIP is at hand.

Legend: B batch, T text tokens, D width. Token id 0 is padding.
"""

import torch
from torch import Tensor, nn


class LearnedTextEncoder(nn.Module):
    """Bidirectional pre-norm transformer over word ids. Ours: a stand-in for the CLIP text tower of the paper.

    Args:
        vocab_size: number of token ids, padding (id 0) included.
        dim: width D of the embeddings.
        layers, heads: size of the transformer; its feed-forward width is 4 D.
        max_tokens: longest sequence T.
        dropout: inside the transformer layers.

    Raises:
        ValueError: a size is not positive, or `heads` does not divide `dim`.
    """

    def __init__(self, vocab_size: int, dim: int, layers: int, heads: int, max_tokens: int, dropout: float = 0.0):
        super().__init__()
        sizes = {"vocab_size": vocab_size, "dim": dim, "layers": layers, "heads": heads, "max_tokens": max_tokens}
        if min(sizes.values()) < 1 or dim % heads:
            raise ValueError(f"LearnedTextEncoder needs positive sizes and heads that divide dim, got {sizes}")
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

        Padding is not attended to. The first position always is, so that an empty sequence gives no NaN.

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
