"""`favae check` reports everything that a constructor or a first step would refuse, with file, line, key and a valid
value, and runs nothing."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from tests_support import write_params

from favae.config.errors import ConfigError
from favae.jobs.grid import Grid
from favae.runtime import paths

Edit = Callable[..., Grid]


@pytest.fixture
def edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Edit:
    """The grid `tiny` with values set in blocks of its parameter files: `{"tiny.yaml": {"f4": {"model": {...}}}}`."""

    def edit(changes: dict[str, Any], scale: str = "tiny") -> Grid:
        write_params(tmp_path, product=scale != "tiny")
        yaml = YAML(typ="safe", pure=True)
        for name, values in changes.items():
            file = tmp_path / "params" / name
            tree = yaml.load(file.read_text(encoding="utf-8"))
            _set(tree, values)
            with file.open("w", encoding="utf-8") as handle:
                yaml.dump(tree, handle)
        monkeypatch.chdir(tmp_path)
        return Grid(scale)

    return edit


def _set(tree: dict[str, Any], changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(tree.get(key), dict):
            _set(tree[key], value)
        else:
            tree[key] = value


def f4(**blocks: Any) -> dict[str, Any]:
    return {"tiny.yaml": {"f4": blocks}}


CASES = {
    "an official index of sigmas that are not shared": (
        {
            "table2.yaml": {
                "r12-conv": {"objective": {"spectrum": {"sharing": "per_feature", "sigma_index": "official"}}}
            }
        },
        r"table2\.yaml:\d+: objective\.spectrum\.sigma_index: .*needs sharing 'pairwise'",
    ),
    "3 latent channels with 32 groups": (
        f4(model={"latent_channels": 3, "fcm_groups": 32, "quantizer": {"dim": 3}}),
        r"tiny\.yaml:\d+: model\.fcm_groups: .*got 32 for a layer of 3 channels.*use for example 1",
    ),
    "attention on 12 channels": (
        f4(model={"latent_channels": 12, "fcm": "attention"}),
        r"tiny\.yaml:\d+: model\.fcm: .*feature of 12 channels.*for example 16",
    ),
    "attention at a resolution that no level has": (
        f4(model={"attention_resolutions": [7]}),
        r"model\.attention_resolutions: .*got \[7\], which no level has; expected some of \[24, 12, 6\]",
    ),
    "a kernel too large for the latent": (
        {"table2.yaml": {"r12-conv": {"objective": {"spectrum": {"kernel_size": 13}}}}},
        r"table2\.yaml:\d+: objective\.spectrum\.kernel_size: .*feature of 6x6.*at most 11",
    ),
    "a spectrum loss without features": (
        {"table2.yaml": {"r12-conv": {"model": {"fcm": "none"}}}},
        r"objective\.spectrum\.kind: a spectrum loss got 0 pairs .* with fcm 'none'",
    ),
    "a size that cannot be halved": (
        f4(model={"image_size": 26}),
        r"tiny\.yaml:\d+: model\.image_size: .*use 24 or 28",
    ),
    "an absurd size": (
        f4(model={"image_size": 10**9}),
        r"model\.image_size: .*expected a whole number from 1 to 16,384",
    ),
    "a discriminator too deep for the images": (
        f4(objective={"adversarial": {"discriminator": {"layers": 5}}}),
        r"objective\.adversarial\.discriminator\.layers: .*at least 96: use fewer layers",
    ),
    "a negative seed": (f4(training={"seed": -1}), r"tiny\.yaml:\d+: training\.seed: .*\(found -1\)"),
    "a truth value as a number": (
        f4(optimizer={"base_lr": True}),
        r"tiny\.yaml:\d+: optimizer\.base_lr: .*\(found true\)",
    ),
    "a word as a number": (f4(model={"image_size": "24"}), r'tiny\.yaml:\d+: model\.image_size: .*\(found "24"\)'),
    "a misspelt key": (
        f4(model={"imagesize": 24}),
        r"tiny\.yaml:\d+: model\.imagesize: unknown key; did you mean 'image_size'",
    ),
    "LPIPS of images in which its network leaves no position": (
        {"tiny.yaml": {"evaluation": {"lpips_nets": ["vgg", "alex"]}}},
        r"tiny\.yaml:\d+: lpips_nets: LPIPS with alex needs images of at least 31 x 31 pixels, these are 24 x 24; leave",
    ),
    "SSIM with a window larger than the images": (
        {"evaluation.yaml": {"reconstruction": {"ssim": {"sigma": 4.0}}}},
        r"evaluation\.yaml:\d+: ssim\.sigma: SSIM with sigma 4 needs images of at least 29 x 29 pixels, these are 24 x 24",
    ),
    "a checkerboard whose period does not divide the images": (
        {"evaluation.yaml": {"reconstruction": {"metrics": ["checkerboard"], "checkerboard": {"period": 5}}}},
        r"evaluation\.yaml:\d+: checkerboard\.period: the checkerboard of period 5 needs sides that are multiples of it",
    ),
    "features of images that are too small": (
        {"tiny.yaml": {"tiles": {"image_size": 12}}},
        r"feature_networks: randconv features need images of at least 16 x 16 pixels, these are 12 x 12",
    ),
    "a perceptual loss on images that are too small": (
        f4(objective={"perceptual": {"network": "alex", "weight": 1.0}}),
        r"tiny\.yaml:\d+: objective\.perceptual: LPIPS with alex got images of 24 pixels; it needs at least 31",
    ),
    "heads that do not divide the width": (
        {"tiny.yaml": {"cat": {"text": {"heads": 3}}}},
        r"tiny\.yaml:\d+: text\.heads: .*divisor of dim 16",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_configurations_that_would_fail_later_are_refused(edited: Edit, case: str) -> None:
    changes, message = CASES[case]
    with pytest.raises(ConfigError) as caught:
        edited(changes).check()
    assert re.search(message, str(caught.value)), str(caught.value)


def test_lpips_of_images_from_0_to_1_is_refused(edited: Edit) -> None:
    changes = {"focal_frequency.yaml": {"vae-perceptual": {"objective": {"scale": "unit"}}}}
    with pytest.raises(ConfigError, match=r"objective\.terms\.perceptual: LPIPS .* set objective\.scale to signed"):
        edited(changes, "ffl").check()


def test_a_problem_of_many_cells_is_reported_once(edited: Edit) -> None:
    with pytest.raises(ConfigError) as caught:
        edited({"tiny.yaml": {"evaluation": {"batch_size": 0}}}).check()
    (line,) = str(caught.value).splitlines()
    assert re.search(r"(evaluation|tiny)\.yaml:\d+: batch_size: .*greater than 0.* and \d+ more\)$", line)


@pytest.mark.usefixtures("own_parameters")
def test_facts_are_cached_and_a_damaged_cache_is_rebuilt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from favae.jobs import facts as module
    from favae.jobs.facts import facts, training_request

    request = training_request(Grid("tiny").job("train_autoencoder", "natural-f4-favae").config)
    built: list[str] = []
    original = module.build
    monkeypatch.setattr(module, "build", lambda r: built.append(r.kind) or original(r))
    monkeypatch.setattr(paths, "facts", lambda: tmp_path / "state" / "facts.json")

    def ask() -> module.Facts:
        module._known.clear()
        return facts(request)

    first = ask()
    assert ask() == first and len(built) == 1
    for damage in ("", "{", "[]", '{"sources": "old", "facts": {}}'):
        paths.facts().write_text(damage)
        assert ask() == first
    assert len(built) == 5 and ask() == first and len(built) == 5
    monkeypatch.setattr(paths, "facts", lambda: Path("/proc/nowhere/facts.json"))
    assert ask() == first and len(built) == 6
