"""What an audit of published results derives again from other files of the bundle, to compare it with what is there.

Hashes in `manifest.json` find a file that was damaged. They do not find an edit after which somebody wrote the hashes again. Most of
what a bundle says follows from other files in it, so such an edit makes files contradict each other.
"""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from favae.config.errors import ConfigError
from favae.config.reporting import FiguresConfig, TablesConfig
from favae.jobs.grid import Grid, Job
from favae.results.bundle import CRATE, MANIFEST, WORKFLOW, Bundle, Manifest
from favae.results.cards import SCHEMA_VERSION, Card
from favae.results.git import was_committed
from favae.results.run_record import RunRecord
from favae.runtime import paths
from favae.runtime.hashes import canonical_json
from favae.sync.crate import crate
from favae.sync.croissant import CROISSANT, croissant_again
from favae.sync.evidence import Evidence

_VALIDATION = "val/"  # in the names of curves and of a training's metrics
_BEST = "best_step"  # in the summary of a training's card, and in its metrics


def derived_problems(grid: Grid, bundle: Bundle, evidence: Mapping[str, Evidence]) -> Iterator[str]:
    """Where the manifest, the crate, the workflow or a data set's metadata do not follow from cards and run records."""
    try:
        manifest = bundle.manifest()
    except ValueError:
        manifest = None  # named already, as is a missing one
    if manifest is not None and all(item.card is not None for item in evidence.values()):
        yield from _absent_problems(bundle, manifest, evidence)
        yield from _crate_problems(grid, bundle, manifest)
    yield from _workflow_problems(bundle)
    for item in evidence.values():
        if item.job.stage.name == "prepare_dataset" and item.card is not None:
            yield from _croissant_problems(grid, item.job, item.card, item.record, bundle)


def _absent_problems(bundle: Bundle, manifest: Manifest, evidence: Mapping[str, Evidence]) -> Iterator[str]:
    """Where `not_shipped` is not the outputs, as the cards say, of which no file is shipped."""
    where = bundle.root / MANIFEST
    cards = [item.card for item in evidence.values() if item.card is not None]
    outputs = {name: output for card in cards for name, output in card.outputs.items()}
    for name, output in outputs.items():
        place = bundle.locate(Path(name)).relative_to(bundle.root).as_posix()
        if any(file == place or file.startswith(f"{place}/") for file in manifest.shipped):
            if name in manifest.not_shipped:
                yield f"{where}: {name} is listed as not shipped, but it is shipped"
        elif name not in manifest.not_shipped:
            yield f"{where}: {name} is not shipped, and its hash is not listed"
        elif manifest.not_shipped[name] != output:
            yield f"{where}: {name} is not what its card says"
    for name in sorted(manifest.not_shipped.keys() - outputs.keys()):
        yield f"{where}: {name} is listed as not shipped, but no card names it"


def _crate_problems(grid: Grid, bundle: Bundle, manifest: Manifest) -> Iterator[str]:
    """Where the crate is not what cards, run records and the list of files give."""
    path = bundle.root / CRATE
    shipped = {name: output for name, output in manifest.shipped.items() if name != CRATE}
    try:
        found = _entities(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        yield f"{path}: missing"
        return
    except (ValueError, LookupError, TypeError, AttributeError):
        yield f"{path}: is no RO-Crate"
        return
    expected = _entities(crate(grid, bundle, shipped))
    names = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        yield f"{path}: {names[0]}{more} does not agree with cards, run records and {MANIFEST}"


def _entities(tree: dict[str, Any]) -> dict[str, str]:
    """What a crate says, by the name of what it says it about. The order of lists has no meaning."""
    found = {
        entity["@id"]: canonical_json({key: _sorted(value) for key, value in entity.items()})
        for entity in tree["@graph"]
    }
    return found | {"@context": canonical_json(tree["@context"])}


def _sorted(value: Any) -> Any:
    return sorted(value, key=canonical_json) if isinstance(value, list) else value


def _workflow_problems(bundle: Bundle) -> Iterator[str]:
    """Where the workflow is not the one here, nor one that was committed. Without git and its history, nobody can say."""
    path = bundle.root / WORKFLOW
    if not path.is_file():
        yield f"{path}: missing"
    elif path.read_bytes() != Path(WORKFLOW).read_bytes() and was_committed(WORKFLOW, path) is False:
        yield f"{path}: is neither the {WORKFLOW} here nor one that was committed"


def _croissant_problems(grid: Grid, job: Job, card: Card, record: RunRecord | None, bundle: Bundle) -> Iterator[str]:
    """Where a data set's metadata are not what card, run record and terms give. Sizes and hashes of files are taken from them."""
    path = bundle.locate(job.card).with_name(CROISSANT)
    try:
        expected = croissant_again(grid, job, card, record, path)
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return  # not every data set has them
    except ValueError as error:
        yield str(error)
        return
    if odd := sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key)):
        yield f"{path}: {odd[0]} does not agree with card, run record and terms"


def summary_problems(job: Job, card: Card, where: Path) -> Iterator[str]:
    """Where a card on which no other card depends says otherwise than its parameters: tables and figures."""
    from favae.stages.make_tables import OUTDATED

    if card.schema_version != SCHEMA_VERSION:
        yield f"{where}: is a card of the version {card.schema_version}, expected {SCHEMA_VERSION}"
    try:
        expected = summary_of(job.with_parameters(card.parameters))
    except ConfigError:
        return  # the comparison of parameters names them
    if expected is not None and {k: v for k, v in card.summary.items() if k != OUTDATED} != expected:
        yield f"{where}: its summary does not agree with its parameters"


def summary_of(job: Job) -> dict[str, Any] | None:
    """What the card of tables or figures says of them, except which results are marked; None for another job."""
    if job.stage.name == "make_tables":
        return {"rows": {table.id: len(table.rows) for table in cast(TablesConfig, job.config).tables}}
    if job.stage.name == "make_figures":
        return {"figures": [figure.id for figure in cast(FiguresConfig, job.config).figures]}
    return None


def measured_problems(job: Job, card: Card, record: RunRecord | None, bundle: Bundle) -> Iterator[str]:
    """Where the metrics in the run record of a training or a data set are not those of its card and learning curves."""
    if record is None or any(
        output.metrics for output in job.stage.outputs
    ):  # an evaluation: compared with its metrics
        return
    try:
        expected = _recorded(job, card)
    except (ValueError, TypeError, AttributeError):
        yield f"{bundle.locate(job.card)}: its summary is not one of {job.stage.name}"
        return
    curves = _last_values(bundle.locate(paths.curves(job.scale, job.stage.name, job.cell)))
    for name in sorted(expected.keys() | (curves or {}).keys() | record.metrics.keys()):
        if curves is None and name.startswith(_VALIDATION):
            continue
        value = (expected | (curves or {})).get(name)
        if record.metrics.get(name) != value:
            yield f"{name} is {record.metrics.get(name)!r} in its run record, {value!r} in its card and curves"


def _recorded(job: Job, card: Card) -> dict[str, float]:
    """Metrics that the card says."""
    if job.stage.name == "prepare_dataset":
        return {f"images/{split}": float(count) for split, count in card.summary.get("counts", {}).items()}
    return {name: float(card.summary[name]) for name in (_BEST,) if name in card.summary}


def _last_values(path: Path) -> dict[str, float] | None:
    """The last value of each curve of the validation; None if no curves are published, or the file is none."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return {
            name: float(value)
            for row in rows  # later rows replace earlier ones
            for name, value in row.items()
            if name and name.startswith(_VALIDATION) and value
        }
    except (FileNotFoundError, ValueError, TypeError, AttributeError, csv.Error):
        return None  # where the file was changed, the comparison with its card says so
