"""What results cost: GPU-hours, and CPU-hours of those that used no GPU, from their run records."""

from collections.abc import Iterable
from dataclasses import dataclass

from favae.results.run_record import RunRecord

_HOUR = 3600.0


@dataclass(frozen=True)
class Cost:
    """Hours over several results. `at_least`: a record is missing, or has the time of the last part of resumed work only."""

    gpu_hours: float
    cpu_hours: float
    wall: bool  # records without processor time count with their wall time
    at_least: bool

    @property
    def text(self) -> str:
        """In words: `at least 1.20 GPU-hours and 0.31 CPU-hours`."""
        parts = [f"{self.gpu_hours:,.3g} GPU-hours"] if self.gpu_hours else []
        if self.cpu_hours or not parts:
            parts.append(
                f"{self.cpu_hours:,.3g} CPU-hours"
                + (" (wall time where no processor time is recorded)" if self.wall else "")
            )
        return ("at least " if self.at_least else "") + " and ".join(parts)


def cost_of(records: Iterable[RunRecord | None]) -> Cost:
    """The cost of results, each counted once; None is a result whose record is not here."""
    found = list(records)
    known = [record for record in found if record is not None]
    on_cpu = [record for record in known if not record.gpu_seconds]
    return Cost(
        gpu_hours=sum(record.gpu_seconds for record in known) / _HOUR,
        cpu_hours=sum(r.seconds if r.cpu_seconds is None else r.cpu_seconds for r in on_cpu) / _HOUR,
        wall=any(record.cpu_seconds is None for record in on_cpu),
        at_least=len(known) < len(found) or any(record.resumed for record in known),
    )
