"""Code that does one thing on a GPU and another on a CPU."""

import ast
from collections.abc import Collection, Iterator

from favae.fingerprint.facts import facts_of
from favae.fingerprint.modules import Package

_ATTRIBUTES = ("is_cuda", "is_cpu", "cuda")
_KINDS = ("cuda", "cpu")


def unlike_elsewhere(package: Package, ran: Collection[str]) -> set[str]:
    """Units that may do something else on another kind of device, or that only another device runs.

    Args:
        ran: functions and methods, as `module:unit`, that ran on this device.

    Returns:
        Those of `ran` that ask for the kind of the device, and all that these name, directly or not, and that did not run.
    """
    found = {unit for unit in ran if _asks_for_device(package, unit)}
    waiting = list(found)
    while waiting:
        for named in _named_in(package, waiting.pop()):
            if named not in found and named not in ran and package.nodes(named):
                found.add(named)
                waiting.append(named)
    return found


def _named_in(package: Package, unit: str) -> Iterator[str]:
    """Units of the package, methods of the same class, and the methods of a class that is named."""
    module_name, _, name = unit.partition(":")
    facts = facts_of(package, unit)
    for target in (target for target in facts.targets if ":" in target):
        yield target
        module, _, inner = target.partition(":")
        found = package.module(module)
        yield from (f"{target}.{method}" for method in (found.methods.get(inner, ()) if found else ()))
    if "." in name:
        yield from (f"{module_name}:{name.partition('.')[0]}.{attribute}" for attribute in facts.attributes)


def _asks_for_device(package: Package, unit: str) -> bool:
    """Whether a unit names a kind of device, as `x.device.type`, `x.is_cuda`, `torch.cuda` or "cuda" do."""
    return any(_names_kind(node) for statement in package.nodes(unit) for node in ast.walk(statement))


def _names_kind(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return node.value in _KINDS
    if not isinstance(node, ast.Attribute):
        return False
    owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
    return node.attr in _ATTRIBUTES or (node.attr == "type" and owner.endswith("device"))
