r"""Tables for papers, and macros for their running text.

A table needs booktabs, graphicx, siunitx 3 and hyperref. It is shrunk only where it is wider than the column. Each number is
`\favaenumber{<table>/<row>/<metric>}{<number>}`, which is a link to its chain on the result page once `\favaepage` is the address of
that page. `\favaeresult{<table>/<row>/<metric>}` prints a number in running text (`results.tex`).
"""

import re
from collections.abc import Sequence

from favae.config.reporting import Published, TableConfig
from favae.evaluation.protocol import describe
from favae.reporting.claims import Verdict, sentence
from favae.reporting.pages import ABSENT, format_value, protocols, sources
from favae.reporting.tables import NOT_REPORTED, Entry
from favae.runtime.names import slugs

PREAMBLE = r"""% needs \usepackage{booktabs,graphicx,siunitx,hyperref}
% \newcommand{\favaepage}{ADDRESS} before it makes each number a link to its origin on the result page
\ifdefined\favaepage\else\def\favaepage{}\fi
\providecommand{\favaenumber}[2]{\ifx\favaepage\empty#2\else\href{\favaepage\#n/#1}{#2}\fi}
\providecommand{\favaebest}[1]{\textbf{\boldmath\sisetup{reset-math-version=false}#1}} % siunitx prints numbers in medium otherwise
"""
_ESCAPED = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "↑": r"$\uparrow$",
        "↓": r"$\downarrow$",
        "–": "--",
        "±": r"$\pm$",
        "λ": r"$\lambda$",
        "β": r"$\beta$",
        "×": r"$\times$",
    }
)
_NARROW = 5  # columns of numbers that are legible in one column of a two-column page
_ADDRESS_OR_CODE = re.compile(r"https?://[^\s,;)]+[^\s,;).]|`[^`]+`")
_ARROWS = {"higher": r" $\uparrow$", "lower": r" $\downarrow$", "neither": ""}


def escape(text: str) -> str:
    """Escape text so that LaTeX prints it literally; addresses may be broken at the end of a line, and code is in typewriter."""
    parts, end = [], 0
    for found in _ADDRESS_OR_CODE.finditer(text):
        parts += [text[end : found.start()].translate(_ESCAPED), _in_typewriter(found.group())]
        end = found.end()
    return "".join([*parts, text[end:].translate(_ESCAPED)])


def _in_typewriter(found: str) -> str:
    if found.startswith("`"):
        code = found.strip("`").translate(_ESCAPED)
        return rf"\texttt{{{code}}}"
    address = found.replace("%", r"\%").replace("#", r"\#")
    return rf"\url{{{address}}}"


def latex_table(
    table: TableConfig, published: Published, entries: Sequence[Entry], found: Sequence[Verdict] = ()
) -> str:
    """A floating table, its numbers aligned and the best of each column in bold, with notes below it in small print."""
    names = slugs([row.label for row in table.rows])
    reported = {entry.metric for entry in entries if entry.reported is not None}
    differences = table.comparable
    notes = _Notes()
    lines = []
    for row in table.rows:
        own = [entry for entry in entries if entry.row == row.label]
        cells = [escape(row.label)]
        for entry in own:
            name = f"{table.id}/{names[row.label]}/{entry.metric}"
            cells += _cells(entry, name, entry.metric in reported, differences, _is_best(entry, entries), notes)
        lines.append(" & ".join(cells) + r" \\")
    head, columns = _head(table, reported, differences)
    body = "\n".join(lines)
    tabular = (
        f"\\begin{{tabular}}{{l{'r' * columns}}}\n\\toprule\n{head}\n\\midrule\n{body}\n\\bottomrule\n\\end{{tabular}}%"
    )
    environment = "table*" if columns > _NARROW else "table"  # over both columns of a two-column page
    return (
        f"{PREAMBLE}\\begin{{{environment}}}[tbp]\n\\centering\\small\\setlength{{\\tabcolsep}}{{4pt}}%\n"
        f"\\caption{{{escape(table.title)}}}\n\\label{{tab:{table.id}}}\n"
        f"\\resizebox{{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}}{{!}}{{%\n{tabular}\n}}\n"
        f"\\begin{{minipage}}{{\\linewidth}}\\vspace{{4pt}}\\footnotesize\\raggedright\n"
        f"{_paragraphs(table, published, entries, found, notes)}\n\\end{{minipage}}\n\\end{{{environment}}}\n"
    )


class _Notes(list[str]):
    """Reasons and caveats, each once, with its letter."""

    def mark(self, text: str) -> str:
        if text not in self:
            self.append(text)
        return rf"\textsuperscript{{{chr(ord('a') + self.index(text) % 26)}}}"


def _head(table: TableConfig, reported: set[str], differences: bool) -> tuple[str, int]:
    """Two lines of heads, or one where no paper reports a number; and the number of columns after the first."""
    parts = ["reported", "ours", *(["diff."] if differences else [])]
    above, below, rules, column = [""], ["Model"], [], 2
    for metric in table.columns:
        info = describe(metric)
        unit = f"({escape(info.unit)})" if len(info.unit) in range(1, 6) else ""
        if metric in reported:
            title = f"{escape(info.head)} {unit}".strip() + _ARROWS[info.better]
            above.append(rf"\multicolumn{{{len(parts)}}}{{c}}{{{title}}}")
            below += parts
            rules.append(rf"\cmidrule(lr){{{column}-{column + len(parts) - 1}}}")
            column += len(parts)
        else:
            above.append("")
            below.append(_stacked(escape(info.head), unit, _ARROWS[info.better]))
            column += 1
    lines = [" & ".join(below) + r" \\"]
    if reported:
        lines = [" & ".join(above) + r" \\", " ".join(rules), *lines]
    return "\n".join(lines), column - 2


def _stacked(head: str, unit: str, arrow: str) -> str:
    """A head of one column in two lines where it has a unit or several words, because heads are wider than numbers."""
    first, _, last = (head, "", unit) if unit else head.rpartition(" ")
    return rf"\shortstack[r]{{{first}\\{last}{arrow}}}" if first else head + arrow


def _cells(entry: Entry, name: str, beside: bool, differences: bool, best: bool, notes: _Notes) -> list[str]:
    ours = _ours(entry, name, best, notes)
    if not beside:
        return [ours]
    if entry.reported is not None:
        reported = rf"\num{{{format_value(entry.metric, entry.reported)}}}"
    else:
        reported = escape(ABSENT if entry.reported_source is None else NOT_REPORTED)
    if not differences:
        return [reported, ours]
    difference = entry.difference
    shown = "" if difference is None else rf"\num[print-implicit-plus]{{{format_value(entry.metric, difference)}}}"
    return [reported, ours, shown or escape(ABSENT)]


def _ours(entry: Entry, name: str, best: bool, notes: _Notes) -> str:
    word, _, reason = (entry.note or "").partition(":")
    mark = notes.mark(entry.note) if entry.note and (reason or entry.reproduced is not None) else ""
    if entry.reproduced is None:
        return f"--{mark}" if mark else escape(word or ABSENT)
    value = rf"\num{{{format_value(entry.metric, entry.reproduced)}}}"
    if entry.spread is not None:
        value += rf"\,$\pm$\,\num{{{format_value(entry.metric, entry.spread)}}}"
    number = rf"\favaenumber{{{name}}}{{{value}}}"
    return (rf"\favaebest{{{number}}}" if best else number) + mark


def _is_best(entry: Entry, entries: Sequence[Entry]) -> bool:
    better = describe(entry.metric).better
    values = [other.reproduced for other in entries if other.metric == entry.metric and other.reproduced is not None]
    if better == "neither" or entry.reproduced is None or len(values) < 2:
        return False
    return entry.reproduced == (max(values) if better == "higher" else min(values))


def _paragraphs(
    table: TableConfig, published: Published, entries: Sequence[Entry], found: Sequence[Verdict], notes: _Notes
) -> str:
    marked = [rf"{notes.mark(text)}\,{escape(text)}." for text in list(notes)]
    plain = [*([table.note] if table.note else []), *map(sentence, found)]
    plain += [*sources(table, published), *protocols(entries)]
    return "\n\n".join([*map(escape, plain), *marked])


def latex_results(tables: Sequence[tuple[TableConfig, Sequence[Entry]]]) -> str:
    r"""Macros for running text: `\favaeresult{<table>/<row>/<metric>}` for each measured number of a scale."""
    lines = [
        PREAMBLE + "\\makeatletter",
        "\\providecommand{\\favaeresult}[1]{\\@ifundefined{favae@#1}"
        "{\\PackageError{favae}{there is no result #1}{Names are <table>/<row>/<metric>.}}{\\csname favae@#1\\endcsname}}",
    ]
    for table, entries in tables:
        names = slugs([row.label for row in table.rows])
        for entry in entries:
            if entry.reproduced is not None:
                name = f"{table.id}/{names[entry.row]}/{entry.metric}"
                value = rf"\num{{{format_value(entry.metric, entry.reproduced)}}}"
                lines.append(rf"\expandafter\def\csname favae@{name}\endcsname{{\favaenumber{{{name}}}{{{value}}}}}")
    return "\n".join([*lines, "\\makeatother", ""])
