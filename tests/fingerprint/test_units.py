"""Which changes of source text change a unit of code, and which do not."""

import textwrap

from favae.fingerprint.modules import Package

LOSS = """
import math
from favae.tools import scale

FACTOR = 2


def loss(x, y, *, weight=1.0):
    return weight * FACTOR * scale(x - y) ** 2


class Base:
    power = 2

    def measure(self, x):
        return x**self.power


class Child(Base):
    @property
    def name(self):
        return "child"
"""
FILES = {
    "__init__.py": "",
    "losses.py": LOSS,
    "tools.py": "def scale(x):\n    return 3 * x\n",
    "other.py": "def scale(x):\n    return 3 * x\n",
}


def hashes(**changed: str) -> dict[str, str | None]:
    files = FILES | {f"{name}.py": textwrap.dedent(text) for name, text in changed.items()}
    package = Package.of_texts(files)
    names = ("loss", "FACTOR", "Base", "Base.measure", "Child", "Child.name")
    return {name: package.hash(f"favae.losses:{name}") for name in names}


def changed(old: str, new: str) -> set[str]:
    assert old in LOSS
    before, after = hashes(), hashes(losses=LOSS.replace(old, new))
    return {name for name in before if before[name] != after[name]}


def test_comments_docstrings_layout_and_annotations_change_nothing() -> None:
    assert not changed("FACTOR = 2", "FACTOR = 2  # a comment")
    assert not changed("    return weight", '    """Squared."""\n\n    return weight')
    assert not changed("FACTOR * scale(x - y)", "(FACTOR) * scale(\n        x\n        - y,\n    )")
    assert not changed("(x, y, *, weight=1.0)", "(x: float, y: float, *, weight: float = 1.0) -> float")
    assert not changed("class Base:\n", 'class Base:\n    """A base."""\n\n')


def test_the_order_of_imports_and_imports_of_other_names_change_nothing() -> None:
    imports = "import math\nfrom favae.tools import scale\n"
    assert not changed(imports, "from favae.tools import scale\nimport math\nimport json\n")


def test_a_number_a_default_and_a_local_name_change_their_unit_only() -> None:
    assert changed("** 2\n", "** 3\n") == {"loss"}
    assert changed("weight=1.0", "weight=7.0") == {"loss"}
    assert changed("FACTOR = 2", "FACTOR = 14") == {"FACTOR"}
    assert changed(
        "def measure(self, x):\n        return x**", "def measure(self, value):\n        return value**"
    ) == {"Base.measure"}


def test_class_attributes_bases_decorators_and_new_methods_change_the_class() -> None:
    assert changed("power = 2", "power = 3") == {"Base"}
    assert changed("class Child(Base)", "class Child") == {"Child"}
    assert changed("    @property\n", "") == {"Child.name"}
    override = "class Child(Base):\n    def measure(self, x):\n        return 0\n\n"
    assert changed("class Child(Base):\n", override) == {"Child"}


def test_the_same_name_for_another_function_is_a_change() -> None:
    assert changed("from favae.tools import scale", "from favae.other import scale") == {"loss"}


def test_a_name_that_another_module_re_exports_is_no_change() -> None:
    files = dict(FILES) | {"tools.py": "from favae.other import scale\n"}
    through = Package.of_texts(files).hash("favae.losses:loss")
    files["losses.py"] = LOSS.replace("favae.tools", "favae.other")
    assert Package.of_texts(files).hash("favae.losses:loss") == through


def test_an_attribute_that_the_module_sets_afterwards_is_part_of_the_class() -> None:
    later = "Child.name = property(lambda self: 7)\n"
    assert changed('return "child"\n', f'return "child"\n\n\n{later}') == {"Child"}
    for value in ("lambda self: 7", "len if FACTOR else None", "[len]"):  # none of these has a block of statements
        assert changed("FACTOR = 2\n", f"FACTOR = 2\nmath.other = {value}\n") == set()
        body = Package.of_texts({"losses.py": LOSS + f"math.other = {value}\n"})
        assert body.hash("favae.losses:<module>") is not None


def test_a_name_of_python_that_the_module_defines_anew_is_part_of_what_uses_it() -> None:
    text = "def loss(x):\n    return abs(x)\n"
    plain, shadowed = (Package.of_texts({"losses.py": text + end}) for end in ("", "\n\nabs = float\n"))
    assert plain.hash("favae.losses:loss") != shadowed.hash("favae.losses:loss")
