"""Values of a sampled behaviour series at given times: numbers by interpolation, angles on the circle."""

from __future__ import annotations

import numpy as np

from foundation.store import IrregularTimeSeries, TimeSeries


def as_irregular(series: TimeSeries) -> IrregularTimeSeries:
    """A series with a timestamp per sample."""
    if isinstance(series, IrregularTimeSeries):
        return series
    return IrregularTimeSeries(series.timestamps, series.data, series.unit)


def value_at(series: TimeSeries, time_T: np.ndarray) -> np.ndarray:
    """Return ``(T, K)`` values at some times, NaN where the series has none."""
    return as_irregular(series).at(time_T).reshape(len(time_T), -1)


def angle_at(series: TimeSeries, time_T: np.ndarray) -> np.ndarray:
    """Return ``(T,)`` an angle in radians at some times, interpolated on the circle; NaN where the series has no value.

    Angles are in degrees if the series says so, or if it says nothing and they leave two turns of the circle.

    Example:
        >>> series = IrregularTimeSeries([0.0, 1.0], np.array([350.0, 10.0]), "degrees")
        >>> bool(abs(np.degrees(angle_at(series, np.array([0.5])))[0]) < 1e-6)
        True
    """
    series = as_irregular(series)
    angle = np.asarray(series.data, dtype=np.float64).reshape(len(series.data), -1)[:, 0]
    radians = np.radians(angle) if in_degrees(angle, series.unit) else angle
    both = IrregularTimeSeries(series.timestamps, np.stack([np.cos(radians), np.sin(radians)], axis=1))
    cosine, sine = both.at(time_T).T
    return np.arctan2(sine, cosine)


def in_degrees(angle: np.ndarray, unit: str) -> bool:
    """Return whether an angle is in degrees rather than radians.

    Example:
        >>> in_degrees(np.array([0.0, 3.0]), ""), in_degrees(np.array([0.0, 300.0]), ""), in_degrees(np.zeros(1), "deg")
        (False, True, True)
    """
    if unit.lower().startswith(("deg", "°")):
        return True
    return not unit.lower().startswith("rad") and bool(np.nanmax(np.abs(angle), initial=0.0) > 4 * np.pi)
