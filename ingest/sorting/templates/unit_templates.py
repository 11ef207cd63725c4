"""Templates: the mean waveform of each unit, followed over the recording, and as matching needs them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import make_interp_spline
from scipy.linalg import solve_toeplitz

from ingest.sorting.spikes.spike_windows import PAD

QUARTERS = 4  # places of a template between two samples
ORDER = 8  # of the prediction that makes noise white in time
LOAD = 0.1  # of the noise's power that is taken as white, so that empty frequencies are not blown up
SMOOTHING = 1.0  # periods: width of the kernel over which a drifting template is averaged
FIRM = 30.0  # spikes that the mean of the whole recording counts for beside those of a period
TRIMMED = 0.2  # share of the spikes farthest from the median that a template leaves out: overlaps
SPREAD = (0.05, 0.3)  # of amplitudes around a template, as a share
DEFAULT_SPREAD = 0.15
TAPER = 4  # samples at both ends of a template that fade to 0


@dataclass(frozen=True)
class NoiseModel:
    """Whitening of filtered voltage: divided by the noise of its channel, and predicted from the samples before.

    Args:
        predictor_K: ``(ORDER + 1,)`` weights of a sample and those before; the result has variance 1.
        noise_C: µV.
    """

    predictor_K: np.ndarray
    noise_C: np.ndarray

    @classmethod
    def fit(cls, pieces: list[np.ndarray], noise_C: np.ndarray, channels: list[np.ndarray] | None = None) -> NoiseModel:
        """Return the model of stretches without spikes.

        Args:
            pieces: ``(T, C)`` µV each.
            noise_C: µV; 0 for channels that are not used.
            channels: those of each piece; None: all.
        """
        everything = np.arange(len(noise_C))
        power_K = np.zeros(ORDER + 1)
        n = 0
        for k, x_TC in enumerate(pieces):
            if len(x_TC) <= 2 * ORDER:
                continue
            level_C = noise_C[everything if channels is None else channels[k]]
            z_TC = x_TC[:, level_C > 0] / level_C[level_C > 0]
            for lag in range(ORDER + 1):
                power_K[lag] += float((z_TC[ORDER:] * z_TC[ORDER - lag : len(z_TC) - lag]).sum())
            n += z_TC[ORDER:].size
        if n == 0 or power_K[0] <= 0:
            power_K, n = np.eye(ORDER + 1)[0], 1
        power_K = power_K / n
        power_K[0] *= 1.0 + LOAD
        weights = solve_toeplitz(power_K[:-1], power_K[1:])
        left = float(power_K[0] - weights @ power_K[1:])
        return cls(np.concatenate([[1.0], -weights]) / np.sqrt(max(left, 1e-9)), noise_C)

    def white(self, x_TC: np.ndarray, channel_C: np.ndarray | None = None) -> np.ndarray:
        """Return ``(T + ORDER, C)`` white voltage; what comes before the first sample counts as 0.

        Args:
            x_TC: µV.
            channel_C: which channels these are; all by default.
        """
        channel_C = np.arange(len(self.noise_C)) if channel_C is None else channel_C
        return self.white_windows(x_TC.T, channel_C).T

    def white_windows(self, x_CL: np.ndarray, channel_C: np.ndarray) -> np.ndarray:
        """Return ``(..., C, L + ORDER)`` white windows.

        Args:
            x_CL: ``(..., C, L)`` µV.
            channel_C: ``(..., C)`` the channel of each.
        """
        noise_C = self.noise_C[channel_C]
        scaled_CL = (x_CL / np.where(noise_C > 0, noise_C, np.inf)[..., None]).astype(np.float32)
        length = x_CL.shape[-1]
        white_CL = np.zeros((*x_CL.shape[:-1], length + ORDER), dtype=np.float32)
        for lag, weight in enumerate(self.predictor_K):
            white_CL[..., lag : lag + length] += np.float32(weight) * scaled_CL
        return white_CL


@dataclass(frozen=True)
class Templates:
    """Mean waveforms of U units on their own channels, for P periods of a recording.

    Args:
        mean_UPML: float32 µV: unit, period, channel of the unit (M at most), sample.
        channels_UM: channels of each unit; -1 where it has fewer.
        channel_U: on which a unit is largest.
        spread_U: of amplitudes around the template, as a share.
        count_U: spikes that each was made of.
        before: sample of the peak.
        period: samples of a period.
    """

    mean_UPML: np.ndarray
    channels_UM: np.ndarray
    channel_U: np.ndarray
    spread_U: np.ndarray
    count_U: np.ndarray
    before: int
    period: int

    @property
    def n_units(self) -> int:
        """Number of units."""
        return len(self.channel_U)

    def mean(self, unit: int) -> np.ndarray:
        """Return ``(M, L)`` µV, the mean of a unit over all periods."""
        return np.asarray(self.mean_UPML[unit].mean(axis=0))

    def part(self, units: np.ndarray) -> Templates:
        """Return the templates of a subset of units."""
        return Templates(
            self.mean_UPML[units],
            self.channels_UM[units],
            self.channel_U[units],
            self.spread_U[units],
            self.count_U[units],
            self.before,
            self.period,
        )

    def at(self, sample: float) -> np.ndarray:
        """Return ``(U, M, L)`` µV at a moment, between the middles of periods."""
        n_periods = self.mean_UPML.shape[1]
        place = np.clip(sample / self.period - 0.5, 0, n_periods - 1)
        first = min(int(place), n_periods - 1)
        second = min(first + 1, n_periods - 1)
        share = np.float32(place - first)
        return np.asarray((1 - share) * self.mean_UPML[:, first] + share * self.mean_UPML[:, second])


def robust_mean(cut_NML: np.ndarray) -> np.ndarray:
    """Return the mean window without those farthest from the median, which overlap with other spikes."""
    if len(cut_NML) < 5:
        return np.asarray(cut_NML.mean(axis=0))
    middle_ML = np.median(cut_NML, axis=0)
    away_N = ((cut_NML - middle_ML) ** 2).sum(axis=(1, 2))
    kept_N = away_N <= np.quantile(away_N, 1.0 - TRIMMED)
    return np.asarray(cut_NML[kept_N].mean(axis=0))


def drifting_mean(cut_NML: np.ndarray, period_N: np.ndarray, n_periods: int) -> np.ndarray:
    """Return ``(P, M, L)``: the mean window in each period, drawn to neighbouring periods and to the whole.

    Args:
        cut_NML: windows of one unit.
        period_N: period of each.
        n_periods: P.

    Example:
        >>> drifting_mean(np.arange(6.0).reshape(6, 1, 1), np.repeat([0, 1], 3), 2).shape
        (2, 1, 1)
    """
    whole_ML = robust_mean(cut_NML)
    if n_periods == 1:
        return whole_ML[None]
    sums = np.zeros((n_periods, *whole_ML.shape))
    counts = np.zeros(n_periods)
    for period in np.unique(period_N):
        mine = cut_NML[period_N == period]
        sums[period] = robust_mean(mine) * len(mine)
        counts[period] = len(mine)
    apart_PP = np.abs(np.subtract.outer(np.arange(n_periods), np.arange(n_periods)))
    kernel_PP = np.exp(-0.5 * (apart_PP / SMOOTHING) ** 2)
    weight_P = kernel_PP @ counts + FIRM
    return np.asarray((np.tensordot(kernel_PP, sums, 1) + FIRM * whole_ML) / weight_P[:, None, None])


def amplitude_spread(cut_NML: np.ndarray, mean_ML: np.ndarray, noise_M: np.ndarray) -> float:
    """Return how much a unit's spikes differ in size, as a share of the template; without what noise adds."""
    scaled_ML = mean_ML / noise_M[:, None]
    energy = float((scaled_ML**2).sum())
    if len(cut_NML) < 10 or energy <= 0:
        return DEFAULT_SPREAD
    size_N = (cut_NML / noise_M[:, None] * scaled_ML).sum(axis=(1, 2)) / energy
    low, high = np.quantile(size_N, [0.16, 0.84])
    variance = (0.5 * (high - low)) ** 2 - 3.0 / energy
    return float(np.clip(np.sqrt(max(variance, 0.0)), *SPREAD))


def tapered(mean_UML: np.ndarray) -> np.ndarray:
    """Return templates that fade to 0 at both ends, so that taking one out leaves no step."""
    length = mean_UML.shape[-1]
    ramp_L = np.minimum(np.arange(1, length + 1), np.arange(length, 0, -1)) / (TAPER + 1)
    return np.asarray(mean_UML * np.minimum(ramp_L, 1.0), dtype=np.float32)


def shifted(mean_UML: np.ndarray) -> np.ndarray:
    """Return ``(U, Q, M, L + 1)``: templates 0 to 3 quarters of a sample later."""
    length = mean_UML.shape[-1]
    padded = np.pad(mean_UML, ((0, 0), (0, 0), (PAD, PAD + 1)))
    spline = make_interp_spline(np.arange(padded.shape[-1]), padded, k=3, axis=-1)
    return np.stack(
        [spline(PAD + np.arange(length + 1) - quarter / QUARTERS) for quarter in range(QUARTERS)], axis=1
    ).astype(np.float32)
