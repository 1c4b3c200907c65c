"""Remembered hashes of the present code are those that parsing finds, and damaged ones are not believed."""

import json
from pathlib import Path

import pytest

from favae.fingerprint.memory import keep, recall
from favae.fingerprint.modules import present
from favae.runtime import paths

UNIT = "favae.losses.frequency:FocalFrequencyLoss"


@pytest.mark.parametrize("damage", [False, True])
def test_what_is_remembered_is_what_parsing_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    paths.STATE.mkdir(parents=True)
    present.cache_clear()
    found = present().hash(UNIT)
    keep()
    if damage:
        tree = json.loads(paths.unit_memory().read_text())
        tree["hashes"][UNIT] = "0" * 10
        paths.unit_memory().write_text(json.dumps(tree))
    present.cache_clear()
    recall()
    assert present().hashes.get(UNIT) == (None if damage else found)
    assert present().hash(UNIT) == found
    present.cache_clear()
