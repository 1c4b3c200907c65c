"""Reading files of results, which may have been damaged since: every error names the file."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an error of a reader inside name `path`, a file of a result, and say what to do.

    Raises:
        ValueError: any error but a missing file.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except (ValueError, LookupError, TypeError, OSError, EOFError, ArithmeticError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path}: damaged, or not what a result has there ({type(error).__name__}: {error}); own results: "
            "`favae adopt`, then `snakemake`; published ones: `git checkout`"
        ) from error
