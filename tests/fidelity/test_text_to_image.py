"""CAT on the codes of a frozen FA-VAE: the FA-VAE does not change, and captions select images."""

import copy
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from favae.config.cat import CatConfig
from favae.config.favae import FavaeConfig
from favae.data.batches import Batch
from favae.data.dataset import PreparedSplit
from favae.inference.export import TextToImage, load_autoencoder, save_weights
from favae.models import CAT, FAVAE, build_autoencoder
from favae.text import build_text_encoder
from favae.training.autoencoder import AutoencoderTask
from favae.training.cat import CatTask
from favae.training.distributed import Ranks

Specs = Callable[..., FavaeConfig]
ALONE = Ranks(0, 1, torch.device("cpu"))
IMAGES, SIDE = 6, 8  # real faces at 16 pixels, 8x8 codes each


class Pairs:
    """Codes and captions held in memory, as `TokenSplit` gives them."""

    def __init__(self, tokens_nN: Tensor, captions: list[list[str]]) -> None:
        self.tokens = tokens_nN
        self.pairs = [(row, caption) for row, texts in enumerate(captions) for caption in texts]

    def __len__(self) -> int:
        return len(self.pairs)

    def batch(self, indices: range) -> tuple[Tensor, list[str]]:
        chosen = [self.pairs[i] for i in indices]
        return self.tokens[[row for row, _ in chosen]], [caption for _, caption in chosen]


def cat_task(pairs: Pairs, codes: int, text_drop: float, steps: int) -> CatTask:
    torch.manual_seed(0)
    config = CatConfig.model_validate(
        {
            "model": {"layers": 2, "dim": 64, "heads": 4, "head_dim": 16, "dropout": 0.0},
            "text": {"kind": "learned", "dim": 32, "layers": 1, "heads": 2, "max_tokens": 48},
            "text_drop": text_drop,
            "optimizer": {"base_lr": 3.0e-3, "scaling": "none", "warmup": "5 steps"},
            "training": {
                "seed": 0,
                "batch_size": len(pairs),
                "length": f"{steps} steps",
                "validate_every": "1 epochs",
                "checkpoint_every": "1 epochs",
            },
        }
    )
    captions = [caption for _, caption in pairs.pairs]
    text = build_text_encoder(config.text.given(), captions)
    cat = CAT(codes=codes, grid=(SIDE, SIDE), text_dim=text.dim, **config.model.given())
    return CatTask(config, TextToImage(cat, text), pairs, ALONE, 5, steps)  # type: ignore[arg-type]


def encode(model: FAVAE, images: Tensor) -> Tensor:
    """Codes [n, N], computed as in the stage `tokenize_images`."""
    with torch.inference_mode():
        latent = model.encode(images).z
        return model.quantize(latent, update_codebook=False).indices.flatten(1).clone()


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_codebook_and_weights_are_bit_identical_after_cat_training(
    tiny_spec: Specs, tmp_path: Path, images: Tensor, mode: str
) -> None:
    """The official code leaves the FA-VAE in training mode, where each batch updates its codebook. Ours does not change
    even then."""
    torch.manual_seed(1)
    config = tiny_spec().model.given()
    save_weights(tmp_path, build_autoencoder(config).state_dict(), {"kind": "autoencoder", "model": config})
    model = load_autoencoder(tmp_path)
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    model.train(mode == "train")
    before = copy.deepcopy(model.state_dict())
    pairs = Pairs(encode(model, images.float() / 127.5 - 1), [["a", "b"]] * len(images))
    task = cat_task(pairs, model.quantizer.codes, 0.25, 4)
    for step in range(2):
        task.train_step(pairs.batch(range(len(pairs))), step)
    text, mask = task.model.embed(["a", "b"])
    codes = task.model.cat.generate(text, mask, top_k=None)
    model.decode_indices(codes.view(-1, SIDE, SIDE))
    assert before.keys() == model.state_dict().keys() and "quantizer.codebook" in before
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_validation_hides_no_text(images: Tensor) -> None:
    """Text is dropped in training only (the official code drops it in validation too, which makes its loss noisy)."""
    tokens = torch.randint(16, (4, SIDE * SIDE), generator=torch.Generator().manual_seed(0))
    pairs = Pairs(tokens, [["red"], ["green"], ["blue"], ["white"]])
    never, always = (cat_task(pairs, 16, drop, 4).validate() for drop in (0.0, 1.0))
    assert never == always
    assert never["cross_entropy"] != never["cross_entropy_without_text"]


@pytest.fixture(scope="module")
def faces() -> tuple[Tensor, list[list[str]]]:
    """Real CelebA-HQ faces, uint8 [IMAGES,3,16,16], and two captions of each."""
    if "FAVAE_TEST_DATA" not in os.environ:
        pytest.skip("FAVAE_TEST_DATA is not set: no real data sets here")
    folder = Path(os.environ["FAVAE_TEST_DATA"]) / "raw" / "celebahq"
    faces = [Image.open(folder / "CelebA-HQ-img" / f"{i}.jpg").convert("RGB").resize((16, 16)) for i in range(IMAGES)]
    captions = [(folder / "celeba-caption" / f"{i}.txt").read_text().splitlines()[:2] for i in range(IMAGES)]
    return torch.from_numpy(np.stack(faces)).permute(0, 3, 1, 2).contiguous(), captions


@pytest.mark.slow
def test_captions_draw_their_own_faces_through_a_trained_favae(
    faces: tuple[Tensor, list[list[str]]], tiny_spec: Specs, val: PreparedSplit
) -> None:
    """The whole chain at a small size: FA-VAE learns faces, CAT its codes; the image of a caption is nearest to its own
    face."""
    images, captions = faces
    stored = Batch(images, np.arange(IMAGES), [])
    torch.manual_seed(0)
    task = AutoencoderTask(tiny_spec(), val, ALONE, 10**9, None)
    losses = [task.train_step(stored, step)["l1"].item() for step in range(150)]
    model, x = task.model.eval().requires_grad_(False), images.float() / 127.5 - 1
    assert losses[-1] < losses[0] / 3
    pairs = Pairs(encode(model, x), captions)
    trainer = cat_task(pairs, model.quantizer.codes, 0.25, 300)
    for step in range(300):
        trainer.train_step(pairs.batch(range(len(pairs))), step)
    for which in range(2):
        text, mask = trainer.model.embed([texts[which] for texts in captions])
        codes = trainer.model.cat.generate(text, mask, guidance=1.0, temperature=0.0)
        drawn = model.decode_indices(codes.view(-1, SIDE, SIDE))
        distance = torch.stack(
            [F.l1_loss(drawn, face.expand_as(drawn), reduction="none").mean((1, 2, 3)) for face in x], 1
        )
        assert distance.argmin(1).tolist() == list(range(IMAGES))
        assert (codes == pairs.tokens).float().mean() > 0.9
