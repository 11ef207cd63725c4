"""What every benchmark shares: sides measured in turns, ratios with their confidence bound, and the page of results.

    times = in_turns({"ours": ours, "theirs": theirs}, rounds=20)     # A B A B ...: a slow moment falls on all
    ratio = ratio_of(times["theirs"], times["ours"])                   # how many times faster ours is
    page = Page("Loader", "python benchmarks/loader.py")
    page.say(f"{ratio}")
    page.table(["side", "ms"], [["ours", 1.2]])
    page.not_measured(["a network file system"])
    page.write("docs/benchmarks/loader.md")

A claim holds when the bound of its ratio does, not when the ratio does (`Ratio.holds`).
"""

from __future__ import annotations

import os
import platform
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from scipy.stats import bootstrap

from foundation.common.output.pages import MarkdownPage

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Ratio:
    """A ratio of medians with the ends of its confidence interval."""

    value: float
    low: float
    high: float
    pairs: int

    def holds(self, target: float) -> bool:
        """Return True if even the lower end reaches the target."""
        return self.low >= target

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


def in_turns(sides: Mapping[str, Callable[[], Any]], *, rounds: int = 20, warmup: int = 1) -> dict[str, np.ndarray]:
    """Return the seconds of each side in each round; the sides take turns.

    Args:
        sides: name -> what is timed. Where it returns a float, that is the time (a side that leaves out its set-up).
        rounds: how often each side is measured.
        warmup: rounds before, that do not count.

    Returns:
        name -> ``(rounds,)`` seconds.
    """
    times: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(warmup + rounds):
        for name, side in sides.items():
            began = time.perf_counter()
            returned = side()
            seconds = returned if isinstance(returned, float) else time.perf_counter() - began
            if turn >= warmup:
                times[name].append(seconds)
    return {name: np.array(values) for name, values in times.items()}


def ratio_of(above: np.ndarray, below: np.ndarray) -> Ratio:
    """Return ``median(above) / median(below)`` of paired measurements, with a bootstrap interval over the pairs."""
    if len(above) != len(below) or len(above) < 2:
        raise ValueError(f"a ratio needs two or more pairs, got {len(above)} and {len(below)} measurements")
    found = bootstrap(
        (np.asarray(above), np.asarray(below)),
        lambda a, b, axis=-1: np.median(a, axis=axis) / np.median(b, axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=9999,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    low, high = found.confidence_interval
    return Ratio(float(np.median(above) / np.median(below)), float(low), float(high), len(above))


def hardware() -> str:
    """Return a description of the machine, in a line."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        named = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)
        model = named.group(1).strip() if named else model
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = psutil.virtual_memory().total / 2**30
    return f"{model}, {cores} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}"


def versions(packages: Iterable[str]) -> str:
    """Return the versions of Python and installed packages, in a line."""
    parts = [f"Python {platform.python_version()}"]
    for package in packages:
        try:
            parts.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            parts.append(f"{package} not installed")
    return ", ".join(parts)


def load() -> str:
    """Return the machine's load, which shows figures that were measured beside other work."""
    one, five, _ = os.getloadavg()
    text = f"load {one:.1f} over the last minute, {five:.1f} over five"
    if hasattr(os, "sched_getscheduler") and os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR):
        text += ", in real-time scheduling (before all other work of the machine)"
    return text


class Page(MarkdownPage):
    """A page of results: what was measured, how, and what was not.

    Args:
        title: of the page.
        command: what makes it anew.
        packages: whose versions matter.
    """

    def __init__(self, title: str, command: str, packages: Sequence[str] = ()) -> None:
        super().__init__(title)
        self.left_out: list[str] = []
        self.code(command)
        today = f"{datetime.now(UTC):%Y-%m-%d}"
        self.items([today, hardware(), versions(packages), f"{load()} when it began"])

    def table(self, head: Sequence[object], rows: Iterable[Sequence[object]], right: int = 0) -> None:
        """Return a table; numbers are rounded to three figures."""
        super().table(head, [[_shown(cell) for cell in row] for row in rows], right)

    def not_measured(self, items: Iterable[str]) -> None:
        """Return conclusions that these figures do not support."""
        self.left_out += items

    @property
    def text(self) -> str:
        """The page.

        Raises:
            ValueError: if it names a path of this machine, or does not say what was not measured.
        """
        if not self.left_out:
            raise ValueError("a page of results says what was not measured: call not_measured")
        whole = MarkdownPage()
        whole.parts = list(self.parts)
        whole.heading("Not measured")
        whole.items(self.left_out)
        text = whole.text
        data = os.environ.get("FOUNDATION_DATA")
        if data:
            text = text.replace(data.rstrip("/"), "$FOUNDATION_DATA")
        for place in {str(Path.cwd()), str(Path.home()), tempfile.gettempdir()} - {"/"}:
            if f"{place}/" in text or f"{place} " in text:
                raise ValueError(f"the page names {place}, a path of this machine")
        return text


def _shown(cell: Any) -> str:
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 1000 else f"{cell:.3g}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)
