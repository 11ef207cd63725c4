"""Compile the loops of ingest before workers start: once, and said, instead of in each worker, and in silence."""

from __future__ import annotations

import numpy as np

from foundation.store import Interval, Recording, Source, Spikes, Subject, Units
from foundation.store.format.encode import encode
from foundation.store.format.spike_blocks import SPIKES_PER_BLOCK
from ingest.quality.quality_control import assess
from ingest.recipe.recipe_rules import ControlRules


def compile_loops() -> None:
    """Put small recordings through quality control and encoding, so that their loops lie compiled on this disk."""
    n = SPIKES_PER_BLOCK  # of each unit: two units have more than one block
    rng = np.random.default_rng(0)
    on_a_grid = [np.arange(1, n) / 30_000.0] * 2
    anywhere = [np.sort(rng.uniform(0.0, 3.0, n)) for _ in range(2)]
    for trains in (on_a_grid, anywhere):
        spikes = Spikes.from_trains(trains)
        recording = Recording(Source("", ""), Subject(""), "", Units(2), Interval.single(0.0, 100.0), spikes=spikes)
        _ = encode(assess(recording, ControlRules())).digest
