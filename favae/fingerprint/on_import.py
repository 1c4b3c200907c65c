"""Statements that run when a module is imported: they can change what any other code does, so each counts to a result."""

from collections.abc import Iterable
from functools import lru_cache

from favae.fingerprint.modules import BODY, PACKAGE, Package, read_module
from favae.runtime.hashes import sha256_text

_LIST = "<imports>"  # in the place of a unit: the modules with such statements, of those that come with a module
_SCANS = "pkgutil"  # a package that imports it imports what is in its folder


def statements_on_import(package: Package, stage: str, modules: Iterable[str]) -> dict[str, str] | None:
    """Module -> hash of the statements that run when it is imported, of all modules that come with a stage and with `modules`.

    Definitions and imports are no such statements: the units that can be reached have them. None if there is no such stage.
    """
    entry = f"{PACKAGE}.stages.{stage}"
    entries = sorted({entry, *modules})
    known = f"{sha256_text(' '.join(entries))[:10]}:{_LIST}"
    if known not in package.hashes:
        if package.source(entry) is None:
            return None
        package.hashes[known] = " ".join(sorted(_modules_with_statements(package, entries)))
    found = {module: package.hash(f"{module}:{BODY}") for module in package.hashes[known].split()}
    return {module: digest for module, digest in found.items() if digest}


def _modules_with_statements(package: Package, entries: list[str]) -> set[str]:
    found, seen, waiting = set[str](), set[str](), list(entries)
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        waiting.append(name.rpartition(".")[0])  # is imported before it, or has it, where it is no module
        if (source := package.source(name)) is None:
            continue
        imported, has_statements = _outline(name, *source)
        waiting += imported
        if _SCANS in imported:
            waiting += [other for other in package.beside(name) if not other.endswith(".__init__")]
        if has_statements:
            found.add(name)
    return found


@lru_cache(maxsize=4096)
def _outline(name: str, text: str, is_package: bool) -> tuple[frozenset[str], bool]:
    """(dotted names that a module imports, whether it has statements that run on import): all that is kept of a former version."""
    module = read_module(name, text, is_package)
    return frozenset(module.imported), BODY in module.units
