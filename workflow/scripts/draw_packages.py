"""Draw the packages of `favae` into `workflow/docs/structure.md`, from their imports and docstrings.

    python workflow/scripts/draw_packages.py            # write
    python workflow/scripts/draw_packages.py --check    # exit code 1 if the page is out of date

An arrow means "imports". Arrows that follow from others are left out: of a -> b -> c and a -> c, the last.
"""

import argparse
import ast
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

Graph = dict[str, set[str]]

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "workflow" / "docs" / "structure.md"
BEGIN = "<!-- packages: written by workflow/scripts/draw_packages.py -->"
END = "<!-- end of packages -->"


def imported(module: Path) -> set[str]:
    """Full names that a module imports, imports inside functions included."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imported_packages(module: Path) -> set[str]:
    """Packages of `favae` that a module imports."""
    return {name.split(".")[1] for name in imported(module) if name.startswith("favae.")}


def package_graph(root: Path) -> Graph:
    """Package -> packages that it imports directly."""
    folders = sorted(file.parent for file in root.glob("*/__init__.py"))
    names = {folder.name for folder in folders}
    graph: Graph = {}
    for folder in folders:
        imports = set[str]().union(*(imported_packages(module) for module in sorted(folder.rglob("*.py"))))
        graph[folder.name] = (imports & names) - {folder.name}
    return graph


def reachable(graph: Graph, start: str) -> set[str]:
    """All packages that `start` imports, directly or not. The graph must be acyclic."""
    return graph[start].union(*(reachable(graph, name) for name in graph[start]))


def without_implied(graph: Graph) -> Graph:
    """The transitive reduction: the fewest arrows from which all others follow."""
    return {
        name: {below for below in direct if not any(below in reachable(graph, other) for other in direct - {below})}
        for name, direct in graph.items()
    }


def top_down(graph: Graph) -> list[str]:
    """Packages in a stable order in which each comes before what it imports. Raises CycleError."""
    sorter = TopologicalSorter(graph)
    sorter.prepare()
    order: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), reverse=True)
        order += ready
        sorter.done(*ready)
    return order[::-1]


def purpose(package: Path) -> str:
    """First line of a package's docstring."""
    tree = ast.parse((package / "__init__.py").read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").partition("\n")[0]


def drawn(root: Path) -> str:
    """The block between the markers: a Mermaid diagram, and one line per package."""
    graph = package_graph(root)
    order = top_down(graph)
    arrows = without_implied(graph)
    lines = ["```mermaid", "flowchart TD"]
    lines += [f"    {name} --> {' & '.join(sorted(arrows[name]))}" for name in order if arrows[name]]
    lines += ["```", "", "| package | purpose |", "|---|---|"]
    lines += [f"| `{name}` | {purpose(root / name)} |" for name in order]
    return "\n".join([BEGIN, "", *lines, "", END])


def replaced(page: str, block: str) -> str:
    """The page with `block` instead of what stands between the markers. Raises ValueError where a marker is missing."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"expected the lines {BEGIN!r} and {END!r}, found only a part of them; put both back")
    return head + block + tail


def main() -> None:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description="Draw the packages of favae into structure.md, from their imports.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if the page is out of date")
    check = parser.parse_args().check
    old = PAGE.read_text(encoding="utf-8")
    try:
        new = replaced(old, drawn(ROOT / "favae"))
    except CycleError as error:
        sys.exit(f"favae: packages must not import each other in a circle; found {' -> '.join(error.args[1])}")
    except ValueError as error:
        sys.exit(f"{PAGE.relative_to(ROOT)}: {error}")
    if new == old:
        return
    if check:
        sys.exit(f"{PAGE.relative_to(ROOT)} is out of date; run python workflow/scripts/draw_packages.py")
    PAGE.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
