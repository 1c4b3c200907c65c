"""The environment as a container: both definitions say the same, of files that exist; and what Snakemake says of the workflow.

The image is built only if FAVAE_BUILD_IMAGE is set: that takes ten minutes and 25 GB.
"""

import json
import os
import re
import shutil
import subprocess
import tarfile
import tomllib
from pathlib import Path

import pytest
from tests_support import ROOT, call

from favae.config.load import read_yaml
from favae.results.run_record import environment

FOLDER = ROOT / "workflow/container"
BOOKWORM = (3, 11)  # version of Python in the base image


def containerfile() -> dict[str, list[str]]:
    """Instruction -> its arguments, continued lines joined."""
    text = (FOLDER / "Containerfile").read_text().replace("\\\n", "")
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            word, _, rest = line.partition(" ")
            found.setdefault(word, []).append(" ".join(rest.split()))
    return found


def definition() -> dict[str, list[str]]:
    """Section of the Apptainer definition -> its lines; "" is the header."""
    parts = re.split(r"^%(\w+)\n", (FOLDER / "favae.def").read_text(), flags=re.MULTILINE)
    sections = {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}
    lines = {name: [line.strip() for line in text.splitlines()] for name, text in sections.items()}
    return {name: [line for line in found if line and not line.startswith("#")] for name, found in lines.items()}


def test_both_definitions_have_the_same_base_files_and_steps() -> None:
    ours, theirs = containerfile(), definition()
    assert ours["FROM"][0].endswith(theirs[""][1].removeprefix("From: "))
    steps = [step.strip() for run in ours["RUN"] for step in run.split("&&")]
    assert steps == [line for line in theirs["post"] if not line.startswith("cd ")]
    copied = {source for copy in ours["COPY"] for source in copy.split()[:-1]}
    assert copied == {line.split()[0] for line in theirs["files"]}
    assert all((ROOT / source).exists() for source in copied)
    shell = "set -e\n" + "\n".join(theirs["post"])
    assert subprocess.run(["sh", "-n", "-c", shell], check=False).returncode == 0


def test_the_image_has_what_the_package_needs_to_be_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    copied = containerfile()["COPY"][0].split()
    assert project["readme"] in copied
    least = tuple(int(part) for part in project["requires-python"].removeprefix(">=").split("."))
    assert least <= BOOKWORM
    assert "--require-hashes -r constraints.txt" in " ".join(containerfile()["RUN"])


@pytest.mark.slow
@pytest.mark.rare
@pytest.mark.skipif(not os.environ.get("FAVAE_BUILD_IMAGE"), reason="takes 10 minutes and 25 GB; FAVAE_BUILD_IMAGE=yes")
@pytest.mark.skipif(not shutil.which("buildah") or os.getuid() != 0, reason="needs buildah, mmdebstrap and root")
def test_the_image_is_built_from_packages_of_debian(tmp_path: Path) -> None:
    archive = tmp_path / "favae.oci.tar"
    subprocess.run([FOLDER / "build", archive], check=True, timeout=3000)
    with tarfile.open(archive) as tar:

        def blob(entry: dict[str, str]) -> dict:
            return json.load(tar.extractfile("blobs/" + entry["digest"].replace(":", "/")))

        (entry,) = json.load(tar.extractfile("index.json"))["manifests"]
        environment = blob(blob(entry)["config"])["config"]["Env"]
    assert f"FAVAE_IMAGE={archive.name}" in environment
    assert any(word.startswith("PATH=/opt/favae/.venv/bin:") for word in environment)


def test_the_script_that_builds_it_has_the_base_of_the_containerfile() -> None:
    script = (FOLDER / "build").read_text()
    assert subprocess.run(["bash", "-n", FOLDER / "build"], check=False).returncode == 0
    command = re.findall(r"^base=\$\((.+)\)$", script, re.MULTILINE)[0]
    base = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    assert base == containerfile()["FROM"][0]
    assert base.rpartition(":")[2].removesuffix("-slim") == "bookworm"


def test_the_workflow_uses_the_image_of_the_definition() -> None:
    (image,) = re.findall(r'^container: "([^"]+)"', (ROOT / "Snakefile").read_text(), re.MULTILINE)
    assert f"apptainer build {image} workflow/container/favae.def" in (FOLDER / "favae.def").read_text()
    ignored = subprocess.run(["git", "check-ignore", "-q", image], cwd=ROOT, check=False)
    assert ignored.returncode == 0


@pytest.mark.parametrize("variable", ["APPTAINER_CONTAINER", "FAVAE_IMAGE"])
def test_a_run_record_names_the_image(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("APPTAINER_CONTAINER", "SINGULARITY_CONTAINER", "FAVAE_IMAGE"):
        monkeypatch.delenv(name, raising=False)
    assert environment()["image"] is None
    monkeypatch.setenv(variable, "/images/favae.sif")
    assert environment()["image"] == "/images/favae.sif"


def test_the_linter_of_snakemake_has_nothing_to_say(project: Path) -> None:
    done = call(project, "snakemake", "--lint")
    assert "Congratulations" in done.stdout + done.stderr


def test_the_workflow_catalog_finds_how_software_is_installed() -> None:
    usage = read_yaml(ROOT / ".snakemake-workflow-catalog.yml")["usage"]
    assert set(usage) == {"mandatory-flags", "software-stack-deployment", "report"}
    assert usage["software-stack-deployment"]["apptainer"] is True


def test_the_workflow_catalog_finds_the_workflow() -> None:
    readme = (ROOT / "README.md").read_text().lower()
    assert "snakemake" in readme
    assert "workflow" in readme
    assert (ROOT / "Snakefile").is_file()
    assert list((ROOT / "workflow/rules").glob("*.smk"))
