"""Progress of long work: a bar on a terminal, lines in a log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

from foundation.common.credentials import without_secrets
from foundation.common.output.printable import printable

T = TypeVar("T")
log = logging.getLogger(__name__)


class Progress:
    """Counts steps of a piece of work of known length.

    Args:
        total: number of steps.
        label: a few words for the work.
        unit: noun of a step, such as ``file``.
        every: seconds between two lines of a log.
        start: steps already done.
        scale: abbreviate large numbers (``1.2G``), for bytes.

    Example:
        >>> with Progress(2, "counting", unit="sheep") as progress:
        ...     progress.step(note="first")
        ...     progress.step()
    """

    def __init__(
        self, total: int, label: str, unit: str = "step", every: float = 15.0, start: int = 0, scale: bool = False
    ) -> None:
        self.total, self.label, self.unit, self.every, self.scale = total, label, unit, every, scale
        self.done, self.first, self.printed_last = start, start, False
        self.began = self.last = time.monotonic()
        terminal = sys.stderr.isatty()
        self.bar = (
            tqdm(total=total, desc=label, unit=unit, initial=start, unit_scale=scale, dynamic_ncols=True)
            if terminal
            else None
        )

    def step(self, n: int = 1, note: str = "") -> None:
        """Count ``n`` more steps; with 0, only update the note or the time."""
        self.done += n
        if self.bar is not None:
            self.bar.set_postfix_str(printable(without_secrets(note)), refresh=n == 0)
            self.bar.update(n)
        elif self._finished() or time.monotonic() - self.last >= self.every:
            self.last = time.monotonic()
            log.info("%s", self._line(note))

    def skip(self, n: int) -> None:
        """Skip ``n`` steps; the remaining time is estimated from the other steps."""
        self.done += n
        self.first += n
        if self.bar is not None:
            self.bar.n += n
            self.bar.initial += n

    def _finished(self) -> bool:
        last, self.printed_last = self.printed_last, self.printed_last or self.done >= self.total
        return self.printed_last and not last

    def _line(self, note: str) -> str:
        spent = time.monotonic() - self.began
        done, total = (tqdm.format_sizeof(n) if self.scale else str(n) for n in (self.done, self.total))
        steps, to_do = self.done - self.first, max(self.total - self.done, 0)
        rate = f" at {tqdm.format_sizeof(steps / spent)}{self.unit}/s" if self.scale and steps > 0 < spent else ""
        parts = [f"{self.label}: {done}/{total} {self.unit}{rate}", f"{spent:.0f} s spent"]
        if steps > 0 or not to_do:  # before the first step the pace is unknown
            parts.append(f"{to_do * spent / max(steps, 1):.0f} s left")
        return ", ".join([*parts, note] if note else parts)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()


def progress(items: Iterable[T], label: str, unit: str = "item", total: int | None = None) -> Iterator[T]:
    """Yield ``items`` and show the progress.

    Example:
        >>> list(progress([1, 2], "adding"))
        [1, 2]
    """
    if total is None:
        items = list(items)
        total = len(items)
    with Progress(total, label, unit) as shown:
        for item in items:
            yield item
            shown.step()
