"""What a command says on a terminal of any encoding, and in files where no terminal is."""

import logging
from pathlib import Path

import pytest
from contract_support import edit
from tests_support import call

from favae.runtime import progress

ASCII = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.slow
def test_a_character_that_the_terminal_cannot_show_stops_no_command(project: Path) -> None:
    edit(project, "datasets.yaml", "kind: ffhq", "kind: ffhq, root: gesichter-ä-σ")
    done = call(project, "favae", "plan", "prepare_dataset", "--scale", "paper", check=False, **ASCII)
    assert "Traceback" not in done.stderr
    assert r"root=gesichter-\xe4-\u03c3" in done.stdout
    log = project / "data/log"
    command = "favae", "run", "prepare_dataset", "ffhq", "--scale", "paper", "--log", str(log)
    done = call(project, *command, check=False, **ASCII)
    assert done.returncode == 1
    assert "gesichter-ä-σ" in (said := log.read_text(encoding="utf-8"))
    assert "set PYTHONUTF8=1" in said


def test_the_progress_of_a_resumed_loop_says_the_rate_of_what_was_done_now(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter(range(0, 10_000, 10))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(seconds)))
    caplog.set_level(logging.INFO)
    show = progress.following("faces")
    for done in range(601, 604):
        show(done, 603)
    assert "faces: 602/603  0.1/s  ETA 00:10" in caplog.text
    assert "faces: 603/603 done in" in caplog.text
