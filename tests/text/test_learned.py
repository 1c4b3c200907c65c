"""Word tokenizer, learned text encoder, and building either kind from a configuration."""

import json
import random

import pytest
import torch

from favae.models import LearnedTextEncoder
from favae.text import LearnedText, TextEncoder, WordTokenizer, build_text_encoder
from favae.text.words import split_words

torch.set_num_threads(1)

CAPTIONS = [
    "The woman is smiling, and she has wavy hair.",
    "The man has a beard.",
    "She doesn't wear lipstick! ",
]
CONFIG = {"kind": "learned", "dim": 16, "layers": 2, "heads": 2, "max_tokens": 9}


def test_words_are_lower_case_and_punctuation_stands_alone():
    assert split_words("She doesn't wear 2 ear-rings!\n") == ["she", "doesn't", "wear", "2", "ear", "rings", "!"]
    assert split_words(" \n") == []


def test_vocabulary_depends_on_the_captions_not_on_their_order():
    words = WordTokenizer.from_captions(CAPTIONS, 9).words
    for seed in range(5):
        shuffled = random.Random(seed).sample(CAPTIONS, len(CAPTIONS))
        assert WordTokenizer.from_captions(shuffled, 9).words == words
    # counts: "." "has" "she" "the" 2, the others 1; ties in alphabetical order
    assert words[:4] == [".", "has", "she", "the"]
    assert words[4:] == sorted(words[4:])


def test_rare_words_are_unknown():
    tokenizer = WordTokenizer.from_captions(CAPTIONS, 9, min_count=2)
    assert tokenizer.words == [".", "has", "she", "the"]
    assert len(tokenizer) == 3 + 4
    assert tokenizer(["She has teeth."]).tolist() == [[2, 5, 4, 1, 3, 0, 0, 0, 0]]


def test_long_captions_are_cut_and_counted():
    tokenizer = WordTokenizer(["a", "b"], 4)
    ids = tokenizer(["a b a", "a b a b a", "", "b " * 50])
    assert ids.tolist() == [[2, 3, 4, 3], [2, 3, 4, 3], [2, 0, 0, 0], [2, 4, 4, 4]]
    assert tokenizer.truncated == 2


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: WordTokenizer.from_captions([], 4), "captions"),
        (lambda: WordTokenizer.from_captions(CAPTIONS, 4, min_count=99), "99 times"),
        (lambda: WordTokenizer(["a", "a"], 4), "distinct"),
        (lambda: WordTokenizer(["a"], 0), "max_tokens"),
        (lambda: LearnedTextEncoder(5, 10, 1, 3, 4, 0.0), "heads got 3; expected a divisor of dim 10"),
        (lambda: build_text_encoder({"kind": "bert"}), r"'bert', expected one of \['learned', 'clip'\]"),
        (lambda: build_text_encoder({**CONFIG, "width": 3}, CAPTIONS), r"\['width'\]"),
    ],
)
def test_wrong_configurations_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_encoder_ignores_padding_and_survives_an_empty_caption():
    torch.manual_seed(0)
    encoder = LearnedTextEncoder(vocab_size=8, dim=16, layers=2, heads=2, max_tokens=6, dropout=0.0).eval()
    short = torch.tensor([[2, 3, 4]])
    padded = torch.tensor([[2, 3, 4, 0, 0, 0]])
    torch.testing.assert_close(encoder(padded)[:, :3], encoder(short))
    assert encoder(torch.zeros(1, 6, dtype=torch.int64)).isfinite().all()
    with pytest.raises(ValueError, match="at most 6"):
        encoder(torch.ones(1, 7, dtype=torch.int64))


def test_encoder_sees_words_and_their_order_both_ways():
    torch.manual_seed(0)
    encoder = LearnedTextEncoder(vocab_size=8, dim=16, layers=2, heads=2, max_tokens=6, dropout=0.0).eval()
    first, swapped = encoder(torch.tensor([[2, 3, 4]])), encoder(torch.tensor([[2, 4, 3]]))
    assert not torch.allclose(first[:, 0], swapped[:, 0], atol=1e-5)


def test_learned_text_is_a_trainable_text_encoder():
    encoder = build_text_encoder(CONFIG, CAPTIONS)
    assert isinstance(encoder, TextEncoder)
    assert encoder.trainable
    ids, mask = encoder.tokenize(CAPTIONS)
    assert ids.shape == mask.shape == (3, 9)
    assert torch.equal(mask, ids != 0)
    embeddings = encoder.encode(ids)
    assert embeddings.shape == (3, 9, encoder.dim)
    embeddings.square().mean().backward()
    assert all(p.grad is not None for p in encoder.parameters())


def test_json_spec_and_weights_restore_the_encoder():
    torch.manual_seed(0)
    encoder = build_text_encoder(CONFIG, CAPTIONS)
    restored = build_text_encoder(json.loads(json.dumps(encoder.config())))
    restored.load_state_dict(encoder.state_dict())
    assert isinstance(restored, LearnedText)
    assert restored.config() == encoder.config()
    captions = ["She has a beard.", "unheard of"]
    ids, mask = encoder.tokenize(captions)
    for got, expected in zip(restored.tokenize(captions), (ids, mask), strict=True):
        assert torch.equal(got, expected)
    assert torch.equal(restored.encode(ids), encoder.encode(ids))
