"""Trained generators: images from conditions (pix2pix, SPADE) or from latents (StyleGAN2)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from favae.config.pairs import ConditionConfig
from favae.data.conditions import network_input
from favae.inference.export import naming_the_folder, read_model
from favae.models.generators import build_generator, image_size
from favae.models.pix2pix import in_test_mode
from favae.models.segmenter import Segmenter
from favae.models.stylegan2 import Noise

_CONDITION: TypeAdapter[ConditionConfig] = TypeAdapter(ConditionConfig)


@dataclass(frozen=True)
class TrainedGenerator:
    """A network in evaluation mode, its `model:` block, and the condition of which it makes images (None: latents)."""

    network: nn.Module
    model: dict[str, Any]
    condition: ConditionConfig | None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of its images."""
        return image_size(self.model)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(iter(self.network.state_dict().values())).device

    @torch.inference_mode()
    def translate(self, stored_BKHW: Tensor, test_mode: Literal["train", "eval"] = "eval") -> Tensor:
        """Images [B,3,H,W] of stored conditions, uint8 planes. In `train` mode one at a time, as pix2pix is tested.

        Raises:
            ValueError: the model makes images from latents, or conditions of another size or number of planes.
        """
        if self.condition is None:
            raise ValueError(f"a {self.model['kind']} makes images from latents, not from conditions; use sampling")
        wanted = (sum(self.condition.planes.values()), *self.size)
        if tuple(stored_BKHW.shape[1:]) != wanted:
            raise ValueError(f"conditions have planes and size {tuple(stored_BKHW.shape[1:])}, expected {wanted}")
        inputs = network_input(stored_BKHW.to(self.device), self.condition)
        with in_test_mode(self.network, test_mode):
            parts = inputs.split(1 if test_mode == "train" else len(inputs))
            return torch.cat([self.network(part) for part in parts])

    @torch.inference_mode()
    def draw(
        self, count: int, batch_size: int, seed: int = 0, truncation: float = 1.0, noise: Noise = "random"
    ) -> Iterator[Tensor]:
        """`count` images from latents, in batches [B,C,H,W]; the same for every batch size, except for random noise.

        Raises:
            ValueError: the model makes images from conditions.
        """
        if self.condition is not None:
            raise ValueError(f"a {self.model['kind']} makes images from conditions; use translation")
        latents = torch.randn(count, int(self.model["z"]), generator=torch.Generator().manual_seed(seed))
        torch.manual_seed(seed)  # of noise
        for part in latents.split(batch_size):
            yield self.network(part.to(self.device), psi=truncation, noise=noise)


@naming_the_folder
def load_generator(folder: Path, device: torch.device | str = "cpu") -> TrainedGenerator:
    """A trained generator, frozen. Raises FileNotFoundError or ValueError with the folder."""
    config, tensors = read_model(folder, "generator")
    network = build_generator(config["model"])
    network.load_state_dict(tensors)
    condition = config.get("condition")
    parsed = None if condition is None else _CONDITION.validate_python(condition)
    return TrainedGenerator(network.to(device).eval().requires_grad_(False), config["model"], parsed)


@naming_the_folder
def load_segmenter(folder: Path, device: torch.device | str = "cpu") -> Segmenter:
    """A trained segmenter, frozen. Raises FileNotFoundError or ValueError with the folder."""
    config, tensors = read_model(folder, "segmenter")
    network = Segmenter(**config["model"])
    network.load_state_dict(tensors)
    return network.to(device).eval().requires_grad_(False)
