"""Commands that use a trained generator: translate, sample."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

_MOST_SEED = 2**63 - 1  # of torch's generators
_MODEL = typer.Option(help="Folder with model.safetensors and config.json.")


def translate(
    images: Annotated[list[Path], typer.Argument(help="Label maps, edges or other inputs: files or folders.")],
    model: Annotated[Path, _MODEL],
    out: Annotated[Path, typer.Option(help="Folder for the generated images (PNG).")],
    instances: Annotated[
        Path | None, typer.Option(help="Folder of instance maps of the same names and subfolders.")
    ] = None,
    mode: Annotated[
        Literal["auto", "train", "eval"],
        typer.Option(help="train: batch statistics and dropout, as pix2pix is tested; eval: neither."),
    ] = "auto",
    seed: Annotated[int, typer.Option(min=0, max=_MOST_SEED, help="Seed of dropout.")] = 0,
) -> None:
    """Generate an image from each of your label maps or edges with a trained pix2pix or SPADE, at the model's size.

    Inputs are resized to that size. A label map holds class indices (a grey or palette PNG), or colours for a model of Facades.
    Files that cannot be used are reported at the end, with exit code 1. No file is replaced but the image of the same input,
    model and options.

    Example: favae translate labels/ --model data/ffl-pix2pix-small/train_generator/pix2pix-facades-s0 --out out
    """
    from favae.data.walk import shown
    from favae.inference.translate import translate_files

    problems = []
    for result in translate_files(images, model, out, instances, mode, seed):
        if result.target is not None:
            print(shown(result.target), flush=True)
        else:
            problems.append(f"{shown(result.source)}: {result.problem}")
    if problems:
        print("favae: no image was generated from:\n  " + "\n  ".join(problems), file=sys.stderr)
        raise typer.Exit(1)


def sample(
    model: Annotated[Path, _MODEL],
    n: Annotated[int, typer.Option("-n", min=1, help="Number of images.")] = 64,
    out: Annotated[Path, typer.Option(help="Folder for the images (PNG).")] = Path("samples"),
    seed: Annotated[int, typer.Option(min=0, max=_MOST_SEED, help="The same seed gives the same images.")] = 0,
    truncation: Annotated[float, typer.Option(help="1: no truncation; 0: every image is the average.")] = 1.0,
    single: Annotated[bool, typer.Option(help="Also write each image to its own file.")] = False,
) -> None:
    """Draw images from a trained StyleGAN2 into a grid, OUT/seed-SEED.png.

    No file is replaced but one that was drawn with the same model and options.

    Example: favae sample --model data/ffl-stylegan2-small/train_generator/stylegan2-faces-n8-s0 -n 64 --truncation 0.7
    """
    from favae.data.walk import shown
    from favae.inference.translate import sample_file

    for path in sample_file(model, out, n, seed, truncation, single):
        print(shown(path))
