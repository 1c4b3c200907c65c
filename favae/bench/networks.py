"""Networks, training tasks and batches for the benchmarks: models of `params/`, or a toy version of them."""

import copy
import warnings
from typing import Any, Literal, cast

import torch

from favae.config.companions import CompanionConfig
from favae.config.evaluation import WeightsFileConfig
from favae.config.favae import FavaeConfig
from favae.config.load import deep_merge, subtree, validate
from favae.data.batches import Batch
from favae.models import FAVAE
from favae.pretrained.lpips import LPIPS
from favae.runtime import paths
from favae.runtime.torchvision import ensure_torchvision
from favae.training.autoencoder import AutoencoderTask, build_networks
from favae.training.companions import VaeTask
from favae.training.distributed import Ranks

_RECIPE, _PAPER = ("table2", "r12-conv"), ("paper", "f16-celebahq")
_TOY = {
    "model": {
        "image_size": 32,
        "base_channels": 8,
        "channel_multipliers": [1, 2],
        "res_blocks": 1,
        "attention_resolutions": [],
        "latent_channels": 8,
        "norm_groups": 4,
        "fcm_groups": 4,
        "quantizer": {"codes": 16, "dim": 8},
    },
    "objective": {
        "spectrum": {"kernel_size": 3},
        "adversarial": {"discriminator": {"base_channels": 4, "layers": 1}},
    },
}


def training_spec(quick: bool, **changes: Any) -> FavaeConfig:
    """FA-VAE f = 16 on CelebA-HQ (Table 2, DSL with k = 9, convolutional FCM), or a toy version, with `changes` merged in."""
    return _spec(_PAPER, _TOY if quick else {}, changes)


def demo_model(quick: bool, factor: Literal[2, 4] = 4) -> FAVAE:
    """The demo's model of f = `factor`, or a toy version, with random weights, in evaluation mode."""
    torch.manual_seed(0)
    return build_networks(_spec(("demo", f"f{factor}"), _TOY if quick else {})).model.eval()


def _spec(numbers: tuple[str, str], *changes: dict[str, Any]) -> FavaeConfig:
    trees = [subtree(paths.params_file(file), key) for file, key in (_RECIPE, numbers)]
    return validate(FavaeConfig, deep_merge([*trees, *changes]), "benchmark")


def random_lpips() -> LPIPS:
    """LPIPS on a VGG16 with random weights, as fast as with the real weights, which not every machine has."""
    ensure_torchvision()
    import lpips

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lpips uses a deprecated argument of torchvision
        with torch.device("meta"):  # drawing the weights of VGG's unused classifier would take seconds
            network = lpips.LPIPS(pretrained=False, net="vgg", pnet_rand=True, verbose=False)
    network = network.to_empty(device="cpu")
    network.scaling_layer = type(network.scaling_layer)()
    for weights in network.parameters():
        torch.nn.init.zeros_(weights) if weights.ndim == 1 else torch.nn.init.kaiming_normal_(weights)
    for head in network.lins:
        head.requires_grad_(False).model[-1].weight.abs_()  # a distance is positive
    return LPIPS(network, WeightsFileConfig(file="random", sha256="0" * 64, source="random numbers"))


def training_task(config: FavaeConfig, device: torch.device) -> AutoencoderTask:
    """A task with the discriminator from the first step on. It can train but not validate."""
    torch.manual_seed(0)
    return AutoencoderTask(config, cast(Any, None), Ranks(0, 1, device), 0, random_lpips().to(device))


def stft_vae_spec(row: str, precision: str) -> CompanionConfig:
    """A row of Table 1 of the STFT-VAE paper with the numbers of the scale `stft`, in the given precision."""
    trees = [subtree(paths.params_file("stft_vae"), row), subtree(paths.params_file("stft"), "seed-0")]
    return validate(CompanionConfig, deep_merge([*trees, {"training": {"precision": precision}}]), "benchmark")


def stft_vae_task(config: CompanionConfig, device: torch.device) -> VaeTask:
    """A task that can train but not draw samples."""
    return VaeTask(config, cast(Any, None), None, Ranks(0, 1, device))


def random_digits(count: int) -> Batch:
    """Random black-and-white strokes: uint8 [count, 1, 28, 28], 0 or 255."""
    coarse = torch.rand(count, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(coarse, (28, 28), mode="bicubic")
    return Batch((smooth > 0.7).to(torch.uint8) * 255, torch.arange(count).numpy(), [])


def random_batch(count: int, side: int) -> Batch:
    """Random smooth images: uint8 [count, 3, side, side]."""
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear")
    return Batch((smooth * 255).to(torch.uint8), torch.arange(count).numpy(), [])


def twin(task: AutoencoderTask) -> tuple[Any, Any]:
    """Copies of generator and discriminator."""
    return copy.deepcopy(task.model), copy.deepcopy(task.discriminator)
