"""Stage `tokenize_images`: the code indices of a data set under a frozen FA-VAE, with its captions."""

import csv
from typing import cast

import numpy as np
import torch

from favae.config.cat import TokenizeConfig
from favae.data.dataset import PreparedSplit, iterate_batches
from favae.data.pixels import to_float
from favae.inference.export import load_autoencoder
from favae.jobs.grid import Job
from favae.runtime import paths
from favae.runtime.progress import track
from favae.stages.devices import choose_device
from favae.stages.runner import Context


def run(job: Job, context: Context) -> None:
    """Write `tokens.npz` (split -> [n, N] uint16 or int32, raster order; `codes`, `grid`) and `captions.csv`."""
    config = cast(TokenizeConfig, job.config)
    device = choose_device(context)
    model = load_autoencoder(paths.result_dir(job.scale, "train_autoencoder", job.roles["model"]), device)
    shards = paths.result_dir(job.scale, "prepare_dataset", job.roles["dataset"]) / "shards"
    dtype = np.uint16 if model.quantizer.codes <= 2**16 else np.int32
    grid = (model.latent_size, model.latent_size)
    arrays: dict[str, np.ndarray] = {"codes": np.array(model.quantizer.codes), "grid": np.array(grid)}
    with (context.build / "captions.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["split", "row", "caption"])
        for name in config.splits:
            split = PreparedSplit(shards, name)
            steps = -(-len(split) // config.batch_size)
            parts = []
            with torch.inference_mode():
                for _, stored in track(iterate_batches(split, config.batch_size), f"tokens of {name}", steps):
                    latent = model.encode(to_float(stored.to(device))).z
                    parts.append(model.quantize(latent, update_codebook=False).indices.flatten(1).cpu().numpy())
            arrays[name] = np.concatenate(parts).astype(dtype)
            writer.writerows(
                (name, row, caption.strip()) for row in range(len(split)) for caption in split.captions(row)
            )
    np.savez(context.build / "tokens.npz", allow_pickle=False, **arrays)
    context.summary = {"codes": model.quantizer.codes, "grid": list(grid)} | {s: len(arrays[s]) for s in config.splits}
