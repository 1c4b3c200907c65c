"""Figures that show pictures: reconstructions with their spectra, and samples with their captions.

Legend: H W pixels, k examples. Pictures are uint8 [H,W,3].
"""

import textwrap

import numpy as np
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import AxesImage

from favae.config.reporting import FigureSpec, FigureStyle
from favae.evaluation.spectrum import POWER_FLOOR
from favae.reporting.results import Results
from favae.reporting.style import GREY, bare, new_figure

Rows = list[tuple[str, np.ndarray, list[float] | None]]  # label, pictures [k,H,W,3], PSNR of each


def draw_reconstructions(spec: FigureSpec, style: FigureStyle, results: Results) -> Figure:
    """Held-out images over their reconstructions, one row a model; beside each its log-power spectrum.

    Raises:
        ValueError: cells that were not evaluated on the same images.
    """
    first = results.examples(spec.series[0].cell, spec.examples)
    rows: Rows = [("Original", first["original"], None)]
    for series in spec.series:
        examples = results.examples(series.cell, spec.examples)
        if not np.array_equal(examples["id"], first["id"]):
            raise ValueError(f"figure {spec.id!r}: {series.cell} shows other images than {spec.series[0].cell}")
        values = results.table(series.cell, "images.csv").set_index("id")
        psnr = values["psnr"].loc[examples["id"]].tolist() if "psnr" in values else None
        rows.append((series.label, examples["reconstruction"], psnr))
    side = style.width / (2 * len(first["id"]) + 1.2)
    figure = new_figure(style.width, len(rows) * (side + 0.22) + 0.7, spec.title)
    left, right = figure.subfigures(1, 2, wspace=0.02)
    left.suptitle("Images, PSNR in dB", size=style.font_size)
    right.suptitle("Log-power spectra in dB, zero frequency at the centre", size=style.font_size)
    _picture_rows(left, rows, style)
    _spectrum_rows(right, rows)
    return figure


def _picture_rows(figure: SubFigure, rows: Rows, style: FigureStyle) -> None:
    grid = figure.subplots(len(rows), len(rows[0][1]), squeeze=False)
    for axes_row, (label, pictures, psnr) in zip(grid, rows):
        for k, (axes, picture) in enumerate(zip(axes_row, pictures)):
            axes.imshow(picture, interpolation="nearest")
            bare(axes)
            if psnr is not None:
                axes.set_xlabel(f"{psnr[k]:.1f}", size=0.85 * style.font_size, color=GREY, labelpad=2)
        axes_row[0].set_ylabel(label)


def log_power(picture_HW3: np.ndarray) -> np.ndarray:
    """Power of the orthonormal 2-D DFT of 0..255 levels, mean over channels, in dB, zero frequency centred: [H,W].

    The floor is that of the log spectral error: the power of rounding to integers.
    """
    spectrum_HW3 = np.fft.fft2(picture_HW3.astype(np.float64), axes=(0, 1), norm="ortho")
    power_HW = (np.abs(spectrum_HW3) ** 2).mean(-1)
    return 10 * np.log10(np.fft.fftshift(power_HW) + POWER_FLOOR)


def _spectrum_rows(figure: SubFigure, rows: Rows) -> None:
    spectra = [np.stack([log_power(picture) for picture in pictures]) for _, pictures, _ in rows]
    low, high = np.percentile(spectra[0], [1, 99.9])  # one scale, that of the originals
    grid = figure.subplots(len(rows), len(spectra[0]), squeeze=False)
    image: AxesImage | None = None
    for axes_row, row in zip(grid, spectra):
        for axes, spectrum_HW in zip(axes_row, row):
            image = axes.imshow(spectrum_HW, cmap="magma", vmin=low, vmax=high, interpolation="nearest")
            bare(axes)
            axes.set_xlabel(" ", labelpad=2)  # as high as the row of pictures beside it
    if image is not None:
        bar = figure.colorbar(image, ax=grid, shrink=0.4, aspect=30, pad=0.02)
        bar.outline.set_visible(False)


def draw_samples(spec: FigureSpec, style: FigureStyle, results: Results) -> Figure:
    """One column a caption: the real image over the samples of every cell at each guidance scale.

    Raises:
        ValueError: cells that were not sampled from the same captions.
    """
    first = results.examples(spec.series[0].cell, spec.examples)
    rows = [("Real image", first["real"])]
    for series in spec.series:
        examples = results.examples(series.cell, spec.examples)
        if not np.array_equal(examples["caption"], first["caption"]):
            raise ValueError(f"figure {spec.id!r}: {series.cell} has other captions than {spec.series[0].cell}")
        scales = [name for name in examples if name.startswith("guidance_")]
        rows += [(f"{series.label}\n{name.replace('_', ' ')}", examples[name]) for name in scales]
    side = style.width / (len(first["caption"]) + 0.5)
    size = 0.8 * style.font_size
    captions = [textwrap.fill(caption, int(side * 72 / (0.6 * size))) for caption in first["caption"]]
    lines = max(caption.count("\n") + 1 for caption in captions)
    figure = new_figure(style.width, len(rows) * side + lines * 1.3 * size / 72 + 0.4, spec.title)
    grid = figure.subplots(len(rows), len(captions), squeeze=False)
    for axes_row, (label, pictures) in zip(grid, rows):
        for axes, picture in zip(axes_row, pictures):
            axes.imshow(picture, interpolation="nearest")
            bare(axes)
        axes_row[0].set_ylabel(label)
    for axes, caption in zip(grid[0], captions):
        axes.set_title(caption, size=size)
    return figure
