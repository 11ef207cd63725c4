"""Which windows, in which order: one sampler a file.

A sampler is an endless numbered sequence of windows: ``windows(first, last)`` gives any part of it, from the seed and
the numbers alone. So a run goes on at any step without what came before, and the order is the same whoever reads it.
A sampler with a length (`len`) goes through epochs of that many windows, each drawn once in an epoch.
"""

from foundation.data.samplers.block import BlockSampler
from foundation.data.samplers.fixed import FixedSampler
from foundation.data.samplers.intervals import block_spans, sampling_intervals
from foundation.data.samplers.label import LabelSampler
from foundation.data.samplers.random import RandomSampler
from foundation.data.samplers.sampler import Sampler
from foundation.data.samplers.trial import TrialSampler

__all__ = [
    "BlockSampler",
    "FixedSampler",
    "LabelSampler",
    "RandomSampler",
    "Sampler",
    "TrialSampler",
    "block_spans",
    "sampling_intervals",
]
