"""A tiny CAT overfits real captioned faces: each caption then samples the tokens of its own image."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.cluster import KMeans

from favae.models import CAT, cat_parameter_groups
from favae.text import build_text_encoder

torch.set_num_threads(1)

IMAGES, SIDE, CODES = 6, 6, 16


@pytest.fixture(scope="module")
def faces():
    """Tokens [IMAGES, SIDE*SIDE] of real CelebA-HQ faces (k-means of patch colours) and two captions of each."""
    if "FAVAE_TEST_DATA" not in os.environ:
        pytest.skip("needs the real images of FAVAE_TEST_DATA")
    folder = Path(os.environ["FAVAE_TEST_DATA"]) / "raw" / "celebahq"
    colours, captions = [], []
    for index in range(IMAGES):
        image = Image.open(folder / "CelebA-HQ-img" / f"{index}.jpg").convert("RGB")
        colours.append(np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=float).reshape(-1, 3))
        captions.append((folder / "celeba-caption" / f"{index}.txt").read_text().splitlines()[:2])
    labels = KMeans(CODES, n_init=1, random_state=0).fit_predict(np.concatenate(colours))
    return torch.from_numpy(labels.reshape(IMAGES, -1)).long(), captions


def train(tokens, captions, steps=250):
    """Fit a tiny CAT and its text encoder, text dropped from a quarter of the samples."""
    torch.manual_seed(0)
    every = [caption for two in captions for caption in two]
    text = build_text_encoder({"kind": "learned", "dim": 32, "layers": 1, "heads": 2, "max_tokens": 48}, every)
    cat = CAT(codes=CODES, grid=(SIDE, SIDE), layers=2, dim=64, heads=4, head_dim=16, text_dim=32, dropout=0.0)
    groups = cat_parameter_groups(torch.nn.ModuleList((cat, text)), 0.01, "official")
    optimizer = torch.optim.AdamW(groups, lr=3e-3, betas=(0.9, 0.95))
    ids, mask = text.tokenize(every)
    targets = tokens.repeat_interleave(2, dim=0)
    for _ in range(steps):
        loss = cat.loss(targets, text.encode(ids), mask, torch.rand(len(every)) >= 0.25)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return cat.eval(), text.eval()


@pytest.mark.slow
def test_captions_select_their_images(faces):
    tokens, captions = faces
    cat, text = train(tokens, captions)
    for which in range(2):
        order = torch.randperm(IMAGES, generator=torch.Generator().manual_seed(which))
        ids, mask = text.tokenize([captions[i][which] for i in order])
        drawn = cat.generate(text.encode(ids), mask, guidance=1.0, temperature=0.0)
        # fraction of equal tokens for every pair (sampled image, real image): it is high for its own image only
        share = (drawn[:, None] == tokens[None]).float().mean(-1)
        own = share[torch.arange(IMAGES), order]
        assert own.min() > 0.95
        share[torch.arange(IMAGES), order] = 0
        assert share.max() < 0.5
    # without the text, images cannot be distinguished
    blind = cat.generate(text.encode(ids), mask, guidance=0.0, temperature=0.0)
    assert torch.equal(blind, blind[:1].expand_as(blind))
