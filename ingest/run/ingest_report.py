"""Report of an ingest: a receipt per asset, and the table."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from foundation.common.credentials import public, without_secrets
from foundation.common.output.pages import text_table
from foundation.common.output.printable import printable

INGESTED, SKIPPED, LEFT_OUT, NEEDS_SORTING, FAILED = "ingested", "skipped", "left out", "needs sorting", "failed"
STATUSES = (INGESTED, SKIPPED, LEFT_OUT, NEEDS_SORTING, FAILED)
# Above this many assets the text lists only those not ingested or with a note.
FEW = 60


@dataclass(frozen=True)
class Receipt:
    """The outcome of one asset.

    Args:
        path: the asset, relative to the input.
        status: ``ingested``, ``skipped`` (already in the store), ``left out`` (by the ``keep`` rules), ``needs
            sorting`` (voltage alone) or ``failed``.
        id: the recording's id, ``''`` if the asset gave none.
        n_units, n_spikes: numbers of units and spikes.
        size: bytes of the asset, 0 if unknown.
        seconds: duration.
        note: why it failed or was left out, what was corrected, or a summary of the voltage.
    """

    path: str
    status: str
    id: str = ""
    n_units: int = 0
    n_spikes: int = 0
    size: int = 0
    seconds: float = 0.0
    note: str = ""


@dataclass(frozen=True)
class IngestReport:
    """Report of an ingest.

    Args:
        input: the input.
        store: the store.
        recipe: digest of the recipe.
        receipts: a receipt per asset, sorted by path.
        files: number of assets; more than receipts if the ingest was stopped.
        seconds: duration.
        outdated: paths of recordings of earlier ingests whose assets are no longer in the version; they are still in
            the catalog
    """

    input: str
    store: str
    recipe: str
    receipts: list[Receipt]
    files: int
    seconds: float = 0.0
    outdated: list[str] = field(default_factory=list)

    def having(self, status: str) -> list[Receipt]:
        """Return the receipts with a status."""
        return [receipt for receipt in self.receipts if receipt.status == status]

    @property
    def ingested(self) -> list[Receipt]:
        return self.having(INGESTED)

    @property
    def skipped(self) -> list[Receipt]:
        return self.having(SKIPPED)

    @property
    def left_out(self) -> list[Receipt]:
        return self.having(LEFT_OUT)

    @property
    def needs_sorting(self) -> list[Receipt]:
        return self.having(NEEDS_SORTING)

    @property
    def failed(self) -> list[Receipt]:
        return self.having(FAILED)

    @property
    def ok(self) -> bool:
        """Whether all files succeeded; the command exits with status 1 if one failed."""
        return not self.failed

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values, without secrets in URLs."""
        counts = {status: len(self.having(status)) for status in STATUSES}
        return {**public(asdict(self)), "counts": counts}

    def __str__(self) -> str:
        return self.text()

    def text(self) -> str:
        """Return a table with a line per asset (of many: only failed and skipped ones), and the counts."""
        shown = self.receipts
        if len(shown) > FEW:
            shown = [receipt for receipt in shown if receipt.status not in (INGESTED, SKIPPED)]
        rows = [("status", "units", "spikes", "s", "file", "note"), *map(_row, shown)] if shown else []
        lines = [text_table(rows)] if rows else []
        counts = ", ".join(f"{len(self.having(status))} {status}" for status in STATUSES)
        done = f"{len(self.receipts)} of " if len(self.receipts) < self.files else ""
        files = f"{done}{self.files} file{'' if self.files == 1 else 's'}"
        size = sum(receipt.size for receipt in self.receipts)
        pace = f", {size / 1e6 / self.seconds:.1f} MB/s" if self.seconds > 0 and size else ""
        if self.outdated:
            lines.append(
                f"{len(self.outdated)} recordings of earlier ingests are of assets that {self.input} holds no longer "
                f"({_few(self.outdated)}): `foundation catalog --prune` retires them"
            )
        end = f"{files}: {counts}; {self.seconds:.1f} s{pace}; store {self.store}"
        return without_secrets("\n".join([*lines, end]))


def _few(paths: list[str]) -> str:
    return ", ".join([*map(printable, paths[:3]), *(["..."] if len(paths) > 3 else [])])


def _row(receipt: Receipt) -> tuple[str, ...]:
    counted = bool(receipt.n_units or receipt.id)
    return (
        receipt.status,
        f"{receipt.n_units:,}" if counted else "-",
        f"{receipt.n_spikes:,}" if counted else "-",
        f"{receipt.seconds:.1f}",
        receipt.path,
        receipt.note,
    )
