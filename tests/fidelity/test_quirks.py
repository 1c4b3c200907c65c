"""`workflow/docs/quirks.md`: names that exist, defaults as stated, and the differences that no other test shows."""

import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from pydantic import BaseModel, TypeAdapter

from favae.config.favae import AdversarialConfig, DynamicSpectrumConfig, FavaeConfig
from favae.config.load import deep_merge, subtree, validate
from favae.config.pix2pix import Pix2PixConfig
from favae.config.spade import SpadeConfig
from favae.config.stylegan2 import StyleGan2Config
from favae.data.batches import Batch
from favae.data.dataset import PreparedSplit
from favae.jobs.grid import STAGES
from favae.losses import DynamicSpectrumLoss, FocalFrequencyLoss, gaussian_blur
from favae.losses.gan import build_gan_loss
from favae.models import CAT, FAVAE, PatchDiscriminator
from favae.models.pix2pix import UnetGenerator
from favae.models.quantizers import CosineQuantizer
from favae.models.spade import SpadeGenerator
from favae.text import ClipText
from favae.training.autoencoder import AutoencoderTask, build_networks
from favae.training.decay import linear_decay
from favae.training.distributed import Ranks

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "workflow" / "docs" / "quirks.md"
Specs = Callable[..., FavaeConfig]


def sections() -> dict[str, dict[str, str]]:
    """Number of a quirk -> its lines by their bold words: Paper, Official code, Here, Why, Test."""
    found: dict[str, dict[str, str]] = {}
    for section in re.split(r"^### ", PAGE.read_text(), flags=re.MULTILINE)[1:]:
        number, _, body = section.split("\n## ")[0].partition(". ")
        assert number not in found, f"quirk {number} stands there twice"
        items = re.findall(r"^- \*\*(.+?):\*\*(.*(?:\n  .+)*)", body, flags=re.MULTILINE)
        found[number] = {name: " ".join(text.split()) for name, text in items}
    return found


def decided_by(number: str) -> list[str]:
    """What the line "Here" of a quirk names: parameters, functions and parameter files."""
    names = re.findall(r"`([^`]+)`", sections()[number]["Here"])
    return [name for name in names if name.startswith(("favae.", "params/", *(f"{stage}." for stage in STAGES)))]


def annotations(kind: Any) -> Iterator[Any]:
    """A type and the members of a union or an annotated type."""
    yield kind
    for part in get_args(kind):
        yield from annotations(part)


def fields_at(schemas: list[type[BaseModel]], path: list[str]) -> list[Any]:
    """All fields that a dotted path names: one for each schema and member of a union that has it."""
    here: list[Any] = list(schemas)
    for position, name in enumerate(path):
        models = [k for kind in here for k in annotations(kind) if isinstance(k, type) and issubclass(k, BaseModel)]
        found = [model.model_fields[name] for model in models if name in model.model_fields]
        if position == len(path) - 1:
            return found
        here = [field.annotation for field in found] + [m for field in found for m in field.metadata]
    return []


def schemas_of(stage: str) -> list[type[BaseModel]]:
    if stage == "train_generator":
        return [Pix2PixConfig, SpadeConfig, StyleGan2Config]
    return [FavaeConfig if stage == "train_autoencoder" else STAGES[stage].load_config()]


# The defaults of constructors are not in the schemas.
CONSTRUCTORS: dict[str, Callable[..., Any]] = {
    "train_autoencoder.model.quantizer": CosineQuantizer,
    "train_autoencoder.model": FAVAE,
    "train_autoencoder.objective.spectrum": DynamicSpectrumLoss,
    "train_autoencoder.objective.adversarial.discriminator": PatchDiscriminator,
    "train_cat.model": CAT,
    "train_cat.text": ClipText,
    "train_generator.model.dropout_levels": UnetGenerator,
    "train_generator.model.spectral_norm": SpadeGenerator,
    "train_generator.model.spectral_init": SpadeGenerator,
    "train_generator.optimizer.schedule": linear_decay,
    "train_generator.objective.adversarial": build_gan_loss,
}


def default_of(name: str, field: Any) -> Any:
    """The default of a parameter."""
    if field.default is not None:
        return field.default
    block, _, key = name.rpartition(".")
    made: Any = CONSTRUCTORS[name if name in CONSTRUCTORS else block]
    classes = inspect.getmro(made) if inspect.isclass(made) else [made]
    given = [inspect.signature(c.__init__ if inspect.isclass(c) else c).parameters for c in classes]  # type: ignore[misc]
    return next(parameters[key].default for parameters in given if key in parameters)


def exists(name: str) -> bool:
    """Whether a name of the page is a parameter, a file, or something that can be imported."""
    stage, *path = name.split(".")
    if stage in STAGES:
        return bool(fields_at(schemas_of(stage), path))
    if "/" in name:
        return (ROOT / name).is_file()
    for cut in range(len(name.split(".")), 0, -1):
        module, rest = name.split(".")[:cut], name.split(".")[cut:]
        try:
            value: Any = importlib.import_module(".".join(module))
        except ModuleNotFoundError:
            continue
        for part in rest:
            value = getattr(value, part, None)
        return value is not None
    return False


def test_no_quirk_is_missing_and_each_says_what_is_done_and_why() -> None:
    numbers = [*(str(n) for n in range(1, 93)), "54b", "54c"]
    assert sorted(sections()) == sorted(numbers)
    for number, lines in sections().items():
        assert {"Paper", "Official code"} & set(lines), f"quirk {number} names no source"
        assert set(lines) <= {"Paper", "Official code", "Here", "Why", "Test"}
        applies = not lines["Here"].startswith("not applicable: ")
        assert ("Why" in lines, "Test" in lines) == (applies, applies), f"quirk {number}"


def test_every_switch_of_the_schemas_between_paper_and_code_is_a_quirk() -> None:
    """A parameter with a value `official` or `paper` selects between a difference of code and paper."""
    named = re.findall(r"`([a-z_]+\.[a-z_.]+)`", PAGE.read_text())
    found = {name for stage in STAGES for schema in schemas_of(stage) for name in switches(stage, schema)}
    assert "train_autoencoder.objective.spectrum.sigma_index" in found
    # The terms of generators are those of autoencoders; the size of a scale and file formats are no such choice.
    others = {"train_generator.objective.terms.form", "make_tables.size", "prepare_dataset.layout.checksums"}
    assert found - set(named) == others


def switches(prefix: str, schema: type[BaseModel]) -> Iterator[str]:
    """Dotted names of the parameters one of whose values is `paper` or `official`."""
    for name, field in schema.model_fields.items():
        parts = [*annotations(field.annotation), *(m for data in field.metadata for m in annotations(data))]
        if {"paper", "official"} & {part for part in parts if isinstance(part, str)}:
            yield f"{prefix}.{name}"
        for part in parts:
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from switches(f"{prefix}.{name}", part)


@pytest.mark.parametrize("number", sections())
def test_decision_and_test_of_a_quirk_exist(number: str) -> None:
    lines = sections()[number]
    assert [name for name in decided_by(number) if not exists(name)] == []
    assert bool(decided_by(number)) != lines["Here"].startswith("not applicable: ")
    tests = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", lines.get("Test", ""))
    assert bool(tests) == ("Test" in lines)
    for file, test in tests:
        assert f"def {test}(" in (ROOT / file).read_text(), f"{file} has no {test}"


SWITCHES = [
    # quirk, parameter, default, the other published or corrected value
    ("1", "train_autoencoder.objective.spectrum.sigma_index", "paper", "official"),
    ("2", "train_autoencoder.optimizer.sigma_lr", 2.0e-7, "main"),
    ("3", "train_autoencoder.objective.spectrum.detach_taps", False, True),
    ("14", "train_autoencoder.objective.adversarial.discriminator.init", "pytorch", "normal"),
    ("17", "train_autoencoder.objective.adversarial.codebook_update", "once", "official"),
    ("17", "train_autoencoder.objective.adversarial.reconstruction", "reuse", "recompute"),
    ("19", "train_autoencoder.model.quantizer.output", "raw", "normalized"),
    ("20", "train_autoencoder.model.quantizer.dead_code_threshold", 0.0, 1.0),
    ("21", "train_autoencoder.objective.commitment", 1.0, 0.25),
    ("25", "train_autoencoder.model.fcm_groups", 32, 3),
    ("27", "train_autoencoder.objective.adversarial.adaptive_scope", "world", "rank"),
    ("33", "train_autoencoder.training.selection", "last", "best"),
    ("36", "prepare_dataset.resize", "squash", "center_crop"),
    ("36", "train_autoencoder.training.augment", "none", "flip"),
    ("37", "prepare_dataset.on_bad_image", "fail", "skip"),
    ("40", "train_autoencoder.objective.spectrum.sharing", "pairwise", "per_feature"),
    ("45", "train_cat.text_drop", 0.25, 0.0),
    ("46", "train_cat.model.relative_position", "official", "aligned"),
    ("46", "train_cat.model.key_value", "shared", "separate"),
    ("46", "train_cat.model.token_embedding_std", 1.0, 0.02),
    ("47", "train_cat.optimizer.no_decay", "official", "standard"),
    ("50", "train_cat.text.mask", "official", "length"),
    ("51", "train_autoencoder.training.precision", "fp32", "bf16"),
    ("51", "train_cat.training.precision", "fp32", "bf16"),
    ("54c", "train_autoencoder.objective.spectrum.detach_taps", False, True),
    ("64", "train_generator.model.dropout_levels", "pytorch", "lua"),
    ("66", "train_generator.optimizer.schedule.lr_step", "before", "after"),
    ("68", "train_generator.objective.adversarial.discriminator_scale", "half", "whole"),
    ("73", "train_generator.model.spectral_norm", "released", "all"),
    ("74", "train_generator.model.spectral_init", "default", "xavier"),
    ("89", "prepare_dataset.filter", "bilinear", "lanczos"),
]


@pytest.mark.parametrize(("number", "name", "default", "other"), SWITCHES)
def test_the_default_is_the_stated_one_and_both_values_are_allowed(
    number: str, name: str, default: Any, other: Any
) -> None:
    stage, *path = name.split(".")
    found = fields_at(schemas_of(stage), path)
    assert {default_of(name, field) for field in found} == {default}
    assert name in decided_by(number)
    if isinstance(default, str):
        assert f"`{default}` (default" in sections()[number]["Here"]
    for field in found:
        adapter: TypeAdapter[Any] = TypeAdapter(field.annotation)
        assert adapter.validate_python(default) == default
        assert adapter.validate_python(other) == other


def recipe(table: str, row: str) -> dict[str, Any]:
    return subtree(ROOT / "params" / f"{table}.yaml", row)


def full(table: str, row: str, numbers: str) -> FavaeConfig:
    tree = deep_merge([recipe(table, row), subtree(ROOT / "params" / "paper.yaml", numbers)])
    return validate(FavaeConfig, tree, row)


def difference(one: dict[str, Any], other: dict[str, Any], prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Dotted key -> both values, where two recipes differ."""
    found: dict[str, tuple[Any, Any]] = {}
    for key in one.keys() | other.keys():
        a, b = one.get(key), other.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found |= difference(a, b, f"{prefix}{key}.")
        elif a != b:
            found[prefix + key] = (a, b)
    return found


def test_row_6_has_both_kernel_sizes() -> None:
    """The code's value and the printed value, as documented on the page; nothing else is different."""
    quirk = sections()["5"]
    as_printed = int(quirk["Paper"].rpartition("mu = ")[2].rstrip("."))
    code = int(quirk["Official code"].partition(";")[0])
    changed = difference(recipe("table2", "r6"), recipe("table2", "r6-k9"))
    assert changed == {"objective.spectrum.kernel_size": (code, as_printed)}


def test_rows_7_to_9_are_not_pairwise() -> None:
    kinds = {}
    for row in ("r7", "r8", "r9"):
        config = full("table2", row, "f16-celebahq")
        assert isinstance(config.objective.spectrum, DynamicSpectrumConfig)
        assert (config.objective.spectrum.sharing, config.optimizer.sigma_lr) == ("per_feature", "main")
        kinds[row] = config.model.fcm
    assert kinds == {"r7": "conv", "r8": "residual", "r9": "attention"}


@pytest.mark.parametrize("row", range(10, 15))
def test_rows_10_to_14_have_both_readings(row: int) -> None:
    residual, conv = (full("table2", name, "f16-celebahq") for name in (f"r{row}", f"r{row}-conv"))
    assert difference(residual.model_dump(), conv.model_dump()) == {"model.fcm": ("residual", "conv")}
    spectrum = residual.objective.spectrum
    assert isinstance(spectrum, DynamicSpectrumConfig)
    assert (spectrum.sharing, "sigma_index" in spectrum.given()) == ("pairwise", False)


def test_rows_10_to_14_are_an_ablation_of_the_kernel_size_alone() -> None:
    kernel = "objective.spectrum.kernel_size"
    for ending in ("", "-conv"):
        first, *others = (recipe("table2", f"r{row}{ending}") for row in range(10, 15))
        changed = [difference(first, other) for other in others]
        assert all(list(found) == [kernel] for found in changed)
        sizes = [changed[0][kernel][0], *(found[kernel][1] for found in changed)]
        assert sizes == [int(printed(f"r{row}").rpartition("k = ")[2]) for row in range(10, 15)]


def printed(row: str) -> str:
    """The label of a row of Table 2 in the published numbers."""
    return subtree(ROOT / "params" / "published.yaml", "tables")["favae-table2"]["rows"][row]["label"]


def test_projection_of_the_f4_codebook() -> None:
    """According to the script by mistake: three channels are projected to 256 dimensions and back."""
    networks = []
    for row in ("imagenet-f4", "imagenet-f4-unprojected"):
        with torch.device("meta"):
            networks.append(build_networks(full("table1", row, "f4-imagenet")).model)
    projected, plain = (sum(p.numel() for p in network.quantizer.parameters()) for network in networks)
    assert (projected, plain) == (3 * 256 + 256 + 256 * 3 + 3, 0)
    assert [tuple(network.quantizer.codebook.shape) for network in networks] == [(8192, 256), (8192, 3)]


def test_dead_codes_stay_dead_unless_they_are_replaced() -> None:
    """With vectors of one direction, one code of eight is used."""
    z = torch.zeros(4, 2, 4, 4)
    z[:, 0] = 1.0
    for threshold, moved in ((0.0, False), (1.0, True)):
        torch.manual_seed(0)
        quantizer = CosineQuantizer(2, 8, dead_code_threshold=threshold)
        with torch.no_grad():
            quantizer.codebook.copy_(torch.tensor([[1.0, 0.0]] + [[-1.0, 0.0]] * 7))
        quantizer(z)
        assert bool((quantizer.codebook[1:, 0] > 0).all()) is moved


def test_dsl_is_the_weighted_mean_over_pairs() -> None:
    generator = torch.Generator().manual_seed(0)
    pairs = [tuple(torch.randn(2, 3, 8, 8, generator=generator) for _ in "AC") for _ in range(4)]
    each = [
        FocalFrequencyLoss()(*(gaussian_blur(x, 3, torch.tensor(3.0)) for x in (complement, tap)))
        for tap, complement in pairs
    ]
    code, paper = (DynamicSpectrumLoss(3, 3.0, weight=weight)(pairs) for weight in (0.01, 0.04))
    torch.testing.assert_close(code, 0.01 * sum(each) / 4)
    torch.testing.assert_close(paper, 0.01 * sum(each))


@pytest.mark.parametrize(
    ("text", "steps"), [("20 epochs", 20 * (59_000 // 8)), ("3000 steps", 3000), ("80000 images", 10_000)]
)
def test_start_of_the_gan_in_epochs_steps_or_images(text: str, steps: int) -> None:
    start = AdversarialConfig.model_validate({"weight": 0.75, "start": text}).start
    assert start.in_steps(59_000, 8) == steps


@pytest.mark.parametrize(
    ("table", "row", "start", "weight"),
    [
        ("table2", "r8", "1 epochs", 0.75),
        ("table1", "ffhq-f16", "20 epochs", 0.25),
        ("table1", "imagenet-f16", "20 epochs", 0.75),
        ("table1", "imagenet-f4", "5 epochs", 0.75),
    ],
)
def test_published_starts_and_weights_of_the_gan(table: str, row: str, start: str, weight: float) -> None:
    adversarial = recipe(table, row)["objective"]["adversarial"]
    assert (adversarial["start"], adversarial["weight"]) == (start, weight)


def test_sigma_may_be_written_as_an_integer() -> None:
    assert isinstance(DynamicSpectrumConfig.model_validate({"kind": "dsl", "sigma": 3}).sigma, float)
    assert DynamicSpectrumLoss(sigma=3).sigma_taps.is_floating_point()


def test_losses_are_scalars_on_the_device(tiny_spec: Specs, val: PreparedSplit, images: torch.Tensor) -> None:
    task = AutoencoderTask(tiny_spec(), val, Ranks(0, 1, torch.device("cpu")), 0, None)
    losses = task.train_step(Batch(images, np.arange(len(images)), []), 0)
    assert {"l1", "image_ffl", "commitment", "spectrum", "adversarial", "adaptive_weight", "discriminator"} <= set(
        losses
    )
    assert all(value.shape == () and not value.requires_grad for value in losses.values())
    assert {f"sigma_taps_{i}" for i in range(4)} <= set(losses)
