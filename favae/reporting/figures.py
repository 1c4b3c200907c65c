"""The drawing function of each kind of figure."""

from collections.abc import Callable

from matplotlib.figure import Figure

from favae.config.reporting import FigureConfig, FigureKind, FigureStyleConfig
from favae.reporting.frequencies import draw_spectra, draw_spectrum_error
from favae.reporting.images import draw_reconstructions, draw_samples
from favae.reporting.lines import draw_learning_curves, draw_sigma
from favae.reporting.prior import draw_drawn, draw_latent_grids
from favae.reporting.results import Results

DRAW: dict[FigureKind, Callable[[FigureConfig, FigureStyleConfig, Results], Figure]] = {
    "reconstructions": draw_reconstructions,
    "spectrum_error": draw_spectrum_error,
    "spectra": draw_spectra,
    "learning_curves": draw_learning_curves,
    "sigma": draw_sigma,
    "samples": draw_samples,
    "drawn": draw_drawn,
    "latent_grid": draw_latent_grids,
}
