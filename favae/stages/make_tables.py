"""Stage `make_tables`: every table of a scale, our numbers beside those of the papers."""

from pathlib import Path
from typing import cast

from favae import paths
from favae.config.grid import Job
from favae.config.load import validate
from favae.config.reporting import Published, TableSpec, TablesSpec
from favae.provenance.files import replacing
from favae.reporting.markup import latex, markdown, summary
from favae.reporting.pages import Page, make_page
from favae.reporting.results import Results, refuse
from favae.reporting.tables import table_entries, tidy
from favae.stages.runner import Context


def run(job: Job, context: Context) -> None:
    """Write `reports/<scale>/tables`: `<table>.csv`, `.md` and `.tex`, and all of them in `summary.md`."""
    spec = cast(TablesSpec, job.spec)
    published = validate(Published, job.parameters[paths.PUBLISHED.stem], str(paths.PUBLISHED))
    results = Results.of(job)
    refuse(job, list(spec.disagreements(published, results.folders)))
    target = paths.report_dir(job.scale, "tables")
    with replacing(target) as folder:
        folder.mkdir()
        pages = [_write(folder, table, published, results) for table in spec.tables]
        (folder / "summary.md").write_text(summary(job.scale, pages))
    context.published.append(target)
    context.summary = {"rows": {table.id: len(table.rows) for table in spec.tables}}


def _write(folder: Path, table: TableSpec, published: Published, results: Results) -> Page:
    entries = table_entries(table, published, results)
    page = make_page(table, published, entries)
    tidy(entries).to_csv(folder / f"{table.id}.csv", index=False)
    (folder / f"{table.id}.md").write_text(markdown(page))
    (folder / f"{table.id}.tex").write_text(latex(page))
    return page
