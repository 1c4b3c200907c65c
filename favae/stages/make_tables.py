"""Stage `make_tables`: every table of a scale, our numbers beside those of the papers."""

from collections.abc import Collection
from dataclasses import replace

from favae.config.load import validate
from favae.config.reporting import Published, TableConfig, TablesConfig
from favae.jobs.grid import Job
from favae.reporting.claims import Verdict, claims_table, judge
from favae.reporting.latex import latex_results, latex_table
from favae.reporting.markup import html, markdown, summary
from favae.reporting.pages import Page, make_page
from favae.reporting.results import Results, refuse
from favae.reporting.tables import Entry, table_entries, tidy
from favae.results.publish import Outcome
from favae.runtime import paths
from favae.runtime.files import replacing
from favae.stages.context import Context, config_of

CLAIMS = "claims.csv"
OUTDATED = "code_changed"  # in the summary of the card: results of which the numbers are marked
_NOTE = "code changed: other code than that of this table made the result (`favae why`)"


def run(job: Job, context: Context) -> Outcome:
    """Write `data/<scale>/reports/tables`: each table as CSV, Markdown, HTML and LaTeX; `summary.md`, `claims.csv`, `results.tex`."""
    target = paths.report_dir(job.scale, "tables")
    with replacing(target) as folder:
        folder.mkdir()
        for name, text in render(job, outdated=context.outdated).items():
            (folder / name).write_text(text, encoding="utf-8")
    rows = {table.id: len(table.rows) for table in config_of(job, TablesConfig).tables}
    marked = {OUTDATED: list(context.outdated)} if context.outdated else {}
    return Outcome({"rows": rows, **marked}, published=[target.as_posix()])


def render(
    job: Job, results: Results | None = None, outdated: Collection[str] = (), *, costs: bool = False
) -> dict[str, str]:
    """Name and text of every file of the tables; depends only on parameters and result files (default: those in `data/`).

    Numbers of the results in `outdated` are marked. With `costs`, the notes also say what each row cost, by the run records. So do
    published tables; those of a run do not, because an identical rerun must write identical bytes.

    Raises:
        ConfigError: the tables refer to rows or cells that do not exist.
        FileNotFoundError: a result is incomplete.
    """
    config = config_of(job, TablesConfig)
    published = validate(Published, job.parameters[paths.PUBLISHED.stem], str(paths.PUBLISHED))
    results = results or Results.of(job)
    refuse(job, list(config.disagreements(published, results.folders)))
    files: dict[str, str] = {}
    pages: list[Page] = []
    found: dict[str, list[Verdict]] = {}
    tables: list[tuple[TableConfig, list[Entry]]] = []
    for table in config.tables:
        entries = [_marked(entry, outdated) for entry in table_entries(table, published, results)]
        found[table.id] = list(judge(table, entries, results.rows_printed(CLAIMS)))
        spent = {row.label: results.cost(row.measured_by).text for row in table.rows if row.measured_by and costs}
        page = make_page(table, published, entries, job.scale, found[table.id], spent)
        files[f"{table.id}.csv"] = tidy(entries).to_csv(index=False)
        files[f"{table.id}.md"] = markdown(page)
        files[f"{table.id}.html"] = html(page)
        files[f"{table.id}.tex"] = latex_table(table, published, entries, found[table.id])
        pages.append(page)
        tables.append((table, entries))
    if any(found.values()):
        files[CLAIMS] = claims_table(found).to_csv(index=False)
    files["results.tex"] = latex_results(tables)
    files["summary.md"] = summary(job.scale, pages)
    return files


def _marked(entry: Entry, outdated: Collection[str]) -> Entry:
    """An entry with a note if one of its results is outdated."""
    if not any(run.partition("@")[0] in outdated for run in entry.runs):
        return entry
    return replace(entry, note=f"{entry.note}; {_NOTE}" if entry.note else _NOTE)
