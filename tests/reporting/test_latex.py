"""LaTeX tables compile in one and two columns, fit their column, and link each number; macros print them in running text."""

import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from favae.config.load import validate
from favae.config.reporting import Published, TablesConfig
from favae.jobs.grid import Grid, Job
from favae.reporting.latex import escape, latex_results, latex_table
from favae.reporting.pages import format_value
from favae.reporting.results import Results
from favae.reporting.tables import Entry, table_entries

DOCUMENT = r"""\documentclass[%s]{article}
\usepackage[margin=2cm]{geometry}
\usepackage{booktabs,graphicx,siunitx,hyperref}
\begin{document}
%s
\end{document}
"""

SMALLEST = 6.0  # points that are legible in print
HEIGHT = 0.8964  # of a word in Computer Modern, as pdftotext measures it, of its size


@pytest.fixture
def tables(project: Path) -> tuple[TablesConfig, Published, dict[str, list[Entry]]]:
    job: Job = Grid("tiny").job("make_tables", "all")
    config = job.config
    assert isinstance(config, TablesConfig)
    published = validate(Published, job.parameters["published"], "published")
    return config, published, {t.id: table_entries(t, published, Results.of(job)) for t in config.tables}


def compiled(folder: Path, options: str, body: str) -> tuple[str, str]:
    """Text of the PDF and the log of LaTeX."""
    if not shutil.which("pdflatex") or not shutil.which("pdftotext"):
        pytest.skip("needs pdflatex with siunitx, and pdftotext (texlive-science, poppler-utils)")
    (folder / "paper.tex").write_text(DOCUMENT % (options, body), encoding="utf-8")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "paper.tex"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, errors="replace", check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout[-3000:]
    text = subprocess.run(
        ["pdftotext", "-layout", "paper.pdf", "-"], cwd=folder, capture_output=True, text=True, check=True
    )
    return text.stdout, done.stdout


@pytest.mark.parametrize("options", ["10pt", "10pt,twocolumn"])
def test_every_table_compiles_and_is_no_wider_than_its_column(
    tables: tuple[TablesConfig, Published, dict[str, list[Entry]]], tmp_path: Path, options: str
) -> None:
    config, published, entries = tables
    body = "\n".join(latex_table(table, published, entries[table.id]) for table in config.tables)
    text, log = compiled(tmp_path, options, body)
    wide = [float(points) for points in re.findall(r"Overfull .hbox .([0-9.]+)pt", log)]
    assert max(wide, default=0) < 2
    for entry in entries["reconstruction"]:
        if entry.reproduced is not None:
            assert format_value(entry.metric, entry.reproduced) in re.sub(r"\s", "", text)  # 12 420
    assert min(sizes(tmp_path, "Model")) > SMALLEST


def sizes(folder: Path, word: str) -> list[float]:
    """Sizes in points of a word of the PDF."""
    command = ["pdftotext", "-bbox", "paper.pdf", "-"]
    boxes = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    found = re.findall(rf'yMin="([0-9.]+)" xMax="[0-9.]+" yMax="([0-9.]+)">{word}<', boxes)
    return [(float(bottom) - float(top)) / HEIGHT for top, bottom in found]


def test_numbers_are_links_to_their_chain_once_the_address_of_the_page_is_given(
    tables: tuple[TablesConfig, Published, dict[str, list[Entry]]], tmp_path: Path
) -> None:
    config, published, entries = tables
    table = config.tables[0]
    source = latex_table(table, published, entries[table.id])
    assert r"\favaenumber{reconstruction/fa-vae-f-4/psnr_test}{\num{" in source
    address = r"\newcommand{\favaepage}{https://example.org/page/index.html}"
    plain = "\\pdfcompresslevel=0 \\pdfobjcompresslevel=0\n"
    compiled(tmp_path, "10pt", plain + source)
    assert b"#n/reconstruction" not in (tmp_path / "paper.pdf").read_bytes()
    compiled(tmp_path, "10pt", f"\\pdfcompresslevel=0 \\pdfobjcompresslevel=0\n{address}\n{source}")
    pdf = (tmp_path / "paper.pdf").read_bytes()
    assert b"https://example.org/page/index.html#n/reconstruction/fa-vae-f-4/psnr_test" in pdf


def test_a_number_is_printed_in_running_text_and_an_unknown_one_is_an_error(
    tables: tuple[TablesConfig, Published, dict[str, list[Entry]]], tmp_path: Path
) -> None:
    config, _, entries = tables
    (tmp_path / "results.tex").write_text(latex_results([(table, entries[table.id]) for table in config.tables]))
    entry = next(e for e in entries["reconstruction"] if e.row == "FA-VAE, f = 4" and e.metric == "psnr_test")
    assert entry.reproduced is not None
    text, _ = compiled(tmp_path, "10pt", r"\input{results}PSNR \favaeresult{reconstruction/fa-vae-f-4/psnr_test} dB")
    assert f"PSNR {entry.reproduced:.2f} dB" in text
    with pytest.raises(AssertionError, match="there is no result reconstruction/nobody"):
        compiled(tmp_path, "10pt", r"\input{results}\favaeresult{reconstruction/nobody/psnr_test}")


def test_the_best_of_a_column_is_bold(tables: tuple[TablesConfig, Published, dict[str, list[Entry]]]) -> None:
    config, published, entries = tables
    values = {e.row: e.reproduced for e in entries["reconstruction"] if e.metric == "psnr_test"}
    best = max(values.values())
    (line,) = (row for row, value in values.items() if value == best)
    source = latex_table(config.tables[0], published, entries["reconstruction"])
    bold = re.findall(r"\\favaebest{\\favaenumber{reconstruction/([^/]*)/psnr_test}", source)
    assert bold == [re.sub("[^a-z0-9]+", "-", line.lower())]


def test_bold_of_the_source_is_bold_in_the_pdf(
    tables: tuple[TablesConfig, Published, dict[str, list[Entry]]], tmp_path: Path
) -> None:
    config, published, entries = tables
    printed = [e for e in entries["reconstruction"] if e.metric == "psnr_test" and e.reproduced is not None]
    compiled(tmp_path, "10pt", latex_table(config.tables[0], published, entries["reconstruction"]))
    bold = in_bold(tmp_path)
    best = max(printed, key=lambda entry: entry.reproduced or 0)
    assert len(printed) > 1
    for entry in printed:
        assert (format_value(entry.metric, entry.reproduced or 0) in bold) == (entry is best)


def in_bold(folder: Path) -> str:
    """What the PDF prints in bold, without spaces."""
    command = ["pdftohtml", "-xml", "-i", "-stdout", "paper.pdf"]
    page = ElementTree.fromstring(subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout)
    fonts = {font.get("id") for font in page.iter("fontspec") if re.search("CMBX|CMMIB", font.get("family", ""))}
    return "".join("".join(text.itertext()) for text in page.iter("text") if text.get("font") in fonts)


def test_text_is_escaped_and_addresses_can_be_broken() -> None:
    assert escape(r"50% of a_b & {c} #1 $2 ~^\ ↑") == (
        r"50\% of a\_b \& \{c\} \#1 \$2 \textasciitilde{}\textasciicircum{}\textbackslash{} $\uparrow$"
    )
    assert (
        escape("from https://example.org/a_b%20c.pth into $X.")
        == r"from \url{https://example.org/a_b\%20c.pth} into \$X."
    )
    assert escape("recipe `r12_conv`, %") == r"recipe \texttt{r12\_conv}, \%"
