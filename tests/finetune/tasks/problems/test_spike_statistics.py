"""Spike statistics beyond rates: interval lengths, pairs of successive intervals, and lags."""

import numpy as np
import pytest
import torch

from finetune.tasks.problems.decoding_task import Labels
from finetune.tasks.problems.spike_statistics import interval_statistics
from finetune.tasks.problems.unit_task import UnitProblem
from foundation.data.reading.reader import ActivityReader, ReaderCache
from foundation.models.parts.interval_tokens import interval_features
from foundation.store import Catalog, Interval, RegularTimeSeries, Spikes, Store, Units, write_recording


@pytest.fixture(scope="module")
def catalog(make_recording, tmp_path_factory):
    """Return a 90 s recording of a regular, a bursting and a silent unit, a too short one, and one of values."""
    store = Store(tmp_path_factory.mktemp("units") / "store", create=True)
    regular, bursts = np.arange(0.0, 90.0, 0.1), np.sort(np.add.outer(np.arange(0, 90.0, 1.0), 0.005 * np.arange(10)))
    trains = Spikes.from_trains([regular, bursts.ravel(), np.empty(0)])
    for seed, seconds in enumerate((90.0, 0.5)):
        kept = Spikes.from_trains([trains.train(n)[trains.train(n) < seconds] for n in range(3)])
        write_recording(store, make_recording(seed, units=Units(3), spikes=kept, domain=Interval.single(0.0, seconds)))
    values = RegularTimeSeries(np.ones((600, 3), dtype=np.float32), rate=10.0)
    write_recording(
        store, make_recording(2, units=Units(3), spikes=None, activity=values, activity_kind="values",
                              domain=Interval.single(0.0, 60.0))
    )  # fmt: skip
    return Catalog.build(store)


def of(catalog, path):
    return next(recording for recording in catalog if recording.record.path == path)


def test_statistics_are_means_over_40_s_windows_with_spikes(catalog):
    reader = ActivityReader(of(catalog, "sub-0.nwb"))
    found = interval_statistics(reader, windows=64, seed=0)
    batch = reader.read(reader.table([0.0, 40.0], 40_000, 0.001), bins_per_token=40_000)
    expected = interval_features(batch.x_BNT.float(), torch.full((2,), 0.001), 40_000)[:, :, 0].mean(0)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    regular, burst, silent = found[:, 1:41].argmax(1)
    assert (regular, burst) == (20, 6)  # intervals of 100 ms, and of 5 ms
    assert silent == 0
    assert not found[2].any()
    assert interval_statistics(ActivityReader(of(catalog, "sub-1.nwb")), 64, 0) is None


@pytest.mark.parametrize(("path", "alternatives"), [("sub-0.nwb", 2), ("sub-1.nwb", 1), ("sub-2.nwb", 1)])
def test_statistics_are_an_alternative_floor_for_spike_times(catalog, path, alternatives):
    labels = Labels("cell_type", "all", "", np.array([0, 1, 1]), classes=("a", "b"))
    problem = UnitProblem(
        labels,
        [of(catalog, path)],
        np.zeros(3, dtype=int),
        np.array([2, 0, 1]),
        readers=ReaderCache(catalog),
        bin_width=0.1,
        n_bins=10,
        bins_per_token=1,
        windows=8,
        seed=0,
    )
    features = problem.rate_features()
    assert [f.x_TF.shape for f in features] == [(3, 13), (3, 223)][:alternatives]
    if alternatives == 2:
        assert not features[1].x_TF[0].any()  # the silent unit comes first here
        assert features[1].x_TF[1, 1:41].argmax() == 20
