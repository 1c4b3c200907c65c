"""The modules of the package as units: functions, methods, classes without their methods, constants.

Comments, docstrings, formatting, imports and the annotations of functions are no part of a unit. What its names stand for is: a
function that is imported from another place is another function until somebody shows that it is the same.
"""

import ast
import builtins
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from hashlib import sha256
from pathlib import Path

import favae

PACKAGE = "favae"
BODY = "<module>"  # unit of the statements that a module executes when it is imported
WHOLE = "*"  # in the place of a unit: all units of the module
_DIGITS = 10
_IGNORED = ("ctx", "type_comment", "kind", "type_params")
_Function = ast.FunctionDef | ast.AsyncFunctionDef

Read = Callable[[str], str | None]  # path in the package -> text of the file, if there is such a file
List = Callable[[], Iterable[str]]  # paths of all files of the package


@dataclass
class Module:
    """One source file: units by name, and the dotted name for which each imported name stands."""

    name: str
    units: dict[str, list[ast.stmt]] = field(default_factory=dict)
    methods: dict[str, set[str]] = field(default_factory=dict)  # class -> names of its methods
    imports: dict[str, str] = field(default_factory=dict)
    imported: set[str] = field(default_factory=set)  # dotted names that are imported with it


def imports_of(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[tuple[str, str]]:
    """(name, dotted name) that an import statement binds; `package` is where a relative import starts."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield (alias.asname, alias.name) if alias.asname else (alias.name.partition(".")[0],) * 2
        return
    above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    origin = ".".join([*above, *([node.module] if node.module else [])])
    for alias in node.names:
        yield alias.asname or alias.name, f"{origin}.{alias.name}"


def read_module(name: str, text: str, is_package: bool) -> Module:
    """The units of a source file."""
    module = Module(name)
    package = name if is_package else name.rpartition(".")[0]
    for statement in ast.parse(text).body:
        _take(module, package, statement)
    return module


def _changed_by(module: Module, node: ast.stmt) -> str | None:
    """The class, function or constant of the module of which a statement sets an attribute, as in `Loss.forward = faster`."""
    if not isinstance(node, ast.Assign) or len(node.targets) > 1 or not isinstance(node.targets[0], ast.Attribute):
        return None
    target: ast.expr = node.targets[0]
    while isinstance(target, ast.Attribute):
        target = target.value
    return target.id if isinstance(target, ast.Name) and target.id in module.units else None


def _take(module: Module, package: str, node: ast.stmt) -> None:
    """Add one statement of a module to its units."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        bound = dict(imports_of(node, package))
        module.imports |= bound
        module.imported |= {a.name for a in node.names} if isinstance(node, ast.Import) else set(bound.values())
    elif isinstance(node, _Function):
        module.units.setdefault(node.name, []).append(node)
    elif isinstance(node, ast.ClassDef):
        _take_class(module, node)
    elif isinstance(node, ast.Assign | ast.AnnAssign) and (names := _assigned(node)):
        for name in names:
            module.units.setdefault(name, []).append(node)
    elif (changed := _changed_by(module, node)) is not None:
        module.units[changed].append(node)
    elif not _is_text(node) and not isinstance(node, ast.Pass):
        if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)):
            module.units.setdefault(BODY, []).append(node)
        for inner in ast.iter_child_nodes(node):  # definitions under `if` or `try`
            block = getattr(inner, "body", ())  # of a `lambda`, an expression
            for statement in [inner] if isinstance(inner, ast.stmt) else block if isinstance(block, list) else ():
                if isinstance(statement, ast.stmt) and not isinstance(statement, ast.Expr | ast.AugAssign | ast.Raise):
                    _take(module, package, statement)


def _take_class(module: Module, node: ast.ClassDef) -> None:
    """A class is one unit for what it says itself, and one for each method."""
    methods = [inner for inner in node.body if isinstance(inner, _Function)]
    rest = [inner for inner in node.body if not isinstance(inner, _Function)]
    head = ast.ClassDef(name=node.name, bases=node.bases, keywords=node.keywords, body=rest, decorator_list=[])
    head.decorator_list = node.decorator_list
    module.units.setdefault(node.name, []).append(head)
    module.methods[node.name] = {method.name for method in methods}
    for method in methods:
        module.units.setdefault(f"{node.name}.{method.name}", []).append(method)


def _assigned(node: ast.Assign | ast.AnnAssign) -> list[str]:
    """Names that an assignment binds; empty if it changes something else."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    flat = [inner for t in targets for inner in (t.elts if isinstance(t, ast.Tuple | ast.List) else [t])]
    return [t.id for t in flat if isinstance(t, ast.Name)] if all(isinstance(t, ast.Name) for t in flat) else []


def _is_text(node: ast.AST) -> bool:
    """A docstring, or any other string that stands alone."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


class Package:
    """All modules of one version of the package, read when they are asked for."""

    def __init__(self, read: Read, files: List = tuple) -> None:
        self._read, self._files = read, files
        self._modules: dict[str, Module | None] = {}
        self.hashes: dict[str, str] = {}
        self.memory: dict[str, object] = {}  # what others have found out about units

    @classmethod
    def of_texts(cls, texts: Mapping[str, str]) -> "Package":
        """The package of these files, by their paths in it."""
        return cls(texts.get, lambda: texts)

    @cached_property
    def _names(self) -> list[str]:
        return sorted(f"{PACKAGE}.{path.removesuffix('.py').replace('/', '.')}" for path in self._files())

    def beside(self, module: str) -> list[str]:
        """Modules in the folder of `module`; of a package, those in it."""
        is_package = f"{module}.__init__" in self._names
        folder = module if is_package else module.rpartition(".")[0]
        return [name for name in self._names if name.rpartition(".")[0] == folder]

    def kinds_in_folder(self, module: str) -> Iterator[tuple[str, str]]:
        """(kind, class) of each class that says `kind = "..."` in a module beside or below `module`."""
        for name in self.beside(module):
            found = self.module(name)
            for kind in found.methods if found else ():
                for node in (inner for head in self.nodes(f"{name}:{kind}") for inner in getattr(head, "body", ())):
                    if (
                        isinstance(node, ast.Assign | ast.AnnAssign)
                        and _assigned(node) == ["kind"]
                        and isinstance(node.value, ast.Constant)
                    ):
                        yield str(node.value.value), f"{name}:{kind}"

    def module(self, name: str) -> Module | None:
        """A module by its dotted name; None if it is not one of the package."""
        if name not in self._modules:
            self._modules[name] = self._load(name)
        return self._modules[name]

    def _load(self, name: str) -> Module | None:
        found = self.source(name)
        return read_module(name, *found) if found else None

    def source(self, name: str) -> tuple[str, bool] | None:
        """(text of a module, whether it is a package); None if it is not one of the package."""
        if name.partition(".")[0] != PACKAGE:
            return None
        path = "/".join(name.split(".")[1:])
        for file, is_package in ((f"{path}.py", False), (f"{path}/__init__.py".lstrip("/"), True)):
            text = self._read(file)
            if text is not None:
                return text, is_package
        return None

    def find(self, dotted: str) -> str:
        """The unit, as `module:unit`, that a dotted name leads to, through imports; what is not of the package stays dotted."""
        parts = dotted.split(".")
        if parts[0] != PACKAGE:
            return dotted
        for length in range(len(parts), 0, -1):
            module = self.module(".".join(parts[:length]))
            if module is None:
                continue
            rest = parts[length:]
            if rest and rest[0] in module.units:
                return f"{module.name}:{rest[0]}"
            if rest and rest[0] in module.imports:
                return self.find(".".join([module.imports[rest[0]], *rest[1:]]))
            return f"{module.name}:{WHOLE}"
        return dotted

    def nodes(self, unit: str) -> list[ast.stmt]:
        """Statements of `module:unit`; empty if there is no such unit."""
        name, _, inner = unit.partition(":")
        module = self.module(name)
        return module.units.get(inner, []) if module else []

    def hash(self, unit: str) -> str | None:
        """Hash of a unit; None if there is no such unit."""
        if unit not in self.hashes:
            nodes = self.nodes(unit)
            if not nodes:
                return None
            name, _, inner = unit.partition(":")
            module = self.module(name)
            assert module is not None
            parts = [_plain(nodes, inner[:1] != "<" and "." not in inner), sorted(module.methods.get(inner, ()))]
            parts.append(sorted(self._meanings(module, nodes).items()))
            self.hashes[unit] = sha256(repr(parts).encode()).hexdigest()[:_DIGITS]
        return self.hashes[unit]

    def _meanings(self, module: Module, nodes: list[ast.stmt]) -> dict[str, str]:
        """What the imported names in a unit stand for, and those of Python that the module defines anew."""
        bound = dict(module.imports)
        bound |= {name: f"{module.name}.{name}" for name in module.units.keys() & vars(builtins).keys()}
        names: set[str] = set()
        for node in (inner for outer in nodes for inner in ast.walk(outer)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                bound |= dict(imports_of(node, module.name.rpartition(".")[0]))
            elif isinstance(node, ast.Name):
                names.add(node.id)
        return {name: self.find(bound[name]) for name in names & bound.keys()}


def _plain(value: object, annotations: bool) -> object:
    """A tree as nested tuples, equal for code that differs only in what is no part of a unit, on any version of Python."""
    if isinstance(value, list):
        left_out = ast.Import | ast.ImportFrom
        return tuple(_plain(v, annotations) for v in value if not _is_text(v) and not isinstance(v, left_out))
    if isinstance(value, ast.Constant):
        return "Constant", type(value.value).__name__, repr(value.value)
    if not isinstance(value, ast.AST):
        return value
    inside = annotations and not isinstance(value, _Function | ast.Lambda)
    fields = []
    for name, inner in ast.iter_fields(value):
        is_annotation = (name == "annotation" and not annotations) or name == "returns"
        if inner is None or inner == [] or name in _IGNORED or is_annotation:
            continue
        fields.append((name, _plain(inner, inside)))
    return type(value).__name__, *fields


@lru_cache(maxsize=1)
def present() -> Package:
    """The package that runs."""
    root = Path(favae.__file__).parent

    def read(path: str) -> str | None:
        file = root / path
        return file.read_text(encoding="utf-8") if file.is_file() else None

    return Package(read, lambda: [path.relative_to(root).as_posix() for path in root.rglob("*.py")])
