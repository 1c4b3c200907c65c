"""DVC, Snakemake and `favae check` refuse the same parameters, and DVC learns of a new row before anything runs."""

from pathlib import Path

import pytest
from contract_support import edit
from tests_support import call

ROW = """
r12-conv-k7:
  model: {kind: favae, fcm: conv, quantizer: *quantizer}
  objective: {<<: *terms, spectrum: {kind: dsl, kernel_size: 7}}
  optimizer: *optimizer
"""


@pytest.mark.slow
def test_dvc_stops_once_for_a_row_that_dvc_yaml_does_not_have_yet(project: Path) -> None:
    edit(project, "grid.yaml", "rows: [baseline, r12-conv]", 'rows: [baseline, "r12-conv*"]')
    call(project, "favae", "graph")
    recipe = project / "params/table2.yaml"
    recipe.write_text(recipe.read_text(encoding="utf-8") + ROW, encoding="utf-8")
    assert call(project, "favae", "graph", "--check", check=False).returncode == 1
    first = call(project, "dvc", "repro", "check_parameters", check=False)
    assert first.returncode != 0
    assert "start `dvc repro` again" in first.stdout + first.stderr
    assert "natural-f4-r12-conv-k7-on-scientific" in (project / "dvc.yaml").read_text(encoding="utf-8")
    call(project, "dvc", "repro", "check_parameters")


def test_all_three_refuse_the_same_parameters_with_the_same_line(project: Path) -> None:
    edit(project, "tiny.yaml", "base_lr: 1.0e-3", "base_lr: true")
    line = "optimizer.base_lr: expected a valid number (found true)"
    for command in (("favae", "check"), ("snakemake", "-n"), ("dvc", "repro", "check_parameters")):
        done = call(project, *command, check=False)
        assert done.returncode != 0, command
        assert line in done.stdout + done.stderr, command
