"""Which functions of the package run: an independent witness for what is said to be reachable."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType

import favae
from favae.fingerprint.job import code_of
from favae.jobs.grid import Job
from favae.stages.context import Context, run_stage

# Stages that the scale of the test suite does not have; their tests have scales of their own.
GENERATOR_STAGES = ("train_generator", "evaluate_generator", "train_segmenter", "evaluate_segmentation")
CAPTION_STAGE = "evaluate_captions"
# What planning and reading parameters give is recorded by value: parameters and inputs. `run_stage` is what a test calls; it asks
# for code that is recorded where it runs.
_NOT_OF_THE_JOB = (
    "favae.jobs.",
    "favae.config.load:",
    "favae.config.kinds:",
    "favae.config.training_kinds:",
    "favae.stages.context:run_stage",
    "favae.fingerprint.job:computes_bf16_in_fp32",
)
_ROOT = Path(favae.__file__).parent


def executed(work: Callable[[], object]) -> set[str]:
    """Units, `module:unit`, of which a function or method ran in `work`, in any thread. Bodies of modules and classes are left out."""
    seen: set[CodeType] = set()

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            seen.add(frame.f_code)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    return {unit for code in seen if (unit := _unit(code))}


def unrecorded(job: Job, state: Path) -> str:
    """Units that run while a job works and that are not in its code, in one line; `state` is an empty folder for its files."""
    (state / "build").mkdir(parents=True)
    ran = executed(lambda: run_stage(job, Context(state, state / "build", 1)))
    assert f"favae.stages.{job.stage.name}:run" in ran
    known = {f"{module}:{unit}" for module, units in code_of(job).units.items() for unit in units}
    return " ".join(sorted(unit for unit in ran - known if not unit.startswith(_NOT_OF_THE_JOB)))


def _unit(code: CodeType) -> str | None:
    path = Path(code.co_filename)
    # Bodies of modules and classes, and what a module calls while it is imported, are not optimised for local names.
    if not path.is_relative_to(_ROOT) or not code.co_flags & 0x2:
        return None
    parts = path.relative_to(_ROOT.parent).with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    name = code.co_qualname.partition(".<locals>")[0].removesuffix(".<lambda>")  # a lambda belongs to its class
    return None if name.startswith("<") else f"{module}:{name}"
