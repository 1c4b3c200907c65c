"""A parameter file with a merge conflict, or with merges of merges, is named at once, before any reader gets it."""

from pathlib import Path

import pytest
from tests_support import write_params

from favae.config.errors import ConfigError
from favae.config.hostile import refuse_hostile
from favae.jobs.grid import load_grid

MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 40))
LISTS = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i}: &a{i}\n  <<:  # both\n    - *a{i - 1}\n    - *a{i - 1}\n" for i in range(1, 40)
)


@pytest.mark.parametrize("file", ["grid", "table2", "tiny", "published"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<<<<<<< HEAD\nb: 2\n=======\nb: 3\n>>>>>>> other\n", r"\d+: merge conflict; keep one of both sides"),
        (MERGES, r"\d+: more than 200,000 values merged"),
        (LISTS, r"\d+: more than 200,000 values merged"),
    ],
)
def test_such_a_file_is_named_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, text: str, message: str
) -> None:
    write_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    path = Path(f"params/{file}.yaml")
    path.write_text(path.read_text() + "\n" + text)
    for scale in (None, "tiny"):
        with pytest.raises(ConfigError, match=f"^{path}:{message}"):
            load_grid(scale)


def test_a_few_merges_are_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params").mkdir()
    Path("params/own.yaml").write_text("a: &a {x: 1}\nb: &b {y: 1}\nc: {<<: [*a, *b]}\n")
    Path("params/broken.yaml").write_bytes(b"\xff<<: [")
    refuse_hostile(Path("params"))
