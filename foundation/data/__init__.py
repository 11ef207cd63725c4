"""From a store to batches: plan of a step, windows, views, loader."""

from foundation.data.batch import WindowBatch, pad_windows, read_views
from foundation.data.loader import Loader, StepBatch
from foundation.data.plan import DataSettings, StepPlan, View, Window, share_of
from foundation.data.reader import ActivityReader, ReaderCache
from foundation.data.views import ViewSpec

__all__ = [
    "ActivityReader",
    "DataSettings",
    "Loader",
    "ReaderCache",
    "StepBatch",
    "StepPlan",
    "View",
    "ViewSpec",
    "Window",
    "WindowBatch",
    "pad_windows",
    "read_views",
    "share_of",
]
