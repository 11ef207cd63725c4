"""Mean waveforms of units: from files of labelled spikes, or from a parametric family."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.signal.windows import tukey

from foundation.common.errors import ConfigError, SourceError

BEFORE, AFTER = 0.001, 0.002  # seconds around the peak
PHASES = 4  # a template is kept at so many positions between two samples
MULTI_UNIT = 0.5  # a class smaller than this share of its file's median class is multi-unit activity, and is left out


def read_templates(files: Sequence[str | Path], default_rate: float) -> list[tuple[np.ndarray, float]]:
    """Return the mean waveform of each class of labelled spikes, and its sampling rate.

    Class 0 of a file that has ``true_spike_class`` holds spikes of no unit and is left out. So is multi-unit activity,
    a class of which the mean is less than half as large as that of the file's median class.

    Args:
        files: .npz files with ``waveforms`` (N, T) and ``true_class`` (N,).
        default_rate: Hz, where a file holds no ``sample_rate``.

    Raises:
        SourceError: if a file cannot be read or lacks an array.
    """
    found = []
    for file in files:
        try:
            with np.load(file, allow_pickle=False) as arrays:
                waveforms_NT, class_N = arrays["waveforms"].astype(np.float64), arrays["true_class"]
                rate = float(arrays["sample_rate"]) if "sample_rate" in arrays else default_rate
                classes = np.unique(class_N[class_N > 0] if "true_spike_class" in arrays else class_N)
        except (OSError, KeyError, ValueError) as error:
            raise SourceError(f"cannot read templates from {str(file)!r}: {error}") from error
        means_CT = np.stack([waveforms_NT[class_N == c].mean(axis=0) for c in classes])
        means_CT -= means_CT[:, [0, -1]].mean(axis=1, keepdims=True)
        size_C = np.abs(means_CT).max(axis=1)
        found += [(mean_T, rate) for mean_T in means_CT[size_C >= MULTI_UNIT * np.median(size_C)]]
    return found


def file_templates(
    means: list[tuple[np.ndarray, float]], units: int, rate: float, rng: np.random.Generator
) -> np.ndarray:
    """Return ``(units, PHASES, T)`` of distinct mean waveforms, peak -1 at the sample of `peak_sample`.

    Raises:
        ConfigError: if there are fewer mean waveforms than units.
    """
    if len(means) < units:
        raise ConfigError(f"templates hold {len(means)} units: expected at least {units}; add more files")
    return np.stack([_from_mean(means[k][0], means[k][1], rate) for k in rng.permutation(len(means))[:units]])


def family_templates(units: int, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Return ``(units, PHASES, T)`` of a parametric family, peak -1 at the sample of `peak_sample`.

    A negative Gaussian of 0.06 to 0.22 ms, a slower positive one 0.25 to 0.9 ms later, and a small positive one before:
    the initial capacitive peak, the sodium and the potassium current of an extracellular spike.
    """
    return np.stack([_sampled(_family_shape(rng), rate) for _ in range(units)])


def peak_sample(rate: float) -> int:
    """Return the sample of a template at which its peak lies."""
    return round(BEFORE * rate)


def _family_shape(rng: np.random.Generator) -> CubicSpline:
    t = np.arange(-2 * BEFORE, 2 * AFTER, 5e-6)
    width, late, late_width = rng.uniform(0.06, 0.22), rng.uniform(0.25, 0.9), rng.uniform(0.12, 0.4)
    early, early_width = rng.uniform(0.2, 0.4), rng.uniform(0.08, 0.15)
    x = -np.exp(-0.5 * (t / (width * 1e-3)) ** 2)
    x += rng.uniform(0.05, 0.8) * np.exp(-0.5 * ((t - late * 1e-3) / (late_width * 1e-3)) ** 2)
    x += rng.uniform(0.0, 0.4) * np.exp(-0.5 * ((t + early * 1e-3) / (early_width * 1e-3)) ** 2)
    return _normalised(t, x)


def _from_mean(mean_T: np.ndarray, rate: float, new_rate: float) -> np.ndarray:
    """Return a mean waveform with its peak downwards, faded out at its ends, at another sampling rate."""
    mean_T = mean_T * tukey(len(mean_T), 0.25)
    mean_T = np.pad(mean_T * (-np.sign(mean_T[np.abs(mean_T).argmax()])), 4)
    fine = CubicSpline(np.arange(len(mean_T)) / rate, mean_T)
    t = np.arange(0, (len(mean_T) - 1) / rate, 5e-6)
    return _sampled(_normalised(t, fine(t)), new_rate)


def _normalised(t: np.ndarray, x: np.ndarray) -> CubicSpline:
    """Return a shape of which the lowest point is -1 at time 0."""
    return CubicSpline(t - t[x.argmin()], x / -x.min(), extrapolate=False)


def _sampled(shape: CubicSpline, rate: float) -> np.ndarray:
    """Return ``(PHASES, T)``: phase p has its peak p / PHASES of a sample after the sample of `peak_sample`."""
    samples = np.arange(peak_sample(rate) + round(AFTER * rate)) - peak_sample(rate)
    return np.stack([np.nan_to_num(shape((samples - p / PHASES) / rate)) for p in range(PHASES)])
