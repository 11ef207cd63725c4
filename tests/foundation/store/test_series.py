import numpy as np
import pytest

from foundation.store import IrregularTimeSeries, RegularTimeSeries


def test_at_interpolates_but_not_over_gaps_and_missing_samples():
    times = np.concatenate([np.arange(0, 1, 0.1), [5.0, 5.1]])
    data = times.copy()
    data[3] = np.nan
    series = IrregularTimeSeries(times, data)
    assert np.allclose(series.at(np.array([0.05, 0.1, 5.05])), [0.05, 0.1, 5.05])
    assert np.isnan(series.at(np.array([-0.1, 0.25, 0.3, 0.35, 3.0, 5.2]))).all()
    # A time equal to a good sample's takes that sample, although its neighbour is missing or far away.
    assert np.allclose(series.at(np.array([0.2, 0.4, 0.9, 5.0])), [0.2, 0.4, 0.9, 5.0])


@pytest.mark.parametrize(
    ("timestamps", "what"),
    [([0.0, 2.0, 1.0], "decrease"), ([0.0, np.nan, 1.0], "finite"), ([0.0], "timestamps have 1 values")],
)
def test_invalid_timestamps_are_refused(timestamps, what):
    with pytest.raises(ValueError, match=what):
        IrregularTimeSeries(timestamps, np.zeros(3))


def test_rate_of_zero_is_refused():
    with pytest.raises(ValueError, match="expected more than 0 Hz"):
        RegularTimeSeries(np.zeros(3), rate=0.0)
