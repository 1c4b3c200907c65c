"""An independent witness: whatever runs while a job works is part of its code."""

from pathlib import Path

import pytest
from traced import executed

from favae.fingerprint.job import code_of
from favae.jobs.grid import load_grid
from favae.jobs.stages import STAGES
from favae.stages.context import Context, run_stage

# What planning and reading parameters give is recorded by value: parameters and inputs. `run_stage` is what the test calls.
_NOT_OF_THE_JOB = (
    "favae.jobs.",
    "favae.config.load:",
    "favae.config.kinds:",
    "favae.config.training_kinds:",
    "favae.stages.context:run_stage",
)


@pytest.mark.parametrize("stage", STAGES)
def test_every_function_that_runs_in_a_job_is_in_its_code(here: Path, tmp_path: Path, stage: str) -> None:
    grid = load_grid("tiny")
    if not grid.cells(stage):
        pytest.skip("the scale of the tests has no such job")
    job = grid.job(stage, grid.cells(stage)[0])

    def work() -> None:
        state = tmp_path / "state"
        (state / "build").mkdir(parents=True)
        run_stage(job, Context(state, state / "build", 1))

    ran = executed(work)
    assert any(unit == f"favae.stages.{stage}:run" for unit in ran)
    known = {f"{module}:{unit}" for module, units in code_of(job).units.items() for unit in units}
    assert " ".join(sorted(unit for unit in ran - known if not unit.startswith(_NOT_OF_THE_JOB))) == ""
