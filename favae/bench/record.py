"""Measurements as numbers for the page, kept beside it by device: a run on one machine keeps what another machine measured."""

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from favae.config.base import Schema
from favae.runtime.files import write_text

Device = Literal["cpu", "cuda"]


class Measured(Schema):
    """What one device measured: the description of its machine, and the rows of each section by its name.

    `remarks`, by section, say what differs from the description: such as another run.
    """

    machine: dict[str, str]
    tables: dict[str, list[tuple[str, ...]]]
    remarks: dict[str, str] = Field(default_factory=dict)


class Record(Schema):
    """Content of the file beside the page."""

    cpu: Measured | None = None
    cuda: Measured | None = None

    @classmethod
    def beside(cls, page: Path) -> "Record":
        """The record of a page; an empty one if there is none. Raises ValueError naming a file that is not a record."""
        path = page.with_suffix(".json")
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return cls()
        except (ValidationError, UnicodeDecodeError) as error:
            raise ValueError(
                f"{path}: not a record of benchmarks; restore it, or remove it and measure again"
            ) from error

    def of(self, device: str) -> Measured | None:
        """What a device measured."""
        return self.cpu if device == "cpu" else self.cuda

    def updated(self, device: str, measured: Measured, *, whole: bool) -> "Record":
        """The record with new measurements of a device.

        Those of a `whole` run replace all others of that device. Those of some sections are put beside the others, with a
        remark that says when they were measured, and with which code.
        """
        before = self.of(device)
        if whole or before is None:
            return self.model_copy(update={device: measured})
        machine = measured.machine
        load = machine.get("load when started", "unknown").partition(" ")[0]
        said = f"(measured on {machine.get('date')}, commit {machine.get('commit')}, {machine.get('processor')}, load {load})"
        tables = before.tables | measured.tables
        new = {} if machine == before.machine else dict.fromkeys(measured.tables, said)
        remarks = before.remarks | new | measured.remarks
        return self.model_copy(update={device: before.model_copy(update={"tables": tables, "remarks": remarks})})

    def save(self, page: Path) -> None:
        """Write the record of a page."""
        write_text(page.with_suffix(".json"), self.model_dump_json(indent=1, exclude_none=True) + "\n")
