"""torchvision and what depends on it can be imported on this machine with any build of torch."""

import subprocess
import sys
from pathlib import Path

IMPORTS = ("lpips", "pytorch_fid.inception", "pytorch_fid.fid_score", "torchmetrics.functional.image", "open_clip")


def _run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)


def test_dependents_import_after_ensure_torchvision() -> None:
    lines = ["from favae.runtime.torchvision import ensure_torchvision", "ensure_torchvision()", "ensure_torchvision()"]
    done = _run("\n".join(lines + [f"import {name}" for name in IMPORTS]))
    assert done.returncode == 0, done.stderr


def test_torchvision_is_imported_after_an_earlier_import_failed() -> None:
    code = """
try:
    import torchvision
except RuntimeError:
    pass
from favae.runtime.torchvision import ensure_torchvision
ensure_torchvision()
import torch, torchvision
net = torchvision.models.squeezenet1_1(weights=None)
assert net(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)
"""
    done = _run(code)
    assert done.returncode == 0, done.stderr


def test_matching_build_is_left_alone() -> None:
    code = """
import sys, types
sys.modules["torchvision"] = types.ModuleType("torchvision")
from favae.runtime import torchvision as compat
compat.ensure_torchvision()
assert not compat.declared
"""
    assert _run(code).returncode == 0


def test_other_import_failures_are_not_hidden(tmp_path: Path) -> None:
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('some other failure')\n")
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from favae.runtime.torchvision import ensure_torchvision
ensure_torchvision()
"""
    done = _run(code)
    assert done.returncode != 0 and "some other failure" in done.stderr
