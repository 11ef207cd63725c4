"""Trials of a known power law."""

from __future__ import annotations

import math

import numpy as np
import pytest

from foundation.sweep.power_law import Law
from foundation.sweep.sweep_trial import Measured, Trial


@pytest.fixture
def true_law() -> Law:
    return Law(floor=0.2, model_scale=3.0, data_scale=40.0, alpha=0.5, beta=0.6, error=0.0)


@pytest.fixture
def trials_of(true_law):
    """Build trials of five sizes and five amounts (or fewer), with a given noise on the log loss."""

    def build(noise=0.0, seed=0, sizes=5, amounts=5) -> list[Measured]:
        rng = np.random.default_rng(seed)
        points = [(k, j, 1_000 * 4**k, 100_000 * 3**j) for k in range(sizes) for j in range(amounts)]
        return [
            Measured(
                Trial(k, j, 0), n, d, 4, 10, true_law(n, d) * math.exp(noise * rng.standard_normal()), 1.0, ""
            )
            for k, j, n, d in points
        ]  # fmt: skip

    return build
