"""Turn NWB files into recordings, guided by a recipe."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol, cast

import fsspec
import h5py
import numpy as np
from pynwb import NWBHDF5IO, NWBFile, get_type_map
from zarr.abc.store import Store as ZarrStore

from foundation.common.credentials import without_secrets
from foundation.common.errors import SourceError, StoreError
from foundation.common.output.printable import printable
from foundation.store import Interval, Recording, Source, Spikes, Units
from ingest.nwb.file.builder_parts import PartManager
from ingest.nwb.file.construct import constructed
from ingest.nwb.file.file_kind import refuse_other_kinds, refuse_other_versions, version_of
from ingest.nwb.file.hdf5_builders import SPECIFICATIONS, Hdf5Builders
from ingest.nwb.file.hdf5_safety import refuse_outside_links
from ingest.nwb.file.plain_errors import in_plain_words, use_plugins
from ingest.nwb.file.unfinished import refuse_changed, refuse_unfinished, state_of
from ingest.nwb.file.watched_file import WatchedFile
from ingest.nwb.inventory import leave_the_rest
from ingest.nwb.nwb_texts import plain_text
from ingest.nwb.read_log import Notes, is_damage, reason
from ingest.nwb.series.activity import activity_series, preference, read_activity
from ingest.nwb.series.event_series import read_events
from ingest.nwb.series.interval_tables import read_intervals, without_excluded, without_invalid_times
from ingest.nwb.series.sampled_series import FoundSeries, find_series, rate_of, read_behavior, voltage
from ingest.nwb.session_info import read_subject, session_name, session_start, unix_time
from ingest.nwb.spikes.detected_events import Detected, find_detected, is_stub, read_detected, with_places
from ingest.nwb.spikes.other_times import find_trials, other_times
from ingest.nwb.spikes.spike_tables import find_units, observation_intervals, observed_time, read_spikes
from ingest.nwb.spikes.spike_times import resolution_of, seconds_of
from ingest.nwb.spikes.time_units import suspicion, timescale_mismatches
from ingest.nwb.spikes.unit_columns import read_units, with_regions
from ingest.nwb.zarr_v2 import digest_of_zarr, opened_zarr, zarr_at
from ingest.quality.quality_control import assess
from ingest.quality.read_counts import refuse_losses
from ingest.recipe.recipes import Recipe, load_recipe

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NeedsSorting:
    """A file with raw voltage or detected events but without unit activity.

    Args:
        path: the file.
        channels: number of channels; 0 without voltage.
        rate: samples per second.
        duration: seconds.
        events: detected events, with the recipe line that reads them as spikes; ``''`` without events.
    """

    path: str
    channels: int
    rate: float
    duration: float
    events: str = ""

    def __str__(self) -> str:
        voltage = f"{self.channels} channels at {self.rate:g} Hz for {self.duration:.1f} s" if self.channels else ""
        return "; ".join(part for part in (voltage, self.events) if part)


@dataclass(frozen=True)
class NoActivity:
    """A file with neither unit activity nor sortable data, for example only behaviour or video.

    Args:
        path: the file.
        series: paths of its series, ``''`` without any.
        why: another reason, such as voltage in which no unit was found.
    """

    path: str
    series: str
    why: str = ""

    def __str__(self) -> str:
        if self.why:
            return self.why
        return (
            "holds neither spike times of units nor sampled activity nor voltage that the recipe knows; "
            f"its series are: {self.series or 'none'}"
        )


class Sorter(Protocol):
    """Interface of a spike sorter.

    Args:
        instead: sort even if the file has units.
    """

    instead: bool

    def __call__(self, path: str, voltage: FoundSeries, notes: Notes) -> tuple[Spikes, Interval, Units]:
        """Return spikes, the sorted time, and units with ``channel``, the column of the voltage."""
        ...


def read_nwb(
    path: str | os.PathLike[str],
    recipe: Recipe | None = None,
    *,
    strict: bool = False,
    source: Source | None = None,
    namespace: str = "",
    content: BinaryIO | ZarrStore | None = None,
    notes: Notes | None = None,
    sorter: Sorter | None = None,
) -> Recording | NeedsSorting | NoActivity:
    """Read an NWB file (NWB 2; HDF5 or Zarr).

    Args:
        path: a file, the folder of a Zarr store, or an fsspec URL of either.
        recipe: what columns, tables and series mean; the shipped ``default`` if none is given.
        strict: refuse what is otherwise corrected: unsorted, missing or impossible times.
        source: provenance of the file; by default its path and the digest of its bytes.
        namespace: namespace of the subject's name (``archive/dandiset``).
        content: an open, seekable binary file (HDF5) or a read-only Zarr store; by default ``path`` is opened as a
            file. It is left open.
        notes: gets a note on every object of the file.
        sorter: sorts the voltage of a file without units.

    The recording; ``NoActivity`` for a file with only behaviour or video; ``NeedsSorting`` for one with only voltage or
        detected events, if no sorter is given.

    Raises:
        SourceError: if the file is damaged, is not NWB, holds no activity, or (``strict``) needs correction. The
            message begins with the path.
    """
    path = os.fspath(path)
    recipe = load_recipe("default") if recipe is None else recipe
    content = zarr_at(path) if content is None else content
    before = state_of(path)
    if source is None:
        source = Source(path=path, digest=digest_of(path, content))
    notes = Notes() if notes is None else notes
    with opened_nwb(path, content, notes) as nwb:
        read = _read(nwb, recipe, strict, source, namespace, notes, sorter)
        if isinstance(read, Recording):
            read = recipe.amended(read, nwb) or NoActivity(path, "", "its recipe leaves it out")
        leave_the_rest(nwb, notes)
    refuse_changed(path, before)
    return read


def digest_of(path: str, content: BinaryIO | ZarrStore | None = None) -> str:
    """Return the sha256 of a file's bytes; for a Zarr store, over all its keys and their bytes.

    Args:
        path: a file, the folder of a Zarr store, or an fsspec URL of either.
        content: the open file or store, if already open; a file is read from its beginning.

    Raises:
        SourceError: if the file cannot be read.
    """
    content = zarr_at(path) if content is None else content
    try:
        if isinstance(content, ZarrStore):
            return digest_of_zarr(content)
        with ExitStack() as stack:
            file = stack.enter_context(fsspec.open(path, "rb")) if content is None else content
            file.seek(0)
            return hashlib.file_digest(cast(io.BufferedReader, file), "sha256").hexdigest()
    except Exception as error:  # each file system has its own errors
        raise SourceError(f"{path}: cannot be read: {in_plain_words(error)}") from error


@contextmanager
def opened_nwb(path: str, content: BinaryIO | ZarrStore | None = None, notes: Notes | None = None) -> Iterator[NWBFile]:
    """Open the file without its unreadable parts. Errors of h5py, hdmf, zarr and pynwb become `SourceError`.

    Args:
        path: a file or an fsspec URL; errors name it.
        content: the content, if already open: a binary file or a Zarr store.
        notes: gets the omitted parts.
    """
    notes = Notes() if notes is None else notes
    try:
        with warnings.catch_warnings(), ExitStack() as stack:
            # Ignore warnings about cached namespaces and deprecated fields: readers cannot correct them.
            warnings.simplefilter("ignore")
            content = zarr_at(path) if content is None else content
            if isinstance(content, ZarrStore):
                yield stack.enter_context(opened_zarr(content, notes))
                return
            raw = stack.enter_context(fsspec.open(path, "rb")) if content is None else content
            watched = WatchedFile(raw)
            stack.callback(watched.refuse_failure)
            refuse_unfinished(path, watched)
            refuse_other_kinds(watched)
            use_plugins()
            file = stack.enter_context(h5py.File(watched, "r"))
            refuse_other_versions(version_of(file))
            builders = stack.enter_context(Hdf5Builders(file, PartManager(_types(file, notes)), notes))
            builders.read_builder()
            yield constructed(builders, builders.unread, notes)
    except SourceError as error:
        raise SourceError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from error
    except (MemoryError, StoreError):
        raise
    except Exception as error:  # damage can raise any error in any layer
        log.debug("reading %s failed", path, exc_info=True)
        raise SourceError(f"{path}: not a readable NWB file: {in_plain_words(error)}") from error


def _types(file: h5py.File, notes: Notes) -> Any:
    """Load the types of NWB and of the extensions defined in the file."""
    place = file.attrs.get(SPECIFICATIONS)
    if not isinstance(place, h5py.Reference) or not place:
        return get_type_map()
    refuse_outside_links(file[place])
    try:
        types = get_type_map()
        NWBHDF5IO.load_namespaces(types, file=file)
    except Exception as error:  # damage can raise any error
        if not is_damage(error):
            raise
        notes.lose(file[place].name.strip("/"), f"definitions of types that cannot be used: {reason(error)}")
        return get_type_map()
    return types


def _read(
    nwb: NWBFile,
    recipe: Recipe,
    strict: bool,
    source: Source,
    namespace: str,
    notes: Notes,
    sorter: Sorter | None = None,
) -> Recording | NeedsSorting | NoActivity:
    found = find_series(nwb)
    sampled, detected = activity_series(found, recipe.activity), find_detected(nwb)
    found = [item for item in found if not any(item.series is one.container for one in detected)]
    chosen: list[Detected] = []
    parts: dict[str, Any]
    table = None if sorter is not None and sorter.instead else find_units(nwb, recipe.units, notes)
    if table is not None:
        path, rows = table
        rules = recipe.spike_times
        seconds = seconds_of(rules, unix_time(nwb) if rules.since_1970 else 0.0)
        observed = observation_intervals(rows, path, notes)
        trials = find_trials(nwb, recipe, observed)
        trains = read_spikes(rows, path, notes, strict, rules=rules, seconds=seconds, trials=trials)
        spikes = trains.spikes
        domain = observed_time(observed, trains, notes, seconds)
        if "obs_intervals" in rows.colnames and not any(one.path == f"{path}/obs_intervals" for one in notes.left):
            notes.take(f"{path}/obs_intervals", f"{domain.duration:.1f} s in which the population was observed")
        resolution = resolution_of(nwb, recipe.resolution, notes, rows, spikes)
        others = other_times(nwb, found, recipe, observed)
        if rules.check and (why := suspicion(spikes, others, resolution)) is not None:
            if strict:
                raise SourceError(f"{path}: {why}")
            log.warning("%s: %s: %s", _shown(source.path), printable(path), printable(why))
            notes.take(f"{path}/spike_times", f"suspicious: {why}")
            notes["spike_times_suspicious"] += 1
        elif rules.check:
            for place, why in timescale_mismatches(spikes, others).items():
                log.warning("%s: %s %s", _shown(source.path), printable(place), printable(why))
                notes.take(place, f"suspicious: {why}")
                notes["other_times_suspicious"] += 1
        units = read_units(rows, recipe.units, notes, path, nwb)
        parts = {"spikes": spikes}
        for item in sampled:
            notes.leave(item.path, "sampled activity, beside spike times", "activity_series_left_out")
    elif chosen := [item for item in detected if item.is_read(recipe.units) and not (sorter and sorter.instead)]:
        spikes, domain, units = read_detected(chosen, nwb, recipe.units, notes, strict)
        resolution = resolution_of(nwb, recipe.resolution, notes)
        parts = {"spikes": spikes}
        for other in sampled:
            notes.leave(other.path, "sampled activity, beside spike times", "activity_series_left_out")
    elif sampled and not (sorter and sorter.instead):
        _refuse_lost_activity(notes, recipe, sampled)
        activity = read_activity(sampled, recipe, nwb, notes)
        domain, units = activity.domain, activity.units
        parts = {"activity": activity.series, "activity_kind": activity.kind}
        resolution = resolution_of(nwb, recipe.resolution, notes)
    else:
        _refuse_lost_activity(notes, recipe)
        unsorted = _not_sorted(source.path, found, detected)
        raw = voltage([item for item in found if not is_stub(item.series, detected)])
        if sorter is None or raw is None or not isinstance(unsorted, NeedsSorting) or not unsorted.channels:
            return unsorted
        spikes, domain, units = sorter(source.path, raw, notes)
        if not len(units):
            return NoActivity(source.path, raw.path, f"no unit was found in its voltage, {unsorted}")
        units = with_places(units, raw.series, nwb, recipe.units)
        notes.take(raw.path, f"sorted: {len(spikes)} spikes of {len(units)} units")
        parts, resolution = {"spikes": spikes}, 1.0 / unsorted.rate
    for events in detected:
        if not any(events is one for one in chosen):
            notes.leave(events.path, f"{events}; {events.advice}", "series_left_out" if events.is_series else "")
    domain = without_invalid_times(nwb, domain, notes)
    if nwb.invalid_times is not None:
        notes.take("intervals/invalid_times", "taken out of the observed time")
    subject = read_subject(nwb, source.path, namespace)
    if nwb.subject is not None:
        notes.take("general/subject", f"subject {subject.key}")
    intervals = read_intervals(nwb, recipe, domain, notes, strict)
    intervals |= read_events(found, domain, notes, intervals)
    domain = without_excluded(intervals, recipe.observed, domain, notes)
    rest = [item for item in found if not item.is_events and not any(item is other for other in sampled)]
    start = session_start(nwb)
    recording = Recording(
        source=source,
        subject=subject,
        session=session_name(nwb, source.path),
        units=with_regions(units, recipe.regions, subject.species, notes),
        domain=domain,
        behavior=read_behavior(rest, recipe, notes, strict, domain.duration),
        intervals=dict(sorted(intervals.items())),
        resolution=resolution,
        quality=notes.found(),
        description=plain_text(nwb.session_description) or plain_text(nwb.experiment_description),
        start_time="" if start is None else start.isoformat(),
        lab=plain_text(nwb.lab),
        institution=plain_text(nwb.institution),
        **parts,
    )
    if strict:
        refuse_losses(recording.quality)
    return assess(recording, recipe.control)


def _shown(source: str) -> str:
    """Return a file's path or URL for logs: workers log without the main process's formatter."""
    return printable(without_secrets(source))


def _refuse_lost_activity(notes: Notes, recipe: Recipe, sampled: Sequence[FoundSeries] = ()) -> None:
    """Raise if the preferred activity is among the unreadable parts."""
    best = min((preference(item.path, recipe.activity) for item in sampled), default=len(recipe.activity.prefer))
    for part in notes.damaged:
        units = part.neurodata_type == "Units" or part.path.rpartition("/")[2] in ("spike_times", "spike_times_index")
        activity = part.neurodata_type in recipe.activity.types
        if units or (activity and preference(part.path, recipe.activity) <= best):
            why = next((note.text for note in notes.left if part.path.startswith(note.path)), "a part of it is damaged")
            raise SourceError(f"{part.path}, which holds activity, cannot be read: {why}")


def _not_sorted(path: str, found: list[FoundSeries], detected: list[Detected]) -> NeedsSorting | NoActivity:
    """Return what a file without unit activity holds."""
    events = "; ".join(f"{item.path}: {item}: {item.advice}" for item in detected)
    raw = voltage([item for item in found if not is_stub(item.series, detected)])
    if raw is None or raw.series.data is None or not np.isfinite(rate_of(raw.series)):
        if events:
            return NeedsSorting(path, 0, 0.0, 0.0, events)
        return NoActivity(path, ", ".join(item.path for item in found))
    shape, rate = np.shape(raw.series.data), rate_of(raw.series)
    return NeedsSorting(path, shape[1] if len(shape) > 1 else 1, rate, shape[0] / rate, events)
