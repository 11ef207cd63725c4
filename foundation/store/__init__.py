"""Recordings in memory and in a Zarr v3 store."""

from foundation.store.catalog import Catalog
from foundation.store.commit import make_current, write_recording
from foundation.store.identity import recording_id
from foundation.store.interval import Interval
from foundation.store.recording import COUNTS, VALUES, Recording, Source, Spikes, Subject, Units
from foundation.store.series import IrregularTimeSeries, RegularTimeSeries, TimeSeries
from foundation.store.storage import Store
from foundation.store.stored import StoredRecording

__all__ = [
    "COUNTS",
    "VALUES",
    "Catalog",
    "Interval",
    "IrregularTimeSeries",
    "Recording",
    "RegularTimeSeries",
    "Source",
    "Spikes",
    "Store",
    "StoredRecording",
    "Subject",
    "TimeSeries",
    "Units",
    "make_current",
    "recording_id",
    "write_recording",
]
