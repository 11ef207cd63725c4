"""A recording's card on the catalog page. Only the blocks that a picture needs are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from foundation.catalog import catalog_pictures as figures
from foundation.catalog.catalog_facts import (
    FIGURES,
    column_of,
    facts_of,
    known_of,
    provenance_of,
    quality_of,
    spread_of,
)
from foundation.common.output.pictures import Picture
from foundation.common.output.printable import count
from foundation.store import CatalogRow, Interval, StoredRecording
from foundation.store.format.finite import missing_as_nan
from foundation.store.stored_spikes import StoredSpikes

SECONDS, SAMPLES, MOST_UNITS, MOST_ROWS = 20.0, 240, 200, 60


@dataclass
class Card:
    """A recording on the page.

    Args:
        record: its row of the catalog.
        part: ``1 of 2`` if its session has several recordings, or ``''``.
        pictures: raster or map of activity, and histogram of rates.
        facts, provenance, quality: names and values.
        units: rows of the table of unit figures: name, minimum, median, maximum, how many units have a value.
        dropped: rows of dropped units; ``more``: how many further rows are hidden.
        known: labels, behaviours and tables of the recording.
        problem: why the recording cannot be shown, or ``''``.
    """

    record: CatalogRow
    part: str = ""
    pictures: list[Picture] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)
    provenance: list[tuple[str, str]] = field(default_factory=list)
    quality: list[tuple[str, str]] = field(default_factory=list)
    units: list[tuple[str, str, str, str, str]] = field(default_factory=list)
    dropped: list[dict[str, Any]] = field(default_factory=list)
    more: int = 0
    known: list[str] = field(default_factory=list)
    problem: str = ""


def make_card(recording: StoredRecording, part: str) -> Card:
    """Read a recording's card.

    Raises:
        StoreError: if a needed array is damaged.
    """
    record, control = recording.record, recording.attributes.get("control", {})
    rates = column_of(recording, "qc_rate")
    if rates is None:
        rates = recording.firing_rates() if recording.is_counts else np.full(recording.n_units, np.nan)
    card = Card(record, part, [_activity(recording, rates)])
    if np.isfinite(rates).any():
        median = float(np.nanmedian(rates))
        alt = f"Histogram of the firing rates of {count(len(rates), 'unit')}; the median is {median:.2g} Hz."
        card.pictures.append(Picture(figures.rate_histogram(rates), alt))
    card.facts = facts_of(recording)
    card.provenance = provenance_of(recording)
    card.quality = quality_of(record, control)
    card.units = [row for name in FIGURES if (row := spread_of(recording, name)) is not None]
    card.dropped = control.get("dropped", [])[:MOST_ROWS]
    card.more = max(0, len(control.get("dropped", [])) - MOST_ROWS)
    card.known = known_of(recording)
    return card


def _activity(recording: StoredRecording, rates: np.ndarray) -> Picture:
    shown = min(recording.n_units, MOST_UNITS)
    units = count(recording.n_units, "unit")
    which = f"all {units}" if shown == recording.n_units else f"the first {shown} of {units}"
    which = "the one unit" if recording.n_units == 1 else which
    domain = recording.domain
    if recording.kind != "spikes":
        return _sampled(recording, shown, which)
    start, end = stretch(domain, SECONDS)
    labels, by = _row_labels(recording, shown)
    order = np.lexsort((-np.nan_to_num(rates[:shown]), labels, labels == ""))
    row = np.full(recording.n_units, -1)
    row[order] = np.arange(shown)
    times, unit = spikes_between(recording, start, end)
    seen = row[unit] >= 0
    png = figures.raster(times[seen], row[unit[seen]], labels[order], start, end, domain)
    alt = (
        f"Raster of {which}, {seen.sum():,} spikes, "
        f"from {start:,.1f} to {end:,.1f} s{by}; time that was not observed is grey."
    )
    return Picture(png, alt)


def _row_labels(recording: StoredRecording, shown: int) -> tuple[np.ndarray, str]:
    """Return ``(M,)`` labels that colour the rows, and a description of them."""
    for name, words in (("location", "region"), ("cell_type", "cell type"), ("group", "probe or shank")):
        values = column_of(recording, name)
        if values is not None and (values[:shown].astype(str) != "").any():
            return values[:shown].astype(str), f", coloured by {words}"
    return np.full(shown, "", dtype="<U1"), ""


def _sampled(recording: StoredRecording, shown: int, which: str) -> Picture:
    stored = recording.group["activity/data"]
    rate, first = float(stored.attrs["rate"]), float(stored.attrs["start"])  # type: ignore[arg-type]
    start, end = stretch(recording.domain, max(SECONDS, SAMPLES / rate))
    low = int(np.clip(round((start - first) * rate), 0, stored.shape[0]))  # type: ignore[union-attr]
    high = int(np.clip(round((end - first) * rate), low, stored.shape[0]))  # type: ignore[union-attr]
    x_TM, _ = missing_as_nan(np.asarray(stored[low:high, :shown], dtype=np.float64))  # type: ignore[index]
    what = "counts" if recording.is_counts else "values"
    label = "counts a sample" if recording.is_counts else f"value ({stored.attrs['unit'] or 'unit not stated'})"
    alt = f"Map of sampled {what} of {which}, from {start:,.1f} to {end:,.1f} s, a sample every {1 / rate:g} s."
    return Picture(figures.activity_map(x_TM, first + low / rate, rate, label), alt)


def stretch(domain: Interval, seconds: float) -> tuple[float, float]:
    """Return the stretch to show: the middle of the longest observed interval, or all of it if it is shorter.

    Example:
        >>> stretch(Interval([0.0, 100.0], [10.0, 200.0]), 20.0)
        (140.0, 160.0)
        >>> stretch(Interval([2.0], [4.0]), 20.0)
        (2.0, 4.0)
    """
    merged = domain.union()
    if not len(merged):
        return 0.0, seconds
    k = int(np.argmax(merged.end - merged.start))
    middle = (merged.start[k] + merged.end[k]) / 2
    start = max(float(merged.start[0]), middle - seconds / 2)
    return float(start), float(min(start + seconds, merged.end[-1]))


def spikes_between(recording: StoredRecording, start: float, end: float) -> tuple[np.ndarray, np.ndarray]:
    """Return ``(S,)`` times and units of the spikes in ``[start, end)``; only overlapping blocks are read."""
    spikes = StoredSpikes(recording)
    low, high = spikes.edges[:-1] < end, spikes.edges[1:] >= start
    times, units = [np.empty(0)], [np.empty(0, dtype=np.int64)]
    for k in np.flatnonzero(low & high):
        block, counts = spikes.block(int(k))
        inside = (block >= start) & (block < end)
        times.append(block[inside])
        units.append(np.repeat(np.arange(len(counts)), counts)[inside])
    return np.concatenate(times), np.concatenate(units)
