"""Results of cells that left the grid are listed, then removed, and nothing else is removed."""

import shutil
from pathlib import Path

from contract_support import edit
from filelock import FileLock
from tests_support import call, planned


def test_prune_lists_then_removes_what_no_cell_asks_for(results: Path) -> None:
    one, but = "numbers: evaluation, model: all, dataset: all}", "recipe: evaluation, rows: reconstruction"
    others = f'numbers: evaluation, model: "natural-f4-*", dataset: all}}\n    - {{{but}, numbers: evaluation, '
    edit(results, "grid.yaml", one, f"{others}model: natural-f2-favae, dataset: natural}}")
    for name in ("tables.yaml", "figures.yaml"):
        file = results / "params" / name
        kept = [line for line in file.read_text().splitlines() if "natural-f2-favae-on-scientific" not in line]
        file.write_text("\n".join(kept) + "\n")
    interrupted = results / "data/state/tiny/train_autoencoder/natural-f2-favae" / ("0" * 64)
    interrupted.mkdir(parents=True)
    columns = results / "data/state/index.columns"
    used = set(columns.iterdir())
    assert used
    shutil.copytree(next(path for path in used if path.is_dir()), columns / ("f" * 64))
    (columns / ("f" * 64)).with_suffix(".lock").touch()
    expected = {
        "data/state/index.columns/" + "f" * 64,
        "data/state/index.columns/" + "f" * 64 + ".lock",
        "data/state/tiny/train_autoencoder/natural-f2-favae/" + "0" * 64,
        "data/state/tiny/evaluate_reconstruction/natural-f2-favae-on-scientific",
        "data/tiny/evaluate_reconstruction/natural-f2-favae-on-scientific",
        "data/tiny/logs/evaluate_reconstruction/natural-f2-favae-on-scientific.log",
        "data/tiny/runs/evaluate_reconstruction/natural-f2-favae-on-scientific.json",
    }
    busy = interrupted.parent / "lock"
    with FileLock(busy):  # a training that began with other parameters runs
        assert str(interrupted.relative_to(results)) not in call(results, "favae", "prune").stdout
    assert set(call(results, "favae", "prune").stdout.split()) == expected
    assert all((results / path).exists() for path in expected)
    call(results, "favae", "prune", "--yes")
    assert not any((results / path).exists() for path in expected)
    assert set(columns.iterdir()) == used
    assert call(results, "favae", "prune").stdout == ""
    assert planned(results) == {"make_tables/all", "make_figures/all"}
