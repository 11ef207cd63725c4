"""Recordings in memory and in a Zarr v3 store."""

from typing import TYPE_CHECKING

from foundation.common.lazy import lazy_attributes

if TYPE_CHECKING:
    from foundation.store.catalog import Catalog
    from foundation.store.catalog_row import CatalogRow, CatalogRows
    from foundation.store.commit.commit_record import recording_id
    from foundation.store.commit.garbage_collection import Cleaned, clean_store
    from foundation.store.commit.recording_writer import make_current, write_recording
    from foundation.store.commit.verify import Finding, Verification, verify_store
    from foundation.store.derived import Derived
    from foundation.store.interval import Interval
    from foundation.store.recording import COUNTS, VALUES, Recording, Source, Spikes, Subject, Units
    from foundation.store.series import IrregularTimeSeries, RegularTimeSeries, TimeSeries
    from foundation.store.session import Session
    from foundation.store.storage import Store
    from foundation.store.stored import StoredRecording

__all__ = [
    "COUNTS",
    "Catalog",
    "CatalogRow",
    "CatalogRows",
    "Cleaned",
    "Derived",
    "Finding",
    "Interval",
    "IrregularTimeSeries",
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
    "VALUES",
    "Verification",
    "clean_store",
    "make_current",
    "recording_id",
    "verify_store",
    "write_recording",
]
__getattr__ = lazy_attributes(
    __name__,
    {
        "foundation.store.catalog": ["Catalog"],
        "foundation.store.catalog_row": ["CatalogRow", "CatalogRows"],
        "foundation.store.commit.garbage_collection": ["Cleaned", "clean_store"],
        "foundation.store.commit.recording_writer": ["make_current", "write_recording"],
        "foundation.store.derived": ["Derived"],
        "foundation.store.commit.commit_record": ["recording_id"],
        "foundation.store.interval": ["Interval"],
        "foundation.store.recording": ["COUNTS", "VALUES", "Recording", "Source", "Spikes", "Subject", "Units"],
        "foundation.store.series": ["IrregularTimeSeries", "RegularTimeSeries", "TimeSeries"],
        "foundation.store.session": ["Session"],
        "foundation.store.storage": ["Store"],
        "foundation.store.stored": ["StoredRecording"],
        "foundation.store.commit.verify": ["Finding", "Verification", "verify_store"],
    },
)
