"""Files of a project that were damaged: each command heals them, or says in one line which file it is and what to type."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError
from tests_support import call, write_params

from favae.data.digest import RAW_TABLE
from favae.jobs.grid import Job, load_grid
from favae.reporting.results import Results
from favae.results import equivalences
from favae.results.cards import read_card
from favae.results.code_state import MIXED
from favae.results.git import read_git_record
from favae.results.live import look
from favae.results.run_record import read_run_record
from favae.results.status import Check, State, state_of, statuses
from favae.runtime import paths
from favae.runtime.slurm import allocated_nodes, booked_gpus, describe_job, job_number
from favae.runtime.slurm import requeue as requeue_job
from favae.stages.failures import cause_of
from favae.stages.runner import run_job
from favae.sync.audit import _different_numbers
from favae.sync.bundle_evidence import _means

DATA = ("prepare_dataset", "scientific")
READER = ("compute_reference_statistics", "scientific")


@pytest.fixture(scope="module")
def _prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    write_params(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        load_grid.cache_clear()
        run_job(load_grid("tiny").job(*DATA), threads=1)
        load_grid.cache_clear()
    return folder


@pytest.fixture
def prepared(_prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project with one prepared data set, as the working directory."""
    folder = Path(shutil.copytree(_prepared, tmp_path / "project"))
    monkeypatch.chdir(folder)
    load_grid.cache_clear()
    yield folder
    load_grid.cache_clear()


def job(stage: str, cell: str) -> Job:
    return load_grid("tiny").job(stage, cell)


def shards() -> Path:
    return paths.result_dir("tiny", *DATA) / paths.SHARDS


@pytest.mark.parametrize("damaged", ["test-00000.npy", paths.INDEX, "gone"])
def test_a_job_that_fails_because_of_a_damaged_input_names_it_and_what_to_do(prepared: Path, damaged: str) -> None:
    if damaged == "gone":
        next(shards().glob("*.npy")).unlink()
    else:
        file = shards() / damaged
        content = bytearray(file.read_bytes())
        content[3] ^= 1
        file.write_bytes(content)
    with pytest.raises(ValueError, match=r"scientific/shards, an input, is not what .*card\.json says.*`favae adopt`"):
        run_job(job(*READER), threads=1)


def test_an_error_whose_inputs_are_whole_is_left_as_it_is(prepared: Path) -> None:
    assert cause_of(job(*READER), KeyError("x")) is None
    (paths.result_dir("tiny", *DATA) / paths.CARD).write_text("{")
    assert "card.json, an input, is not what" in str(cause_of(job(*READER), KeyError("x")))


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        OSError("65536 requested and 4096 written"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_said_as_such_whichever_library_meets_it(prepared: Path, error: Exception) -> None:
    said = cause_of(job(*READER), error)
    assert isinstance(said, OSError)
    assert "there is no space left below data" in str(said) and "make room and start again" in str(said)
    assert cause_of(job(*READER), OSError("x cannot be written (No space left on device); make room")) is None


def test_an_error_of_the_system_without_a_file_says_where_and_what_to_do(prepared: Path) -> None:
    said = str(cause_of(job(*READER), OSError(27, "File too large")))
    assert said.startswith(
        "a file below data or data/raw cannot be written or read (OSError: [Errno 27] File too large)"
    )
    assert "`ulimit -f`" in said
    assert cause_of(job(*READER), OSError(13, "Permission denied", "data/x")) is None


def test_unfinished_work_whose_code_is_not_known_any_more_counts_as_of_changed_code(
    prepared: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = job(*READER)
    run_job(one, threads=1)
    one.card.unlink()
    shutil.rmtree(paths.spare_dir("tiny", *READER))
    state = paths.state_dir("tiny", *READER, key=resume(one))
    (state / "begun").mkdir(parents=True)
    (state / "code.json").write_bytes(b"{\xff")
    run_job(one, threads=1)
    assert f"{state / 'code.json'} is damaged" in caplog.text and f"remove {state}" in caplog.text
    record = read_run_record("tiny", *READER)
    assert record is not None and record.code is not None
    assert {digest for units in record.code.units.values() for digest in units.values()} == {MIXED}
    found = {other.name: state for other, state, _ in statuses("tiny", check="sizes")}
    assert found[one.name] is State.CODE


def resume(one: Job) -> str:
    from favae.results.cards import input_hashes, resume_key

    return resume_key(one, input_hashes(one))


@pytest.mark.parametrize(
    "content", [b"", b"name,bytes\nx,1\n", b"name,bytes,sha256\n\xff,1,\n", b'name,bytes,sha256\n"' + b"x" * 200_000]
)
def test_a_damaged_listing_of_raw_data_is_named(tmp_path: Path, prepared: Path, content: bytes, monkeypatch) -> None:
    from favae.config.dataset import DatasetConfig
    from favae.data.digest import raw_changes

    raw = tmp_path / "raw/mine"
    raw.mkdir(parents=True)
    from PIL import Image

    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(raw / "a.png")
    layout = {"kind": "folder", "root": "mine", "split": "hash", "val_share": 0.2, "test_share": 0.2}
    config = DatasetConfig.model_validate({"layout": layout, "image_size": 4})
    (shards() / RAW_TABLE).write_bytes(content)
    if content:
        with pytest.raises(ValueError, match=r"raw\.csv is damaged"):
            raw_changes(config, shards(), tmp_path / "raw")
    else:
        assert raw_changes(config, shards(), tmp_path / "raw") == ["added: a.png"]


@pytest.mark.parametrize("content", [b"\xff", b"[]", b"{", b"[" * 100_000])
def test_a_damaged_record_of_git_counts_as_none(prepared: Path, content: bytes) -> None:
    paths.git_record().parent.mkdir(parents=True, exist_ok=True)
    paths.git_record().write_bytes(content)
    assert read_git_record() == {}


@pytest.mark.parametrize(
    "line", [b"[" * 100_000, b'{"step": "6"}', b'{"step": [1]}', b"\xff", b'{"step": 1, "train/l1": "a"}']
)
def test_damaged_curves_of_a_running_training_do_not_stop_a_look_at_it(prepared: Path, line: bytes) -> None:
    one = job("train_autoencoder", "natural-f4-favae")
    state = paths.state_dir("tiny", "train_autoencoder", one.cell, key="k" * 64)
    state.mkdir(parents=True)
    (state / "curves.jsonl").write_bytes(line + b'\n{"step": 4, "train/l1": 0.5}\n')
    found = look(load_grid("tiny"), one)
    assert (found.step, found.losses) == (4, {"train/l1": 0.5})


def test_a_file_name_that_is_not_utf_8_does_not_stop_a_run(project: Path) -> None:
    os.close(os.open(os.fsencode(project / "params") + b"/caf\xe9.yaml", os.O_CREAT))
    call(project, "favae", "internal", "start")
    head = json.loads((project / "data/state/head.json").read_text())
    assert head["dirty"] == ["params/caf\\xe9.yaml"]


def test_a_dvc_configuration_that_cannot_be_read_is_named_and_fails_no_finished_run(project: Path) -> None:
    call(project, "favae", "internal", "start")
    call(project, "favae", "run", *DATA)
    config = (project / ".dvc/config").read_bytes()
    with (project / ".dvc/config").open("a") as file:
        file.write("<<<<<<< HEAD\n")
    for command in (("lock",), ("status",)):
        done = call(project, "favae", *command, check=False)
        assert done.returncode == 1
        assert ".dvc/config cannot be read" in done.stderr and "git checkout .dvc/config" in done.stderr
        assert "Traceback" not in done.stderr
    finish = call(project, "favae", "internal", "finish")
    assert "results not recorded in DVC (.dvc/config cannot be read" in finish.stderr
    unfinished = project / "data/state/unfinished"
    assert unfinished.exists(), "the next snakemake would not try again"
    (project / ".dvc/config").write_bytes(config)
    call(project, "favae", "internal", "finish")
    assert not unfinished.exists()


def test_what_dvc_keeps_is_made_again_where_it_is_damaged(project: Path) -> None:
    call(project, "favae", "run", *DATA)
    call(project, "favae", "lock", check=False)  # the others are missing
    whole = (project / "dvc.lock").read_bytes()
    listing = next((project / ".dvc/cache/files/md5").rglob("*.dir"))
    content = listing.read_bytes()
    listing.chmod(0o644)
    listing.write_bytes(content[:50])
    (project / "dvc.yaml").write_bytes(b"\xff" + (project / "dvc.yaml").read_bytes())
    done = call(project, "favae", "lock", check=False)
    assert f"{listing.relative_to(project)} is damaged; it is made again" in done.stderr
    assert listing.read_bytes() == content
    call(project, "favae", "graph", "--check")
    place = whole.index(b"md5: ") + 5
    (project / "dvc.lock").write_bytes(whole[:place] + b"\xff" + whole[place + 1 :])
    call(project, "favae", "lock", check=False)
    assert (project / "dvc.lock").read_bytes() == whole
    assert "not recorded" not in call(project, "favae", "status", check=False).stderr
    (project / ".dvc/tmp/rwlock").write_bytes(b"")  # as a DVC leaves it that was killed between opening and writing
    assert "RWLock-file" in call(project, "dvc", "status", check=False).stderr
    assert ".dvc/tmp/rwlock is damaged" in call(project, "favae", "lock", check=False).stderr
    call(project, "dvc", "status")


def test_a_folder_in_place_of_a_card_makes_one_cell_corrupt_and_its_readers_stale(prepared: Path) -> None:
    run_job(job(*READER), threads=1)
    card = job(*DATA).card
    card.unlink()
    card.mkdir()
    found = {one.name: (state, reason) for one, state, reason in statuses("tiny", check="sizes")}
    assert found["/".join(DATA)] == (State.CORRUPT, f"{card}: not a regular file; move it away")
    assert found["/".join(READER)] == (State.STALE, f"input {card} cannot be read (Is a directory)")


@pytest.mark.timeout(60)  # the pipe is never waited for
@pytest.mark.parametrize("check", ["remembered", "bytes"])
def test_a_pipe_in_place_of_an_output_makes_it_corrupt(prepared: Path, check: Check) -> None:
    name = next(iter(read_card(job(*DATA).card).outputs))
    shutil.rmtree(name)
    os.mkfifo(name)
    assert state_of(job(*DATA), check=check) == (State.CORRUPT, f"{name} cannot be read (not a regular file)")


@pytest.mark.parametrize("value", ["NaN", "-Infinity"])
def test_a_card_with_a_fact_that_is_no_number_is_no_card(prepared: Path, value: str) -> None:
    card = job(*DATA).card
    card.write_text(card.read_text().replace('"summary": {', f'"summary": {{"images_per_class": [{value}], ', 1))
    state, reason = state_of(job(*DATA))
    assert state is State.CORRUPT and reason.startswith(f"{card}: not a valid card (")


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_in_place_of_the_list_of_equal_versions_is_named(tmp_path: Path, make) -> None:
    make(tmp_path / "same.json")
    with pytest.raises(ValueError, match=r"same\.json: not a regular file"):
        equivalences.read(tmp_path / "same.json")


@pytest.mark.parametrize(
    "content", ["[]", "7", '{"psnr_test": 3}', '{"psnr_test": {}}', '{"psnr_test": {"value": "high"}}']
)
def test_metrics_of_another_shape_are_named(tmp_path: Path, content: str) -> None:
    (tmp_path / paths.METRICS).write_text(content)
    with pytest.raises(ValueError, match=r"metrics\.json: damaged.*favae adopt"):
        Results("tiny", {"e/x": tmp_path}).metrics("e/x")


def test_a_table_with_a_field_without_end_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("row,metric\n" + "x" * 200_000)
    (said,) = _different_numbers(tmp_path / "t.csv", "row,metric\na,b\n")
    assert "t.csv: is no table" in said and "`favae adopt`" in said


def test_empty_variables_of_slurm_are_no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_RESTART_COUNT", "SLURM_STEP_GPUS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("FAVAE_REQUEUE", "allowed")
    assert (describe_job(), booked_gpus(), job_number(), allocated_nodes()) == (None, None, 0, [])
    assert not requeue_job()


@pytest.mark.parametrize(
    "content", [b"id,psnr\n1,\xff\n", b"id,psnr\n1," + b"9" * 200_000, b"id,psnr\n1\n", b"", b"\0"]
)
def test_damaged_values_of_images_give_no_mean_to_an_audit(tmp_path: Path, content: bytes) -> None:
    """Their comparison with the card names the file."""
    (tmp_path / paths.IMAGES).write_bytes(content)
    assert _means(tmp_path / paths.IMAGES) == {}
