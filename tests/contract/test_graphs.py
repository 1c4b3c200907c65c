"""The Snakefile, dvc.yaml and the grid are one graph: same jobs, inputs, outputs, and parameters to the last value."""

import ast
import contextlib
import json
import re
from functools import cache
from pathlib import Path

import pytest
from tests_support import call, copy_project

from favae.config.load import deep_merge
from favae.jobs.grid import Grid, Job
from favae.sync.dvc_yaml import CHECK

OWN = "tiny"  # the scale of the tests; the others are those of the product
_DVC_GRAPH = """
import json
from dvc.repo import Repo
graph = {}
for stage in Repo(".").index.stages:
    params = {d.def_path: d.read_params() for d in stage.params}
    deps = [d.def_path for d in stage.deps if d.def_path not in params]
    outs = [o.def_path for o in stage.outs]
    graph[stage.addressing] = {"cmd": stage.cmd, "deps": deps, "outs": outs, "params": params}
print("GRAPH", json.dumps(graph))
"""
_SNAKEMAKE_GRAPH = """
import json
from pathlib import Path
from snakemake.api import SnakemakeApi
from snakemake.settings.types import OutputSettings, ResourceSettings
with SnakemakeApi(OutputSettings(dryrun=True)) as api:
    workflow = api.workflow(resource_settings=ResourceSettings(cores=1), snakefile=Path("Snakefile"))
    workflow.dag().execute_workflow(executor="dryrun")
    jobs = [job for job in workflow._workflow.dag.jobs if job.rule.name != "all"]
graph = {f"{j.rule.name}@{j.wildcards.get('cell', 'all')}": (list(map(str, j.input)), list(map(str, j.output))) for j in jobs}
print("GRAPH", json.dumps(graph))
"""


@pytest.fixture(scope="module", params=[OWN, "demo", pytest.param("paper", marks=pytest.mark.slow)])
def scale(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Fresh projects, one for each of three active scales: nothing has run, so all jobs are planned."""
    project = copy_project(tmp_path_factory.mktemp("graph") / "project", product=request.param != OWN)
    grid = project / "params/grid.yaml"
    grid.write_text(re.sub(r"(?m)^active: .*$", f"active: {request.param}", grid.read_text()))
    call(project, "favae", "graph")
    return request.param, project


@cache
def dvc_graph(project: Path) -> dict[str, dict]:
    done = call(project, "python", "-c", _DVC_GRAPH)
    return json.loads(done.stdout.split("GRAPH ")[1])


@cache
def snakemake_graph(project: Path) -> dict[str, dict[str, set[str]]]:
    """stage@cell -> input and output files in a run that makes everything."""
    done = call(project, "python", "-c", _SNAKEMAKE_GRAPH)
    graph = json.loads(done.stdout.split("GRAPH ")[1])
    return {name: {"inputs": set(inputs), "outputs": set(outputs)} for name, (inputs, outputs) in graph.items()}


def jobs(scale: tuple[str, Path]) -> list[Job]:
    name, project = scale
    with contextlib.chdir(project):
        return list(Grid(name))


def dvc_name(job: Job) -> str:
    return f"{job.stage.name}@{job.cell}"


def test_both_graphs_have_the_jobs_of_the_grid(scale: tuple[str, Path]) -> None:
    _, project = scale
    names = {dvc_name(job) for job in jobs(scale)}
    assert set(dvc_graph(project)) == {*names, CHECK}
    assert set(snakemake_graph(project)) == names


def test_both_graphs_have_the_same_inputs(scale: tuple[str, Path]) -> None:
    _, project = scale
    for job in jobs(scale):
        cards = {path.as_posix() for path in job.inputs.values()}
        assert {p for p in snakemake_graph(project)[dvc_name(job)]["inputs"] if p.endswith("card.json")} == cards
        deps = dvc_graph(project)[dvc_name(job)]["deps"]
        if not job.stage.collects:
            assert set(deps) == cards
            continue
        # Collecting stages: DVC depends on folders, which must contain exactly the outputs of the collected stages.
        outs = [out for stage in dvc_graph(project).values() for out in stage["outs"]]
        assert all(any(out.startswith(f"{dep}/") for out in outs) for dep in deps), "a folder that no stage fills"
        for other, stage in dvc_graph(project).items():
            if other == CHECK:
                continue
            inside = any(out.startswith(f"{dep}/") for dep in deps for out in stage["outs"])
            assert inside == (other.split("@")[0] in job.stage.collects), other


def test_both_graphs_have_the_same_outputs_and_dvc_calls_snakemake_for_them(scale: tuple[str, Path]) -> None:
    _, project = scale
    for job in jobs(scale):
        stage = dvc_graph(project)[dvc_name(job)]
        assert set(stage["outs"]) == snakemake_graph(project)[dvc_name(job)]["outputs"]
        assert stage["cmd"] == f"snakemake --allowed-rules {job.stage.name} -- {job.card}"


def test_both_graphs_have_the_same_parameters_value_by_value(
    scale: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, project = scale
    monkeypatch.chdir(project)
    for job in jobs(scale):
        read = dict(dvc_graph(project)[dvc_name(job)]["params"])
        names = [file for file, tree in read.items() if job.stage.collects and set(tree) == {"_rows"}]
        rows = {Path(file).stem: read.pop(file)["_rows"] for file in names}
        trees = []
        for path, key in job.sources:
            tree = read.pop(path.as_posix())
            trees.append(tree[key] if key else {path.stem: tree})
        assert not read, f"{dvc_name(job)}: DVC alone depends on {sorted(read)}"
        merged = deep_merge(trees)
        if job.stage.collects:  # rows that `each` makes have the names of `_rows` of the recipes
            known = {name for cell in job.cells["train_autoencoder"].values() if (name := cell.recipe)}
            assert set(rows) <= known
            assert [t["id"] for t in merged.get("tables", [])] == [t["id"] for t in job.parameters.get("tables", [])]
            merged, expected = (
                {k: v for k, v in t.items() if k not in ("tables", "figures")} for t in (merged, job.parameters)
            )
        else:
            expected = job.parameters
        assert merged == expected  # 3 and 3.0 are one value, here and in DVC


def test_snakemake_tracks_exactly_the_identity_of_each_job(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished)
    tracked: dict[str, list[str]] = {}
    for file in (finished / ".snakemake/metadata").rglob("*"):
        record = json.loads(file.read_text())
        card = record["shellcmd"].removeprefix("card=").split()[0]
        params = record["params"]
        tracked["@".join(Path(card).parts[-3:-1])] = ast.literal_eval(params) if isinstance(params, str) else params
    made = {dvc_name(job): job for job in Grid(OWN)}
    assert tracked.keys() == made.keys()
    for name, params in tracked.items():
        assert {ast.literal_eval(text) for text in params} == {made[name].identity, made[name].cell}
