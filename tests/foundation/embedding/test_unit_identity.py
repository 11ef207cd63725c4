"""The identity of units: its contents and its invariances."""

import numpy as np
import pytest
import torch

from foundation.embedding.unit_identity import SIZE, unit_identity
from foundation.models.parts.interval_tokens import INTERVALS, LAGS, interval_features
from foundation.models.parts.made_rows import IDENTITY
from foundation.store import Catalog, Interval, Source, Spikes, Store, Units, write_recording

N_LAGS = len(LAGS) - 1


@pytest.fixture
def stored(tmp_path, make_recording):
    """Write a recording of spike trains to a new store."""

    def store_of(trains, name="a", **changes):
        store = Store(tmp_path / name, create=True)
        source = Source(path=f"{name}.nwb", digest="0" * 64)
        spikes = Spikes.from_trains(trains)
        write_recording(store, make_recording(0, units=Units(len(trains)), spikes=spikes, source=source, **changes))
        return next(iter(Catalog.build(store)))

    return store_of


def trains(n_units=6, seed=0, seconds=60.0):
    """Units that follow one slow signal more or less, each with its own rate; on whole milliseconds."""
    rng = np.random.default_rng(seed)
    times = np.arange(0, seconds, 0.001)
    found = []
    for unit in range(n_units):
        rate = (4 + 3 * unit) * np.exp(0.3 * unit * np.sin(times))
        found.append(times[rng.random(len(times)) < rate * 0.001])
    return found


def test_identities_do_not_depend_on_order_and_number_of_units(stored):
    plain, order = trains(), [3, 0, 5, 1, 4, 2]
    found_NF = unit_identity(stored(plain))
    other_NF = unit_identity(stored([plain[unit] for unit in order], "b"))
    assert found_NF.shape == (6, IDENTITY)
    torch.testing.assert_close(other_NF, found_NF[order], rtol=1e-4, atol=1e-4)
    assert unit_identity(stored(plain[:1], "c")).isfinite().all()


def test_intervals_and_lags_equal_those_of_interval_tokens(stored):
    plain = trains(2)
    found_NF = unit_identity(stored(plain))[:, -INTERVALS - N_LAGS :] / SIZE
    x_BNT = torch.zeros(1, 2, 60000)
    for unit, train in enumerate(plain):
        x_BNT[0, unit, np.rint(train * 1000).astype(int)] = 1
    wanted_NF = interval_features(x_BNT, torch.tensor([0.001]), 60000)[0, :, 0]
    torch.testing.assert_close(found_NF[:, :INTERVALS], wanted_NF[:, 1 : 1 + INTERVALS], atol=0.02, rtol=0)
    torch.testing.assert_close(found_NF[:, INTERVALS:], wanted_NF[:, -N_LAGS:], atol=0.05, rtol=0)


def test_correlated_units_are_distinguished_from_others(stored):
    found_NF = unit_identity(stored(trains(6, seconds=120.0), domain=Interval.single(0.0, 120.0)))
    coupling_N = found_NF[:, 2 + 5 + 3]  # correlation with the others' mean at lag 0
    assert coupling_N[5] > coupling_N[0] + 0.5


def test_held_out_time_does_not_count(stored):
    plain, free = trains(), Interval([0.0, 40.0], [20.0, 60.0])
    rng = np.random.default_rng(7)
    other = [np.sort(np.append(t[(t < 20) | (t >= 40)], rng.uniform(20, 40, 300).round(3))) for t in plain]
    one, two = stored(plain), stored(other, "b")
    assert torch.equal(unit_identity(one, free), unit_identity(two, free))
    assert not torch.equal(unit_identity(one), unit_identity(two))


def test_silent_units_and_empty_time_are_finite(stored):
    recording = stored([*trains(2), np.array([])])
    assert unit_identity(recording).isfinite().all()
    assert unit_identity(recording, Interval([], [])).isfinite().all()
