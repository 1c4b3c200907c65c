"""Published results as a Workflow Run RO-Crate (profile 0.5): what ran when, from which files, and what came out.

`ro-crate-metadata.json` describes it in the vocabulary of archives and other tools. It is a function of the bundle's own files, so it
is written again with the bundle, and `manifest.json` has its hash. The audit derives it again and compares.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from favae.jobs.grid import Grid, Job
from favae.results.bundle import CRATE, MANIFEST, WORKFLOW, Bundle
from favae.results.cards import Card, Output, read_card
from favae.results.run_record import RunRecord, read_record
from favae.runtime import paths
from favae.runtime.files import write_text

_VERSION = "1.1"  # of RO-Crate; the run profiles 0.5 build on it
_RUN_TERMS = "https://w3id.org/ro/terms/workflow-run/context"
_LICENSE = "https://spdx.org/licenses/MIT"
_FORMATS = {  # a table of our own: that of Python follows the files of the machine
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    ".md": "text/markdown",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".tex": "text/x-tex",
    ".txt": "text/plain",
}
_PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}


def write_crate(grid: Grid, bundle: Bundle, shipped: dict[str, Output]) -> None:
    """Write the metadata of a bundle whose other files are `shipped` (path from the bundle -> hash and size)."""
    tree = crate(grid, bundle, shipped)
    write_text(bundle.root / CRATE, json.dumps(tree, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def crate(grid: Grid, bundle: Bundle, shipped: dict[str, Output]) -> dict[str, Any]:
    """The metadata of a bundle whose other files are `shipped`."""
    from rocrate.rocrate import ROCrate  # late: it imports an HTTP client

    made = ROCrate(version=_VERSION)
    made.metadata.extra_contexts.append(_RUN_TERMS)
    workflow = _add_workflow(made, grid)
    files = {name: _add_file(made, name, output) for name, output in shipped.items() if name != WORKFLOW}
    files[MANIFEST] = made.add_file(
        dest_path=MANIFEST, properties={"name": MANIFEST, "encodingFormat": "application/json"}
    )
    records: list[RunRecord] = []
    for job in grid:
        try:
            card = read_card(bundle.locate(job.card))
            record = read_record(bundle.locate(paths.run_record(job.scale, job.stage.name, job.cell)))
        except (FileNotFoundError, ValueError):
            continue  # the audit, which every bundle must pass, names it
        if record is not None:
            records.append(record)
            _add_job(made, job, record, card, bundle, files)
    _add_run(
        made, workflow, records, [entity for name, entity in files.items() if name.startswith(("tables/", "figures/"))]
    )
    _describe(made, grid.scale, records)
    return made.metadata.generate()


def _describe(crate: Any, scale: str, records: list[RunRecord]) -> None:
    crate.name = f"favae: results of the scale {scale}"
    crate.description = (
        f"Tables, figures, metrics, cards and run records of the scale {scale}; {MANIFEST} has the hashes of the outputs that are "
        f"not here, such as weights. `favae audit --scale {scale}` derives every number anew."
    )
    crate.datePublished = max((record.ended for record in records), default="")
    crate.license = _context(
        crate, _LICENSE, "CreativeWork", name="MIT License", description="Licence of code and reports"
    )
    for address, (name, version) in _PROFILES.items():
        crate.root_dataset.append_to("conformsTo", _context(crate, address, "CreativeWork", name=name, version=version))


def _context(crate: Any, identifier: str, kind: str, **properties: Any) -> Any:
    """An entity that is no file."""
    from rocrate.model.contextentity import ContextEntity

    return crate.add(ContextEntity(crate, identifier, properties={"@type": kind, **properties}))


def _add_workflow(crate: Any, grid: Grid) -> Any:
    workflow = crate.add_workflow(
        dest_path=WORKFLOW,
        main=True,
        lang="snakemake",
        properties={"name": "The workflow of favae", "license": _LICENSE},
    )
    scale = _context(crate, "#scale", "PropertyValue", name="scale", value=grid.scale)
    slot = crate.add_formal_parameter(
        "scale",
        "Text",
        "#parameter-scale",
        "Experiments and sizes (params/grid.yaml)",
        properties={"workExample": scale},
    )
    scale["exampleOfWork"] = slot
    workflow["input"] = slot
    return workflow


def _add_file(crate: Any, name: str, output: Output) -> Any:
    properties = {"name": name, "contentSize": str(output.size), "sha256": output.sha256}
    kind = _FORMATS.get(Path(name).suffix)
    return crate.add_file(dest_path=name, properties=properties | ({"encodingFormat": kind} if kind else {}))


def _add_job(crate: Any, job: Job, record: RunRecord, card: Card, bundle: Bundle, files: dict[str, Any]) -> None:
    """One process: the stage as an application, what it read (cards), what it wrote and is shipped."""
    tool = crate.get(f"#{job.stage.name}") or _context(
        crate,
        f"#{job.stage.name}",
        "SoftwareApplication",
        name=f"favae run {job.stage.name}",
        description=job.stage.purpose,
        softwareVersion=record.versions.get("favae", "unknown"),
    )
    text = f"content key {card.key}; git commit {record.git_commit or 'unknown'}; {record.device} of {record.host}"
    action = crate.add_action(
        tool,
        f"#{job.stage.name}-{job.cell}",
        properties={
            "@type": "CreateAction",
            "name": job.name,
            "description": text,
            "startTime": record.started,
            "endTime": record.ended,
        },
    )
    _link(action, "object", _found(map(Path, card.inputs), bundle, files))
    _link(action, "result", _found([job.card, *map(Path, card.outputs)], bundle, files))


def _found(wanted: Iterable[Path], bundle: Bundle, files: dict[str, Any]) -> list[Any]:
    """Entities of the shipped files that are at these paths of `data/`, or below them."""
    places = [bundle.locate(path).relative_to(bundle.root).as_posix() for path in wanted]
    return [entity for name, entity in files.items() if any(name == p or name.startswith(f"{p}/") for p in places)]


def _link(action: Any, role: str, entities: list[Any]) -> None:
    if entities:
        action[role] = entities


def _add_run(crate: Any, workflow: Any, records: list[RunRecord], results: list[Any]) -> None:
    """The run of the whole workflow: from the first start of a job to the last end."""
    times = {
        "startTime": min((record.started for record in records), default=""),
        "endTime": max((record.ended for record in records), default=""),
    }
    run = crate.add_action(
        workflow, "#run", properties={"@type": "CreateAction", "name": "The run that made the tables", **times}
    )
    run["object"] = crate.get("#scale")
    _link(run, "result", results)
    crate.root_dataset.append_to("mentions", run)
