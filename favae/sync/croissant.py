"""Croissant 1.0 metadata of a prepared data set: what its files hold, under which terms, and how to make them."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from favae.jobs.grid import Grid, Job
from favae.jobs.terms import terms_of
from favae.results.cards import Card, describe
from favae.results.run_record import RunRecord
from favae.runtime import paths

CROISSANT = "croissant.json"
_WORDS = {
    "split": "train, val or test; numbers are reported on test",
    "shard": "number of the array that holds the image: <split>-<shard, five digits>.npy",
    "row": "row of the image in that array",
    "id": "name of the image, unique within the data set",
    "source": "file of the raw data",
    "sha256": "SHA-256 of the raw file",
    "label": "class or attribute, where the layout has one",
    "box": "part of the raw image, where it was cut",
}
_INTEGERS = ("shard", "row")
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def croissant(grid: Grid, job: Job, card: Card, record: RunRecord | None) -> dict[str, Any]:
    """Metadata of the data set that `job` prepared, from its card and its files, which must be there.

    Raises FileNotFoundError if the data set has no index.
    """
    terms = terms_of(grid, job.cell)
    shards = paths.result_dir(job.scale, job.stage.name, job.cell) / paths.SHARDS
    counts = ", ".join(f"{split} {count:,}" for split, count in card.summary.get("counts", {}).items())
    shape = card.summary.get("image_shape")
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": f"{job.scale}-{job.cell}",
        "description": (
            f"Images of the data set {job.cell}, prepared for the scale {job.scale}: uint8 [n,H,W,3], images {shape}; {counts}. "
            f"Made from the raw data by `favae run prepare_dataset {job.cell} --scale {job.scale}`; content key {card.key}."
        ),
        "license": terms.licence,
        "url": terms.source or "https://schema.org/Dataset",
        "version": f"{card.code_version}.0.0",
        **({"datePublished": record.ended[:10]} if record else {}),
        "distribution": [
            *(_file(path, shards) for path in (shards / paths.INDEX, shards / paths.CAPTIONS) if path.exists()),
            {
                "@type": "cr:FileSet",
                "@id": "shards",
                "name": "shards",
                "description": "Arrays of images, one or more per split",
                "encodingFormat": "application/x-npy",
                "includes": f"{paths.SHARDS}/*.npy",
            },
        ],
        "recordSet": [{"@type": "cr:RecordSet", "@id": "images", "name": "images", "field": list(_fields(shards))}],
    }


def _file(path: Path, shards: Path) -> dict[str, Any]:
    found = describe(path)
    return {
        "@type": "cr:FileObject",
        "@id": path.name,
        "name": path.name,
        "contentUrl": path.relative_to(shards.parent).as_posix(),
        "contentSize": f"{found.size} B",
        "encodingFormat": "text/csv",
        "sha256": found.sha256,
    }


def _fields(shards: Path) -> Iterator[dict[str, Any]]:
    """The columns of the index."""
    with (shards / paths.INDEX).open(encoding="utf-8", newline="") as file:
        columns = next(csv.reader(file))
    for column in columns:
        yield {
            "@type": "cr:Field",
            "@id": f"images/{column}",
            "name": column,
            "description": _WORDS.get(column, column),
            "dataType": "sc:Integer" if column in _INTEGERS else "sc:Text",
            "source": {"fileObject": {"@id": paths.INDEX}, "extract": {"column": column}},
        }
