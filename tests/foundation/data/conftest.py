"""Recordings of all kinds, and windows computed by a plain loop."""

from __future__ import annotations

import numpy as np
import pytest

from foundation.store import (
    Catalog,
    Interval,
    Recording,
    RegularTimeSeries,
    Source,
    Spikes,
    Store,
    Subject,
    Units,
    write_recording,
)


def spikes_recording(seed: int, trains: list[np.ndarray], seconds: float, **changes) -> Recording:
    """A recording of spike trains in integer nanoseconds."""
    parts = {
        "source": Source(f"{seed}.nwb", f"{seed:064x}"),
        "subject": Subject(f"m{seed}"),
        "session": f"s{seed}",
        "units": Units(len(trains)),
        "domain": Interval.single(0.0, seconds),
        "spikes": Spikes.from_trains([t / 1e9 for t in trains]),
    }
    return Recording(**(parts | changes))


@pytest.fixture(scope="session")
def mixed_store(tmp_path_factory):
    """Spikes of 1, 5 and 300 units, 100 ms counts, 4 s counts and dF/F: ``(folder, trains by path)``."""
    folder = tmp_path_factory.mktemp("mixed") / "store"
    store, rng, trains = Store(folder, create=True), np.random.default_rng(0), {}
    for seed, n_units, n_spikes in ((0, 1, 500), (1, 5, 30_000), (2, 300, 800)):
        made = [np.sort(rng.integers(0, 120_000, n_spikes)) * 1_000_000 for _ in range(n_units)]
        trains[f"{seed}.nwb"] = made
        write_recording(store, spikes_recording(seed, made, 120.0))
    for seed, rate, kind in ((3, 10.0, "counts"), (4, 0.25, "counts"), (5, 30.0, "values")):
        n = int(120 * rate)
        data = rng.poisson(2.0, (n, 7)) if kind == "counts" else rng.normal(size=(n, 7))
        series = RegularTimeSeries(data.astype(float), rate)
        unit_table = Units(7)
        write_recording(
            store,
            spikes_recording(seed, [], 120.0, units=unit_table, spikes=None, activity=series, activity_kind=kind),
        )
    Catalog.build(store).save()
    return folder, trains
