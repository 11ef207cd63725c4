"""Progress of long work: a bar on a terminal, plain lines in a log."""

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
        label: what is being done, a few words.
        unit: what one step is, for example ``file``.
        every: on a log, seconds between two lines.
        start: steps done before.
        scale: print large numbers short (``1.2G``), for bytes.

    Example:
        >>> with Progress(2, "counting", unit="sheep") as progress:
        ...     progress.step(note="first")
        ...     progress.step()
    """

    def __init__(
        self, total: int, label: str, unit: str = "step", every: float = 15.0, start: int = 0, scale: bool = False
    ) -> None:
        self.total, self.label, self.unit, self.every, self.scale = total, label, unit, every, scale
        self.done, self.first, self.said_last = start, start, False
        self.began = self.last = time.monotonic()
        terminal = sys.stderr.isatty()
        self.bar = (
            tqdm(total=total, desc=label, unit=unit, initial=start, unit_scale=scale, dynamic_ncols=True)
            if terminal
            else None
        )

    def step(self, n: int = 1, note: str = "") -> None:
        """Say that ``n`` more steps are done; with 0, that something else is new, or that the work still goes on."""
        self.done += n
        if self.bar is not None:
            self.bar.set_postfix_str(printable(without_secrets(note)), refresh=n == 0)
            self.bar.update(n)
        elif self._finished() or time.monotonic() - self.last >= self.every:
            self.last = time.monotonic()
            log.info("%s", self._line(note))

    def skip(self, n: int) -> None:
        """Say that ``n`` steps need not be done; the time left is estimated from the others."""
        self.done += n
        self.first += n
        if self.bar is not None:
            self.bar.n += n
            self.bar.initial += n

    def _finished(self) -> bool:
        last, self.said_last = self.said_last, self.said_last or self.done >= self.total
        return self.said_last and not last

    def _line(self, note: str) -> str:
        spent = time.monotonic() - self.began
        done, total = (tqdm.format_sizeof(n) if self.scale else str(n) for n in (self.done, self.total))
        steps, to_do = self.done - self.first, max(self.total - self.done, 0)
        rate = f" at {tqdm.format_sizeof(steps / spent)}{self.unit}/s" if self.scale and steps > 0 < spent else ""
        parts = [f"{self.label}: {done}/{total} {self.unit}{rate}", f"{spent:.0f} s spent"]
        if steps > 0 or not to_do:  # before the first step there is no pace to tell the time left from
            parts.append(f"{to_do * spent / max(steps, 1):.0f} s left")
        return ", ".join([*parts, note] if note else parts)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()


def progress(items: Iterable[T], label: str, unit: str = "item", total: int | None = None) -> Iterator[T]:
    """Go through ``items`` and show how far it is.

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
