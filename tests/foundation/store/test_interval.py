import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.store import Interval

spans = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12)), max_size=8)


def build(pairs) -> Interval:
    return Interval(np.array([s for s, _ in pairs], float), np.array([s + d for s, d in pairs], float))


def on_grid(interval: Interval) -> np.ndarray:
    """Covered half-integers, an independent way to describe intervals."""
    points = np.arange(0.5, 80)
    return np.array([any(s <= p < e for s, e in zip(interval.start, interval.end, strict=True)) for p in points])


@given(spans, spans)
def test_union_and_intersection_equal_those_of_sets(a, b):
    first, second = build(a), build(b)
    assert np.array_equal(on_grid(first.union()), on_grid(first))
    assert np.array_equal(on_grid(first.intersect(second)), on_grid(first) & on_grid(second))
    merged = first.union()
    assert (merged.start[1:] > merged.end[:-1]).all()


@given(spans)
def test_contains_agrees_with_the_intervals(pairs):
    interval = build(pairs)
    assert np.array_equal(interval.contains(np.arange(0.5, 80)), on_grid(interval))


def test_where_and_slice_keep_columns_with_their_rows():
    states = Interval([0.0, 10.0, 20.0], [10.0, 20.0, 30.0], {"state": np.array(["wake", "nrem", "rem"])})
    part = states.slice(15.0, 25.0)
    assert part.columns["state"].tolist() == ["nrem", "rem"]
    assert part.start.tolist() == [15.0, 20.0]
    assert part.end.tolist() == [20.0, 25.0]


@pytest.mark.parametrize(
    ("start", "end", "what"),
    [([1.0], [0.5], "ends before it starts"), ([0.0, 1.0], [2.0], "equal numbers"), ([np.nan], [1.0], "finite")],
)
def test_invalid_intervals_are_refused(start, end, what):
    with pytest.raises(ValueError, match=what):
        Interval(start, end)
