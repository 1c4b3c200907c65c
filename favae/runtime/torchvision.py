"""Importing torchvision on machines where its compiled operators do not match the installed torch.

A CPU build of torch beside a CUDA build of torchvision cannot load torchvision's compiled library, and
`import torchvision` fails with `operator torchvision::nms does not exist`. lpips, pytorch-fid, torchmetrics and
open_clip import torchvision and fail too, although nothing that this project uses of them needs a compiled operator.
"""

import importlib
import sys

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_MISSING_OPERATOR = "operator torchvision::nms does not exist"
declared: list[torch.library.Library] = []  # operators live as long as the Library object that declares them


def ensure_torchvision() -> None:
    """Make `import torchvision` work; call it before importing lpips, pytorch_fid, torchmetrics or open_clip.

    If torch and torchvision match, this is a plain import. Otherwise the schemas (without implementations) of
    `torchvision::nms` and `torchvision::qnms` are declared and torchvision is imported again. Networks and transforms
    then work; a call of a compiled operator still fails.

    Raises:
        RuntimeError: torchvision cannot be imported for another reason than the missing operators.
        ModuleNotFoundError: torchvision is not installed.
    """
    if _is_imported("torchvision"):
        return
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if _MISSING_OPERATOR not in str(error):
            raise
        _forget("torchvision")
        library = torch.library.Library("torchvision", "FRAGMENT")
        for schema in _SCHEMAS:
            library.define(schema)
        declared.append(library)
        importlib.import_module("torchvision")


def _is_imported(package: str) -> bool:
    """Whether `package` is fully imported. After a failed import, sys.modules has its submodules but not the package."""
    return package in sys.modules


def _forget(package: str) -> None:
    """Remove what a failed import of `package` left in sys.modules, so that the next import starts clean."""
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        del sys.modules[name]
