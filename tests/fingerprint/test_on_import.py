"""Statements that run on import count to a result, of every module that is imported with its stage."""

import subprocess
import sys
from pathlib import Path

import pytest

import favae
from favae.fingerprint.modules import BODY, Package, present
from favae.fingerprint.on_import import statements_on_import

STAGES = [path.stem for path in sorted((Path(favae.__file__).parent / "stages").glob("train_*.py"))]


@pytest.mark.parametrize("stage", ["evaluate_reconstruction", "prepare_dataset", *STAGES])
def test_every_module_that_python_imports_with_a_stage_is_looked_at(stage: str) -> None:
    command = f"import sys, favae.stages.{stage}; print(*(name for name in sys.modules if name.startswith('favae')))"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    package = present()
    expected = {name for name in done.stdout.split() if package.nodes(f"{name}:{BODY}")}
    assert expected and expected <= (statements_on_import(package, stage, ()) or {}).keys()


def test_folders_that_are_imported_as_a_whole_and_parents_are_among_them() -> None:
    texts = {
        "__init__.py": "import os\nos.environ['A'] = '1'\n",
        "stages/train.py": "import favae.models\n",
        "models/__init__.py": "import pkgutil\nfor m in pkgutil.iter_modules(__path__):\n    __import__(m.name)\n",
        "models/one.py": "import torch\ntorch.set_default_dtype(torch.float64)\n",
        "models/two.py": "from favae.other.scale import scale\n",
        "tools/__init__.py": "import math\nmath.pi = 3\n",
        "other/__init__.py": "import math\nmath.e = 3\n",
        "other/scale.py": "def scale(x):\n    return x\n",
        "late.py": "import favae.tools.other\n",
        "tools/other.py": "def two():\n    from favae import unused\n\n    return unused\n",
        "unused.py": "print('never')\n",
    }
    found = statements_on_import(Package.of_texts(texts), "train", {"favae.late"})
    assert found is not None and sorted(found) == [
        "favae",
        "favae.models",
        "favae.models.one",
        "favae.other",
        "favae.tools",
    ]
    texts["models/one.py"] = texts["models/one.py"].replace("64", "32")
    other = statements_on_import(Package.of_texts(texts), "train", {"favae.late"})
    assert other is not None and {name for name in found if found[name] != other[name]} == {"favae.models.one"}
    assert statements_on_import(Package.of_texts(texts), "gone", ()) is None
