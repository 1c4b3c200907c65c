"""`sacct` and `sbatch` of the workflow, in front of fake commands that answer like those of SLURM during failures."""

import subprocess
from pathlib import Path

import pytest
from tests_support import ROOT

from favae.runtime.slurm import requeue
from favae.runtime.slurm_queue import RELEASES, QueueWatch

QUERY = ("-X", "--parsable2", "--clusters", "all", "--noheader", "--format=JobIdRaw,State", "--name", "run")
DISABLED = 'echo "Slurm accounting storage is disabled" >&2; exit 1'
AWAY = 'echo "slurm_load_jobs error: Unable to contact slurm controller (connect failure)" >&2; exit 1'


@pytest.fixture
def ask(tmp_path: Path):
    """Run a command of workflow/slurm-bin in front of fakes: `ask("sacct", arguments, sacct="...", squeue="...")`."""

    def run(command: str, *arguments: str, **fakes: str) -> subprocess.CompletedProcess[str]:
        for name, body in fakes.items():
            fake = tmp_path / name
            fake.write_text(f"#!/bin/bash\n{body}\n")
            fake.chmod(0o755)
        ours = ROOT / "workflow/slurm-bin"
        environment = {"PATH": f"{ours}:{tmp_path}:/usr/bin:/bin", "HERE": str(tmp_path)}
        return subprocess.run([command, *arguments], env=environment, capture_output=True, text=True, timeout=60)

    return run


def test_a_cancelled_state_is_reported_without_the_user_id(ask) -> None:
    done = ask("sacct", *QUERY, sacct=r'printf "7|CANCELLED by 1000\n8|RUNNING\n"', squeue="exit 9")
    assert (done.returncode, done.stdout) == (0, "7|CANCELLED\n8|RUNNING\n")


def test_without_accounting_states_come_from_squeue(ask) -> None:
    done = ask("sacct", *QUERY, sacct=DISABLED, squeue='echo "$*" >$HERE/asked; echo "7|COMPLETED"')
    assert (done.returncode, done.stdout) == (0, "7|COMPLETED\n")


def test_while_both_are_unreachable_nothing_is_reported_and_nothing_fails(ask) -> None:
    done = ask("sacct", *QUERY, sacct=AWAY, squeue=AWAY)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("squeue", "state"),
    [
        ("echo PENDING", "PENDING"),
        ("true", "CANCELLED"),
        ('echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1', "CANCELLED"),
        (AWAY, "PREEMPTED"),
    ],
)
def test_a_preempted_job_that_left_the_queue_is_cancelled(ask, squeue: str, state: str) -> None:
    done = ask("sacct", *QUERY, sacct=r'printf "7|PREEMPTED\n8|RUNNING\n"', squeue=squeue)
    assert (done.returncode, done.stdout) == (0, f"7|{state}\n8|RUNNING\n")


def test_without_accounting_the_reason_comes_from_squeue(ask) -> None:
    fakes = {"sacct": DISABLED, "squeue": "echo NonZeroExitCode"}
    assert ask("sacct", "-j", "7.0", "--format=Reason", "--noheader", **fakes).stdout == "NonZeroExitCode\n"
    later = ask("sacct", "-j", "7.1", "--format=Reason", "--noheader", **fakes)
    assert (later.returncode, later.stdout) == (0, "")


def test_other_calls_of_sacct_go_to_the_real_command(ask) -> None:
    done = ask("sacct", "-j", "7", "-o", "elapsed", sacct='echo "real $*"; exit 3')
    assert (done.returncode, done.stdout) == (3, "real -j 7 -o elapsed\n")


def test_no_node_is_excluded_for_a_job_that_was_requeued_after_a_failure_of_its_node(ask) -> None:
    done = ask("sacct", "-j", "7", "-n", "-X", "-o", "nodelist%-256", sacct='echo "None assigned"')
    assert (done.returncode, done.stdout) == (0, "")


def test_a_submission_waits_for_the_controller(ask, tmp_path: Path) -> None:
    body = f"[ -e $HERE/back ] && {{ echo 12; exit 0; }}; touch $HERE/back; {AWAY}"
    done = ask("sbatch", "--parsable", "--wrap=true", sbatch=body)
    assert (done.returncode, done.stdout, done.stderr) == (0, "12\n", "")


def test_a_refused_submission_gives_its_reason_at_once(ask) -> None:
    refusal = "sbatch: error: Batch job submission failed: Requested node configuration is not available"
    done = ask("sbatch", "--parsable", "--wrap=true", sbatch=f'echo "{refusal}" >&2; exit 1')
    assert (done.returncode, done.stdout, done.stderr.strip()) == (1, "", refusal)


def test_jobs_append_to_their_log_and_may_requeue_themselves(ask) -> None:
    done = ask("sbatch", "--parsable", sbatch='echo "$FAVAE_REQUEUE $*"')
    assert done.stdout == "allowed --open-mode=append --parsable\n"


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`queue("7|reason|folder|comment", ...)` is what `squeue` answers from then on."""

    def answer(*lines: str, scontrol: str = "echo $* >>$HERE/scontrol.said") -> QueueWatch:
        for name, body in {"squeue": "cat <<'END'\n" + "\n".join(lines) + "\nEND", "scontrol": scontrol}.items():
            (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
            (tmp_path / name).chmod(0o755)
        return QueueWatch()

    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("HERE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return answer


def test_jobs_of_this_folder_that_can_never_start_are_reported_once(tmp_path: Path, queue) -> None:
    watch = queue(
        f"7|PartitionTimeLimit|{tmp_path}|rule_a",
        f"8|Priority|{tmp_path}|rule_b",
        f"9|AssocMaxWallDurationPerJobLimit|{tmp_path}|rule_c",
        f"10|JobHeldUser|{tmp_path}|rule_d",
        "11|PartitionTimeLimit|/elsewhere|rule_e",
    )
    first, second, third = watch.look()
    assert "SLURM job 7 (rule_a) will not start: PartitionTimeLimit. Press Ctrl-C" in first
    assert second.startswith("SLURM job 9 (rule_c) will not start")
    assert third == "SLURM job 10 (rule_d) is held: JobHeldUser. To release it: scontrol release 10"
    assert list(watch.look()) == []
    assert not (tmp_path / "scontrol.said").exists(), "what a person holds stays held"


def test_a_job_whose_node_failed_to_start_it_is_released_a_few_times(tmp_path: Path, queue) -> None:
    watch = queue(f"7|launch failed requeued held|{tmp_path}|rule_a", "8|launch failed requeued held|/elsewhere|rule_b")
    for count in range(1, RELEASES + 1):
        (said,) = watch.look()
        assert said.endswith(f"Released, {count} of at most {RELEASES} times")
    (said,) = watch.look()
    assert said.endswith("is held: launch failed requeued held. To release it: scontrol release 7")
    assert list(watch.look()) == []
    assert (tmp_path / "scontrol.said").read_text() == "release 7\n" * RELEASES


def test_a_job_that_may_not_be_released_is_reported(tmp_path: Path, queue) -> None:
    watch = queue(f"7|launch_failed_requeued_held|{tmp_path}|rule_a", scontrol="exit 1")
    (said,) = watch.look()
    assert said.endswith("To release it: scontrol release 7")


def test_only_slurm_jobs_of_a_workflow_are_requeued(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")  # no command may be called
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv("FAVAE_REQUEUE", "allowed")
    assert not requeue()
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.delenv("FAVAE_REQUEUE")
    assert not requeue()


def test_a_cancelled_job_is_not_requeued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, body in {"squeue": "echo COMPLETING", "scontrol": "touch $HERE/requeued"}.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "HERE": str(tmp_path),
        "SLURM_JOB_ID": "7",
        "FAVAE_REQUEUE": "allowed",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert not requeue()
    assert not (tmp_path / "requeued").exists()
