"""Pages as Markdown and as HTML."""

from html import escape

from favae.reporting.pages import Page

_STYLE = """body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem; color: #1b1d20; background: #fff }
h1 { font-size: 1.2rem }
div { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .35rem .7rem; border-bottom: 1px solid #dcdfe2; text-align: right; vertical-align: top }
thead th { border-bottom: 2px solid #b9bfc6; vertical-align: bottom }
li { font-size: .85rem; color: #565d66; max-width: 100ch; overflow-wrap: anywhere }
"""


def markdown(page: Page) -> str:
    """A heading, a pipe table and the notes as a list."""
    frame = page.frame.map(lambda text: text.replace("|", r"\|"))
    align = ["left" if name in page.words else "right" for name in frame]
    table = frame.to_markdown(index=False, disable_numparse=True, colalign=align)
    return "\n\n".join([f"## {page.title}", table, "\n".join(f"- {note}" for note in page.notes)]) + "\n"


def html(page: Page) -> str:
    """The same as a whole HTML document that needs no other file, for Snakemake's report and mail."""
    align = "".join(
        f"td:nth-child({i}), th:nth-child({i}) {{ text-align: left }}\n"
        for i, name in enumerate(page.frame, 1)
        if name in page.words
    )
    table = page.frame.to_html(index=False, border=0, justify="inherit")
    notes = "".join(f"<li>{escape(note)}</li>\n" for note in page.notes)
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{escape(page.title)}</title>\n'
        f"<style>\n{_STYLE}{align}</style>\n<h1>{escape(page.title)}</h1>\n<div>{table}</div>\n<ul>\n{notes}</ul>\n</html>\n"
    )


def summary(scale: str, pages: list[Page]) -> str:
    """All tables of a scale on one page of Markdown."""
    words = (
        "Reported: printed in a paper. Reproduced: measured by this workflow. Difference: reproduced minus reported. "
        "A result is named stage/cell@content key; the same key means the same parameters and data."
    )
    return "\n".join([f"# Results at the scale `{scale}`\n", f"{words}\n", *(markdown(page) for page in pages)])
