"""Word-level tokenizer whose vocabulary consists of the words of the training captions."""

import re
from collections import Counter
from collections.abc import Iterable

import torch
from torch import Tensor

from favae.models.bounds import whole

PADDING, UNKNOWN, START = 0, 1, 2
MAX_TOKENS = 64
SPECIAL = ("<padding>", "<unknown>", "<start>")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*|[.,;:!?]")


class WordTokenizer:
    """Lower-cased words and punctuation marks to ids: 0 padding, 1 unknown word, 2 start, then the vocabulary.

    Args:
        words: the vocabulary in the order of its ids (from 3), without duplicates.
        max_tokens: length T of every id sequence, start token included; at least 1.

    Raises:
        ValueError: the vocabulary is empty or has duplicates, or `max_tokens` is below 1.
    """

    def __init__(self, words: list[str], max_tokens: int = MAX_TOKENS):
        if not words or len(set(words)) != len(words):
            raise ValueError(f"vocabulary of {len(words)} words, {len(set(words))} different: give distinct words")
        whole("max_tokens", max_tokens)  # the start token counts
        self.words, self.max_tokens = list(words), max_tokens
        self.truncated = 0
        self._ids = {word: index for index, word in enumerate(self.words, start=len(SPECIAL))}

    @classmethod
    def from_captions(
        cls, captions: Iterable[str], max_tokens: int = MAX_TOKENS, min_count: int = 1
    ) -> "WordTokenizer":
        """Vocabulary of all words that occur at least `min_count` times, most frequent first, ties alphabetical.

        The result depends on the captions, not on their order.

        Raises:
            ValueError: no word is frequent enough, or a number is out of range.
        """
        whole("min_count", min_count, 1_000_000_000)
        counts = Counter(word for caption in captions for word in split_words(caption))
        words = sorted((word for word in counts if counts[word] >= min_count), key=lambda word: (-counts[word], word))
        if not words:
            raise ValueError(f"no word occurs {min_count} times in the captions: give training captions with text")
        return cls(words, max_tokens)

    def __len__(self) -> int:
        """Number of ids, special ones included."""
        return len(SPECIAL) + len(self.words)

    def __call__(self, captions: list[str]) -> Tensor:
        """Captions -> ids [B, max_tokens] int64; longer captions are cut at their end and counted in `truncated`."""
        ids_BT = torch.full((len(captions), self.max_tokens), PADDING, dtype=torch.int64)
        for row, caption in zip(ids_BT, captions, strict=True):
            ids = [START] + [self._ids.get(word, UNKNOWN) for word in split_words(caption)]
            self.truncated += len(ids) > self.max_tokens
            ids = ids[: self.max_tokens]
            row[: len(ids)] = torch.tensor(ids)
        return ids_BT


def split_words(caption: str) -> list[str]:
    """Lower-cased words (an inner apostrophe belongs to its word) and punctuation marks of a caption."""
    return _WORD.findall(caption.lower())
