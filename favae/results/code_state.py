"""Whether the code of a result is still the code that is here, or was shown to give the same bytes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from favae.config.errors import ConfigError
from favae.fingerprint.job import Code, Units, changed_on_import, changed_units, code_of, digest_of, installed, readable
from favae.fingerprint.modules import PACKAGE, Package
from favae.jobs.grid import Job
from favae.results.equivalences import Comparison, all_shown_same
from favae.results.git import commit_with, how_to_get_commits
from favae.results.past import package_at
from favae.results.run_record import RunRecord

MIXED = "changed while it ran"  # in the place of a hash: a training was resumed with another version of this unit
_SHOWN = 3  # units in one line


@dataclass(frozen=True)
class CodeState:
    """Units that differ from those that made a result, or from those of a version that was shown to be the same; fewer of the two."""

    changed: tuple[str, ...] = ()
    unknown: str = ""  # why the code that made it cannot be compared
    commit_is_absent: bool = False  # it is unknown because the commit that made it is not here
    shown: str = ""  # the comparison that shows another version to be the same
    libraries: tuple[str, ...] = ()  # that have another version here; what that changes is not known

    @property
    def is_current(self) -> bool:
        """Whether the result may count as one of the present code."""
        return not self.changed and not self.unknown

    @property
    def reason(self) -> str:
        """What changed, in one line."""
        if self.unknown:
            return self.unknown
        more = f" and {len(self.changed) - _SHOWN} more" if len(self.changed) > _SHOWN else ""
        return ", ".join(self.changed[:_SHOWN]) + more


def version_of(record: RunRecord | None) -> str | None:
    """The version of the code that made a result: a digest of its units, or its commit; None if it is not known."""
    if record is None:
        return None
    if record.code is not None:
        return digest_of(record.code.units)
    commit = commit_of(record)
    return f"commit {commit}" if commit else None


def commit_of(record: RunRecord) -> str | None:
    """The commit that has the code of a run; None where uncommitted code ran that no commit has."""
    edited = [name for name in record.git_dirty or () if name.startswith(f"{PACKAGE}/")]
    if record.git_commit is None or record.git_dirty is None:
        return None
    if not edited:
        return record.git_commit
    return commit_with(record.git_commit, record.git_contents) if record.git_contents else None


def code_state(job: Job, record: RunRecord | None) -> CodeState:
    """Compare the code that made the result of `job`, whose run record is `record`, with the present one."""
    try:
        return _compare(job, record)
    except ConfigError as error:
        return CodeState(unknown=f"the present code refuses its parameters ({str(error).splitlines()[0]})")
    except LookupError as error:
        return CodeState(unknown=str(error))


def _compare(job: Job, record: RunRecord | None) -> CodeState:
    recorded = version_of(record)
    if record is None:
        return CodeState(unknown="no readable run record, so the code that made it is unknown")
    if recorded is None:
        return CodeState(unknown="no commit has the code that made it, as far as its run record says")
    code = record.code
    entry = f"{PACKAGE}.stages.{job.stage.name}"
    if code is not None and "run" not in code.units.get(entry, {}):
        return CodeState(
            unknown="its run record does not name the code of its stage, so the code that made it is unknown"
        )
    libraries = _other_libraries(code.libraries if code else _numeric(record, job))
    if code is not None:
        changed: list[str] | None = changed_units(code.units, job)
    else:
        package = package_at(recorded.removeprefix("commit "))
        changed = None if package is None else _changed_since(package, job)
    on_import = changes_on_import(job, record)
    if changed == [] and not on_import:
        return CodeState(libraries=libraries)
    found = _shown(job, recorded, on_import)
    if found is not None:
        return CodeState(shown=f"`favae same` on {found.date[:10]}", libraries=libraries)
    if changed is None:
        what = f"made by the {recorded[:19]}, which this clone does not have: {how_to_get_commits()}"
        return CodeState(unknown=what, commit_is_absent=True)
    changed += [unit for unit in _ids(on_import) if unit not in changed]
    versions: list[list[str]] = [changed, *_changed_since_shown(job, recorded)]
    fewest = min(versions, key=len)
    return CodeState(tuple(readable(unit) for unit in fewest), libraries=libraries)


def changes_on_import(job: Job, record: RunRecord) -> Units:
    """Statements that run on import here and are not those of the code that made a result."""
    code, commit = record.code, commit_of(record)
    known = code is not None and code.on_import is not None
    return changed_on_import(code, job, package_at(commit) if commit and not known else None)


def version_here(units: Units, on_import: Units) -> str:
    """The version of the present code for a job: a digest of its units and of what runs on import, where that differs."""
    return digest_of(units | {module: units.get(module, {}) | inner for module, inner in on_import.items()})


def _ids(units: Units) -> Iterator[str]:
    """Units as `module:unit`."""
    return (f"{module}:{name}" for module, inner in units.items() for name in inner)


def _shown(job: Job, recorded: str, on_import: Units) -> Comparison | None:
    """The comparison that shows the recorded version and the present code to be the same."""
    units = code_of(job).units
    here = version_here(units, on_import)
    for found, shown in all_shown_same(job.scale, job.name, recorded):
        if shown.present == here:
            return found
        # Older comparisons name the units only. What ran on import then is in their commit.
        if shown.present == digest_of(units):
            package = _package_of(found)
            if package is not None and not changed_on_import(None, job, package):
                return found
    return None


def _package_of(found: Comparison) -> Package | None:
    """The present code of a comparison, if a commit has it and that is here."""
    return package_at(found.present_commit) if found.present_commit and not found.uncommitted else None


def _changed_since_shown(job: Job, recorded: str) -> Iterator[list[str]]:
    """Units that differ from those of each commit whose code was shown to be the same as the recorded one."""
    for found, _ in all_shown_same(job.scale, job.name, recorded):
        if (package := _package_of(found)) is not None:
            changed = [*_changed_since(package, job), *_ids(changed_on_import(None, job, package))]
            yield from [list(dict.fromkeys(changed))] if changed else []


def _changed_since(package: Package, job: Job) -> list[str]:
    """Units of the present code that a version of the package does not have like that."""
    return [
        f"{module}:{name}"
        for module, inner in code_of(job).units.items()
        for name, digest in inner.items()
        if module.startswith(PACKAGE) and package.hash(f"{module}:{name}") != digest
    ]


def _numeric(record: RunRecord, job: Job) -> dict[str, str]:
    """Versions in an old run record, of the libraries that the job uses."""
    used = code_of(job).libraries
    return {name: version for name, version in record.versions.items() if name in used}


def _other_libraries(recorded: dict[str, str]) -> tuple[str, ...]:
    here = {name: installed(name) or "not installed" for name in recorded}
    return tuple(f"{name} {version} (here {here[name]})" for name, version in recorded.items() if here[name] != version)


def merged(before: Code | None, now: Code) -> Code:
    """The code of a run that was resumed: units that changed in between are those of no version."""
    if before is None:
        return now
    modules = {*before.units, *now.units}
    units = {module: _mixed(before.units.get(module, {}), now.units.get(module, {})) for module in modules}
    on_import = None if before.on_import is None else _mixed(before.on_import, now.on_import or {})
    return Code(units=units, libraries=now.libraries, on_import=on_import)


def _mixed(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Hashes that both have alike; MIXED in the place of the others."""
    names = {*before, *now}
    return {name: before[name] if before.get(name) == now.get(name) else MIXED for name in names}
