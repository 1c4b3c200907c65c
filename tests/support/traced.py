"""Which functions of the package run: an independent witness for what is said to be reachable."""

import inspect
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
    """Units, `module:unit`, of which a function or method ran in `work`, in any thread.

    Bodies of modules and classes are left out, and what a module calls while it is imported: another test may have imported it.
    """
    seen: set[CodeType] = set()

    def note(frame: FrameType, event: str, _argument: object) -> None:
        code = frame.f_code
        if event == "call" and code not in seen and _is_ours(code) and not _is_importing(frame):
            seen.add(code)

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


def _is_ours(code: CodeType) -> bool:
    """Whether it is a function of the package: bodies of modules and classes are not optimised for local names."""
    return code.co_filename.startswith(f"{_ROOT}/") and bool(code.co_flags & inspect.CO_NEWLOCALS)


def _is_importing(frame: FrameType | None) -> bool:
    """Whether a module of the package is being imported below this call."""
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_code.co_filename.startswith(f"{_ROOT}/"):
            return True
        frame = frame.f_back
    return False


def _unit(code: CodeType) -> str | None:
    parts = Path(code.co_filename).relative_to(_ROOT.parent).with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    name = code.co_qualname.partition(".<locals>")[0].removesuffix(".<lambda>")  # a lambda belongs to its class
    return None if name.startswith("<") else f"{module}:{name}"
