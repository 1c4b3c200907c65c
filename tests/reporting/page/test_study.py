"""The perceptual study: what the page asks, what the answers say, and who is left out."""

import json
from pathlib import Path
from typing import Any

import pytest
from page_support import Shown, finish_reports
from scipy import stats
from tests_support import call

from favae.config.errors import ConfigError
from favae.reporting.page.source import Source
from favae.reporting.page.study import preference, read_answers, write_study

MODELS = ("natural-f4-vqgan-on-natural", "natural-f4-favae-on-natural")


def answers(folder: Path, name: str, wins: int, losses: int, missed: int = 0, caught: int = 5) -> Path:
    """A file of a participant who chose the first model `wins` times, half of the time on the left."""
    trials = []
    for i in range(wins + losses):
        left, right = MODELS if i % 2 else MODELS[::-1]
        want = MODELS[0] if i < wins else MODELS[1]
        trials.append({"image": f"{i}", "left": left, "right": right, "chosen": "left" if left == want else "right"})
    for i in range(caught + missed):
        trials.append(
            {"image": f"c{i}", "left": "original", "right": MODELS[0], "chosen": "left" if i < caught else "right"}
        )
    content = {"study": "s" * 64, "scale": "tiny", "models": MODELS, "participant": name, "seed": 1}
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content | {"trials": [trial | {"milliseconds": 900} for trial in trials]}))
    return path


def test_the_preference_has_the_exact_binomial_interval(tmp_path: Path) -> None:
    result = preference(read_answers([answers(tmp_path, "a", 14, 6), answers(tmp_path, "b", 12, 8)]))
    assert (result.chosen, result.trials) == (26, 40)
    # Clopper and Pearson: quantiles of beta distributions.
    assert result.low == pytest.approx(stats.beta.ppf(0.025, 26, 15))
    assert result.high == pytest.approx(stats.beta.ppf(0.975, 27, 14))
    assert result.p == pytest.approx(min(1, 2 * stats.binom.sf(25, 40, 0.5)))
    assert "no preference is shown" in "\n".join(result.lines())


def test_participants_who_miss_catch_trials_are_left_out(tmp_path: Path) -> None:
    files = [answers(tmp_path, "attentive", 9, 1), answers(tmp_path, "asleep", 0, 10, missed=3, caught=2)]
    result = preference(read_answers(files))
    assert (result.chosen, result.trials, result.left_out) == (9, 10, 1)
    with pytest.raises(ValueError, match="no trial is left"):
        preference(read_answers(files[1:]))


def test_answers_of_another_study_or_twice_the_same_person_are_refused(tmp_path: Path) -> None:
    first = answers(tmp_path, "a", 1, 1)
    with pytest.raises(ValueError, match="a second file of the participant a"):
        read_answers([first, first])
    other = tmp_path / "other.json"
    other.write_text(first.read_text().replace("s" * 64, "t" * 64).replace('"participant": "a"', '"participant": "b"'))
    with pytest.raises(ValueError, match="another study"):
        read_answers([first, other])
    for content in (b"{}", b"\xff", b"[" * 100_000):
        other.write_bytes(content)
        with pytest.raises(ValueError, match=r"other\.json: expected the answers.*\)$"):
            read_answers([other])
    first.write_bytes(b"\xef\xbb\xbf" + first.read_bytes())  # saved again by an editor of Windows
    assert read_answers([first])


def test_no_study_of_photographs_that_may_not_be_published(project: Path) -> None:
    finish_reports(project)
    models = ("natural-f4-vqgan-on-scientific", "natural-f4-favae-on-scientific")
    with pytest.raises(ConfigError, match="photographs of scientific may not be published"):
        write_study(Source.of("tiny"), models, Path("study"))
    with pytest.raises(ConfigError, match="natural-f4-vqgan-on-natural"):
        write_study(Source.of("tiny"), ("natural-f4-vqgan-on-natura", MODELS[1]), Path("study"))


def test_answers_beside_the_page_are_not_removed_by_another_study(project: Path) -> None:
    finish_reports(project)
    write_study(Source.of("tiny"), None, Path("study"))
    answers(Path("study"), "a", 1, 1)
    with pytest.raises(FileExistsError, match=r"study/a\.json is in the way"):
        write_study(Source.of("tiny"), MODELS, Path("study"))
    assert Path("study/a.json").exists()


def test_names_of_files_do_not_tell_the_model(project: Path) -> None:
    finish_reports(project)
    count = write_study(Source.of("tiny"), None, Path("study"))
    assert count == 6 + 2  # six images, and a catch trial for each four
    names = [path.name for path in Path("study/images").iterdir()]
    assert len(names) == 6 * 3
    assert not any("favae" in name or "original" in name for name in names)


def test_a_participant_answers_with_the_keyboard_and_saves_a_file_that_is_read(
    browser: Any, project: Path, tmp_path: Path
) -> None:
    finish_reports(project)
    write_study(Source.of("tiny"), MODELS, Path("study"))
    page = Shown(browser, project / "study")
    page.requests(), page.errors()
    browser.get((project / "study/index.html").as_uri())
    assert page.violations() == []
    page.click("#start")
    assert page.violations() == []
    for _ in range(8):
        page.keys("\ue012")  # left
    assert page.run("return document.getElementById('trial').hidden && !document.getElementById('end').hidden")
    assert page.errors() == []
    assert {url.partition(":")[0] for url in page.requests()} <= {"file", "data", "about", "blob"}
    file = tmp_path / "answers.json"
    file.write_text(json.dumps(page.run("return favae.answers()")))
    (read,) = read_answers([file])
    assert len(read.trials) == 8 and {trial.chosen for trial in read.trials} == {"left"}
    assert len({trial.left for trial in read.trials}) > 1  # sides are drawn
    said = call(project, "favae", "study-result", str(answers(tmp_path, "a", 9, 1))).stdout
    assert said.startswith(
        "natural-f4-vqgan-on-natural preferred to natural-f4-favae-on-natural in 9 of 10 trials: 90.0%"
    )
