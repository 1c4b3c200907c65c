"""Croissant 1.0 metadata of a prepared data set: what its files hold, under which terms, and how to make them."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from favae.jobs.grid import Grid, Job
from favae.jobs.terms import terms_of
from favae.results.cards import Card, Output, describe
from favae.results.run_record import RunRecord
from favae.runtime import paths

CROISSANT = "croissant.json"
_TEXTS = (paths.INDEX, paths.CAPTIONS)
_WORDS = {  # columns of the index
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
    shards = paths.result_dir(job.scale, job.stage.name, job.cell) / paths.SHARDS
    files = [_file(path.name, describe(path)) for path in (shards / name for name in _TEXTS) if path.exists()]
    with (shards / paths.INDEX).open(encoding="utf-8", newline="") as file:
        columns = next(csv.reader(file))
    return _tree(grid, job, card, record, files, columns)


def croissant_again(grid: Grid, job: Job, card: Card, record: RunRecord | None, published: Path) -> dict[str, Any]:
    """The same without the files of the data set: their sizes and hashes are those of the metadata in the file `published`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such metadata.
    """
    try:
        parts = {part["@id"]: part for part in json.loads(published.read_text(encoding="utf-8"))["distribution"]}
        files = [
            _file(name, Output(sha256=parts[name]["sha256"], size=int(parts[name]["contentSize"].removesuffix(" B"))))
            for name in _TEXTS
            if name in parts
        ]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{published}: does not describe a prepared data set") from error
    return _tree(grid, job, card, record, files, list(_WORDS))


def _tree(
    grid: Grid, job: Job, card: Card, record: RunRecord | None, files: list[dict[str, Any]], columns: list[str]
) -> dict[str, Any]:
    terms = terms_of(grid, job.cell)
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
            *files,
            {
                "@type": "cr:FileSet",
                "@id": "shards",
                "name": "shards",
                "description": "Arrays of images, one or more per split",
                "encodingFormat": "application/x-npy",
                "includes": f"{paths.SHARDS}/*.npy",
            },
        ],
        "recordSet": [{"@type": "cr:RecordSet", "@id": "images", "name": "images", "field": list(_fields(columns))}],
    }


def _file(name: str, found: Output) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": f"{paths.SHARDS}/{name}",
        "contentSize": f"{found.size} B",
        "encodingFormat": "text/csv",
        "sha256": found.sha256,
    }


def _fields(columns: list[str]) -> Iterator[dict[str, Any]]:
    """The columns of the index."""
    for column in columns:
        yield {
            "@type": "cr:Field",
            "@id": f"images/{column}",
            "name": column,
            "description": _WORDS.get(column, column),
            "dataType": "sc:Integer" if column in _INTEGERS else "sc:Text",
            "source": {"fileObject": {"@id": paths.INDEX}, "extract": {"column": column}},
        }
