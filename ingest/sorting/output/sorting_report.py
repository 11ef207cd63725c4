"""The page of a sorting: one self-contained HTML file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from foundation.common.files.locks import write_whole
from foundation.common.output.pages import html_template
from foundation.common.output.pictures import Picture
from foundation.common.output.printable import count
from foundation.common.output.progress import progress
from foundation.version import __version__
from ingest.sorting.output.sorting_pictures import cross_picture, map_picture, place_picture, unit_picture
from ingest.sorting.sort_settings import SortSettings
from ingest.sorting.sorted_units import GOOD, Sorting

CARDS, CROSSED, MAPPED = 60, 10, 8  # units drawn one by one, units of cross-correlograms, channels of the map
MANY_VIOLATIONS, LITTLE_PRESENCE = 0.01, 0.8


def write_report(sorting: Sorting, settings: SortSettings, path: Path, name: str) -> None:
    """Write the page atomically.

    Args:
        sorting: units and spikes.
        settings: settings of the sorting.
        path: the file.
        name: of the recording.
    """
    quality, labels = sorting.quality(), sorting.labels()
    head = ["unit", "channel", "spikes", "Hz", "SNR", "amplitude (µV)", "intervals < 1.5 ms", "presence", "label"]
    rows = [{"unit": unit, "cells": _cells(sorting, quality, labels, unit)} for unit in range(sorting.n_units)]
    cards = [
        {"unit": unit, "text": _words(sorting, quality, labels, unit), "picture": _card(sorting, unit)}
        for unit in progress(range(min(sorting.n_units, CARDS)), "drawing", unit="unit")
    ]
    seconds = sorting.stop - sorting.start
    text = html_template("ingest", "sorting.html.j2").render(
        title=f"Units of {name}",
        summary=(
            f"{count(sorting.n_units, 'unit')} ({int((labels == GOOD).sum())} good) with "
            f"{count(len(sorting), 'spike')} in {seconds:,.1f} s of {count(len(sorting.channels), 'channel')} at "
            f"{sorting.sampling_rate:g} Hz."
        ),
        notes=sorting.notes,
        head=head,
        rows=rows,
        sections=_sections(sorting),
        cards=cards,
        more=max(0, sorting.n_units - CARDS),
        settings=_flat(asdict(settings)),
        version=__version__,
    )
    write_whole(path, text)


def _sections(sorting: Sorting) -> list[dict]:
    if not sorting.n_units or not sorting.waveforms:
        return []
    busiest = np.sort(np.argsort(-np.bincount(sorting.unit_N, minlength=sorting.n_units), kind="stable")[:CROSSED])
    alt = f"Auto- and cross-correlograms of {count(len(busiest), 'unit')} within 50 ms, in bins of 1 ms."
    text = (
        "A gap around 0 between two units that look alike says that they are one; a sharp peak says that one unit "
        "holds spikes of the other, or that the two fire together."
    )
    if sorting.n_units > CROSSED:
        text += f" The {CROSSED} units with most spikes are drawn."
    crossed = {"title": "Correlograms", "text": text, "pictures": [Picture(cross_picture(sorting, busiest), alt)]}
    return [*_maps(sorting), crossed]


def _maps(sorting: Sorting) -> list[dict]:
    """Return a map of the spikes: by waveform for few channels, along the probe for many."""
    if len(sorting.channels) <= MAPPED:
        png, share = map_picture(sorting)
        alt = "Scatter plot of spikes on two principal components of their waveforms, coloured by unit."
        text = (
            "Each point is a spike. Clouds that touch are units that may be mixed; a cloud with two cores may be two "
            "units."
        )
        picture = Picture(png, alt, f"{share:.0%} of the variance lies in these two directions.")
        return [{"title": "Map of the spikes", "text": text, "pictures": [picture]}]
    if not sorting.channels.known:
        return []
    alt = "Scatter plot of spikes by time and place along the probe, coloured by unit."
    return [{"title": "Spikes along the probe", "text": "", "pictures": [Picture(place_picture(sorting), alt)]}]


def _card(sorting: Sorting, unit: int) -> Picture:
    alt = f"Unit {unit}: mean waveform with its spread, autocorrelogram, intervals between spikes, amplitude over time."
    return Picture(unit_picture(sorting, unit), alt)


def _cells(sorting: Sorting, quality: dict[str, np.ndarray], labels: np.ndarray, unit: int) -> list[dict]:
    values = [
        (str(sorting.channels.names[sorting.channel_U[unit]]), False),
        (f"{int((sorting.unit_N == unit).sum()):,}", False),
        (f"{quality['firing_rate'][unit]:.2f}", False),
        (f"{quality['snr'][unit]:.1f}", False),
        (f"{quality['amplitude_median'][unit]:.0f}", False),
        (f"{quality['isi_violations'][unit]:.2%}", bool(quality["isi_violations"][unit] > MANY_VIOLATIONS)),
        (f"{quality['presence'][unit]:.0%}", bool(quality["presence"][unit] < LITTLE_PRESENCE)),
        (str(labels[unit]), bool(labels[unit] != GOOD)),
    ]
    return [{"text": text, "bad": bad} for text, bad in values]


def _words(sorting: Sorting, quality: dict[str, np.ndarray], labels: np.ndarray, unit: int) -> str:
    return (
        f"{count(int((sorting.unit_N == unit).sum()), 'spike')} at {quality['firing_rate'][unit]:.2f} Hz, SNR "
        f"{quality['snr'][unit]:.1f} on channel {sorting.channels.names[sorting.channel_U[unit]]}, {labels[unit]}"
    )


def _flat(settings: dict, section: str = "") -> list[tuple[str, str]]:
    """Return settings as names with dots and texts."""
    found = []
    for name, value in settings.items():
        if isinstance(value, dict):
            found += _flat(value, f"{section}{name}.")
        else:
            found.append((f"{section}{name}", str(value)))
    return found
