"""The units that a function can reach: by names, and by the methods of classes of which instances can exist.

A unit is left out only where nothing can use it: an entry of a table of kinds whose key occurs neither in the parameters nor in
the code, a branch for a class of parameters that the job has not, a method whose name appears nowhere. In doubt it is included.
"""

import re
from collections.abc import Iterable

from favae.fingerprint.facts import Condition, OfKind, References, facts_of, names_in
from favae.fingerprint.modules import BODY, PACKAGE, WHOLE, Module, Package

# Bases by which no other library calls a method of the class under a name that this package does not mention.
_PLAIN_BASES = ("typing.", "abc.", "object", "enum.", "contextlib.")
_NAMED = re.compile(rf"{PACKAGE}(\.\w+)+:\w+")


class Reach:
    """All units that can be reached from `entries`.

    Args:
        entries: units (`module:unit`).
        words: strings in the parameters of the job and of those whose results it reads.
        given: classes of which the parameters are instances, down to the last block. Only of these do instances exist where a
            class's annotations name several.
    """

    def __init__(
        self, package: Package, entries: Iterable[str], words: Iterable[str], given: Iterable[str] = ()
    ) -> None:
        self.units: set[str] = set()
        self.libraries: set[str] = set()
        self._package, self._words, self._given = package, set(words), set(given)
        self._attributes: set[str] = set()
        self._whole: set[str] = set()
        self._waiting: list[tuple[Condition, References]] = []
        self._unused: dict[str, set[str]] = {}  # class -> methods whose names have not appeared so far
        self._aliases: set[str] = set()
        self._imported: set[str] = set()
        self._stack = [*entries, *self._given]
        self._run()

    def _run(self) -> None:
        while self._stack or self._release():
            while self._stack:
                self._add(self._stack.pop())

    def _add(self, target: str) -> None:
        name, _, inner = target.partition(":")
        if not inner:
            self.libraries.add(name.partition(".")[0])
            return
        module = self._package.module(name)
        if module is None or target in self.units:
            return
        if inner == WHOLE:
            self._stack += [f"{name}:{unit}" for unit in module.units]
            return
        self.units.add(target)
        if BODY in module.units:
            self._stack.append(f"{name}:{BODY}")
        facts = facts_of(self._package, target)
        self._take(facts)
        if inner in module.methods:
            self._add_methods(module, target, inner)
            if self._is_schema(target):
                self._annotations(facts.annotations, strict=target in self._given)

    def _take(self, facts: References) -> None:
        self._stack += facts.targets
        self._attributes |= facts.attributes
        self._words |= facts.strings
        self._whole |= facts.whole
        self._waiting += facts.guarded

    def _add_methods(self, module: Module, target: str, name: str) -> None:
        methods = module.methods[name]
        own = {m for m in methods if (m.startswith("__") and m.endswith("__")) or self._is_open(target)}
        self._stack += [f"{target}.{method}" for method in own]
        self._unused[target] = methods - own

    def _bases(self, target: str) -> set[str]:
        """All classes that a class is derived from, as far as they are of the package, and the names of the others."""
        found: set[str] = set()
        waiting = [target]
        while waiting:
            kind = waiting.pop()
            for node in self._package.nodes(kind):
                for base in getattr(node, "bases", ()):
                    for meaning in names_in(self._package, kind, base):
                        if meaning not in found:
                            found.add(meaning)
                            waiting += [meaning] if ":" in meaning else []
        return found

    def _is_open(self, target: str) -> bool:
        """Whether other libraries may call its methods by their own names."""
        return any(":" not in base and not base.startswith(_PLAIN_BASES) for base in self._bases(target))

    def _is_schema(self, target: str) -> bool:
        return any(base.startswith("pydantic.") for base in self._bases(target))

    def _annotations(self, targets: Iterable[str], *, strict: bool) -> None:
        """Types of fields. With `strict`, classes of parameters among them have no instances but those that are given."""
        for target in targets:
            if not strict or ":" not in target:
                self._stack.append(target)
                continue
            name, _, inner = target.partition(":")
            module = self._package.module(name)
            if target in self._aliases or module is None:
                continue
            self._aliases.add(target)
            if inner in module.methods or inner == WHOLE:
                if not self._is_schema(target):
                    self._stack.append(target)
                continue
            self.units.add(target)  # a name for a type
            facts = facts_of(self._package, target)
            self._annotations(facts.targets | facts.annotations, strict=True)
            self._words |= facts.strings

    def _release(self) -> bool:
        """What has become reachable by a word, a class or the name of a method; whether there was any."""
        for target, methods in self._unused.items():
            used = methods & (self._attributes | self._words)
            methods -= used
            self._stack += [f"{target}.{method}" for method in used]
        named = {word for word in self._words if _NAMED.fullmatch(word)} - self._imported  # imported by its name
        self._imported |= named
        self._stack += [self._package.find(word.replace(":", ".")) for word in named]
        waiting, self._waiting = self._waiting, []
        for condition, facts in waiting:
            if self._holds(condition):
                self._take(facts)
            else:
                self._waiting.append((condition, facts))
        return bool(self._stack) or len(self._waiting) < len(waiting)

    def _holds(self, condition: Condition) -> bool:
        if isinstance(condition, OfKind):
            return condition.key in self._words or condition.table in self._whole
        possible = condition.among & self.units or condition.among
        return bool(possible & condition.chosen)
