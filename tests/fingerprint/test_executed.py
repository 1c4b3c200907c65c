"""An independent witness: whatever runs while a job works is part of its code.

The stages of which the tests' scale has no cell have the same test in `tests/workflow` (generators, captions).
"""

from pathlib import Path

import pytest
from traced import CAPTION_STAGE, GENERATOR_STAGES, unrecorded

from favae.jobs.grid import load_grid
from favae.jobs.stages import STAGES


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage not in (*GENERATOR_STAGES, CAPTION_STAGE)])
def test_every_function_that_runs_in_a_job_is_in_its_code(here: Path, tmp_path: Path, stage: str) -> None:
    grid = load_grid("tiny")
    assert unrecorded(grid.job(stage, grid.cells(stage)[0]), tmp_path / "state") == ""
