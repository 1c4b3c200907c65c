"""Writing the page: templates filled with tables and facts, data as scripts, images as files. It needs no server and no network."""

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from favae.jobs.terms import terms_of
from favae.reporting.page.chains import chain_facts
from favae.reporting.page.curves import curves_of
from favae.reporting.page.figures import write_figures
from favae.reporting.page.gallery import DIFFERENCE_PEAK, Shown, arrays_of, left_out, write_gallery, write_priors
from favae.reporting.page.numbers import Table, counts, facts_of, read_table
from favae.reporting.page.source import Source
from favae.runtime import paths
from favae.runtime.files import replacing_folder

ASSETS = Path(__file__).parent / "assets"
_CITATION = Path("CITATION.cff")


@dataclass(frozen=True)
class Built:
    """What was written: the page to open, its files and their bytes."""

    index: Path
    files: int
    size: int

    @property
    def message(self) -> str:
        """One line."""
        return f"{self.index}: {self.files} files, {self.size / 1e6:.1f} MB; open it in a browser"


def build(sources: Sequence[Source], out: Path) -> Built:
    """Write the page of each source below `out`, whole or not at all; several get a page that leads to each.

    Raises:
        ConfigError: parameters are invalid, or a data set is unknown.
        FileNotFoundError: a result that the tables name is incomplete.
        FileExistsError: `out` is a file, or has files that this function did not write, or that were changed since.
    """
    with replacing_folder(out) as folder:
        shutil.copytree(ASSETS, folder / "assets")
        if len(sources) == 1:
            _write_scale(sources[0], folder, root="", above=False)
        else:
            cards = [_write_scale(source, folder / source.scale, root="../", above=True) for source in sources]
            render("overview.html.jinja", folder / "index.html", root="", cards=cards, title="Reproduced results")
        files = [path for path in folder.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
    return Built(out / "index.html", len(files), size)


def _write_scale(source: Source, folder: Path, *, root: str, above: bool) -> dict[str, Any]:
    """Write the page of one scale; returns what a page above says of it."""
    tables = [read_table(source, config) for config in source.tables.tables]
    evaluations = _evaluations(tables)
    facts = chain_facts(source, [entry.name for entry in evaluations])
    trainings = [name for name in facts if name.startswith("train_")]
    gallery = write_gallery(source, evaluations, folder / "images")
    curves = curves_of(source, trainings)
    data = {
        "scale": source.scale,
        "results": facts,
        "numbers": {number.id: facts_of(number) for table in tables for number in table.numbers},
        "differing": {table.config.id: table.differing for table in tables},
        "labels": {table.config.id: {row.slug: row.label for row in table.rows} for table in tables},
        "titles": {table.config.id: table.config.title for table in tables},
        "texts": {table.config.id: table.texts for table in tables},
        "differencePeak": DIFFERENCE_PEAK,
    }
    write_script(folder / "data" / "numbers.js", "numbers", data)
    write_script(folder / "data" / "gallery.js", "gallery", gallery)
    write_script(folder / "data" / "curves.js", "curves", curves)
    hidden = list(left_out(source, [entry.name for entry in evaluations]))
    shown = {
        "title": f"Results at the scale {source.scale}",
        "source": source,
        "tables": tables,
        "counts": counts(tables),
        "words": _verdict_words(tables),
        "facts": _summary(facts),
        "datasets": _datasets(source, facts),
        "left_out": hidden,
        "figures": write_figures(source, [dataset for dataset, _ in hidden], folder / "figures"),
        "without_images": _without_images(source, evaluations),
        "evaluations": bool(evaluations),
        "has_gallery": bool(gallery),
        "priors": write_priors(source, evaluations, folder / "images"),
        "has_curves": bool(curves),
        "papers": _papers(source),
        "citation": _CITATION.read_text(encoding="utf-8") if _CITATION.exists() else "",
        "version": version("favae"),
    }
    render("scale.html.jinja", folder / "index.html", root=root, above=above, **shown)
    return {"scale": source.scale, "kind": source.kind, **{key: shown[key] for key in ("counts", "words", "facts")}} | {
        "titles": [table.config.title for table in tables]
    }


def _evaluations(tables: Iterable[Table]) -> list[Shown]:
    """Every evaluation that a table names, once, with the label of its row; of several seeds the first has the label alone."""
    found: dict[str, str] = {}
    for table in tables:
        for row in table.rows:
            for number, cell in enumerate(row.cells):
                found.setdefault(cell, row.label if number == 0 else f"{row.label}, run {number + 1}")
    return [Shown(name, label) for name, label in found.items()]


def _without_images(source: Source, evaluations: Sequence[Shown]) -> int:
    """How many evaluations have no example images here, though the manifest of the published results lists them by hash."""
    return sum(
        source.file(paths.card(source.scale, *entry.name.split("/"))) is not None and not arrays_of(source, entry.name)
        for entry in evaluations
    )


def _verdict_words(tables: Iterable[Table]) -> dict[str, int]:
    words = [verdict.word for table in tables for verdict in table.verdicts]
    return {word: words.count(word) for word in ("Holds", "Does not hold", "Not decided", "Not run") if word in words}


def _summary(facts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """When, from which code, on what and how long the results were made."""
    runs = [fact["run"] for fact in facts.values() if fact["run"]]
    commits = list(dict.fromkeys(run["git_commit"] for run in runs if run["git_commit"]))
    return {
        "results": len(facts),
        "trainings": sum(name.startswith("train_") for name in facts),
        "first": min((run["started"] for run in runs), default="")[:10],
        "last": max((run["ended"] for run in runs), default="")[:10],
        "commits": commits,
        "devices": sorted({run["device"] for run in runs}),
        "hours": sum(run["seconds"] for run in runs) / 3600,
        "gpu_hours": sum(run["gpu_seconds"] for run in runs) / 3600,
    }


def _datasets(source: Source, facts: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The data sets of all chains, with their counts and terms."""
    cells = [name.partition("/")[2] for name in facts if name.startswith("prepare_dataset/")]
    return [
        {"name": cell, "terms": terms_of(source.grid, cell), "summary": facts[f"prepare_dataset/{cell}"]["summary"]}
        for cell in cells
    ]


def _papers(source: Source) -> list[str]:
    """The papers whose numbers stand beside ours."""
    names = {row.published.partition("/")[0] for table in source.tables.tables for row in table.rows if row.published}
    published = source.published_numbers
    return list(dict.fromkeys(published.papers[published.tables[name].paper] for name in sorted(names)))


def write_script(path: Path, name: str, data: Any) -> None:
    """Data as a script, because a page opened from disk may load scripts but not JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    path.write_text(f"(window.favae ??= {{}}).{name} = {text};\n", encoding="utf-8")


def render(template: str, path: Path, **values: Any) -> None:
    """Fill a template with values and write it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_templates().get_template(template).render(**values), encoding="utf-8")


@lru_cache(maxsize=1)
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("favae.reporting.page"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def default_folder(scale: str | None) -> Path:
    """Where the page of a scale is written, or that of all published results."""
    return paths.report_dir(scale, "page") if scale else paths.DATA / "page"
