"""From a store to batches: samplers, plans of steps, windows, views, loader.

catalog = Catalog.open(Store("store"))
sampler = RandomSampler(intervals=sampling_intervals(catalog), duration=1.0, bin_width=0.01, seed=0)
for batch in Loader(catalog, sampler, batch_size=64, workers=2).steps(0, 1000):
    batch.x_BNT, batch.mask_BN, batch.start_B
"""

from typing import TYPE_CHECKING

from foundation.common.lazy import lazy_attributes

if TYPE_CHECKING:
    from foundation.data.batch import PackedBatch, WindowBatch, pad_windows
    from foundation.data.loading.loader import Loader
    from foundation.data.reading.reader import ActivityReader, ReaderCache, WindowReader
    from foundation.data.samplers import (
        BlockSampler,
        FixedSampler,
        LabelSampler,
        RandomSampler,
        Sampler,
        TrialSampler,
        block_spans,
        sampling_intervals,
    )
    from foundation.data.steps.data_settings import DataSettings
    from foundation.data.steps.step import StepBatch, StepWindows
    from foundation.data.steps.step_outline import deal
    from foundation.data.steps.step_plan import StepPlan, View, Window
    from foundation.data.steps.views import ViewSpec
    from foundation.data.windows import WindowTable

__all__ = [
    "ActivityReader",
    "BlockSampler",
    "DataSettings",
    "FixedSampler",
    "LabelSampler",
    "Loader",
    "PackedBatch",
    "RandomSampler",
    "ReaderCache",
    "Sampler",
    "StepBatch",
    "StepPlan",
    "StepWindows",
    "TrialSampler",
    "View",
    "ViewSpec",
    "Window",
    "WindowBatch",
    "WindowReader",
    "WindowTable",
    "block_spans",
    "deal",
    "pad_windows",
    "sampling_intervals",
]
__getattr__ = lazy_attributes(
    __name__,
    {
        "foundation.data.batch": ["PackedBatch", "WindowBatch", "pad_windows"],
        "foundation.data.steps.data_settings": ["DataSettings"],
        "foundation.data.loading.loader": ["Loader"],
        "foundation.data.steps.step": ["StepBatch", "StepWindows"],
        "foundation.data.steps.step_outline": ["deal"],
        "foundation.data.steps.step_plan": ["StepPlan", "View", "Window"],
        "foundation.data.reading.reader": ["ActivityReader", "ReaderCache", "WindowReader"],
        "foundation.data.samplers": [
            "BlockSampler",
            "FixedSampler",
            "LabelSampler",
            "RandomSampler",
            "Sampler",
            "TrialSampler",
            "block_spans",
            "sampling_intervals",
        ],
        "foundation.data.steps.views": ["ViewSpec"],
        "foundation.data.windows": ["WindowTable"],
    },
)
