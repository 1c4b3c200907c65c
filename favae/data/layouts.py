"""Published layouts: from files and lists of a data set, as its authors ship it, to records; nothing is decoded."""

from pathlib import Path

from favae.config.dataset import DatasetSpec, TilesLayout
from favae.data.records import ImageRecord, apply_limit, check_counts, check_unique
from favae.data.tiles import tile_records


def list_records(spec: DatasetSpec, raw_root: Path) -> list[ImageRecord]:
    """All pictures of the data set in order, with their splits."""
    layout = spec.layout
    assert isinstance(layout, TilesLayout)
    records = tile_records(layout)
    check_unique(records)
    check_counts(records, spec.expected_counts)
    return apply_limit(records, spec.limit)
