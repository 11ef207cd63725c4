"""Spikes of simulated sessions and of files, with ground truth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from foundation.common.errors import SourceError
from ingest.sorting.simulation.simulated_voltage import SimulatedVoltage, simulate_session
from ingest.sorting.simulation.simulated_voltage_settings import SessionSettings
from ingest.sorting.sort_settings import FilterSettings, WindowSettings
from ingest.sorting.sorting_score import match_times
from ingest.sorting.spikes.detection import Detector
from ingest.sorting.spikes.filtering import band_filter, band_passed, noise_level
from ingest.sorting.spikes.spike_windows import FINENESS, WindowCutter
from ingest.sorting.spikes.waveforms import Waveforms

DEAD_TIME = 0.0005  # seconds
BACKGROUND_WINDOWS = 2000
PEAK_SEARCH = 0.00025  # seconds around a true time in which the peak is sought
TEST_SEED, TRAIN_SEED = 1_000_000, 2_000_000  # test and training sessions never share a seed


@dataclass(frozen=True)
class KnownSpikes:
    """Spikes of one session and their ground truth.

    Args:
        waveforms: N spikes.
        true_N: unit of each, -1 for none.
        spikes_U: all true spikes of each unit, found or not.
        snr_U: of each unit.
    """

    waveforms: Waveforms
    true_N: np.ndarray
    spikes_U: np.ndarray
    snr_U: np.ndarray

    def above(self, min_snr: float) -> KnownSpikes:
        """Return the spikes of units above an SNR alone, units numbered anew."""
        kept_U = self.snr_U > min_snr
        new_U = np.where(kept_U, np.cumsum(kept_U) - 1, -1)
        kept_N = (self.true_N >= 0) & kept_U[self.true_N]
        return KnownSpikes(
            self.waveforms.part(kept_N), new_U[self.true_N[kept_N]], self.spikes_U[kept_U], self.snr_U[kept_U]
        )


def session_spikes(settings: SessionSettings, units: int, seed: list[int], threshold: float | None) -> KnownSpikes:
    """Return the spikes of a simulated session.

    Args:
        settings: of the session.
        units: number of units.
        seed: of the session.
        threshold: of detection, in units of the noise; None: spikes are cut at their true times.
    """
    session = simulate_session(settings, units, [*seed, units])
    x_TC = band_passed(session.x_TC, band_filter(FilterSettings(), session.sampling_rate))
    x_TC = np.ascontiguousarray(x_TC, dtype=np.float32)
    cutter = WindowCutter(session.sampling_rate, WindowSettings(), sign=-1)
    detector = Detector(
        (threshold or 4.0) * noise_level(x_TC), -1, round(DEAD_TIME * session.sampling_rate), np.array([[0]])
    )
    found_N, _ = detector.find(x_TC, np.ones(x_TC.shape, dtype=bool))
    background_SCT = _background(x_TC, found_N, cutter)
    if threshold is None:
        sample_N, true_N = _true_samples(session, x_TC)
    else:
        sample_N, true_N = found_N, np.zeros(0, dtype=np.int64)
    inside_N = (sample_N >= cutter.reach) & (sample_N < len(x_TC) - cutter.reach)
    sample_N = sample_N[inside_N]
    channel_N = np.zeros(len(sample_N), dtype=np.int64)
    peak_N, sixteenth_N, height_N = cutter.peaks(x_TC, sample_N, channel_N)
    time_N = (peak_N + sixteenth_N / FINENESS) / session.sampling_rate
    cut_NCL = cutter.cut(x_TC, peak_N, sixteenth_N, np.array([0]))
    waveforms = replace(cutter.waveforms(cut_NCL, height_N, time_N, channel_N), background_SCT=background_SCT)
    if threshold is None:
        true_N = true_N[inside_N]
        return KnownSpikes(waveforms, true_N, np.bincount(true_N, minlength=units), session.snr_U)
    true_N, spikes_U = match_times(time_N, session.times)
    return KnownSpikes(waveforms, true_N, spikes_U, session.snr_U)


def _true_samples(session: SimulatedVoltage, x_TC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest sample near each true spike, and the spike's unit, in order of time."""
    time_N = np.concatenate(session.times)
    unit_N = np.repeat(np.arange(len(session.times)), [len(t) for t in session.times])
    order_N = np.argsort(time_N, kind="stable")
    reach = round(PEAK_SEARCH * session.sampling_rate)
    sample_N = np.rint(time_N[order_N] * session.sampling_rate).astype(np.int64)
    around_NK = np.clip(sample_N[:, None] + np.arange(-reach, reach + 1), 0, len(x_TC) - 1)
    return around_NK[np.arange(len(sample_N)), x_TC[around_NK, 0].argmin(axis=1)], unit_N[order_N]


def _background(x_TC: np.ndarray, found_N: np.ndarray, cutter: WindowCutter) -> np.ndarray:
    """Return windows of the voltage that hold no detected spike."""
    free_T = np.ones(len(x_TC), dtype=bool)
    free_T[: cutter.reach] = free_T[-cutter.reach :] = False
    for offset in range(-cutter.length, cutter.length + 1):
        free_T[np.clip(found_N + offset, 0, len(x_TC) - 1)] = False
    places = np.flatnonzero(free_T)
    if not len(places):
        return np.zeros((0, 1, cutter.settings.samples), dtype=np.float32)
    sample_S = places[np.linspace(0, len(places) - 1, min(BACKGROUND_WINDOWS, len(places))).astype(np.int64)]
    return cutter.resampled(cutter.cut(x_TC, sample_S, np.zeros(len(sample_S), dtype=np.int64), np.array([0])))


def file_spikes(file: str | Path) -> tuple[KnownSpikes, np.ndarray | None]:
    """Return the labelled spikes of a file, and their Wave_clus classes if the file has them.

    Spikes without a true class (0 in files that hold ``true_spike_class``) have none here.

    Args:
        file: .npz with ``waveforms`` (N, T) and ``true_class`` (N,).

    Raises:
        SourceError: if the file cannot be read or lacks an array.
    """
    try:
        with np.load(file, allow_pickle=False) as arrays:
            x_NT, class_N = arrays["waveforms"].astype(np.float32), arrays["true_class"]
            rate = float(arrays["sample_rate"]) if "sample_rate" in arrays else 24_000.0
            absent = (class_N == 0) & ("true_spike_class" in arrays)
            clus_N = arrays.get("wave_clus_class")
    except (OSError, KeyError, ValueError) as error:
        raise SourceError(f"cannot read labelled spikes from {str(file)!r}: {error}") from error
    true_N = np.full(len(class_N), -1, dtype=np.int64)
    true_N[~absent] = np.unique(class_N[~absent], return_inverse=True)[1]
    mean_T = np.abs(x_NT).mean(axis=0)
    peak = int(mean_T.argmax())
    amplitude_N = np.maximum(np.abs(x_NT[:, max(0, peak - 2) : peak + 3]).max(axis=1), 1e-6)
    x_NCT = (x_NT / amplitude_N[:, None])[:, None]
    time_N = np.arange(len(x_NT), dtype=np.float64)
    waveforms = Waveforms(x_NCT, amplitude_N, time_N, np.zeros(len(x_NT), dtype=np.int64), rate)
    spikes_U = np.bincount(true_N[true_N >= 0])
    return KnownSpikes(waveforms, true_N, spikes_U, np.full(len(spikes_U), np.inf)), clus_N
