"""Captions to embeddings: one interface, two encoders (frozen CLIP, or a small one trained together with CAT)."""

from favae.text.build import build_text_encoder
from favae.text.clip import ClipText
from favae.text.encoder import TextEncoder
from favae.text.learned import LearnedText
from favae.text.words import WordTokenizer

__all__ = ["ClipText", "LearnedText", "TextEncoder", "WordTokenizer", "build_text_encoder"]
