"""Real faces as published, at 256 pixels: prepared, trained a few steps, evaluated, through the same commands."""

import json
from pathlib import Path

import pytest
from tests_support import call, copy_project

GRID = """
active: faces

faces:
  prepare_dataset:
    - {recipe: faces, rows: data, numbers: none, name: celebahq}
  train_autoencoder:
    - {recipe: table2, rows: r12-conv, numbers: f16, dataset: celebahq, name: celebahq-f16-favae}
  compute_reference_statistics:
    - {recipe: evaluation, rows: reference, numbers: reference, dataset: celebahq}
  evaluate_reconstruction:
    - {recipe: evaluation, rows: reconstruction, numbers: evaluation, model: all, dataset: own, name: celebahq-f16-favae}
"""
FACES = """
none: {}
data:
  layout: {kind: celebahq, files: present}
  image_size: 256
f16:
  model:
    image_size: 256
    base_channels: 8
    channel_multipliers: [1, 1, 2, 2, 4]
    res_blocks: 1
    attention_resolutions: [16]
    latent_channels: 16
    norm_groups: 8
    fcm_groups: 8
    quantizer: {codes: 64, dim: 16}
  objective:
    perceptual: {network: squeeze}
    adversarial: {start: 2 steps, discriminator: {base_channels: 8}}
  optimizer: {base_lr: 1.0e-4}
  training: {seed: 0, batch_size: 4, length: 4 steps, validate_every: 4 steps, checkpoint_every: 2 steps, log_every: 1, threads: 2}
reference: {feature_networks: [squeezenet]}
evaluation: {lpips_nets: [squeeze], feature_networks: [squeezenet]}
"""


@pytest.mark.slow
@pytest.mark.rare
@pytest.mark.weights
def test_celebahq_with_captions_trains_and_is_evaluated(test_data: Path, tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    (project / "params/grid.yaml").write_text(GRID)
    (project / "params/faces.yaml").write_text(FACES)
    call(
        project,
        *("snakemake", "--cores", "2", "--", "data/faces/evaluate_reconstruction/celebahq-f16-favae/card.json"),
        FAVAE_RAW=str(test_data / "raw"),
        FAVAE_WEIGHTS=str(test_data / "weights"),
    )
    card = json.loads((project / "data/faces/prepare_dataset/celebahq/card.json").read_text())
    counts = card["summary"]["counts"]
    assert sum(counts.values()) == 101
    assert card["summary"]["captions"] == 1010
    metrics = json.loads((project / "data/faces/evaluate_reconstruction/celebahq-f16-favae/metrics.json").read_text())
    assert metrics["lpips_squeeze_test"]["value"] > 0
    assert metrics["psnr_test"]["n"] == counts["test"]
    assert metrics["rfd_squeezenet_test"]["value"] > 0
    assert metrics["rfd_squeezenet_test"]["protocol"]["n_real"] == counts["test"]
    curves = (project / "data/faces/curves/train_autoencoder/celebahq-f16-favae.csv").read_text()
    assert "train/discriminator" in curves.splitlines()[0]
    assert "train/lpips" in curves.splitlines()[0]
