"""Windows around spikes: aligned to the peak between samples, resampled to a common length, and normalised."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.interpolate import make_interp_spline

from ingest.sorting.sort_settings import WindowSettings
from ingest.sorting.spikes.waveforms import Waveforms

FINENESS = 16  # places of a peak between two samples
PAD = 6  # samples on both sides that interpolation looks at
SEARCH = 1  # samples around the largest one in which the peak is sought


@dataclass(frozen=True)
class WindowCutter:
    """Cuts windows around peaks.

    Args:
        sampling_rate: Hz of the voltage.
        settings: of windows.
        sign: of peaks, as a `Detector` has it.
    """

    sampling_rate: float
    settings: WindowSettings
    sign: int

    @property
    def before(self) -> int:
        """Samples before the peak."""
        return round(self.settings.before * 1e-3 * self.sampling_rate)

    @property
    def length(self) -> int:
        """Samples of a window, at the voltage's rate."""
        return max(4, round(self.settings.window * 1e-3 * self.sampling_rate))

    @property
    def reach(self) -> int:
        """Samples on both sides of a peak that a window takes."""
        return max(self.before, self.length - self.before) + PAD + SEARCH + 1

    @cached_property
    def _places(self) -> np.ndarray:
        """``(Q, L + 2 PAD, L)``: cubic splines through a stretch, read between its samples, for each fraction."""
        size = self.length + 2 * PAD
        spline = make_interp_spline(np.arange(size), np.eye(size), k=3, axis=0)
        at_QL = PAD + np.arange(self.length) + np.arange(FINENESS)[:, None] / FINENESS
        return np.asarray(spline(at_QL).transpose(0, 2, 1), dtype=np.float32)

    @cached_property
    def _fine(self) -> np.ndarray:
        """``(K, 2 w + 1)``: the same around the largest sample, to find the peak."""
        width = PAD + SEARCH
        spline = make_interp_spline(np.arange(2 * width + 1), np.eye(2 * width + 1), k=3, axis=0)
        at_K = width + np.arange(-SEARCH * FINENESS, SEARCH * FINENESS + 1) / FINENESS
        return np.asarray(spline(at_K), dtype=np.float32)

    @cached_property
    def _to_samples(self) -> np.ndarray:
        """``(L, T)``: resamples a window to the common length; the first and last sample stay."""
        spline = make_interp_spline(np.arange(self.length), np.eye(self.length), k=3, axis=0)
        return np.asarray(spline(np.linspace(0, self.length - 1, self.settings.samples)).T, dtype=np.float32)

    def peaks(
        self, x_TC: np.ndarray, sample_N: np.ndarray, channel_N: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return sample, sixteenths after it, and height of peaks, found between samples.

        Args:
            x_TC: µV; ``reach`` samples or more around each peak.
            sample_N, channel_N: the largest sample of each peak.

        Returns:
            sample_N int64, sixteenth_N int64 from 0 to 15, height_N float32 µV with its sign.
        """
        if not len(sample_N):
            return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
        width = PAD + SEARCH
        index_NK = sample_N[:, None] + np.arange(-width, width + 1)
        x_NK = x_TC[index_NK, channel_N[:, None]] @ self._fine.T
        best_N = (np.abs(x_NK) if self.sign == 0 else self.sign * x_NK).argmax(axis=1)
        height_N = x_NK[np.arange(len(x_NK)), best_N]
        place_N = sample_N * FINENESS + best_N - SEARCH * FINENESS
        return place_N // FINENESS, place_N % FINENESS, height_N.astype(np.float32)

    def cut(
        self, x_TC: np.ndarray, sample_N: np.ndarray, sixteenth_N: np.ndarray, channels_NC: np.ndarray
    ) -> np.ndarray:
        """Return ``(N, C', L)`` windows in µV at the voltage's rate, their peaks at sample ``before`` exactly.

        Args:
            x_TC: µV.
            sample_N, sixteenth_N: peaks, as `peaks` gives them.
            channels_NC: ``(N, C')`` channels of each window, or ``(C',)`` for all; -1 gives zeros.
        """
        channels_NC = np.broadcast_to(channels_NC, (len(sample_N), np.shape(channels_NC)[-1]))
        cut_NCL = np.empty((*channels_NC.shape, self.length), dtype=np.float32)
        around_K = np.arange(-self.before - PAD, self.length - self.before + PAD)
        for sixteenth in np.unique(sixteenth_N):
            mine = np.flatnonzero(sixteenth_N == sixteenth)
            for piece in np.array_split(mine, max(1, len(mine) * channels_NC.shape[1] // 20_000)):
                index_NK = sample_N[piece, None] + around_K
                x_NCK = x_TC[index_NK[:, None, :], channels_NC[piece][:, :, None]]
                cut_NCL[piece] = x_NCK @ self._places[sixteenth]
        cut_NCL[channels_NC < 0] = 0.0
        return cut_NCL

    def waveforms(
        self, cut_NCL: np.ndarray, height_N: np.ndarray, time_N: np.ndarray, channel_N: np.ndarray
    ) -> Waveforms:
        """Return windows as clustering reads them: resampled, each divided by its amplitude.

        Args:
            cut_NCL: µV, as `cut` gives them.
            height_N: µV of the peaks.
            time_N: seconds.
            channel_N: of the peaks.
        """
        amplitude_N = np.maximum(np.abs(height_N), 1e-6).astype(np.float32)
        x_NCT = (cut_NCL @ self._to_samples) / amplitude_N[:, None, None]
        rate = self.sampling_rate * (self.settings.samples - 1) / (self.length - 1)
        return Waveforms(x_NCT.astype(np.float32), amplitude_N, np.asarray(time_N, np.float64), channel_N, rate)

    def resampled(self, cut_NCL: np.ndarray) -> np.ndarray:
        """Return ``(N, C', T)`` windows in µV at the common length."""
        return np.asarray(cut_NCL @ self._to_samples, dtype=np.float32)
