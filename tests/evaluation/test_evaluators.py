"""Evaluators: one pass equals the definition; batches and cached references do not change a value."""

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from favae.config.evaluation import EvaluationConfig, WeightsConfig
from favae.evaluation.evaluators import GenerationEvaluator, ReconstructionEvaluator
from favae.evaluation.frechet import FeatureStatistics
from favae.evaluation.image_metrics import output_levels
from favae.pretrained.features import load_feature_network

NO_WEIGHTS = WeightsConfig(
    weights={
        name: {"purpose": "", "files": [{"file": f"{name}.pth", "sha256": "0" * 64, "source": "nowhere"}]}
        for name in ("vgg16", "squeezenet", "inception")
    }
)
PROTOCOL = EvaluationConfig(feature_networks=("randconv",))


def _ids(n: int) -> list[str]:
    return [f"image-{i:03d}" for i in range(n)]


def _evaluate(
    pairs: tuple[Tensor, Tensor],
    protocol: EvaluationConfig = PROTOCOL,
    batch: int = 12,
    **options: Any,
) -> ReconstructionEvaluator:
    evaluator = ReconstructionEvaluator(protocol, codebook_size=16, catalogue=NO_WEIGHTS, **options)
    originals, outputs, ids = *pairs, _ids(len(pairs[0]))
    for first in range(0, len(ids), batch):
        now = slice(first, first + batch)
        indices = torch.tensor([int(i[-3:]) for i in ids[now]])[:, None, None].expand(-1, 2, 2)
        evaluator.update(originals[now], outputs[now], indices, ids[now])
    return evaluator


def _values(evaluator: ReconstructionEvaluator | GenerationEvaluator) -> dict[str, float | None]:
    return {name: result["value"] for name, result in evaluator.result().items()}


def test_values_from_their_definitions(pairs: tuple[Tensor, Tensor]) -> None:
    result = _evaluate(pairs).result()
    a = pairs[0].double().numpy()
    b = np.round((np.clip(pairs[1].numpy(), -1, 1) + 1) * np.float32(127.5)).astype(np.float64)
    mse = ((a - b) ** 2).mean((1, 2, 3))
    assert result["mse_test"]["value"] == pytest.approx(mse.mean() / 127.5**2, rel=1e-9)
    assert result["psnr_test"]["value"] == pytest.approx(
        (10 * np.log10(255**2 / mse)).mean(), rel=1e-7
    )  # torchmetrics takes the logarithm of the range in float32
    assert result["lfd_test"]["value"] == pytest.approx(np.log(32 * 32 * mse + 1).mean(), rel=1e-9)
    assert result["codebook_usage_test"]["value"] == 12 / 16
    assert result["codebook_perplexity_test"]["value"] == pytest.approx(12)
    assert all(entry["n"] == 12 for name, entry in result.items() if "lpips" not in name)


def test_frechet_distance_is_that_of_quantised_images(pairs: tuple[Tensor, Tensor]) -> None:
    from pytorch_fid.fid_score import calculate_frechet_distance

    network = load_feature_network("randconv")
    sets = [pairs[0].float() / 255, output_levels(pairs[1], "uint8") / 255]
    moments = [(f.mean(0), np.cov(f, rowvar=False)) for f in (network(x).double().numpy() for x in sets)]
    expected = calculate_frechet_distance(*moments[0], *moments[1])
    entry = _evaluate(pairs).result()["rfd_randconv_test"]
    assert entry["value"] == pytest.approx(expected, rel=1e-3)  # singular covariances: 12 images, 64 features
    assert "12 images for 64 features" in entry["note"]


def test_batch_size_changes_nothing(pairs: tuple[Tensor, Tensor]) -> None:
    one, other = _values(_evaluate(pairs, batch=12)), _values(_evaluate(pairs, batch=5))
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert other[name] == (None if value is None else pytest.approx(value, rel=1e-4)), name


def test_the_table_per_image_has_the_values_behind_the_means(pairs: tuple[Tensor, Tensor]) -> None:
    evaluator = _evaluate(pairs, batch=5)
    table, result = evaluator.per_image(), evaluator.result()
    assert table["id"].tolist() == _ids(12)
    assert table["psnr"].is_monotonic_decreasing  # the fixture's noise grows from image to image
    for column in table.columns.drop("id"):
        assert result[f"{column}_test"]["value"] == pytest.approx(table[column].mean())


def test_an_image_counted_twice_is_refused(pairs: tuple[Tensor, Tensor]) -> None:
    evaluator = _evaluate(pairs)
    evaluator.update(pairs[0][6:7], pairs[1][6:7], torch.zeros(1, 2, 2), ["image-006"])
    with pytest.raises(ValueError, match=r"1 images were evaluated twice, 'image-006'"):
        evaluator.result()


def test_given_reference_statistics_replace_the_originals(pairs: tuple[Tensor, Tensor]) -> None:
    first = _evaluate(pairs)
    again = _evaluate(pairs, reference=first.real_statistics())
    assert again.meters.totals.real["randconv"].n == 0
    assert _values(again) == _values(first)


def test_reference_statistics_from_other_weights_are_refused(
    pairs: tuple[Tensor, Tensor], random_squeezenet: WeightsConfig
) -> None:
    protocol = EvaluationConfig(metrics=("frechet",), feature_networks=("squeezenet",))
    stale = {"squeezenet": FeatureStatistics("squeezenet-00000000", 512)}
    with pytest.raises(ValueError, match="squeezenet-00000000"):
        GenerationEvaluator(protocol, catalogue=random_squeezenet, reference=stale)


def test_missing_weights_are_reported_and_other_metrics_are_measured(pairs: tuple[Tensor, Tensor]) -> None:
    protocol = EvaluationConfig(metrics=("psnr", "lpips", "frechet"))
    result = _evaluate(pairs, protocol).result()
    assert list(result) == ["psnr_test", "lpips_vgg_test", "rfid_test"]
    for name, file in (("lpips_vgg_test", "vgg16.pth"), ("rfid_test", "inception.pth")):
        assert result[name]["value"] is None and result[name]["n"] == 0
        assert result[name]["note"].startswith(f"not measured: weights {file} missing")
    assert result["psnr_test"]["value"] is not None and result["psnr_test"]["note"] is None


def test_the_file_behind_a_value_is_recorded(pairs: tuple[Tensor, Tensor], random_squeezenet: WeightsConfig) -> None:
    protocol = EvaluationConfig(metrics=("lpips", "frechet"), lpips_nets=("squeeze",), feature_networks=("squeezenet",))
    evaluator = ReconstructionEvaluator(protocol, catalogue=random_squeezenet)
    evaluator.update(pairs[0][:3], pairs[1][:3])
    sha256 = random_squeezenet.weights["squeezenet"].files[0].sha256
    for name in ("lpips_squeeze_test", "rfd_squeezenet_test"):
        entry = evaluator.result()[name]
        assert entry["value"] is not None and entry["protocol"]["weights"]["sha256"] == sha256


def test_results_are_json_without_infinities(pairs: tuple[Tensor, Tensor]) -> None:
    exact = (pairs[0], pairs[0].float() / 127.5 - 1)
    result = _evaluate(exact).result()
    json.dumps(result, allow_nan=False)
    assert result["psnr_test"]["value"] is None
    assert result["psnr_test"]["note"] == "not measured: 12 of 12 reconstructions equal their originals"
    assert result["ssim_test"]["value"] == pytest.approx(1)
    assert result["rfd_randconv_test"]["value"] == pytest.approx(0, abs=0.1)


def test_quantisation_is_part_of_the_protocol(pairs: tuple[Tensor, Tensor]) -> None:
    below_half_a_level = (pairs[0], pairs[0].float() / 127.5 - 1 + 0.3 / 127.5)
    protocol = EvaluationConfig(metrics=("l1",))
    assert _evaluate(below_half_a_level, protocol).result()["l1_test"]["value"] == 0
    unrounded = EvaluationConfig(metrics=("l1",), quantize="none")
    entry = _evaluate(below_half_a_level, unrounded).result()["l1_test"]
    assert entry["value"] == pytest.approx(0.3 / 127.5, rel=1e-2)
    assert entry["protocol"]["quantize"] == "none"


def test_the_number_of_images_must_be_that_of_the_protocol(pairs: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(ValueError, match=r"n=20 images of test, 12"):
        _evaluate(pairs, EvaluationConfig(metrics=("psnr",), n=20)).result()
    with pytest.raises(ValueError, match="no image"):
        ReconstructionEvaluator(EvaluationConfig(metrics=("psnr",))).result()


def test_models_without_a_codebook_and_one_channel_images(pairs: tuple[Tensor, Tensor]) -> None:
    evaluator = ReconstructionEvaluator(PROTOCOL, catalogue=NO_WEIGHTS)
    evaluator.update(pairs[0][:, :1], pairs[1][:, :1])
    result = evaluator.result()
    assert result["codebook_usage_test"]["note"] == "not measured: the model has no codebook"
    assert result["rfd_randconv_test"]["value"] is not None
    assert result["psnr_test"]["protocol"]["image"] == [1, 32, 32]


def test_inputs_that_do_not_fit_are_refused(pairs: tuple[Tensor, Tensor]) -> None:
    original, output = pairs
    evaluator = ReconstructionEvaluator(EvaluationConfig(metrics=("psnr", "codebook")), codebook_size=4)
    indices = torch.zeros(12, 2, 2, dtype=torch.int64)
    for arguments, message in (
        ((original, output[:5], indices), "one shape"),
        ((original, output), "pass the code indices"),
        ((original, output * math.nan, indices), "NaN"),
        ((original, output, indices, _ids(3)), "3 ids for 12 images"),
        ((original, output, indices + 9), "codebook of 4"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluator.update(*arguments)


def test_one_split_has_one_image_size(pairs: tuple[Tensor, Tensor]) -> None:
    evaluator = _evaluate(pairs)
    with pytest.raises(ValueError, match="must have the same shape"):
        evaluator.update(pairs[0][..., :16], pairs[1][..., :16], torch.zeros(12, 2, 2))


def test_a_measurement_does_not_depend_on_training_settings(pairs: tuple[Tensor, Tensor]) -> None:
    expected = _values(_evaluate(pairs))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert _values(_evaluate((pairs[0], pairs[1].requires_grad_()))) == expected


def test_generated_images_against_real_ones(pairs: tuple[Tensor, Tensor]) -> None:
    protocol = EvaluationConfig(feature_networks=("inception", "randconv"), n=9)
    evaluator = GenerationEvaluator(protocol, catalogue=NO_WEIGHTS)
    evaluator.update_real(pairs[0][:6])
    evaluator.update_real(pairs[0][6:])
    evaluator.update_generated(pairs[1][:9])
    result = evaluator.result()
    assert list(result) == ["fid_test", "fd_randconv_test"]
    assert result["fid_test"]["note"].startswith("not measured: weights inception.pth missing")
    assert result["fd_randconv_test"]["n"] == 9 and result["fd_randconv_test"]["protocol"]["n_real"] == 12
    cached = GenerationEvaluator(protocol, catalogue=NO_WEIGHTS, reference=evaluator.real_statistics())
    cached.update_generated(pairs[1][:9])
    assert cached.result() == result
    cached.update_generated(pairs[1][9:])
    with pytest.raises(ValueError, match="n=9 images of test, 12"):
        cached.result()


def test_a_protocol_may_have_no_metric_of_single_images(pairs: tuple[Tensor, Tensor]) -> None:
    result = _evaluate(pairs, EvaluationConfig(metrics=("lpips", "codebook"))).result()
    assert list(result) == ["lpips_vgg_test", "codebook_usage_test", "codebook_perplexity_test"]
    assert result["codebook_usage_test"]["n"] == 12


def test_a_missing_image_to_compare_with_is_reported_and_not_raised(pairs: tuple[Tensor, Tensor]) -> None:
    evaluator = GenerationEvaluator(PROTOCOL, catalogue=NO_WEIGHTS)
    evaluator.update_generated(pairs[1])
    assert "at least 2 images, got 0" in evaluator.result()["fd_randconv_test"]["note"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_measures_what_the_cpu_does(pairs: tuple[Tensor, Tensor]) -> None:
    torch.backends.cudnn.allow_tf32 = True  # PyTorch's default, and what training uses
    protocol = EvaluationConfig(
        metrics=("psnr", "ssim", "log_spectral_error", "frechet"), feature_networks=("randconv",)
    )
    expected, found = _values(_evaluate(pairs, protocol)), _values(_evaluate(pairs, protocol, device="cuda"))
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.weights
@pytest.mark.skipif("FAVAE_TEST_DATA" not in os.environ, reason="FAVAE_TEST_DATA is not set")
def test_real_faces_get_worse_with_blur_in_every_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    data = Path(os.environ["FAVAE_TEST_DATA"])
    monkeypatch.setenv("FAVAE_WEIGHTS", str(data / "weights"))
    files = sorted((data / "raw" / "faces" / "val").iterdir())
    arrays = [np.asarray(Image.open(file).convert("RGB").resize((64, 64), Image.Resampling.BICUBIC)) for file in files]
    original = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)
    protocol = EvaluationConfig(lpips_nets=("squeeze",), feature_networks=("squeezenet", "randconv"))

    def blurred(factor: int) -> dict[str, float | None]:
        coarse = torch.nn.functional.avg_pool2d(original.float() / 127.5 - 1, factor)
        evaluator = ReconstructionEvaluator(protocol)
        evaluator.update(original, torch.nn.functional.interpolate(coarse, scale_factor=factor, mode="bilinear"))
        return _values(evaluator)

    mild, strong = blurred(2), blurred(4)
    better_is_higher = {"psnr_test", "ssim_test"}
    measured = [name for name in mild if not name.startswith("codebook")]
    assert len(measured) == 11
    for name in measured:
        assert (mild[name] > strong[name]) == (name in better_is_higher), name
