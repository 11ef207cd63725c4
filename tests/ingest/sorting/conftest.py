"""Voltage with known spikes, small enough for tests."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from known_voltage import Made, make_voltage

from ingest.sorting.clustering import ClusterSettings
from ingest.sorting.sort_settings import SortSettings
from ingest.sorting.sorting_run import sort_voltage


@pytest.fixture(scope="session")
def single() -> Made:
    """One electrode, three units, 20 s at 20 kHz."""
    return make_voltage()


@pytest.fixture(scope="session")
def tetrode() -> Made:
    """Four channels, four units, two of them with one shape."""
    sizes = [[150, 90, 30, 20], [40, 120, 70, 20], [30, 30, 110, 140], [60, 60, 60, 100]]
    return make_voltage(1, n_channels=4, sizes=sizes)


@pytest.fixture(scope="session")
def probe() -> Made:
    """24 channels in two columns over 240 µm, eight units along it."""
    row = np.arange(24) // 2
    positions_C2 = np.stack([20.0 * (np.arange(24) % 2), 40.0 * row], axis=1)
    centres = np.stack([np.full(8, 10.0), np.linspace(10, 430, 8)], axis=1)
    away = np.hypot(*(positions_C2[None] - centres[:, None]).transpose(2, 0, 1))
    sizes = np.linspace(110, 160, 8)[:, None] * np.exp(-((away / 35.0) ** 2))
    return make_voltage(2, seconds=12.0, n_channels=24, sizes=sizes, positions_C2=positions_C2)


@pytest.fixture(scope="session")
def sorted_tetrode(tetrode):
    """The tetrode sorted by principal components."""
    return sort_voltage(tetrode.voltage, SortSettings(recipe="pca", clustering=ClusterSettings(max_units=6)))
