"""Why a job failed, where the error itself does not say it: a full disk, or an input that was damaged since it was made."""

from collections.abc import Iterator
from pathlib import Path

from favae.config.errors import ConfigError
from favae.jobs.grid import Job
from favae.results.cards import describe, read_card
from favae.runtime import paths
from favae.runtime.disk import is_full


def cause_of(job: Job, error: Exception) -> Exception | None:
    """An error that names the cause of `error` and what to do; None where `error` is all that is known.

    Reads the inputs of the job again, as far as their hashes are not remembered.
    """
    if _is_of_the_training(error) or isinstance(error, ConfigError):
        return None
    said = " ".join(f"{type(error).__name__}: {error}".split())
    if is_full(error):
        stays = "what was saved before stays: make room and start again"
        return None if "make room" in said else OSError(f"there is no space left below {paths.DATA} ({said}); {stays}")
    damaged = next(_damaged(job), None)
    if damaged is None:
        return _without_a_file(error, said)
    path, card = damaged
    return ValueError(
        f"{path}, an input, is not what {card} says: it was damaged or changed after it was made ({said}); "
        "`favae adopt`, then `snakemake` makes it again"
    )


def _without_a_file(error: Exception, said: str) -> OSError | None:
    """An error of the system that names no file: of a write beyond a limit, or to a disk that went away."""
    if not isinstance(error, OSError) or error.errno is None or error.filename is not None:
        return None
    return OSError(
        f"a file below {paths.DATA} or {paths.raw_root()} cannot be written or read ({said}); what was saved before stays: check "
        "the disk and the limit of a file's size (`ulimit -f`), and start again"
    )


def _is_of_the_training(error: Exception) -> bool:
    """Whether a training stopped by a signal, or diverged."""
    from favae.training.loop import Interrupted  # late: it imports torch, which some stages do not need

    return isinstance(error, Interrupted | ArithmeticError)


def _damaged(job: Job) -> Iterator[tuple[Path, Path]]:
    """Each file or folder of an input that does not match its card, and the card."""
    for card in job.inputs.values():
        try:
            outputs = read_card(card).outputs
        except (FileNotFoundError, ValueError):
            yield card, card
            continue
        for name, output in outputs.items():
            path = Path(name)
            if not path.exists() or describe(path) != output:
                yield path, card
