"""Radial spectra: power is in the right ring and band, in the right unit."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from favae.config.evaluation import SpectrumMetricConfig
from favae.evaluation.spectrum import POWER_FLOOR, RadialSpectrum


def _cosine(size: int, fy: int, fx: int, amplitude: float) -> Tensor:
    """Grey image with a cosine of `fy`, `fx` cycles per image: [1,1,size,size] levels."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return (128 + amplitude * torch.cos(2 * math.pi * (fy * y + fx * x) / size))[None, None]


def test_rings_against_a_loop_over_frequencies(pairs: tuple[Tensor, Tensor]) -> None:
    levels = pairs[0][:2].float()
    settings = SpectrumMetricConfig(rings=10)
    sums, counts = np.zeros((2, 10)), np.zeros(10)
    power = np.abs(np.fft.fft2(levels.double().numpy(), norm="ortho")) ** 2
    for v in range(32):
        for u in range(32):
            fy, fx = min(v, 32 - v), min(u, 32 - u)
            if v or u:
                ring = min(math.isqrt(10**2 * (fy**2 + fx**2) // (2 * 16**2)), 9)
                sums[:, ring] += power[:, :, v, u].mean(1)
                counts[ring] += 1
    expected = 10 * np.log10(sums / counts + POWER_FLOOR)
    np.testing.assert_allclose(RadialSpectrum(32, 32, settings).power(levels), expected, rtol=1e-5)


@pytest.mark.parametrize(("fy", "fx", "band"), [(0, 2, "low"), (5, 3, "mid"), (0, 14, "high"), (16, 16, "high")])
def test_a_lost_frequency_is_an_error_of_its_band_only(fy: int, fx: int, band: str) -> None:
    flat = _cosine(32, 0, 0, 0)
    errors = RadialSpectrum(32, 32, SpectrumMetricConfig()).update(_cosine(32, fy, fx, 20), flat)
    assert errors[band].item() > 0.5
    assert sum(error.item() for name, error in errors.items() if name != band) < 1e-3


def test_halving_the_amplitude_is_six_decibels_in_every_ring() -> None:
    noise = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2000
    spectrum = RadialSpectrum(32, 32, SpectrumMetricConfig())
    errors = spectrum.update(noise, noise / 2)
    for error in errors.values():
        np.testing.assert_allclose(error, 20 * math.log10(2), rtol=1e-4)
    curves = spectrum.curves()
    np.testing.assert_allclose(curves["original_db"] - curves["reconstruction_db"], 20 * math.log10(2), rtol=1e-4)


def test_brightness_is_no_spectral_error(pairs: tuple[Tensor, Tensor]) -> None:
    levels = pairs[0].float()
    errors = RadialSpectrum(32, 32, SpectrumMetricConfig()).update(levels, levels + 10)
    assert max(error.max().item() for error in errors.values()) < 1e-3


def test_rounding_is_no_spectral_error_of_an_empty_image() -> None:
    flat = torch.full((1, 3, 32, 32), 100.0)
    noise = torch.rand(flat.shape, generator=torch.Generator().manual_seed(0)) - 0.5
    errors = RadialSpectrum(32, 32, SpectrumMetricConfig()).update(flat, flat + noise)
    assert all(
        2 < error.item() < 4 for error in errors.values()
    )  # 3 dB: as much power as the floor, not infinitely more


def test_batches_add_up_and_curves_have_their_band(pairs: tuple[Tensor, Tensor]) -> None:
    a, b = pairs[0].float(), pairs[0].flip(0).float()
    whole, parts = (RadialSpectrum(32, 32, SpectrumMetricConfig()) for _ in range(2))
    whole.update(a, b)
    parts.update(a[:5], b[:5])
    parts.update(a[5:], b[5:])
    np.testing.assert_allclose(parts.curves()[["original_db", "error_db"]], whole.curves()[["original_db", "error_db"]])
    curves = whole.curves()
    assert curves["radius"].is_monotonic_increasing
    assert curves["radius"].between(0, math.sqrt(2), inclusive="neither").all()
    expected = np.where(curves["radius"] < 0.25, "low", np.where(curves["radius"] < 0.5, "mid", "high"))
    assert curves["band"].tolist() == expected.tolist()


def test_small_and_oblong_images_leave_out_empty_rings() -> None:
    spectrum = RadialSpectrum(8, 16, SpectrumMetricConfig())
    noise = torch.rand(1, 1, 8, 16) * 255
    assert all(torch.isfinite(error).all() for error in spectrum.update(noise, noise.flip(-1)).values())
    assert 0 < len(spectrum.curves()) < 24


def test_bands_must_be_ordered() -> None:
    with pytest.raises(ValueError, match="low_below"):
        SpectrumMetricConfig(low_below=0.6)
