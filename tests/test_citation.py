"""The project can be cited: CITATION.cff is valid, agrees with the package, and codemeta.json follows from it."""

import json
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def cffconvert(*arguments: str) -> str:
    """Output of cffconvert, in an environment of its own: its jsonschema is older than what the workflow can use."""
    if not shutil.which("uv"):
        pytest.skip("uv, which fetches cffconvert, is not installed")
    command = ["uv", "tool", "run", "--quiet", "--from", "cffconvert==2.0.0", "cffconvert", "-i", "CITATION.cff"]
    done = subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode and "cffconvert" in done.stderr and "resolv" in done.stderr + done.stdout:
        pytest.skip("cffconvert cannot be fetched here (no network)")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_citation_file_is_valid() -> None:
    assert "valid" in cffconvert("--validate")


def test_codemeta_follows_from_the_citation_file() -> None:
    assert json.loads(cffconvert("-f", "codemeta")) == json.loads((ROOT / "codemeta.json").read_text(encoding="utf-8"))


def test_the_citation_file_agrees_with_the_package() -> None:
    citation = YAML(typ="safe", pure=True).load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {
        name: citation[key] for name, key in {"name": "title", "version": "version", "license": "license"}.items()
    } == {name: PROJECT[name] for name in ("name", "version", "license")}
