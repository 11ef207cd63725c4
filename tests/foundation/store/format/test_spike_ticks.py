"""The compiled check of trains agrees with a plain loop at any piece border."""

import numpy as np
import pytest

from foundation.store.format import spill as scratch
from foundation.store.format.spike_ticks import first_wrong


def by_hand(times: np.ndarray, offsets: np.ndarray) -> int | None:
    for n in range(len(offsets) - 1):
        for i in range(offsets[n], offsets[n + 1]):
            if not np.isfinite(times[i]) or (i > offsets[n] and times[i] < times[i - 1]):
                return i
    return None


@pytest.mark.parametrize("piece_bytes", [8, 24, 1 << 23])
def test_check_finds_the_first_wrong_spike(monkeypatch, piece_bytes):
    monkeypatch.setattr(scratch, "PIECE_BYTES", piece_bytes)
    rng = np.random.default_rng(0)
    found = []
    for _ in range(300):
        counts = rng.integers(0, 8, rng.integers(1, 7))
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        times = np.concatenate([np.sort(rng.integers(0, 5, n).astype(float)) for n in counts])
        for _ in range(rng.integers(0, 2) * bool(len(times))):
            times[rng.integers(len(times))] = rng.choice([np.nan, np.inf, -np.inf, -1.0, 9.0])
        found.append(first_wrong(times, offsets))
        assert found[-1] == by_hand(times, offsets), (times, offsets)
    assert 50 < sum(place is not None for place in found) < 250
