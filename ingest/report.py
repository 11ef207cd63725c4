"""What an ingest did: a line per file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

INGESTED, SKIPPED, NEEDS_SORTING, FAILED = "ingested", "skipped", "needs sorting", "failed"
STATUSES = (INGESTED, SKIPPED, NEEDS_SORTING, FAILED)


@dataclass(frozen=True)
class Receipt:
    """What became of one file.

    Args:
        path: the file, relative to what was asked for.
        status: ``ingested``, ``skipped`` (it was there), ``needs sorting`` (voltage alone) or ``failed``.
        id: the recording's id, ``''`` if there is none.
        n_units, n_spikes: what was found.
        seconds: time that it took.
        note: why it failed, what was mended, or what the voltage is.
    """

    path: str
    status: str
    id: str = ""
    n_units: int = 0
    n_spikes: int = 0
    seconds: float = 0.0
    note: str = ""


@dataclass(frozen=True)
class IngestReport:
    """What an ingest did.

    Args:
        input: what was asked for.
        store: where it went.
        recipe: digest of the recipe.
        receipts: a receipt per file, sorted by path.
        files: how many files there were; more than receipts if the ingest was stopped.
        seconds: time in all.
    """

    input: str
    store: str
    recipe: str
    receipts: list[Receipt]
    files: int
    seconds: float = 0.0

    def having(self, status: str) -> list[Receipt]:
        """The receipts with a status."""
        return [receipt for receipt in self.receipts if receipt.status == status]

    @property
    def ingested(self) -> list[Receipt]:
        return self.having(INGESTED)

    @property
    def skipped(self) -> list[Receipt]:
        return self.having(SKIPPED)

    @property
    def needs_sorting(self) -> list[Receipt]:
        return self.having(NEEDS_SORTING)

    @property
    def failed(self) -> list[Receipt]:
        return self.having(FAILED)

    @property
    def ok(self) -> bool:
        """Whether no file failed; the command ends with status 1 if one did."""
        return not self.failed

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON can hold it."""
        counts = {status: len(self.having(status)) for status in STATUSES}
        return {**asdict(self), "counts": counts}

    def __str__(self) -> str:
        return self.text()

    def text(self) -> str:
        """A table with a line per file, and the counts."""
        rows = [("status", "units", "spikes", "s", "file", "note")]
        rows += [
            (
                r.status,
                f"{r.n_units:,}" if r.id else "-",
                f"{r.n_spikes:,}" if r.id else "-",
                f"{r.seconds:.1f}",
                r.path,
                r.note,
            )
            for r in self.receipts
        ]
        widths = [max(len(row[i]) for row in rows) for i in range(5)]
        lines = [
            "  ".join([*(cell.ljust(width) for cell, width in zip(row[:5], widths, strict=True)), row[5]]).rstrip()
            for row in rows
        ]
        counts = ", ".join(f"{len(self.having(status))} {status}" for status in STATUSES)
        return "\n".join([*lines, f"{len(self.receipts)} files: {counts}; {self.seconds:.1f} s; store {self.store}"])
