"""CLIP's text tower, frozen: the text encoder of CAT in the paper.

Legend: B batch, T = 77 positions, D width of CLIP's joint space (768 for ViT-L/14).
"""

import pickle
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import safetensors
import torch
from torch import Tensor, nn

from favae.models.precision import full_precision
from favae.runtime.torchvision import ensure_torchvision

if TYPE_CHECKING:
    from open_clip.transformer import TextTransformer

TextMask = Literal["official", "length"]
VIT_L_14 = "ViT-L-14-quickgelu"
WEIGHTS_HELP = (
    "get ViT-L-14.pt from https://openaipublic.azureedge.net/clip/models/"
    "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836/ViT-L-14.pt (declared in params/weights.yaml)"
)


class ClipText(nn.Module):
    """`TextEncoder` of OpenAI's CLIP through open_clip: all positions of the last layer, normalised and projected.

    Source: official code of CAT, which uses ViT-L/14: every position after `ln_final` is multiplied by the text
    projection (CLIP itself projects only the end-of-text position) and not L2-normalised. Computed in fp32; the
    official code uses fp16. Captions are stripped. Those longer than 77 tokens keep their first 76 and the end token;
    the official code raises an error for them.

    Args:
        weights: file with the state dict of the CLIP model or of its text tower: OpenAI's TorchScript archive,
            safetensors, or tensors saved by torch.
        model: name of an open_clip configuration; OpenAI's weights need a `-quickgelu` one.
        mask: "official" hides the positions whose token id is 0: padding, and "!" before another character; "length"
            hides padding only.

    Raises:
        FileNotFoundError: `weights` does not exist.
        ValueError: the file is damaged, or does not contain this model's text tower, or an option is unknown.
    """

    trainable = False

    def __init__(self, weights: str, model: str = VIT_L_14, mask: TextMask = "official"):
        super().__init__()
        if mask not in ("official", "length"):
            raise ValueError(f"mask is {mask!r}, expected 'official' or 'length'")
        self._options = {"weights": weights, "model": model, "mask": mask}
        tower = text_tower(model)
        load_text_tower(tower, Path(weights), model)
        self.tower = tower.requires_grad_(False).eval()
        self.dim, self.length = int(tower.output_dim), int(tower.context_length)
        self.truncated = 0
        self._tokenizer = clip_tokenizer()

    def tokenize(self, captions: list[str]) -> tuple[Tensor, Tensor]:
        """Captions -> ids [B,77] int64 (start, byte pairs, end, zeros) and mask [B,77] bool, according to the option `mask`."""
        length, (start, end) = self.length, self._tokenizer.all_special_ids
        ids_BT = torch.zeros(len(captions), length, dtype=torch.int64)
        inside_BT = torch.zeros(len(captions), length, dtype=torch.bool)
        for row, inside, caption in zip(ids_BT, inside_BT, captions, strict=True):
            pairs = self._tokenizer.encode(caption.strip())
            self.truncated += len(pairs) > length - 2
            ids = [start, *pairs[: length - 2], end]
            row[: len(ids)] = torch.tensor(ids)
            inside[: len(ids)] = True
        return ids_BT, (ids_BT > 0 if self._options["mask"] == "official" else inside_BT)

    @torch.no_grad()
    def encode(self, ids_BT: Tensor) -> Tensor:
        """Ids [B,77] -> [B,77,D], ln_final(last layer) @ text_projection, always in fp32, without gradient."""
        with full_precision(ids_BT.device):
            return self.tower(ids_BT)

    def config(self) -> dict[str, Any]:
        """JSON-ready configuration for `build_text_encoder`; with the name of the weights file, not the weights."""
        return {"kind": "clip", **self._options}


def clip_tokenizer() -> Any:
    """CLIP's byte pair tokenizer (lower case, 49,408 ids), whose vocabulary is part of open_clip."""
    ensure_torchvision()
    from open_clip import SimpleTokenizer

    return SimpleTokenizer()


def text_tower(model: str = VIT_L_14) -> "TextTransformer":
    """CLIP text transformer with random weights that returns the projection of every position: [B,77] ids -> [B,77,D].

    Raises:
        ValueError: open_clip has no CLIP text tower of this name.
    """
    ensure_torchvision()
    import open_clip
    from open_clip.transformer import QuickGELU, TextTransformer

    config = open_clip.get_model_config(model)
    if config is None or "hf_model_name" in config["text_cfg"]:
        raise ValueError(f"open_clip has no CLIP text tower {model!r}, expected for example 'ViT-L-14-quickgelu'")
    activation = QuickGELU if config.get("quick_gelu") else nn.GELU
    return TextTransformer(**config["text_cfg"], output_dim=config["embed_dim"], act_layer=activation, pool_type="none")


def load_text_tower(tower: nn.Module, path: Path, model: str) -> None:
    """Load the tower's weights from the state dict of a whole CLIP model, or of the tower alone; runs no pickled code.

    Raises:
        FileNotFoundError, ValueError: as in `ClipText`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"CLIP weights are missing: {path.resolve()}: {WEIGHTS_HELP}")
    wanted = tower.state_dict()
    state = _read_tensors(path, set(wanted))
    wrong = [name for name in wanted if name not in state or state[name].shape != wanted[name].shape]
    if wrong:
        raise ValueError(
            f"{path} does not contain the text tower of {model}: {len(wrong)} of {len(wanted)} tensors are missing or of "
            f"another shape, the first is {wrong[0]}; {WEIGHTS_HELP}"
        )
    tower.load_state_dict(state)


def _read_tensors(path: Path, names: set[str]) -> dict[str, Tensor]:
    """The tensors of the file that are in `names`."""
    try:
        if path.suffix == ".safetensors":
            with safetensors.safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in names & set(file.keys())}
        if _is_torchscript(path):
            state = torch.jit.load(path, map_location="cpu").state_dict()
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
            state = state.get("state_dict", state)
    except (safetensors.SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"{path} cannot be read as a file of tensors: {WEIGHTS_HELP}") from error
    return {name: state[name] for name in names & set(state)}


def _is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive, the format of OpenAI's files (torch.jit.load runs no Python code from it)."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())
