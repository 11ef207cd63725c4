"""Samplers choose windows and their order; one sampler per file.

A sampler gives the loader the windows of every step (`Sampler.plan`), from the seed and the step number alone. A run
can therefore resume at any step, and the order is the same for all readers. The samplers here are endless numbered
sequences of windows of one length (`WindowSampler`): ``windows(first, last)`` returns any part. A sampler with a length
(`len`) goes through epochs of that many windows, each drawn once in an epoch. The sampler of pretraining, whose steps
hold windows of many lengths in several views, is `foundation.data.StepPlan`.
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
