# Two commands on a fresh machine: `make demo` and `make test`. Each sets up what it needs.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
LOCKED := constraints.txt
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PATH := $(CURDIR)/$(BIN):$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true
export DVC_NO_ANALYTICS := 1
export HF_HUB_DISABLE_TELEMETRY := 1
# Without compiled modules every command takes three times as long to start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test test-all test-rest test-rare lock lint peers bench ui report clean
.DEFAULT_GOAL := help

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 11

setup: $(STAMP)  ## install everything into .venv (does nothing the second time)

# Every package is checked against the hashes of constraints.txt, except torch and the libraries of its GPU build: its builds for a
# CPU, for each CUDA and for ROCm have other bytes. torch comes first and with pip: a build that is there or configured stays.
$(STAMP): pyproject.toml $(LOCKED)
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo 'venv is missing: apt-get install python3-venv'; exit 1; }
	@sed -n '/^uv==/,/[^\]$$/p' $(LOCKED) >$(VENV)/uv.txt
	@grep -oE '^(torch|triton|cuda-[a-z]+|nvidia-[a-z0-9-]+)==' $(LOCKED) | tr -d = >$(VENV)/torch.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep -o '^torch==[^ ]*' $(LOCKED))"
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --excludes $(VENV)/torch.txt -r $(LOCKED)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	$(BIN)/python -I -m pip check --disable-pip-version-check
	@touch $(STAMP)

demo: setup  ## the whole DAG, small, on real photographs; tables and figures in data/demo/reports
	snakemake --config scale=demo
	$(MAKE) --no-print-directory report SCALE=demo
	@favae page demo
	@favae compare demo --brief || true

SCALE ?= demo
report: setup  ## Snakemake's HTML report of a scale (SCALE=demo)
	snakemake --config scale=$(SCALE) --report data/$(SCALE)/reports/report.html --quiet all
	@echo "tables and figures: data/$(SCALE)/reports/   report: data/$(SCALE)/reports/report.html   runs: make ui"

# A file's tests stay in one process, which shares its fixtures; tests/conftest.py orders the files. There are more processes than
# cores: tests wait for clocks and other programs, and half of the time for a cluster. On two cores, this is the fastest.
PYTEST := pytest -q --dist loadfile --no-loadscope-reorder
test: setup  ## all tests but those that run a whole DAG, kill it, or need SLURM (under ten minutes on two cores)
	@echo 'not in `make test`, but in `make test-all`: tests on a whole DAG, kills at random moments, a private SLURM'
	$(PYTEST) -n 3

test-rest: setup  ## tests that `make test-all` adds to `make test`
	$(PYTEST) -n 5 -m '(slow or slurm) and not rare'

test-all: test test-rest  ## the quick tests, then SLURM, random kills and whole DAGs (under half an hour on two cores)

test-rare: setup  ## tests of rare cases: real faces, no network, odd environments, other sites, the newest SLURM, two nodes, overheads
	$(PYTEST) -n 5 -m rare

# uv keeps the versions that are in the file where pyproject.toml allows them; UPGRADE=--upgrade takes the newest.
LOCK := uv pip compile --quiet pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes --no-annotate --no-header
lock:  ## write constraints.txt again, after a change of pyproject.toml (UPGRADE=--upgrade: newest versions)
	@$(LOCK) $(UPGRADE) --output-file $(LOCKED)
	@sed -i '1i # Written by `make lock`: every package of the project, with the hashes of its files for all systems. How to install: workflow/docs/install.md.' $(LOCKED)

lint: setup  ## ruff, snakefmt, mypy
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow
	mypy

# The peer of one benchmark demands an old version of a package that the project needs, so it stands apart, without its dependencies.
PEERS := $(VENV)/peers
PEER := stylegan2-pytorch==1.9.0 --hash=sha256:66ba30e2fb1f1d21f3253665bb51e08338859a51cf1b71a79dbc0107bb79b0c9
peers: setup
	@test -d $(PEERS)/stylegan2_pytorch || echo '$(PEER)' | uv pip install --quiet --no-deps --require-hashes --target $(PEERS) -r -

bench test: export PYTHONPATH := $(CURDIR)/$(PEERS)$(if $(PYTHONPATH),:$(PYTHONPATH))
bench: peers  ## measure losses, training step, sampling, evaluation and data path compared with other implementations (about ten minutes)
	favae bench --write workflow/docs/benchmarks.md

ui: setup  ## MLflow in a browser
	favae mlflow-sync
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false mlflow ui --app-name favae --workers 1 --backend-store-uri $${MLFLOW_TRACKING_URI:-sqlite:///mlflow.db}

clean:  ## remove results and resume state of the demo (not raw data, not the environment)
	rm -rf data/demo data/state/demo
