"""Which windows, in which order: one sampler a file.

A sampler gives the loader the windows of every step (`Sampler.plan`), from the seed and the number of the step alone.
So a run goes on at any step without what came before, and the order is the same whoever reads it. The samplers here
are endless numbered sequences of windows of one length (`WindowSampler`): ``windows(first, last)`` gives any part. One
with a length (`len`) goes through epochs of that many windows, each drawn once in an epoch. The sampler of pretraining,
whose steps hold windows of many lengths in several views, is `foundation.data.StepPlan`.
"""

from foundation.data.samplers.block import BlockSampler
from foundation.data.samplers.fixed import FixedSampler
from foundation.data.samplers.intervals import block_spans, sampling_intervals
from foundation.data.samplers.label import LabelSampler
from foundation.data.samplers.random import RandomSampler
from foundation.data.samplers.sampler import Sampler, WindowSampler
from foundation.data.samplers.trial import TrialSampler

__all__ = [
    "BlockSampler",
    "FixedSampler",
    "LabelSampler",
    "RandomSampler",
    "Sampler",
    "TrialSampler",
    "WindowSampler",
    "block_spans",
    "sampling_intervals",
]
