"""Reference statistics on disk: features of real images, computed once and read by every evaluation on them."""

from collections.abc import Mapping
from pathlib import Path

from favae.evaluation.frechet import FeatureStatistics


def save_reference(folder: Path, images: str, statistics: Mapping[str, FeatureStatistics]) -> None:
    """Write `<images>-<network>.npz` for each network; `images` is a split or `all`."""
    for network, features in statistics.items():
        features.save(folder / f"{images}-{network}.npz")


def load_reference(folder: Path, images: str) -> dict[str, FeatureStatistics]:
    """Statistics of a split or of `all` by network, without the networks whose weights were missing.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: a file that does not hold feature statistics.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"reference statistics {folder} are missing; fetch them (dvc pull) or compute them again"
        )
    files = sorted(folder.glob(f"{images}-*.npz"))
    return {file.stem.removeprefix(f"{images}-"): FeatureStatistics.load(file) for file in files}
