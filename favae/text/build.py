"""Building a text encoder from its configuration."""

from collections.abc import Iterable, Mapping
from typing import Any

from favae.text.clip import ClipText
from favae.text.encoder import TextEncoder
from favae.text.learned import LearnedText
from favae.text.words import WordTokenizer

_LEARNED = {"dim", "layers", "heads", "dropout", "max_tokens", "min_count", "words"}
_CLIP = {"model", "weights", "mask"}


def build_text_encoder(config: Mapping[str, Any], captions: Iterable[str] = ()) -> TextEncoder:
    """Build the encoder that `config["kind"]` names. `TextEncoder.config()` returns a configuration that rebuilds it.

    - "learned": `dim`, `layers`, `heads`, `dropout` as in `LearnedText`; `max_tokens`; the vocabulary as `words`, or
      taken from `captions` (words that occur at least `min_count` times).
    - "clip": `model`, `weights`, `mask` as in `ClipText`; `captions` are not used.

    Raises:
        ValueError: the kind or a key is unknown, or the vocabulary is empty.
        FileNotFoundError: CLIP's weights are missing.
    """
    options = dict(config)
    kind = options.pop("kind", None)
    known = {"learned": _LEARNED, "clip": _CLIP}
    if kind not in known:
        raise ValueError(f"text encoder of kind {kind!r}, expected one of {list(known)}")
    unknown = sorted(set(options) - known[kind])
    if unknown:
        raise ValueError(f"text encoder {kind!r} got unknown keys {unknown}; expected keys among {sorted(known[kind])}")
    if kind == "clip":
        return ClipText(**options)
    words = options.pop("words", None)
    min_count = {name: options.pop(name) for name in ("min_count",) if name in options}
    length = {name: options.pop(name) for name in ("max_tokens",) if name in options}
    if words is None:
        tokenizer = WordTokenizer.from_captions(captions, **length, **min_count)
    else:
        tokenizer = WordTokenizer(words, **length)
    return LearnedText(tokenizer, **options)
