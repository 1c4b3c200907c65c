"""Names of metrics: they contain protocol and split, and a metric of another network never has a standard name."""

from itertools import product
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from favae.config.evaluation import EvaluationConfig, FeatureNetworkName, LpipsNet
from favae.evaluation.protocol import describe, frechet_metric, metric_bases, metric_protocol

STANDARD = {"inception": {"rfid", "fid"}}
EVERYTHING = EvaluationConfig(lpips_nets=get_args(LpipsNet), feature_networks=get_args(FeatureNetworkName))


def test_only_inception_gives_fid() -> None:
    for network, images in product(get_args(FeatureNetworkName), ("reconstruction", "generation")):
        name = frechet_metric(network, images)
        assert ("fid" in name) == (network == "inception")
        assert frechet_metric(network, images, "all") == f"{name}_vs_all"
        assert name in STANDARD.get(network, set()) or name.endswith(f"_{network}")
        assert name.startswith("r") == (images == "reconstruction")


def test_reconstruction_names_in_the_order_of_the_protocol() -> None:
    protocol = EvaluationConfig(
        split="val",
        metrics=("psnr", "frechet", "lpips", "log_spectral_error"),
        lpips_nets=("vgg", "squeeze"),
        feature_networks=("inception", "randconv"),
    )
    assert metric_bases(protocol, "reconstruction") == [
        "psnr",
        "rfid",
        "rfd_randconv",
        "lpips_vgg",
        "lpips_squeeze",
        "log_spectral_error_low",
        "log_spectral_error_mid",
        "log_spectral_error_high",
    ]
    assert metric_bases(protocol, "generation") == ["fid", "fd_randconv"]


def test_every_name_has_a_title_a_unit_and_a_direction() -> None:
    names = metric_bases(EVERYTHING, "reconstruction") + metric_bases(EVERYTHING, "generation")
    names += [frechet_metric(network, "generation", "all") for network in get_args(FeatureNetworkName)]
    titles = [describe(f"{name}_test").title for name in names]
    assert len(set(titles)) == len(names) == 22
    assert describe("psnr_test").better == "higher" and describe("rfid_test").better == "lower"


@pytest.mark.parametrize("name", ["psnr", "rfid_holdout", "fid_squeezenet_test"])
def test_metric_names_that_no_evaluation_reports_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="unknown metric"):
        describe(name)


def test_settings_are_recorded_with_the_metric_they_decide() -> None:
    ssim = metric_protocol(EVERYTHING, "ssim", image=[3, 8, 8])
    assert ssim["ssim"]["sigma"] == 1.5 and ssim["image"] == [3, 8, 8] and ssim["split"] == "test"
    assert "ssim" not in metric_protocol(EVERYTHING, "psnr")
    assert metric_protocol(EVERYTHING, "log_spectral_error_low")["spectrum"]["rings"] == 24


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"metric": ["psnr"]}, "Extra inputs"),
        ({"metrics": ["fid"]}, "frechet"),
        ({"metrics": ["psnr", "psnr"]}, "duplicates"),
        ({"feature_networks": []}, "feature_networks is empty"),
        ({"lpips_nets": []}, "lpips_nets is empty"),
        ({"n": 0}, "greater than 0"),
        ({"quantize": True}, "uint8"),
        ({"ssim": {"sigma": 0}}, "greater than 0"),
    ],
)
def test_bad_protocols_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        EvaluationConfig(**fields)
