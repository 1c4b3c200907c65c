"""`dvc.yaml`, written from the stages and the grid: DVC cannot read Python, so it gets the same graph as a file.

One DVC stage per stage with `foreach` over the cells of the active scale, which stand under `vars`. `check_parameters` depends on all
parameters: `dvc repro` after an edit runs `favae check`, which also says when this file is older than the grid.
"""

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from favae.config.errors import ConfigError
from favae.jobs.grid import Grid, Job, load_grid
from favae.jobs.groups import Cell
from favae.jobs.stages import STAGES, Output, Stage
from favae.runtime import paths
from favae.runtime.files import write_text

PATH = Path("dvc.yaml")
CHECK = "check_parameters"
_HEAD = """\
# Written by `favae graph` from params/grid.yaml, the recipes and favae/jobs/stages.py: edit those. `favae check` and every `snakemake`
# renew it. DVC decides by content what is stale; Snakemake, limited to the one rule, makes exactly that, with the same log,
# resources and profile (SNAKEMAKE_PROFILE=slurm dvc repro). Cells are those of the active scale.
"""
_FIELDS = ("recipe", "row", "numbers")


def render(grid: Grid) -> str:
    """The whole file for the active scale."""
    cells = {stage: _flow(stage, grid.cells_by_stage[stage]) for stage in STAGES}
    stages: dict[str, Any] = {CHECK: _check(grid)}
    stages |= {stage.name: _stage(stage, grid) for stage in STAGES.values() if grid.cells_by_stage[stage.name]}
    text = io.StringIO()
    yaml = YAML()
    yaml.width = 1_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.dump({"vars": [{"scale": grid.scale}, {"cells": cells}], "stages": stages}, text)
    return _HEAD + text.getvalue()


def renew() -> None:
    """Bring `dvc.yaml` up to date with the grid. Inside `dvc repro`, which has read the old one, an old one is an error.

    Raises:
        ConfigError: it was out of date inside `dvc repro`; it is now written anew, and the command can be repeated.
    """
    wanted = render(load_grid(None))
    if PATH.is_file() and PATH.read_text(encoding="utf-8") == wanted:
        return
    write_text(PATH, wanted)
    if "DVC_STAGE" in os.environ:
        raise ConfigError(f"{PATH} was older than {paths.GRID} and the recipes; it is renewed: start `dvc repro` again")


def is_current() -> bool:
    """Whether `dvc.yaml` is what the grid says."""
    return PATH.is_file() and PATH.read_text(encoding="utf-8") == render(load_grid(None))


def render_stage(name: str, grid: Grid) -> str:
    """The body of a stage as JSON, for all its cells; `resolved` fills it in."""
    return json.dumps(_stage(STAGES[name], grid)["do"])


def resolved(body: str, grid: Grid, job: Job) -> dict[str, Any]:
    """The body of a stage (`render_stage`) for one cell, its variables replaced as DVC does."""
    cell = grid.cells_by_stage[job.stage.name][job.cell]
    items = {f"item.{key}": getattr(cell, key) for key in _FIELDS} | {f"item.{k}": v for k, v in cell.roles.items()}
    for name, value in (items | {"scale": grid.scale, "key": job.cell}).items():
        body = body.replace(f"${{{name}}}", value)
    return json.loads(body)


def _flow(stage: str, cells: Mapping[str, Cell]) -> CommentedMap:
    """Cells of a stage, one line per cell."""
    lines = CommentedMap()
    for name, cell in cells.items():
        entry = CommentedMap({key: getattr(cell, key) for key in _FIELDS} | cell.roles)
        entry.fa.set_flow_style()
        lines[name] = entry
    return lines


def _check(grid: Grid) -> dict[str, Any]:
    """A stage without outputs that runs when any parameter changes."""
    recipes = {cell.recipe for cells in grid.cells_by_stage.values() for cell in cells.values()}
    files = sorted({paths.GRID, paths.VERSIONS, paths.PUBLISHED, *map(paths.params_file, [grid.scale, *recipes])})
    return {
        "desc": "refuses parameters that cannot work, before anything runs",
        "cmd": "favae check",
        "params": [{path.as_posix(): None} for path in files],
    }


def _stage(stage: Stage, grid: Grid) -> dict[str, Any]:
    card = paths.card("${scale}", stage.name, "${key}").as_posix()
    body: dict[str, Any] = {"desc": stage.purpose, "cmd": f"snakemake --allowed-rules {stage.name} -- {card}"}
    if deps := _deps(stage):
        body["deps"] = deps
    body["params"] = _params(stage, grid)
    record = paths.run_record("${scale}", stage.name, "${key}").as_posix()
    kinds: dict[str, list[Any]] = {"outs": [card, record]}
    for output in stage.outputs:
        kind, entry = _out(output, output.path("${scale}", stage.name, "${key}").as_posix())
        kinds.setdefault(kind, []).append(entry)
    return {"foreach": f"${{cells.{stage.name}}}", "do": body | kinds}


def _deps(stage: Stage) -> list[str]:
    """Cards of the inputs. DVC takes no list from a variable, so what collects depends on folders that hold only such results."""
    deps = [paths.card("${scale}", source, f"${{item.{role}}}").as_posix() for role, source in stage.inputs.items()]
    for source in stage.collects:
        curves = next((o for o in STAGES[source].outputs if o.where == "curves"), None)
        one = curves.path("${scale}", source, "cell") if curves else paths.result_dir("${scale}", source, "cell")
        deps.append(one.parent.as_posix())
    return deps


def _params(stage: Stage, grid: Grid) -> list[dict[str, Any]]:
    params: list[dict[str, Any]] = [
        {"params/${item.recipe}.yaml": ["${item.row}"]},
        {"params/${scale}.yaml": ["${item.numbers}"]},
        *({paths.params_file(name).as_posix(): None} for name in stage.shared),
        {paths.VERSIONS.as_posix(): [stage.name]},
    ]
    if stage.collects:  # rows made by `each` are called as the recipes of what they show
        recipes = {c.recipe for source in STAGES for c in grid.cells_by_stage[source].values() if STAGES[source].gpu}
        named = [name for name in sorted(recipes) if grid.names_rows(name)]
        params += [{paths.params_file(name).as_posix(): ["_rows"]} for name in named]
    return params


def _out(output: Output, path: str) -> tuple[str, Any]:
    """The kind of DVC output, and its entry."""
    if output.metrics:
        return "metrics", path
    if output.where == "curves":
        return "plots", {path: {"x": "step", "y": output.plot}}
    return "outs", {path: {"cache": False}} if output.where == "report" else path
