"""Everything that the documentation names exists: links, headings, files, commands, options, scales; and it stays short."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from favae.cli.main import app
from favae.jobs.grid import load_grid

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "workflow" / "docs").glob("*.md")),
    *sorted((ROOT / "reports").glob("*/README.md")),
]
COMMAND = re.compile(r"(?:^|`|\$ |; |&& )favae ([a-z][\w-]*)([^`\n;&#]*)", flags=re.MULTILINE)
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def outside_code(text: str) -> str:
    return re.sub(r"^\s*```.*?^\s*```", "", text, flags=re.MULTILINE | re.DOTALL)


def anchor(heading: str) -> str:
    """GitHub's anchor of a heading."""
    kept = re.sub(r"[^\w\- ]", "", heading.lower())
    return kept.replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {anchor(heading) for heading in re.findall(r"^#+ (.+)$", outside_code(page.read_text()), flags=re.MULTILINE)}


@every_page
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", outside_code(page.read_text())):
        if target.startswith(("https://", "http://")):
            continue
        name, _, heading = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), f"{target}: no such file"
        assert not heading or heading in anchors(file), f"{target}: no such heading"


@every_page
def test_named_files_and_folders_of_the_project_exist(page: Path) -> None:
    named = re.findall(r"`((?:favae|params|workflow|tests|reports)/[\w./-]+)`", page.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []


@every_page
def test_named_commands_have_the_named_options(page: Path) -> None:
    commands = get_command(app).commands
    for name, rest in COMMAND.findall(page.read_text()):
        assert name in commands, f"favae {name}: no such command"
        known = {option for parameter in commands[name].params for option in parameter.opts}
        named = set(re.findall(r"(?<=\s)--[a-z][\w-]*", rest))
        assert named <= known, f"favae {name}: no option {named - known}"


@every_page
def test_named_scales_exist(page: Path) -> None:
    named = re.findall(r"(?:--config |`)scale=([\w-]+)|--scale ([a-z][\w-]*)", page.read_text())
    assert {first or second for first, second in named} <= {*load_grid().scales, "tiny"}


@every_page
def test_lines_of_prose_are_at_most_120_characters_long(page: Path) -> None:
    if page.name == "benchmarks.md":
        return
    prose = [line for line in outside_code(page.read_text()).splitlines() if not re.match(r"\||!\[|#", line)]
    assert [line for line in prose if len(line) > 120 and " " in line] == []


def test_the_readme_reads_in_two_minutes() -> None:
    """At 240 words per minute; addresses of links are not read, and a code block is looked up rather than read."""
    prose = re.sub(r"\]\([^)]*\)", "]", outside_code((ROOT / "README.md").read_text()))
    assert len(re.findall(r"\w[\w'.=/-]*", prose)) <= 2 * 240


def test_the_glossary_has_at_most_fourteen_concepts() -> None:
    section = (ROOT / "workflow/docs/structure.md").read_text().split("## The fourteen concepts")[1].split("\n## ")[0]
    concepts = re.findall(r"^\| \*\*(.+?)\*\* \|", section, flags=re.MULTILINE)
    assert 0 < len(concepts) == len(set(concepts)) <= 14
