"""Which results `dvc.lock` records already. With hundreds of cells, DVC itself takes minutes to find that nothing is new.

After each `dvc commit`, a digest of the cell's inputs and the text of its entry are remembered. While both are unchanged and
DVC's cache has the files, there is nothing to commit. Every other cell is left to DVC, which gets to see no other entries: for
each cell it reads and writes all of `dvc.lock`, so that 500 new cells would take an hour. What DVC wrote is joined as text. So
that an entry means the same everywhere, it has no YAML aliases, which DVC uses for parameters that two places share.
"""

import hashlib
import io
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from favae.config.errors import ConfigError
from favae.config.load import read_yaml
from favae.jobs.grid import Grid, Job
from favae.runtime import paths
from favae.runtime.files import move_into_place, read_memory, write_text
from favae.runtime.hashes import canonical_json, sha256_file, sha256_text
from favae.sync.dvc_yaml import CHECK, check_stage, render_stage, resolved

log = logging.getLogger(__name__)
LOCK = Path("dvc.lock")
_HEAD = "schema: '2.0'\nstages:\n"
_ENTRY = re.compile(r"^  (\S+):\n((?:    .*\n?)+)", re.MULTILINE)
# A long path stands on a line of its own.
_ALIAS = re.compile(r"[:-] [&*]id[0-9]{3,}\b")
_OUT = re.compile(r"^    - path:\s+(\S+)\n      hash: md5\n      md5: ([0-9a-f]{32})(\.dir)?$", re.MULTILINE)
CONFLICT = (
    "merge conflict in dvc.lock: type `git checkout --ours dvc.lock reports/`, `git add -A`, `dvc repro`; "
    "results of the other branch: `dvc pull` or `dvc checkout` there, then `favae adopt`"
)


def entries() -> dict[str, str]:
    """Text of each entry of `dvc.lock`, by `stage@cell`. Raises ConfigError where it has a merge conflict."""
    text = LOCK.read_text(encoding="utf-8", errors="replace") if LOCK.is_file() else ""  # such an entry is made again
    refuse_conflict(text)
    return dict(_ENTRY.findall(text))


def refuse_conflict(text: str | None = None) -> None:
    """Raise ConfigError with the commands to type if `dvc.lock` contains a merge conflict."""
    if text is None:
        text = LOCK.read_text(encoding="utf-8", errors="replace") if LOCK.is_file() else ""
    if re.search(r"^(<<<<<<<|>>>>>>>) ", text, re.MULTILINE):
        raise ConfigError(CONFLICT)


def recover() -> None:
    """Undo a recording that was killed or failed: what was recorded before is in `dvc.lock` again. Only with the DVC lock held."""
    before = paths.dvc_lock_before()
    if before.exists():
        move_into_place(before, LOCK)
        if not LOCK.stat().st_size:  # there was none
            LOCK.unlink()


@contextmanager
def without_other_entries() -> Iterator[None]:
    """Inside, `dvc.lock` has no entries; afterwards, those that DVC wrote inside are added to those before, unless it failed.

    A `dvc.lock` that is not as DVC writes it is left to DVC, and so is one that DVC adds to git's index by itself.
    """
    recover()
    text = LOCK.read_text(encoding="utf-8", errors="replace") if LOCK.is_file() else ""
    before = _split(text)
    if before is None or _config().get("core", {}).get("autostage"):
        yield
        return
    write_text(paths.dvc_lock_before(), text)
    try:
        LOCK.unlink(missing_ok=True)
        yield
        written = LOCK.read_text(encoding="utf-8")
        new = _ENTRY.findall(_without_aliases(written) if _ALIAS.search(written) else written)
        write_text(LOCK, _joined(before | dict(new)))
        paths.dvc_lock_before().unlink()
    finally:
        recover()


def _joined(found: Mapping[str, str]) -> str:
    return _HEAD + "".join(f"  {name}:\n{body}" for name, body in found.items())


def _without_aliases(text: str) -> str:
    """The same YAML, as DVC writes it, with each value written out."""
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.representer.ignore_aliases = lambda *_: True
    written = io.StringIO()
    yaml.dump(yaml.load(text), written)
    return written.getvalue()


def _split(text: str) -> dict[str, str] | None:
    """The entries of a `dvc.lock` that is whole and without aliases, or None."""
    if not text:
        return {}
    found = dict(_ENTRY.findall(text))
    if not found or _joined(found) != text or _ALIAS.search(text):
        return None
    try:
        last = YAML(typ="safe").load(list(found.values())[-1])  # it is written from the beginning to the end
        whole = all({"md5", "size"} <= out.keys() for out in last.get("outs", ()))
        return found if whole and last["cmd"] and text.endswith("\n") else None
    except (YAMLError, LookupError, TypeError, AttributeError):
        return None


class Recorded:
    """Compares the cells of a grid with the remembered entries. Reads each file once. Call `remember` after a commit."""

    def __init__(self, grid: Grid) -> None:
        self._file = paths.dvc_memory(grid.scale)
        self._entries = entries()
        self._known = read_memory(self._file)
        self._stages = {name: render_stage(name, grid) for name in grid.cells_by_stage if grid.cells_by_stage[name]}
        self.grid = grid
        self._cache = _cache_folder()
        self._hashes: dict[Path, str] = {}

    def new(self, jobs: Iterable[Job]) -> dict[str, str]:
        """Digest of each entry that DVC must commit, by its name; `check_parameters` is included if parameters changed."""
        made = {CHECK: self._check()} | {_name(job): self._made_of(job) for job in jobs}
        return {name: digest for name, digest in made.items() if not self._is_there(name, digest)}

    def remember(self, committed: Mapping[str, str]) -> None:
        """Remember that DVC has committed these entries."""
        there = entries()
        self._known |= {n: [digest, sha256_text(there[n])] for n, digest in committed.items() if n in there}
        write_text(self._file, json.dumps(self._known, indent=0, sort_keys=True) + "\n")

    def write_out(self) -> None:
        """Write `dvc.lock` without aliases, which DVC has put there; what is remembered of its entries stays known."""
        if not _ALIAS.search(_joined(self._entries)):
            return
        before, self._entries = self._entries, dict(_ENTRY.findall(_without_aliases(LOCK.read_text(encoding="utf-8"))))
        for name, body in self._entries.items():
            digest, text = self._known.get(name, ("", ""))
            if text == sha256_text(before.get(name, "")):
                self._known[name] = [digest, sha256_text(body)]
        write_text(LOCK, _joined(self._entries))

    def _is_there(self, name: str, digest: str) -> bool:
        entry = self._entries.get(name)
        if entry is None or self._known.get(name) != [digest, sha256_text(entry)]:
            return False
        return all(path.startswith(f"{paths.REPORTS}/") or self._cached(md5, bool(d)) for path, md5, d in _outs(entry))

    def _cached(self, md5: str, is_folder: bool) -> bool:
        """Whether DVC's cache has a file, or a folder with all its files."""
        path = self._cache / md5[:2] / (md5[2:] + (".dir" if is_folder else ""))
        if not path.exists():
            return False
        if not is_folder:
            return True
        listing = path.read_bytes()
        if hashlib.md5(listing, usedforsecurity=False).hexdigest() != md5:
            log.warning("%s is damaged; it is made again from the results", path)
            path.unlink()  # DVC would take it for whole
            return False
        return all(self._cached(file["md5"], False) for file in json.loads(listing))

    def _check(self) -> str:
        files = sorted(path for path in paths.PARAMS.iterdir() if path.suffix == ".yaml")
        return sha256_text(
            canonical_json([check_stage(self.grid), {path.as_posix(): self._hash(path) for path in files}])
        )

    def _made_of(self, job: Job) -> str:
        """Digest of everything in an entry: command, parameters, inputs and results."""
        body = resolved(self._stages[job.stage.name], self.grid, job)
        parameters = [_values(file, keys) for entry in body.get("params", ()) for file, keys in entry.items()]
        record = paths.run_record(job.scale, job.stage.name, job.cell)
        files = {path.as_posix(): self._hash(path) for path in [job.card, record, *job.inputs.values()]}
        folders = {
            dep: sorted(p.name for p in Path(dep).iterdir()) for dep in body.get("deps", ()) if Path(dep).is_dir()
        }
        return sha256_text(canonical_json([body["cmd"], parameters, files, folders]))

    def _hash(self, path: Path) -> str:
        if path not in self._hashes:
            self._hashes[path] = sha256_file(path) if path.exists() else "absent"
        return self._hashes[path]


def _name(job: Job) -> str:
    return f"{job.stage.name}@{job.cell}"


def _values(file: str, keys: list[str] | None) -> Any:
    """The parameters of a file that an entry records."""
    tree = read_yaml(Path(file))
    return [file, tree if keys is None else {key: tree.get(key) for key in keys}]


def _outs(entry: str) -> Iterator[tuple[str, str, str]]:
    yield from _OUT.findall(entry.partition("    outs:\n")[2])


def _config() -> Mapping[str, Any]:
    from dvc.config import Config
    from dvc.exceptions import DvcException

    try:
        return Config(".dvc", validate=False)
    except (DvcException, UnicodeDecodeError) as error:
        said = " ".join(str(error).split())
        raise ConfigError(f".dvc/config cannot be read ({said}); restore it: git checkout .dvc/config") from None


def _cache_folder() -> Path:
    """Where DVC keeps files by their hash."""
    folder = _config().get("cache", {}).get("dir", "cache")
    return Path(".dvc", folder, "files", "md5")
