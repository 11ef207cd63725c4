"""Recordings in memory and in a Zarr v3 store."""

from foundation.store.catalog import Catalog
from foundation.store.cleaning import Cleaned, clean_store
from foundation.store.commit import make_current, write_recording
from foundation.store.derived import Derived
from foundation.store.identity import recording_id
from foundation.store.interval import Interval
from foundation.store.migrate import Migration, migrate_store
from foundation.store.recording import COUNTS, VALUES, Recording, Source, Spikes, Subject, Units
from foundation.store.series import IrregularTimeSeries, RegularTimeSeries, TimeSeries
from foundation.store.session import Session
from foundation.store.storage import Store
from foundation.store.stored import StoredRecording
from foundation.store.verify import Finding, Verification, verify_store

__all__ = [
    "COUNTS",
    "VALUES",
    "Catalog",
    "Cleaned",
    "Derived",
    "Finding",
    "Interval",
    "IrregularTimeSeries",
    "Migration",
    "Recording",
    "RegularTimeSeries",
    "Session",
    "Source",
    "Spikes",
    "Store",
    "StoredRecording",
    "Subject",
    "TimeSeries",
    "Units",
    "Verification",
    "clean_store",
    "make_current",
    "migrate_store",
    "recording_id",
    "verify_store",
    "write_recording",
]
