"""A table of neurons for a page: positions, columns, the classes of a column, and a limit on bytes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from foundation.common.errors import FoundationError
from foundation.common.output.pictures import COLOURS
from foundation.common.output.printable import printable

MAX_CLASSES = 14  # classes of a column with a colour of their own; all others are grey
MAX_TEXT = 60  # characters of a cell
BUDGET = 4_900_000  # bytes of columns, layouts and intervals: with Bokeh itself, a page below 7.5 MB
OTHERS, UNKNOWN = "other", "unknown"
GREY, PALE = "#8A9099", "#C9CED4"


@dataclass(frozen=True)
class NeuronTable:
    """N units with their positions in the plane and their columns.

    Args:
        layouts: name -> ``(N, 2)`` positions; the first is shown first.
        columns: name -> ``(N,)`` text or numbers; the first column names a unit. Missing text is ``''``, a missing
            number NaN.
        isi_NB: ``(N, B)`` uint8, intervals between spikes: share of each bin relative to the fullest, 0 to 255; None
            where units have no spike times.
        isi_edges: ``(B + 1,)`` seconds.
        colour: the column that colours units at first; by default the first text column with 2 classes or more.

    Raises:
        FoundationError: if a column or layout does not have N rows.

    Example:
        >>> table = NeuronTable({"plane": np.zeros((2, 2))}, {"unit": np.array(["1", "2"]), "region": ["CA1", "CA3"]})
        >>> table.n_units, table.first_colour
        (2, 'region')
    """

    layouts: Mapping[str, np.ndarray]
    columns: Mapping[str, np.ndarray]
    isi_NB: np.ndarray | None = None
    isi_edges: np.ndarray = field(default_factory=lambda: np.empty(0))
    colour: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", {name: np.asarray(values) for name, values in self.columns.items()})
        if not self.columns or not self.layouts:
            raise FoundationError("a map of neurons needs at least one layout and one column that names units")
        for kind, arrays in (("column", self.columns), ("layout", self.layouts)):
            for name, values in arrays.items():
                if len(values) != self.n_units:
                    text = f"{kind} {name!r} has {len(values)} rows: expected {self.n_units}, one per unit"
                    raise FoundationError(text)

    @property
    def n_units(self) -> int:
        """Number of units."""
        return len(next(iter(self.columns.values())))

    @property
    def colourable(self) -> list[str]:
        """Columns that can colour units: columns with several values that do not identify single units."""
        names = list(self.columns)[1:]
        return [name for name in names if _varies(self.columns[name])]

    @property
    def first_colour(self) -> str:
        """The column that colours units at first; empty if no column can."""
        able = self.colourable
        if self.colour in able:
            return self.colour
        return next((name for name in able if not is_number(self.columns[name])), able[0] if able else "")


def is_number(values: np.ndarray) -> bool:
    """Return True if a column holds numbers."""
    return values.dtype.kind in "fiu"


def safe_text(text: str) -> str:
    r"""Return a text without control characters, and without text that Bokeh would read as a formula.

    Bokeh loads MathJax from the network for a formula.

    Example:
        >>> safe_text("$$x$$ of \\(y\\)"), len(safe_text("a" * 100))
        ('$ $x$ $ of \\ (y\\ )', 60)
    """
    text = printable(str(text)).replace("$$", "$ $")
    text = re.sub(r"\\([()\[\]])", r"\\ \1", text)
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def within_budget(table: NeuronTable) -> NeuronTable:
    """Return a table that fits into a page of 8 MB, dropping its last columns and layouts where needed.

    Example:
        >>> table = NeuronTable({"plane": np.zeros((2, 2))}, {"unit": np.array(["1", "2"])})
        >>> within_budget(table).columns.keys() == table.columns.keys()
        True
    """
    left = BUDGET - (4 * table.isi_NB.size // 3 if table.isi_NB is not None else 0)
    columns: dict[str, np.ndarray] = {}
    layouts: dict[str, np.ndarray] = {}
    for kept, arrays in ((layouts, dict(list(table.layouts.items())[:2])), (columns, table.columns)):
        for name, values in arrays.items():
            left -= _bytes(values)
            if not kept or left >= 0:
                kept[name] = values
    for name, values in list(table.layouts.items())[2:]:
        left -= _bytes(values)
        if left >= 0:
            layouts[name] = values
    return replace(table, columns=columns, layouts=layouts)


def _bytes(values: np.ndarray) -> int:
    """Return the approximate bytes of a column or a layout in the page."""
    if values.ndim == 2:
        return 6 * len(values)
    if is_number(values):
        return 6 * len(values)
    return sum(min(len(text), MAX_TEXT) + 3 for text in values.astype(str).tolist()) + 2 * len(values)


def classes_of(values: np.ndarray) -> list[tuple[str, np.ndarray, str, str]]:
    """Return the classes of a text column, most frequent first: name, mask of units, colour and marker.

    Classes beyond `MAX_CLASSES` form one class, and so do units without a text.

    Example:
        >>> [(name, int(where.sum()), marker) for name, where, _, marker in classes_of(np.array(["b", "a", "b", ""]))]
        [('b', 2, 'circle'), ('a', 1, 'circle'), ('unknown', 1, 'circle')]
    """
    text = values.astype(str)
    ordered = [name for name, _ in sorted(Counter(text.tolist()).items(), key=lambda item: (-item[1], item[0])) if name]
    # A single class too many is kept: a class of others would take as much space.
    named = ordered[:MAX_CLASSES] if len(ordered) > MAX_CLASSES + 1 else ordered[: MAX_CLASSES + 1]
    found = [(name, text == name, COLOURS[k % 8], "circle" if k < 8 else "triangle") for k, name in enumerate(named)]
    rest = ~np.isin(text, [*named, ""])
    if rest.any():
        found.append((OTHERS, rest, GREY, "circle"))
    if (text == "").any():
        found.append((UNKNOWN, text == "", PALE, "circle"))
    return found


def _varies(values: np.ndarray) -> bool:
    if is_number(values):
        there = values[np.isfinite(values)] if values.dtype.kind == "f" else values
        return len(there) > 0 and bool((there != there[0]).any())
    return 2 <= len(set(values.astype(str).tolist())) <= max(2, len(values) // 2)
