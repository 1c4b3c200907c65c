"""Evidence for one result: its card, its run record and its MLflow run, with all problems."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from favae.fingerprint.job import digest_of
from favae.jobs.grid import Grid, Job
from favae.results.cards import Card, read_card
from favae.results.git import commit_with, has_commit
from favae.results.run_record import RunRecord, read_run_record
from favae.results.status import INPUT, State, code_of_result, statuses
from favae.runtime import paths
from favae.runtime.hashes import canonical_json, sha256_file
from favae.sync.database import Run
from favae.sync.experiment import read_runs
from favae.sync.shown_run import checkpoint_sha256

SHORT = 12  # digits of a hash that are printed


@dataclass
class Remarks:
    """What is found out about a result and is no problem."""

    notes: list[str] = field(default_factory=list)  # what an auditor should know and nothing is wrong with
    undecided: list[str] = field(default_factory=list)  # what only a commit that is not here could show
    libraries: list[str] = field(default_factory=list)  # of another version than here: `torch 2.11.0 (here 2.13.0)`
    commit_is_absent: bool = False  # as is a part of the history or all of it, so that nothing shows that it exists


@dataclass(frozen=True)
class Evidence:
    """Evidence for one job. `card` and `record` are None if unreadable, `run` unless exactly one valid run exists."""

    job: Job
    card: Card | None
    record: RunRecord | None
    run: Run | None
    problems: list[str]
    remarks: Remarks = field(default_factory=Remarks)
    not_shipped: frozenset[str] = frozenset()  # outputs of published results that are known by their hash only

    @property
    def verdict(self) -> str:
        """All problems and all that is not decided, in one line; `ok` if there is neither."""
        return "; ".join([*self.problems, *(f"not decided: {what}" for what in self.remarks.undecided)]) or "ok"

    def lines(self) -> Iterator[str]:
        """The facts for an audit, one `name value` per line."""
        yield f"parameters    {self.job.where}"
        if self.card:
            yield f"content key   {self.card.key}"
            for path, digest in self.card.inputs.items():
                yield f"input         {digest[:SHORT]} {path}"
            for path, output in self.card.outputs.items():
                word = "checkpoint" if path.endswith(".safetensors") else "output"
                absent = " (not shipped)" if path in self.not_shipped else ""
                yield f"{word:13} {output.sha256[:SHORT]} {path}{absent}"
        if self.record:
            dirty = "unknown" if self.record.git_dirty is None else ", ".join(self.record.git_dirty) or "clean"
            if self.record.code:
                yield f"code          {digest_of(self.record.code.units)}"
            yield f"git commit    {self.record.git_commit or 'unknown'} ({dirty})"
            yield f"environment   {', '.join(f'{n} {v}' for n, v in self.record.versions.items())}"
            yield f"constraints   {(self.record.constraints_sha256 or 'none')[:SHORT]}"
            yield f"host          {self.record.host}, {self.record.device}, {self.record.platform}"
            yield f"SLURM job     {self.record.slurm_job or 'none'}"
            yield f"image         {self.record.image or 'none'}"
            yield f"time          {self.record.started} to {self.record.ended}, resumed {self.record.resumed} times"
        if self.run:
            yield f"MLflow run    {self.run.run_id}"
        yield from (f"note          {note}" for note in self.remarks.notes)


def _is_said_elsewhere(state: State, reason: str, record: RunRecord | None) -> bool:
    """Whether the code of a result is in doubt only because of an input, or of a run record that is a problem of its own."""
    return state is State.CODE and (record is None or reason.startswith(INPUT))


def gather(grid: Grid) -> dict[str, Evidence]:
    """Evidence of every result in `data/`, by `stage/cell`, inputs first. Verifies all bytes; changes nothing.

    Raises:
        Unreachable: MLflow does not answer.
    """
    shown = read_runs(grid.scale, paths.mlflow_uri())
    commits = Commits()
    found: dict[str, Evidence] = {}
    for job, state, reason in statuses(grid.scale, check="bytes"):
        card, record = _card(job), _record(job)
        runs = [
            r for r in shown.get((job.stage.name, job.cell), []) if card and r.valid and r.tags.get("key") == card.key
        ]
        fine = state is State.OK or _is_said_elsewhere(state, reason, record)
        problems = [] if fine else [f"{state.value}: {reason}"]
        remarks = Remarks()
        if state is State.OK and reason:
            remarks.notes.append(reason)
            remarks.libraries.extend(code_of_result(job).libraries)
        if card is not None:
            problems += record_problems(card, record, commits, remarks)
        if fine and card:
            problems += _run_problems(job, card, runs)
        run = runs[0] if len(runs) == 1 else None
        found[job.name] = Evidence(job, card, record, run, problems, remarks)
    return found


def _card(job: Job) -> Card | None:
    try:
        return read_card(job.card)
    except (FileNotFoundError, ValueError):
        return None  # reported through the state


def _record(job: Job) -> RunRecord | None:
    try:
        return read_run_record(job.scale, job.stage.name, job.cell)
    except ValueError:
        return None


class Commits:
    """What git says of commits, asked once per audit."""

    def __init__(self) -> None:
        self._known: dict[str, bool | None] = {}
        self._later: dict[tuple[str, str], str | None] = {}

    def has(self, commit: str) -> bool | None:
        """Whether the repository has it (`has_commit`)."""
        if commit not in self._known:
            self._known[commit] = has_commit(commit)
        return self._known[commit]

    def with_contents(self, commit: str, contents: Mapping[str, str]) -> str | None:
        """The commit of an edit that ran before it was committed (`commit_with`)."""
        key = commit, canonical_json(dict(contents))
        if key not in self._later:
            self._later[key] = commit_with(commit, contents)
        return self._later[key]


def record_problems(card: Card, record: RunRecord | None, commits: Commits, remarks: Remarks) -> Iterator[str]:
    """Why a run record does not say when and from what code a result was made. What is no problem goes to `remarks`."""
    if record is None:
        yield "no readable run record, so time and code of this result are unknown; run the cell again"
        return
    if record.key != card.key:
        yield f"its run record belongs to another result (key {record.key[:SHORT]}, the card's is {card.key[:SHORT]})"
    if record.git_commit is None:
        yield "made outside a git repository, or not by Snakemake: no commit is recorded"
        return
    known = commits.has(record.git_commit)
    remarks.commit_is_absent = known is None
    if known is False:
        yield f"made from the commit {record.git_commit[:SHORT]}, which this repository does not have"
    if record.git_dirty:
        later = commits.with_contents(record.git_commit, record.git_contents) if known and record.git_contents else None
        edited = ", ".join(record.git_dirty)
        if known is None and record.git_contents:
            remarks.undecided.append(
                f"whether a commit has the edits that it was made from ({edited}), because the commit that was edited, "
                f"{record.git_commit[:SHORT]}, is not here"
            )
        elif later is None:
            yield f"made from a working tree with uncommitted changes: {edited}"
        else:
            remarks.notes.append(
                f"ran before it was committed: the commit {later[:SHORT]} has the code and parameters that ran"
            )


def _run_problems(job: Job, card: Card, runs: list[Run]) -> Iterator[str]:
    if len(runs) != 1:
        count = f"{len(runs)} valid runs" if runs else "no valid run"
        yield f"{count} in MLflow with the key {card.key[:SHORT]}, expected one; run `favae mlflow-sync`"
        return
    tags = runs[0].tags
    for tag, value in (
        ("card_sha256", sha256_file(job.card)),
        ("checkpoint_sha256", checkpoint_sha256(card) or "none"),
    ):
        if tags.get(tag) != value:
            yield f"its MLflow run {runs[0].run_id} has {tag} {tags.get(tag)}, the files have {value}"
