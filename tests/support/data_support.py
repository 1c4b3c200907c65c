"""Bytes and values of any kind for tests of readers, and a watch over unpickling."""

import contextlib
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

_unpickled: list[object] = []
_watching = [False]
sys.addaudithook(lambda event, args: _unpickled.append(args) if _watching[0] and event == "pickle.find_class" else None)


class Evil:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return print, ("unpickled",)


@st.composite
def contents(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """Arbitrary bytes, or a valid file that is cut short, repeated, or has changed bytes."""
    if draw(st.integers(0, 4)) == 0:
        return draw(st.binary(max_size=200))
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        change = draw(st.sampled_from(["cut", "insert", "replace", "number"]))
        if change == "cut":
            del data[at:]
        elif change == "insert":
            data[at:at] = draw(st.binary(max_size=6))
        elif change == "replace":
            data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
        else:
            data[at : at + 4] = struct.pack(">I", draw(st.sampled_from([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])))
    return bytes(data)


quick = settings(
    max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)


@contextlib.contextmanager
def nothing_unpickled() -> Iterator[None]:
    """No class or function is looked up by an unpickler inside the block."""
    _unpickled.clear()
    _watching[0] = True
    try:
        yield
    finally:
        _watching[0] = False
    assert not _unpickled


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 70) | st.floats(allow_subnormal=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
