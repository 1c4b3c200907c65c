"""The label networks of the papers: their parameters, blocks against torchvision's, files, classes and scores."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from favae.config.errors import ConfigError
from favae.config.evaluation import LABELLED_CLASSES, GeneratorEvaluationConfig, WeightsConfig
from favae.config.load import validate
from favae.evaluation import labels as scoring
from favae.evaluation.labels import LabelScores
from favae.pretrained import label_networks
from favae.pretrained.label_networks import LABEL_WEIGHTS, DrnD105, LabelNetwork, UperNet101, load_label_network
from favae.pretrained.weights import MissingWeights

CITYSCAPES = GeneratorEvaluationConfig(sets=("moments", "drn_d_105"))


def parameters(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.fixture(scope="module")
def drn() -> DrnD105:
    torch.manual_seed(0)
    return DrnD105(rows=64).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def upernet() -> UperNet101:
    torch.manual_seed(0)
    return UperNet101().eval().requires_grad_(False)


def test_drn_d_105_has_its_published_54_8_million_parameters(drn: DrnD105) -> None:
    assert parameters(drn.base) + 512 * 1000 + 1000 == 54_801_304  # with the classifier of ImageNet
    assert parameters(drn) - drn.up.weight.numel() == 54_298_051


def test_the_encoder_of_upernet_is_resnet_101_but_for_its_stem(upernet: UperNet101) -> None:
    from torchvision.models import resnet101

    published = resnet101(weights=None).eval()
    stem = [published.conv1, published.bn1, published.fc, published.layer1[0].conv1, published.layer1[0].downsample]
    ours = [upernet.encoder.get_submodule(name) for name in ("conv1", "bn1", "conv2", "bn2", "conv3", "bn3")]
    ours += [upernet.encoder.get_submodule(f"layer1.0.{name}") for name in ("conv1", "downsample")]
    assert parameters(upernet.encoder) - sum(map(parameters, ours)) == parameters(published) - sum(
        map(parameters, stem)
    )
    x = torch.randn(1, 256, 8, 8)
    features = x
    for name in ("layer2", "layer3", "layer4"):
        layer = getattr(published, name)
        layer.load_state_dict(upernet.encoder.get_submodule(name).state_dict())
        x, features = layer(x), upernet.encoder.get_submodule(name)(features)
        torch.testing.assert_close(features, x)


def test_networks_see_an_eighth_and_a_quarter_of_the_size(drn: DrnD105, upernet: UperNet101) -> None:
    assert drn.base(torch.rand(1, 3, 32, 64)).shape == (1, 512, 4, 8)
    assert drn.logits(torch.rand(1, 3, 32, 64)).shape == (1, 19, 32, 64)
    assert upernet.logits(torch.rand(1, 3, 64, 32)).shape == (1, 150, 16, 8)


def test_upernet_sees_256_pixels_at_five_sizes_and_long_images_at_most_1000() -> None:
    network = UperNet101.__new__(UperNet101)
    assert network.sizes(256, 256) == [(s, s) for s in (320, 384, 480, 544, 608)]
    assert network.sizes(100, 1000)[-1] == (128, 1024)


def test_upernet_averages_probabilities_over_its_sizes(upernet: UperNet101, monkeypatch: pytest.MonkeyPatch) -> None:
    """One size says 60 % class 1, the other 99 % class 2: the mean of probabilities is class 2."""
    monkeypatch.setattr(UperNet101, "SHORT_SIDES", (32, 64))

    def logits(image: Tensor) -> Tensor:
        found = torch.zeros(len(image), 150, 2, 2)
        probabilities = {1: 0.6, 2: 0.4} if image.shape[2] == 32 else {1: 0.01, 2: 0.99}
        found[:] = -100.0
        for name, value in probabilities.items():
            found[:, name] = torch.tensor(value).log()
        return found

    monkeypatch.setattr(upernet, "logits", logits)
    assert upernet(torch.rand(1, 3, 32, 32)).tolist() == [[[2] * 32] * 32]


def test_the_two_readings_of_cityscapes_differ(drn: DrnD105, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []
    logits = drn.logits

    def watched(image: Tensor) -> Tensor:
        seen.append(tuple(image.shape[2:]))
        return logits(image)

    monkeypatch.setattr(drn, "logits", watched)
    image = torch.rand(1, 3, 16, 32)
    enlarged = drn(image)
    monkeypatch.setattr(drn, "rows", None)
    generated = drn(image)
    assert seen == [(64, 128), (16, 32)] and enlarged.shape == generated.shape == (1, 16, 32)
    assert not torch.equal(enlarged, generated)
    networks = [label_networks._NETWORKS[name]() for name in ("drn_d_105", "drn_d_105_as_generated")]
    assert [network.rows for network in networks if isinstance(network, DrnD105)] == [1024, None]


def test_stored_classes_become_those_of_the_network(drn: DrnD105, upernet: UperNet101) -> None:
    """Road 7, car 26, bicycle 33 of Cityscapes are 0, 13, 18; unlabelled, licence plate and dynamic are void."""
    stored = torch.tensor([[[7, 26, 33, 0, 34, 5, 255]]], dtype=torch.uint8)
    assert drn.truth(stored).tolist() == [[[0, 13, 18, 255, 255, 255, 255]]]
    assert sorted(set(drn.truth(torch.arange(35)[None, None]).flatten().tolist())) == [*range(19), 255]
    assert upernet.truth(torch.tensor([[[0, 1, 150]]], dtype=torch.uint8)).tolist() == [[[255, 0, 149]]]


def catalogue(folder: Path, **files: dict[str, Tensor]) -> WeightsConfig:
    """Declared weights that exist, for the given entries."""
    entries = {}
    for name, state in files.items():
        torch.save(state, folder / f"{name}.pth")
        digest = hashlib.sha256((folder / f"{name}.pth").read_bytes()).hexdigest()
        file = {"file": f"{name}.pth", "sha256": digest, "source": "https://example.org"}
        entries[name] = {"purpose": "test", "files": [file]}
    return validate(WeightsConfig, {"folder": str(folder), "weights": entries}, "weights.yaml")


def test_old_and_synchronised_batch_norms_are_read_and_another_network_is_named(tmp_path: Path, drn: DrnD105) -> None:
    state = {k: v for k, v in drn.state_dict().items() if not k.endswith("num_batches_tracked")}
    declared = catalogue(tmp_path, drn_d_105=state | {"base.0.1._running_iter": torch.ones(1)})
    loaded = load_label_network("drn_d_105", declared)
    assert torch.equal(loaded.get_parameter("seg.weight"), drn.seg.weight) and not loaded.training
    assert [w.sha256 for w in loaded.weights] == [declared.weights["drn_d_105"].files[0].sha256]
    for key, value, words in (("seg.bias", None, "missing"), ("seg.bias", torch.zeros(11), r"of shape \(11,\)")):
        broken = {k: v for k, v in state.items() if k != key} | ({} if value is None else {key: value})
        with pytest.raises(ValueError, match=rf"drn_d_105.pth: seg.bias is {words}, expected shape \(19,\)"):
            load_label_network("drn_d_105", catalogue(tmp_path, drn_d_105=broken))


def test_without_files_the_scores_say_which_one_is_missing() -> None:
    for name in LABELLED_CLASSES:
        with pytest.raises(MissingWeights, match=r"missing: put the file from .*and its sha256 into .*weights\.yaml"):
            load_label_network(name)
        found = LabelScores(GeneratorEvaluationConfig(sets=(name,)), torch.device("cpu")).result()
        assert set(found) == {"miou_test", "accuracy_test", "accuracy_including_test"}
        assert all(result["value"] is None and "missing" in (result["note"] or "") for result in found.values())
    assert LabelScores(GeneratorEvaluationConfig(), torch.device("cpu")).result() == {}
    assert all(entry in _declared().weights for entries in LABEL_WEIGHTS.values() for entry in entries)


def _declared() -> WeightsConfig:
    from favae.pretrained.weights import load_catalogue

    return load_catalogue(Path(__file__).parents[2] / "params" / "weights.yaml")


class Reader(LabelNetwork):
    """Reads the class from the red level, and knows four classes of which stored 9 is void."""

    classes = 4

    def forward(self, image_B3HW: Tensor) -> Tensor:
        return (image_B3HW[:, 0] * 255).round().long()

    def truth(self, stored_BHW: Tensor) -> Tensor:
        return torch.where(stored_BHW == 9, 255, stored_BHW.long())


def scores(images: Tensor, stored: Tensor, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(scoring, "load_label_network", lambda name, catalogue: Reader())
    scorer = LabelScores(CITYSCAPES, torch.device("cpu"))
    for part in (slice(0, 1), slice(1, None)):
        scorer.add(images[part], stored[part])
    return {name: result["value"] for name, result in scorer.result().items()}


def test_scores_are_percentages_of_all_pixels_together(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = torch.tensor([[[0, 1], [2, 9]], [[0, 1], [1, 9]], [[3, 3], [0, 9]]], dtype=torch.uint8)
    levels = torch.where(stored == 9, 0, stored)[:, None].expand(-1, 3, -1, -1).to(torch.uint8)
    assert scores(levels, stored, monkeypatch) == {
        "miou_test": 100,
        "accuracy_test": 100,
        "accuracy_including_test": 75,
    }
    levels = levels.clone()
    levels[0, 0, 1, 0] = 1  # one pixel of class 2 seen as 1: IoU 1, 3/4, 0, 1
    found = scores(levels, stored, monkeypatch)
    assert found["miou_test"] == pytest.approx(68.75) and found["accuracy_test"] == pytest.approx(100 * 8 / 9)


def test_two_label_networks_in_one_protocol_are_refused() -> None:
    with pytest.raises(ConfigError, match="sets names the label networks drn_d_105, upernet_101; expected at most one"):
        validate(GeneratorEvaluationConfig, {"sets": ["drn_d_105", "upernet_101"]}, "evaluation.yaml")
