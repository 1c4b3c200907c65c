"""Trained models on disk: `model.safetensors` and `config.json` in one folder."""

import json
import shutil
import stat
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from favae.models import CAT, FAVAE, Autoencoder, build_autoencoder
from favae.runtime.paths import MODEL_CONFIG, WEIGHTS
from favae.text import TextEncoder, build_text_encoder

_FLOAT, _WHOLE = "floating-point", "integer"
_COMMANDS = {"autoencoder": "favae reconstruct", "generator": "favae translate or favae sample"}  # by kind of model


P = ParamSpec("P")
T = TypeVar("T")


def save_weights(folder: Path, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """Write weights and configuration into `folder`, with the permissions of the umask."""
    text = json.dumps(dict(config), indent=1, sort_keys=True) + "\n"
    (folder / MODEL_CONFIG).write_text(text, encoding="utf-8")
    save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, folder / WEIGHTS)
    shutil.copymode(folder / MODEL_CONFIG, folder / WEIGHTS)  # safetensors creates files that only the owner can read


def read_model(folder: Path, kind: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Configuration and weights of a model of a kind. Raises FileNotFoundError or ValueError with the folder."""
    if folder.is_file():
        raise ValueError(f"{folder} is a file, expected the folder of a model, with {WEIGHTS} and {MODEL_CONFIG}")
    try:
        for file in (folder / MODEL_CONFIG, folder / WEIGHTS):
            if not stat.S_ISREG(file.stat().st_mode):  # a pipe would be waited for
                raise ValueError(f"{file.name} is not a regular file")
        config = json.loads((folder / MODEL_CONFIG).read_text(encoding="utf-8-sig"))
        tensors = load_file(folder / WEIGHTS)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{folder}: no trained model here ({error.filename} is missing)") from None
    except (OSError, ValueError, RecursionError, SafetensorError) as error:
        raise ValueError(f"{folder}: the model's files are damaged ({error}); fetch or train it again") from error
    if not isinstance(config, dict) or not isinstance(config.get("model"), dict):
        raise ValueError(
            f"{folder / MODEL_CONFIG}: expected an object with `kind` and `model`; fetch or train it again"
        )
    _refuse_other_kind(config, kind, folder)
    return config, tensors


def _refuse_other_kind(config: Mapping[str, Any], kind: str, folder: Path) -> None:
    if (found := config.get("kind")) != kind:
        advice = f"; use {_COMMANDS[found]}" if found in _COMMANDS else ""
        raise ValueError(f"{folder} holds the weights of kind {found!r}, expected {kind!r}{advice}")


def refuse_not_finite(model: nn.Module, folder: Path) -> None:
    """Raise ValueError if a weight is infinite or not a number: every image would be grey or noise, without a word."""
    wrong = [name for name, tensor in model.state_dict().items() if not torch.isfinite(tensor).all()]
    if wrong:
        raise ValueError(
            f"{folder / WEIGHTS}: {len(wrong)} tensors are not finite, such as {wrong[0]}; fetch or train it again"
        )


def naming_the_folder(load: Callable[Concatenate[Path, P], T]) -> Callable[Concatenate[Path, P], T]:
    """Report errors of a configuration, or of weights that do not fit it, with their folder."""

    @wraps(load)
    def named(folder: Path, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return load(folder, *args, **kwargs)
        except (
            TypeError,
            ValueError,
            LookupError,
            ArithmeticError,
            AttributeError,
            RuntimeError,
            MemoryError,
        ) as error:
            if str(folder) in str(error):
                raise
            reason = " ".join(str(error).split())
            raise ValueError(
                f"{folder}: {MODEL_CONFIG} does not describe a model, or not that of {WEIGHTS} ({type(error).__name__}: "
                f"{reason[:300]}); fetch or train it again"
            ) from error

    return named


@naming_the_folder
def refuse_misfit(folder: Path, kind: str, build: Callable[[Mapping[str, Any]], nn.Module]) -> None:
    """Refuse a user's model of another kind, or whose files do not fit each other, before it takes any memory.

    The network of `config.json`, made by `build` without memory, is compared with the names, shapes and types of the weights. What
    cannot be read at all is left to the function that loads the model.

    Raises:
        FileNotFoundError: the weights are missing.
        ValueError: naming the kind of the model, or the file and the first tensor that differs.
    """
    if not (folder / MODEL_CONFIG).is_file() or ((folder / WEIGHTS).exists() and not (folder / WEIGHTS).is_file()):
        return
    if not (folder / WEIGHTS).exists():
        raise FileNotFoundError(f"{folder}: no trained model here ({folder / WEIGHTS} is missing)")
    try:
        config = json.loads((folder / MODEL_CONFIG).read_text(encoding="utf-8-sig"))
        model, _ = config["model"], config["kind"]
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            found = {name: _kind(file.get_slice(name)) for name in file.keys()}  # noqa: SIM118  (no mapping)
    except (OSError, ValueError, LookupError, TypeError, RecursionError, SafetensorError):
        return
    _refuse_other_kind(config, kind, folder)
    with torch.device("meta"):
        state = build(model).state_dict()
    expected = {name: (tuple(t.shape), _FLOAT if t.is_floating_point() else _WHOLE) for name, t in state.items()}
    for name in sorted(expected.keys() | found.keys()):
        here, there = (_in_words(kinds.get(name)) for kinds in (found, expected))
        if here != there:
            raise ValueError(
                f"{folder / WEIGHTS}: {name} is {here}, by {MODEL_CONFIG} it must be {there}; fetch or train it again"
            )


def _kind(tensor: Any) -> tuple[tuple[int, ...], str]:
    """Shape and type of a tensor in a file of weights."""
    return tuple(tensor.get_shape()), _FLOAT if tensor.get_dtype().startswith(("F", "BF")) else _WHOLE


def _in_words(kind: tuple[tuple[int, ...], str] | None) -> str:
    return f"{kind[1]} {list(kind[0])}" if kind else "absent"


def load_autoencoder(folder: Path, device: torch.device | str = "cpu") -> FAVAE:
    """A trained FA-VAE or VQ-GAN in evaluation mode, frozen. Raises FileNotFoundError or ValueError with the folder."""
    model = load_any_autoencoder(folder, device)
    if not isinstance(model, FAVAE):
        raise ValueError(f"{folder} holds a {type(model).__name__}, which has no codebook; give an FA-VAE or VQ-GAN")
    return model


@naming_the_folder
def load_any_autoencoder(folder: Path, device: torch.device | str = "cpu") -> Autoencoder:
    """A trained autoencoder of any kind; otherwise like `load_autoencoder`."""
    config, tensors = read_model(folder, "autoencoder")
    model = build_autoencoder(config["model"])
    model.load_state_dict(tensors)
    # With channels last, narrow networks are a third faster on a CPU; wide ones are as fast as otherwise.
    return model.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)  # type: ignore[call-overload]


class TextToImage(nn.Module):
    """CAT with its text encoder, which are trained and saved together."""

    def __init__(self, cat: CAT, text: TextEncoder) -> None:
        super().__init__()
        self.cat, self.text = cat, text

    def embed(self, captions: list[str]) -> tuple[Tensor, Tensor]:
        """Captions to embeddings [B,T,D] and mask [B,T] on the model's device."""
        device = self.cat.start_token.device
        ids_BT, mask_BT = self.text.tokenize(captions)
        return self.text.encode(ids_BT.to(device, non_blocking=True)), mask_BT.to(device, non_blocking=True)

    def kept(self) -> dict[str, Tensor]:
        """The weights to save: those of a frozen text encoder are an input, not a result."""
        return {n: t for n, t in self.state_dict().items() if self.text.trainable or not n.startswith("text.")}


@naming_the_folder
def load_text_to_image(folder: Path, device: torch.device | str = "cpu") -> TextToImage:
    """A trained CAT in evaluation mode, frozen. Raises FileNotFoundError or ValueError with the folder."""
    config, tensors = read_model(folder, "cat")
    model = TextToImage(CAT(**config["model"]), build_text_encoder(config["text"]))
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    lost = [n for n in missing if not n.startswith("text.") or model.text.trainable]
    if lost or unexpected:
        raise ValueError(
            f"{folder}: weights do not fit the configuration (missing {lost[:3]}, unknown {unexpected[:3]})"
        )
    return model.to(device).eval().requires_grad_(False)
