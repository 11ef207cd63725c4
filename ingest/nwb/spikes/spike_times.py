"""Convert spike times to seconds of the session, sort and check them, and find their resolution."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from pynwb import NWBFile

from foundation.common.errors import SourceError
from foundation.store import Interval, Spikes
from foundation.store.format.finite import LARGEST, is_finite
from foundation.store.format.spill import empty, let_go, pieces
from ingest.nwb.nwb_texts import plain_text
from ingest.nwb.read_log import Notes
from ingest.quality.read_counts import Quality
from ingest.recipe.pattern_cost import LONGEST_TEXT
from ingest.recipe.recipe_rules import ResolutionRules, SpikeTimeRules

Change = Callable[[np.ndarray], np.ndarray]
# A resolution of this many seconds or more counts only if no two spikes of a unit lie closer together.
DOUBTFUL = 1.0


def seconds_of(rules: SpikeTimeRules, unix_start: float = 0.0) -> Change | None:
    """Return the conversion of stored times to seconds from the session's start; None if they are seconds.

    Args:
        rules: what the stored times mean.
        unix_start: the session's start in seconds since 1970, for rules that use it.

    Example:
        >>> change = seconds_of(SpikeTimeRules(scale=1 / 30000, offset=2.0))
        >>> change(np.array([0, 45000])).tolist()
        [2.0, 3.5]
    """
    shift = rules.offset - (unix_start if rules.since_1970 else 0.0)
    if rules.scale == 1.0 and not shift:
        return None
    # Dividing by 30,000 gives the same numbers as other readers; multiplying by 1 / 30,000 does not.
    whole = round(1 / rules.scale)
    divides = whole >= 1 and abs(1 / rules.scale - whole) <= 1e-9 * whole

    def change(times: np.ndarray) -> np.ndarray:
        if times.dtype.kind not in "iuf":
            return times
        times = times.astype(np.float64)
        times = times / whole if divides else times * rules.scale
        return times + shift if shift else times

    return change


def change_slowly(times: np.ndarray, change: Change) -> np.ndarray:
    """Convert times in pieces of some megabytes; large ones are kept in a file (see `spill.empty`)."""
    changed = empty(len(times), np.float64)
    for piece in pieces(times):
        changed[piece] = change(times[piece])
        let_go(changed)
    return changed


def clean_trains(times: np.ndarray, bounds: np.ndarray, quality: Quality, strict: bool = False) -> Spikes:
    """Sort unsorted trains, drop spikes that are NaN, infinite or before the session's start, and count both.

    Args:
        times: ``(S,)`` seconds, unit after unit.
        bounds: ``(N + 1,)`` offsets of each unit's spikes.
        quality: gets ``spikes_dropped_nan``, ``spikes_dropped_out_of_range`` and ``units_sorted``.
        strict: raise instead.

    Raises:
        SourceError: with ``strict``, at the first unit that needs correction.

    Example:
        >>> quality = Quality()
        >>> spikes = clean_trains(np.array([2.0, 1.0, np.nan, -3.0, 4.0]), np.array([0, 3, 5]), quality)
        >>> spikes.train(0).tolist(), spikes.train(1).tolist()
        ([1.0, 2.0], [4.0])
        >>> quality.found()
        {'spikes_dropped_nan': 1.0, 'spikes_dropped_out_of_range': 1.0, 'units_sorted': 1.0}
    """
    times = np.asarray(times, dtype=np.float64)
    if (spikes := _as_they_are(times, bounds)) is not None:
        return spikes
    clean, offsets = empty(int(max(bounds[-1] - bounds[0], 0)), np.float64), [0]
    for unit in range(len(bounds) - 1):
        train = times[bounds[unit] : bounds[unit + 1]]
        missing = np.isnan(train)
        # Comparing NaN is False, so a missing spike does not count as out of range.
        out_of_range = ~missing & (~is_finite(train) | (train < 0))
        kept = train[~(missing | out_of_range)]
        unsorted = bool((np.diff(kept) < 0).any())
        if strict:
            _refuse(unit, int(missing.sum()), int(out_of_range.sum()), unsorted)
        quality["spikes_dropped_nan"] += int(missing.sum())
        quality["spikes_dropped_out_of_range"] += int(out_of_range.sum())
        quality["units_sorted"] += unsorted
        offsets.append(offsets[-1] + len(kept))
        clean[offsets[-2] : offsets[-1]] = np.sort(kept) if unsorted else kept
        let_go(times)
        let_go(clean)
    return Spikes(clean[: offsets[-1]], np.array(offsets))


def _as_they_are(times: np.ndarray, bounds: np.ndarray) -> Spikes | None:
    """Return trains that need no correction without copying, as in nearly all files; None if they need correction."""
    try:
        spikes = Spikes(times, bounds)
    except ValueError:
        return None
    return spikes if not len(spikes) or (spikes.span[0] >= 0 and spikes.span[1] <= LARGEST) else None


def _refuse(unit: int, missing: int, out_of_range: int, unsorted: bool) -> None:
    if missing:
        raise SourceError(f"unit {unit} has {missing} spike times that are NaN; without strict they are dropped")
    if out_of_range:
        raise SourceError(
            f"unit {unit} has {out_of_range} spike times that are negative or infinite; without strict they are dropped"
        )
    if unsorted:
        raise SourceError(f"spike times of unit {unit} are not sorted; without strict they are sorted")


def count_outside(train: np.ndarray, observed: Interval) -> int:
    """Return how many spikes of a sorted train lie outside its unit's observed time (ends included).

    Example:
        >>> count_outside(np.array([0.5, 2.0, 3.0]), Interval.single(1.0, 2.0))
        2
    """
    merged = observed.union()
    before_K = np.searchsorted(train, merged.start, side="left")
    up_to_K = np.searchsorted(train, merged.end, side="right")
    return len(train) - int((up_to_K - before_K).sum())


def resolution_of(
    nwb: NWBFile, rules: ResolutionRules, notes: Notes, table: Any = None, spikes: Spikes | None = None
) -> float:
    """Return the resolution of a file's spike times in seconds; 0 if unknown.

    The recipe's number takes precedence; otherwise the coarser of the session description's and ``spike_times``'s
    ``resolution``. A sampling rate written there (30000) is ignored: numbers of 1 s and more are skipped, and counted
    as ``resolution_ignored``, if spikes of one unit lie closer together.

    Args:
        nwb: the open file.
        rules: the recipe's number and expressions.
        notes: gets a note on an ignored resolution.
        table, spikes: the units table and its trains, if any.
    """
    if rules.seconds is not None:
        return rules.seconds
    stated = getattr(table, "resolution", None)
    stated = float(stated) if isinstance(stated, int | float | np.number) and np.isfinite(stated) else 0.0
    if stated >= DOUBTFUL and spikes is not None and _shortest_interval(spikes) < stated * (1 - 1e-6):
        notes["resolution_ignored"] += 1
        notes.leave("units/spike_times/resolution", f"{stated:g} s: units have spikes that lie closer together")
        stated = 0.0
    return max(_described(plain_text(nwb.session_description), rules), stated)


def _described(text: str, rules: ResolutionRules) -> float:
    for pattern in rules.patterns:
        if found := re.search(pattern, text[:LONGEST_TEXT], re.IGNORECASE):
            groups = found.groupdict()
            return float(groups["s"]) if groups.get("s") else float(groups["ms"]) / 1000.0
    return 0.0


def _shortest_interval(spikes: Spikes) -> float:
    """Return the shortest non-zero interval between spikes of one unit; infinity without any."""
    shortest = np.inf
    for unit in range(spikes.n_units):
        steps = np.diff(spikes.train(unit))
        shortest = min(shortest, float(steps[steps > 0].min(initial=np.inf)))
    return shortest
