"""Text encoder that is trained together with CAT: a word vocabulary and a small transformer."""

from typing import Any

from torch import Tensor, nn

from favae.models.text_encoder import LearnedTextEncoder
from favae.text.words import PADDING, WordTokenizer


class LearnedText(nn.Module):
    """`TextEncoder` of a `WordTokenizer` and a `LearnedTextEncoder`. Not in the paper, which conditions CAT on CLIP.

    Args:
        tokenizer: vocabulary and length.
        dim, layers, heads, dropout: see `LearnedTextEncoder`.
    """

    trainable = True

    def __init__(
        self, tokenizer: WordTokenizer, *, dim: int = 256, layers: int = 2, heads: int = 4, dropout: float = 0.0
    ):
        super().__init__()
        self.dim, self.tokenizer = dim, tokenizer
        self.encoder = LearnedTextEncoder(len(tokenizer), dim, layers, heads, tokenizer.max_tokens, dropout)
        self._options = {"dim": dim, "layers": layers, "heads": heads, "dropout": dropout}

    @property
    def truncated(self) -> int:
        """Number of captions that were cut so far."""
        return self.tokenizer.truncated

    def tokenize(self, captions: list[str]) -> tuple[Tensor, Tensor]:
        """Captions -> ids [B,T] int64, mask [B,T] bool (False at padding)."""
        ids_BT = self.tokenizer(captions)
        return ids_BT, ids_BT != PADDING

    def encode(self, ids_BT: Tensor) -> Tensor:
        """Ids [B,T] -> embeddings [B,T,dim], differentiable."""
        return self.encoder(ids_BT)

    def config(self) -> dict[str, Any]:
        """JSON-ready configuration with the vocabulary, for `build_text_encoder`."""
        vocabulary = {"max_tokens": self.tokenizer.max_tokens, "words": self.tokenizer.words}
        return {"kind": "learned", **self._options, **vocabulary}
