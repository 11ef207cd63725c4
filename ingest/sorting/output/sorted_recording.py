"""Store sorted units through the normal ingest of a file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from foundation.common.digests import json_digest
from foundation.common.errors import SourceError
from foundation.store import Interval, Recording, Source, Spikes, Store, Units, write_recording
from ingest.nwb.read_log import Notes
from ingest.nwb.read_nwb import digest_of, read_nwb
from ingest.nwb.series.sampled_series import FoundSeries
from ingest.recipe.recipes import load_recipe
from ingest.sorting.sort_settings import SortSettings, sorted_digest
from ingest.sorting.sorted_units import Sorting
from ingest.sorting.sorting_run import sort_voltage
from ingest.sorting.voltage.nwb_voltage import NwbVoltage


class NwbSorter:
    """Sorts the voltage of an NWB file while `read_nwb` reads the rest of it.

    Args:
        settings: settings of the sorting.
        sorting: an earlier sorting to use instead of sorting now.
        instead: use it even if the file has units.
    """

    def __init__(self, settings: SortSettings, sorting: Sorting | None = None, instead: bool = False) -> None:
        self.settings, self.sorting, self.instead, self.used = settings, sorting, instead, False

    def __call__(self, path: str, voltage: FoundSeries, notes: Notes) -> tuple[Spikes, Interval, Units]:
        """Return spikes, the sorted time, and units with their metrics."""
        self.used = True
        sorting = self.sorting
        if sorting is None:
            sorting = sort_voltage(NwbVoltage(path, voltage), self.settings)
        notes["channels_left_out"] += int((sorting.noise_C <= 0).sum())
        return sorting.spikes(), Interval.single(sorting.start, sorting.stop), unit_table(sorting)


def unit_table(sorting: Sorting) -> Units:
    """Return the units with ``id``, ``channel``, the columns of `Sorting.quality`, and ``quality``, the label.

    Column names are those of the NWB file that `foundation sort` writes, so both ways give equal recordings.
    """
    columns = {
        "id": np.arange(sorting.n_units),
        "channel": sorting.channel_U.astype(np.int64),
        **sorting.quality(),
        "quality": sorting.labels(),
    }
    return Units(sorting.n_units, columns)


def store_sorting(
    store: str, sorting: Sorting, settings: SortSettings, voltage_path: str, units_path: Path, is_nwb: bool
) -> str:
    """Write a sorting into a store as a recording, and return its id.

    An NWB file is read again with the sorted units in place of its own, so that behaviour, trials and subject are kept.
    For other formats, the NWB file of the sorted units is read.

    Args:
        store: folder or URL; created if missing.
        sorting: units and spikes.
        settings: settings of the sorting; part of the id.
        voltage_path: the recording.
        units_path: the NWB file that `foundation sort` wrote.
        is_nwb: whether the recording is NWB.

    Returns:
        The recording's id.

    Raises:
        SourceError: if no unit was found, or the file cannot be read.
        StoreError: if the store cannot be written.
    """
    if not sorting.n_units:
        raise SourceError(
            f"{voltage_path}: no unit was found, so there is nothing to store; {'; '.join(sorting.notes)}"
        )
    recipe = load_recipe("default")
    source = Source(path=voltage_path, digest=digest_of_all(voltage_path))
    recording = read_nwb(
        voltage_path if is_nwb else str(units_path),
        recipe,
        source=source,
        sorter=NwbSorter(settings, sorting, instead=True) if is_nwb else None,
    )
    if not isinstance(recording, Recording):
        raise SourceError(f"{voltage_path}: {recording}")
    digest = sorted_digest(recipe.digest, settings)
    place = voltage_path if "://" in voltage_path else os.path.realpath(voltage_path)
    return write_recording(Store(store, create=True), recording, digest, place=place)


def digest_of_all(path: str) -> str:
    """Return the digest of a file, or of all files of a folder with their names."""
    root = Path(path)
    if not root.is_dir() or path.rstrip("/").endswith(".zarr"):
        return digest_of(path)
    files = sorted(file for file in root.rglob("*") if file.is_file())
    return json_digest([[str(file.relative_to(root)), digest_of(str(file))] for file in files])
