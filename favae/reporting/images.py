"""Figures that show images: reconstructions with their spectra, and samples with their captions.

Legend: H W pixels, k examples. Images are uint8 [H,W,3].
"""

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from favae.config.reporting import FigureConfig, FigureStyleConfig
from favae.evaluation.spectrum import POWER_FLOOR
from favae.reporting.results import Results
from favae.reporting.steps import about_steps, figure_of_images, height_below, write_below
from favae.reporting.style import GREY, POINTS, bare, new_figure
from favae.runtime import paths

Rows = list[tuple[str, np.ndarray, list[float] | None]]  # label, images [k,H,W,3], PSNR of each


def draw_reconstructions(config: FigureConfig, style: FigureStyleConfig, results: Results) -> Figure:
    """Held-out images above their reconstructions (or their conditions, and what is generated from them), one row per model,
    with the log-power spectrum of each.

    Raises:
        ValueError: cells that were not evaluated on the same images.
    """
    first = results.examples(config.series[0].run, config.examples)
    rows: Rows = [("Original", first["original"], None)]
    if "condition" in first:
        rows.append(("Input", first["condition"], None))
    for series in config.series:
        examples = results.examples(series.run, config.examples)
        if not np.array_equal(examples["id"], first["id"]):
            raise ValueError(f"figure {config.id!r}: {series.run} shows other images than {config.series[0].run}")
        values = results.table(series.run, paths.IMAGES).set_index("id")
        psnr = values["psnr"].loc[examples["id"]].tolist() if "psnr" in values else None
        rows.append((series.label, examples["reconstruction"], psnr))
    return _lay_out(rows, style, config.title, about_steps(config, results))


class _Sheet:
    """Two blocks of square axes, images on the left and spectra on the right, in aligned rows; sizes in inches."""

    LABEL, BETWEEN, BAR = 0.25, 0.2, 0.45  # left of, between and right of the blocks
    HEADER, BELOW, GAP = 0.55, 0.21, 0.05  # above all rows, below each row, right of each image

    def __init__(self, rows: int, columns: int, width: float, title: str, below: float) -> None:
        self.columns, self.width = columns, width
        self.side = (width - self.LABEL - self.BETWEEN - self.BAR) / (2 * columns) - self.GAP
        self.height = self.HEADER + rows * (self.side + self.BELOW) + below
        self.figure = new_figure(width, self.height, title, layout=None)

    def axes(self, row: int, column: int, block: int) -> Axes:
        """Axes of an image (block 0) or a spectrum (block 1)."""
        x = self.LABEL + (block * self.columns + column) * (self.side + self.GAP) + block * self.BETWEEN
        y = self.height - self.HEADER - row * (self.side + self.BELOW) - self.side
        axes = self._add(x, y, self.side)
        bare(axes)
        return axes

    def bar_axes(self) -> Axes:
        """Axes of the colour bar, to the right of the first row."""
        return self._add(self.width - self.BAR + 0.05, self.height - self.HEADER - self.side, 0.08)

    def _add(self, x: float, y: float, width: float) -> Axes:
        return self.figure.add_axes((x / self.width, y / self.height, width / self.width, self.side / self.height))


def _lay_out(rows: Rows, style: FigureStyleConfig, title: str, note: str) -> Figure:
    spectra = [[log_power(image) for image in images] for _, images, _ in rows]
    low, high = np.percentile(spectra[0], [1, 99.9])  # all rows share the colour scale of the originals
    below = height_below(note, style.width, style.font_size)
    sheet = _Sheet(len(rows), len(rows[0][1]), style.width, title, below)
    write_below(sheet.figure, note, style.width, style.font_size)
    for i, (name, images, psnr) in enumerate(rows):
        for k, image in enumerate(images):
            left, right = sheet.axes(i, k, 0), sheet.axes(i, k, 1)
            left.imshow(image, interpolation="nearest")
            shown = right.imshow(spectra[i][k], cmap="magma", vmin=low, vmax=high, interpolation="nearest")
            if psnr is not None:
                left.set_xlabel(f"{psnr[k]:.1f} dB", size=0.85 * style.font_size, color=GREY, labelpad=2)
            if k == 0:
                left.set_ylabel(name, labelpad=3)
            if i == k == 0:
                left.set_title("Image, PSNR below")
                right.set_title("Log-power spectrum (dB), zero frequency at the centre")
    bar = sheet.figure.colorbar(shown, cax=sheet.bar_axes())
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=0.75 * style.font_size, length=2, pad=1)
    return sheet.figure


def log_power(image_HW3: np.ndarray) -> np.ndarray:
    """Power of the orthonormal 2-D DFT of 0..255 levels, mean over channels, in dB, zero frequency centred: [H,W].

    The floor is that of the log spectral error, the power of rounding to integers.
    """
    spectrum_HW3 = np.fft.fft2(image_HW3.astype(np.float64), axes=(0, 1), norm="ortho")
    power_HW = (np.abs(spectrum_HW3) ** 2).mean(-1)
    return 10 * np.log10(np.fft.fftshift(power_HW) + POWER_FLOOR)


def draw_samples(config: FigureConfig, style: FigureStyleConfig, results: Results) -> Figure:
    """One column per caption: the real image above the samples of every cell at each guidance scale.

    Raises:
        ValueError: cells that were not sampled from the same captions.
    """
    first = results.examples(config.series[0].run, config.examples)
    rows = [("Real image", first["real"])]
    for series in config.series:
        examples = results.examples(series.run, config.examples)
        if not np.array_equal(examples["caption"], first["caption"]):
            raise ValueError(f"figure {config.id!r}: {series.run} has other captions than {config.series[0].run}")
        scales = [name for name in examples if name.startswith("guidance_")]
        rows += [(f"{series.label}\n{name.replace('_', ' ')}", examples[name]) for name in scales]
    side = style.width / (len(first["caption"]) + 0.5)
    size = 0.8 * style.font_size
    captions = [textwrap.fill(caption, int(side * POINTS / (0.6 * size))) for caption in first["caption"]]
    lines = max(caption.count("\n") + 1 for caption in captions)
    figure = figure_of_images(config, style, results, len(rows) * side + lines * 1.3 * size / POINTS + 0.4)
    grid = figure.subplots(len(rows), len(captions), squeeze=False)
    for axes_row, (label, images) in zip(grid, rows):
        for axes, image in zip(axes_row, images):
            axes.imshow(image, interpolation="nearest")
            bare(axes)
        axes_row[0].set_ylabel(label)
    for axes, caption in zip(grid[0], captions):
        axes.set_title(caption, size=size)
    return figure
