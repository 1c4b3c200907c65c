"""What a unit refers to: other units, names of attributes, strings; and under which condition."""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from favae.fingerprint.modules import Module, Package, imports_of

_TYPE_TESTS = ("isinstance", "issubclass", "cast", "config_of")  # they name a class and make no instance of it
_SCAN = "pkgutil.iter_modules"
_READS_KEYS = ("list", "sorted", "len", "tuple", "set", "iter", "closest")
_LEAVES = (ast.Return, ast.Raise, ast.Continue, ast.Break)


@dataclass(frozen=True)
class OfKind:
    """An entry of a table with strings as keys: used if the string can occur, or if the table is used otherwise than by key."""

    table: str
    key: str


@dataclass(frozen=True)
class OfClass:
    """Code behind `isinstance(x, chosen)` where x is one of the classes `among`: used if such an instance can exist."""

    among: frozenset[str]
    chosen: frozenset[str]


Condition = OfKind | OfClass


@dataclass
class References:
    """References of a unit; those in `guarded` hold only under a condition."""

    targets: set[str] = field(default_factory=set)  # units (`module:unit`), or dotted names of other packages
    annotations: set[str] = field(default_factory=set)  # the same in the annotations of a class
    attributes: set[str] = field(default_factory=set)
    strings: set[str] = field(default_factory=set)
    whole: set[str] = field(default_factory=set)  # units that are used otherwise than by key
    guarded: list[tuple[Condition, "References"]] = field(default_factory=list)


def facts_of(package: Package, unit: str) -> References:
    """The facts of `module:unit`, found once."""
    if unit not in package.memory:
        module = package.module(unit.partition(":")[0])
        reader = _Reader(package, module, unit) if module else None
        for node in package.nodes(unit) if reader else ():
            reader.visit(node)  # type: ignore[union-attr]
        facts = reader.facts if reader else References()
        if _SCAN in facts.targets and module:  # classes are found by their kind, because of the folder that they are in
            kinds = package.kinds_in_folder(module.name)
            facts.guarded += [(OfKind("", kind), References(targets={found})) for kind, found in kinds]
        package.memory[unit] = facts
    found = package.memory[unit]
    assert isinstance(found, References)
    return found


def names_in(package: Package, unit: str, node: ast.expr) -> set[str]:
    """Units and dotted names that an expression of a unit refers to; its own text where it is neither."""
    module = package.module(unit.partition(":")[0])
    assert module is not None
    reader = _Reader(package, module, unit)
    reader.visit(node)
    return reader.facts.targets or {ast.unparse(node)}


class _Reader(ast.NodeVisitor):
    """Collects the facts of one unit."""

    def __init__(self, package: Package, module: Module, unit: str) -> None:
        self.facts = References()
        self._package, self._module, self._unit = package, module, unit
        self._local: dict[str, str] = {}  # imports inside the function
        self._classes: dict[str, frozenset[str]] = {}  # argument -> classes of the package that its annotation allows
        self._depth = 0  # of functions

    # Names

    def _meaning(self, node: ast.expr) -> str | None:
        """The unit or dotted name that a name, or a chain of attributes of a module, stands for."""
        chain: list[str] = []
        while isinstance(node, ast.Attribute):
            chain.insert(0, node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return None
        origin = self._local.get(node.id) or self._module.imports.get(node.id)
        if origin is None:
            known = node.id in self._module.units
            return self._package.find(f"{self._module.name}.{node.id}") if known else None
        return self._package.find(".".join([origin, *chain]))

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load) and (meaning := self._meaning(node)):
            self.facts.targets.add(meaning)
            self.facts.whole.add(meaning)

    def _by_key(self, node: ast.expr) -> None:
        """A value of which only single entries, or only the keys, are used."""
        meaning = self._meaning(node) if isinstance(node, ast.Name | ast.Attribute) else None
        if meaning and ":" in meaning:
            self.facts.targets.add(meaning)
        else:
            self.visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self._by_key(node.value)
        self.visit(node.slice)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            self.facts.attributes.add(inner.attr)
            inner = inner.value
        if (meaning := self._meaning(node)) is not None:
            self.facts.targets.add(meaning)
            self.facts.whole.add(meaning)
        elif not isinstance(inner, ast.Name):
            self.visit(inner)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self.facts.strings.add(node.value)

    # What makes nothing: comparisons, tests of types, annotations, imports

    def visit_Compare(self, node: ast.Compare) -> None:
        for side in [node.left, *node.comparators]:
            if not _only_constants(side):
                self._by_key(side)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("get", "keys"):
            self.facts.attributes.add(node.func.attr)
            self._by_key(node.func.value)
            for value in [*node.args, *(keyword.value for keyword in node.keywords)]:
                self.visit(value)
            return
        if isinstance(node.func, ast.Name) and node.func.id in _READS_KEYS:
            self.visit(node.func)
            for value in [*node.args, *(keyword.value for keyword in node.keywords)]:
                self._by_key(value)
            return
        if not (isinstance(node.func, ast.Name) and node.func.id in _TYPE_TESTS):
            self.generic_visit(node)
            return
        self.visit(node.func)
        for argument in node.args:
            meaning = self._meaning(argument) if isinstance(argument, ast.Name | ast.Attribute) else None
            if not (meaning and ":" in meaning) and not isinstance(argument, ast.Tuple | ast.BinOp | ast.Subscript):
                self.visit(argument)

    def visit_Import(self, node: ast.Import) -> None:
        self._local |= dict(imports_of(node, self._module.name.rpartition(".")[0]))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self._local |= dict(imports_of(node, self._module.name.rpartition(".")[0]))

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if not self._depth:
            kept, self.facts = self.facts, References()
            self.visit(node.annotation)
            kept.annotations |= self.facts.targets
            self.facts = kept
        self.visit(node.target)
        if node.value is not None:
            self.visit(node.value)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for expression in [*node.decorator_list, *node.args.defaults, *(d for d in node.args.kw_defaults if d)]:
            self.visit(expression)
        self._depth += 1
        before = self._classes
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        self._classes = before | {a.arg: self._allowed(a.annotation) for a in arguments}
        for inner in ast.walk(node):  # imports first: they may stand below a nested function that uses them
            if isinstance(inner, ast.Import | ast.ImportFrom):
                self.visit(inner)
        self._block(node.body)
        self._classes = before
        self._depth -= 1

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # a docstring makes nothing either
            self.visit(node.value)

    # Conditions

    def _under(self, condition: Condition | None, nodes: Sequence[ast.AST]) -> None:
        """Read nodes; their facts hold under the condition."""
        kept = self.facts
        if condition is not None:
            self.facts = References()
            kept.guarded.append((condition, self.facts))
        self._block(nodes)
        self.facts = kept

    def _block(self, nodes: Sequence[ast.AST]) -> None:
        for position, node in enumerate(nodes):
            if isinstance(node, ast.If) and (found := self._type_test(node.test)):
                self.visit(node.test)
                self._under(OfClass(*found), node.body)
                otherwise = OfClass(found[0], found[0] - found[1])
                self._under(otherwise, node.orelse)
                if isinstance(node.body[-1], _LEAVES):
                    self._under(otherwise, nodes[position + 1 :])
                    return
            else:
                self.visit(node)

    def visit_If(self, node: ast.If) -> None:
        if self._type_test(node.test):
            self._block([node])
            return
        self.visit(node.test)
        self._block(node.body)
        self._block(node.orelse)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        found = self._type_test(node.test)
        self.visit(node.test)
        self._under(OfClass(*found) if found else None, [node.body])
        self._under(OfClass(found[0], found[0] - found[1]) if found else None, [node.orelse])

    def visit_Dict(self, node: ast.Dict) -> None:
        texts = [key.value for key in node.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]
        if self._depth or not texts or len(texts) < len(node.keys):
            self.generic_visit(node)
            return
        for key, value in zip(texts, node.values, strict=True):
            self._under(OfKind(self._unit, key), [value])

    def _type_test(self, test: ast.expr) -> tuple[frozenset[str], frozenset[str]] | None:
        """(classes that an argument can have, those that `isinstance` chooses), where the second are of the first."""
        if not (isinstance(test, ast.Call) and isinstance(test.func, ast.Name) and test.func.id == "isinstance"):
            return None
        value, classes = test.args
        among = self._classes.get(value.id) if isinstance(value, ast.Name) else None
        chosen = self._allowed(classes)
        return (among, chosen) if among and chosen and chosen <= among else None

    def _allowed(self, annotation: ast.expr | None) -> frozenset[str]:
        """The classes of the package in `A | B` or `(A, B)`; empty if something else is among them."""
        if annotation is None:
            return frozenset()
        meanings = [self._meaning(part) or "" for part in _alternatives(annotation)]
        return frozenset(meanings) if all(":" in meaning for meaning in meanings) else frozenset()


def _alternatives(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        yield from _alternatives(node.left)
        yield from _alternatives(node.right)
    elif isinstance(node, ast.Tuple):
        for part in node.elts:
            yield from _alternatives(part)
    else:
        yield node


def _only_constants(node: ast.expr) -> bool:
    parts = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]
    return all(isinstance(part, ast.Constant) for part in parts)
