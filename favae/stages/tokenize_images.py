"""Stage `tokenize_images`: encode a data set to code indices with a frozen FA-VAE, and write its captions."""

import csv

import numpy as np
import torch

from favae.config.cat import TokenizeConfig
from favae.data.dataset import PreparedSplit, iterate_batches
from favae.data.pixels import to_float
from favae.jobs.grid import Job
from favae.models import FAVAE
from favae.results.publish import Outcome
from favae.runtime import paths
from favae.runtime.cpu import choose_device, device_name
from favae.runtime.progress import track
from favae.stages.context import Context, config_of
from favae.stages.inputs import Inputs


def run(job: Job, context: Context) -> Outcome:
    """Write `tokens.npz` (split -> [n, N] uint16 or int32, raster order; `codes`, `grid`) and `captions.csv`."""
    config, inputs = config_of(job, TokenizeConfig), Inputs(job)
    device = choose_device(context.threads)
    model = inputs.tokenizer(device)
    codes, grid = model.quantizer.codes, (model.latent_size, model.latent_size)
    arrays: dict[str, np.ndarray] = {"codes": np.array(codes), "grid": np.array(grid)}
    with (context.build / paths.CAPTIONS).open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["split", "row", "caption"])
        for name in config.splits:
            split = inputs.split(name)
            arrays[name] = _tokens(model, split, config.batch_size, device)
            writer.writerows(
                (name, row, caption.strip()) for row in range(len(split)) for caption in split.captions(row)
            )
    np.savez(context.build / paths.TOKENS, allow_pickle=False, **arrays)
    summary = {"codes": codes, "grid": list(grid)} | {name: len(arrays[name]) for name in config.splits}
    return Outcome(summary, device=device_name(device), gpus=int(device.type == "cuda"))


@torch.inference_mode()
def _tokens(model: FAVAE, split: PreparedSplit, batch_size: int, device: torch.device) -> np.ndarray:
    """Code indices of a split, [n, N] in raster order."""
    parts = []
    for _, stored in track(
        iterate_batches(split, batch_size), f"tokens of {split.split}", -(-len(split) // batch_size)
    ):
        latent = model.encode(to_float(stored.to(device))).z
        parts.append(model.quantize(latent, update_codebook=False).indices.flatten(1).cpu().numpy())
    return np.concatenate(parts).astype(np.uint16 if model.quantizer.codes <= 2**16 else np.int32)
