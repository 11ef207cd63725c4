"""Detection of spikes: peaks that reach a multiple of the noise, one for each place and moment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foundation.common.processes.compiled import compiled
from ingest.sorting.sort_settings import DetectionSettings, WindowSettings
from ingest.sorting.spikes.filtering import CleanVoltage, excerpt_bounds
from ingest.sorting.spikes.neighbourhoods import neighbours_of

ENERGY_WINDOW = 0.0004  # seconds over which the energy operator is averaged
FAR = 5.0  # noise levels: the side with more samples beyond it sets the sign


@dataclass(frozen=True)
class Detector:
    """Finds peaks in clean voltage; its result depends only on the nearby voltage.

    Args:
        threshold_C: µV (or µV² of energy) that a peak must exceed; infinite for channels that are not used.
        sign: -1: troughs are spikes, 1: peaks, 0: both.
        dead: samples around a peak within which no smaller one counts.
        near_CM: channels whose peaks are the same spikes, -1 where there are fewer.
        energy: sought in the nonlinear energy instead of the voltage.
        smooth: samples over which energy is averaged.
    """

    threshold_C: np.ndarray
    sign: int
    dead: int
    near_CM: np.ndarray
    energy: bool = False
    smooth: int = 1

    @property
    def reach(self) -> int:
        """Samples on both sides that affect a peak."""
        return self.dead + self.smooth + 2

    def find(self, x_TC: np.ndarray, usable_TC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return sample and channel of each peak, in order of time.

        Args:
            x_TC: µV.
            usable_TC: False where spikes are excluded.
        """
        score_TC = np.abs(x_TC) if self.sign == 0 else self.sign * x_TC
        if self.energy:
            score_TC = energy_of(x_TC, self.smooth)
        scaled_TC = np.where(usable_TC, score_TC / self.threshold_C, 0.0).astype(np.float32)
        sample_P, channel_P = _peaks(scaled_TC, self.near_CM, self.dead)
        if self.energy:
            sample_P = self._on_voltage(x_TC, sample_P, channel_P)
        return sample_P, channel_P

    def _on_voltage(self, x_TC: np.ndarray, sample_P: np.ndarray, channel_P: np.ndarray) -> np.ndarray:
        """Return the largest sample of the voltage around each peak of the energy."""
        offset_K = np.arange(-self.smooth - 1, self.smooth + 2)
        index_PK = np.clip(sample_P[:, None] + offset_K, 0, len(x_TC) - 1)
        x_PK = x_TC[index_PK, channel_P[:, None]]
        best_P = (np.abs(x_PK) if self.sign == 0 else self.sign * x_PK).argmax(axis=1)
        return index_PK[np.arange(len(sample_P)), best_P]


def energy_of(x_TC: np.ndarray, smooth: int) -> np.ndarray:
    """Return the nonlinear energy x(t)^2 - x(t - 1) x(t + 1), averaged over some samples.

    Source: Mukhopadhyay and Ray, IEEE Transactions on Biomedical Engineering 45, 1998.
    """
    from scipy.ndimage import uniform_filter1d

    energy_TC = np.zeros_like(x_TC)
    energy_TC[1:-1] = x_TC[1:-1] ** 2 - x_TC[:-2] * x_TC[2:]
    return uniform_filter1d(energy_TC, 2 * (smooth // 2) + 1, axis=0, mode="constant")


def make_detector(clean: CleanVoltage, settings: DetectionSettings, windows: WindowSettings) -> Detector:
    """Return the detector of a recording; sign and energy are measured on excerpts of it."""
    rate = clean.voltage.sampling_rate
    dead = max(1, round(settings.dead_time * 1e-3 * rate))
    smooth = max(1, round(ENERGY_WINDOW * rate))
    with np.errstate(divide="ignore"):
        level_C = np.where(clean.used_C, settings.threshold * clean.noise_C, np.inf)
    energy = settings.method == "energy"
    sign = {"negative": -1, "positive": 1, "both": 0}.get(settings.sign)
    if sign is None or energy:
        excerpts = [clean.read(start, stop)[0] for start, stop in excerpt_bounds(clean.voltage)]
        if sign is None:
            sign = farther_side(np.concatenate(excerpts)[:, clean.used_C], clean.noise_C[clean.used_C])
        if energy:
            mean_C = np.concatenate([energy_of(x_TC, smooth) for x_TC in excerpts]).mean(axis=0)
            level_C = np.where(clean.used_C, settings.threshold * np.maximum(mean_C, 1e-12), np.inf)
    # All channels within the radius, not only those of a window: whitening leaves side lobes of large spikes there.
    near = neighbours_of(clean.voltage.channels, clean.used_C, windows.radius, clean.voltage.n_channels)
    near_CM = np.full((clean.voltage.n_channels, max(map(len, near.values()))), -1, dtype=np.int64)
    for channel, others in near.items():
        near_CM[channel, : len(others)] = others
    return Detector(level_C.astype(np.float32), sign, dead, near_CM, energy, smooth)


def farther_side(x_TC: np.ndarray, noise_C: np.ndarray) -> int:
    """Return the sign of spikes: -1 if troughs exceed the noise further, 1 if peaks do.

    Example:
        >>> x_TC = np.zeros((1000, 1))
        >>> x_TC[::100] = -20.0
        >>> farther_side(x_TC, np.ones(1))
        -1
    """
    scaled_TC = x_TC / np.maximum(noise_C, 1e-12)
    below, above = -scaled_TC[scaled_TC < -FAR], scaled_TC[scaled_TC > FAR]
    return 1 if float((above - FAR).sum()) > float((below - FAR).sum()) else -1


@compiled()
def _peaks(scaled_TC, near_CM, dead):  # type: ignore[no-untyped-def]
    """Return where a value above 1 is the largest within ``dead`` samples on near channels; of equal ones the first."""
    n_samples, n_channels = scaled_TC.shape
    samples, channels = [], []
    for t in range(1, n_samples - 1):
        for c in range(n_channels):
            value = scaled_TC[t, c]
            if value <= 1.0 or value < scaled_TC[t - 1, c] or value < scaled_TC[t + 1, c]:
                continue
            largest = True
            for m in range(near_CM.shape[1]):
                other = near_CM[c, m]
                if other < 0:
                    break
                for s in range(max(0, t - dead), min(n_samples, t + dead + 1)):
                    rival = scaled_TC[s, other]
                    earlier = s < t or (s == t and other < c)
                    if rival > value or (rival == value and earlier):
                        largest = False
                        break
                if not largest:
                    break
            if largest:
                samples.append(t)
                channels.append(c)
    return np.array(samples, dtype=np.int64), np.array(channels, dtype=np.int64)
