"""Pages as Markdown and as LaTeX."""

from favae.reporting.pages import Page

_LATEX = str.maketrans(
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
    }
)


def markdown(page: Page) -> str:
    """A heading, a pipe table and the notes as a list."""
    frame = page.frame.map(lambda text: text.replace("|", r"\|"))
    align = ["left" if name in page.words else "right" for name in frame]
    table = frame.to_markdown(index=False, disable_numparse=True, colalign=align)
    return "\n\n".join([f"## {page.title}", table, "\n".join(f"- {note}" for note in page.notes)]) + "\n"


def escape_latex(text: str) -> str:
    """Escape text so that LaTeX prints it literally."""
    return text.translate(_LATEX)


def latex(page: Page) -> str:
    """A floating table for a document that loads `booktabs` and `graphicx`, with the notes below it in small print."""
    frame = page.frame.map(escape_latex).rename(columns=escape_latex)
    align = "".join("l" if name in page.words else "r" for name in page.frame)
    tabular = frame.to_latex(index=False, column_format=align)
    notes = "\n\n".join(f"\\par {escape_latex(note)}" for note in page.notes)
    return (
        "% needs \\usepackage{booktabs,graphicx}\n"
        "\\begin{table}[tbp]\n\\centering\n"
        f"\\caption{{{escape_latex(page.title)}}}\n\\label{{tab:{page.id}}}\n"
        f"\\resizebox{{\\linewidth}}{{!}}{{%\n{tabular.rstrip()}%\n}}\n"
        f"\\begin{{minipage}}{{\\linewidth}}\\footnotesize\n{notes}\n\\end{{minipage}}\n"
        "\\end{table}\n"
    )


def summary(scale: str, pages: list[Page]) -> str:
    """All tables of a scale on one page of Markdown."""
    words = (
        "Reported: printed in a paper. Reproduced: measured by this workflow. Difference: reproduced minus reported. "
        "A result is named stage/cell@content key; the same key means the same parameters, code version and data."
    )
    return "\n".join([f"# Results at the scale `{scale}`\n", f"{words}\n", *(markdown(page) for page in pages)])
