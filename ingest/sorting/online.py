"""Sorting while a recording runs: a causal pipeline that labels a spike some two milliseconds after its peak.

Units are learned from a stretch that was sorted offline. Their templates are then measured again in voltage
filtered forwards only, as a backward filter needs the future. Each arriving block of samples is
filtered, searched for peaks and matched with templates, which are subtracted to separate overlapping spikes.

    with open_voltage("first-minutes.nwb") as voltage:
        sorter = OnlineSorter.learn(voltage, sort_voltage(voltage, settings), settings)
    for block_TC in amplifier:
        spikes = sorter.feed(block_TC)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from foundation.common.errors import SourceError
from foundation.common.processes.compiled import compiled
from ingest.sorting.sort_settings import SortSettings
from ingest.sorting.sorted_units import Sorting
from ingest.sorting.spikes.detection import Detector, make_detector
from ingest.sorting.spikes.filtering import CleanVoltage, clean_voltage, noise_level
from ingest.sorting.spikes.spike_windows import FINENESS, WindowCutter
from ingest.sorting.templates.template_matching import AT_ONCE, REFRACTORY, Bank, explain_peaks, make_bank
from ingest.sorting.templates.unit_templates import (
    ORDER,
    QUARTERS,
    NoiseModel,
    Templates,
    amplitude_spread,
    robust_mean,
)
from ingest.sorting.voltage.voltage import Voltage

BEFORE, AFTER = 0.5, 1.0  # ms of a template before and after the peak: later samples are not used
DELAY = 0.001  # seconds within which a forward filter moves a peak
LEARNED = 1500  # maximum spikes of a unit for its template
PIECE = 10.0  # seconds of the stretch in memory at a time
QUIET = 40_000  # approximate number of samples without spikes for the noise
TURNS = 3  # searches of a block for spikes below others


@dataclass(frozen=True)
class OnlineSpikes:
    """Labelled spikes.

    Args:
        time_N: seconds of the peak from the first sample fed, as in offline sorting.
        unit_N: unit of the offline sorting.
        amplitude_N: as a share of the unit's template.
    """

    time_N: np.ndarray
    unit_N: np.ndarray
    amplitude_N: np.ndarray

    def __len__(self) -> int:
        return len(self.time_N)


@dataclass(frozen=True)
class _Recent:
    """The last spikes: their moment in quarter samples from the first one fed, unit, and the energy they explained."""

    quarter_N: np.ndarray
    unit_N: np.ndarray
    gain_N: np.ndarray


class CausalCleaner:
    """Filters blocks of voltage forwards; the same reference and whitening as offline.

    Args:
        clean: the offline cleaning.
    """

    def __init__(self, clean: CleanVoltage) -> None:
        self._clean = clean
        self._state = np.zeros((len(clean.sos), 2, clean.voltage.n_channels))

    def feed(self, raw_TC: np.ndarray) -> np.ndarray:
        """Return the filtered block, float32 µV.

        Args:
            raw_TC: µV.
        """
        clean = self._clean
        x_TC = _filtered(raw_TC, clean.centre_C, clean.sos, self._state)
        for group in clean.reference:
            x_TC[:, group] -= np.median(x_TC[:, group], axis=1, keepdims=True)
        x_TC[:, ~clean.used_C] = 0.0
        return x_TC if clean.whitening_CC is None else x_TC @ clean.whitening_CC


class OnlineSorter:
    """Labels spikes in blocks of voltage, in any sizes, one after another.

    Args:
        cleaner: filters blocks.
        detector: finds peaks in them.
        bank: templates of the units, in forward-filtered voltage.
        noise: makes that voltage white.
        delay_U: quarter samples by which the filter moves each unit's peak.
        sampling_rate: Hz.
    """

    def __init__(
        self,
        cleaner: CausalCleaner,
        detector: Detector,
        bank: Bank,
        noise: NoiseModel,
        delay_U: np.ndarray,
        sampling_rate: float,
    ) -> None:
        self._cleaner, self._detector, self._bank, self._noise = cleaner, detector, bank, noise
        self._delay_U, self.sampling_rate = delay_U, sampling_rate
        self._once, self._dead = round(AT_ONCE * sampling_rate), round(REFRACTORY * sampling_rate)
        width = bank.white_UQMW.shape[3]
        self._wait = max(detector.dead + 2, width - bank.before + 3)
        self._kept = self._wait + bank.before + detector.dead + 6
        n_channels = len(noise.noise_C)
        self._x_TC = np.zeros((self._kept, n_channels), dtype=np.float32)
        self._white_CT = np.zeros((n_channels, self._kept), dtype=np.float32)
        self._tail_TC = np.zeros((ORDER, n_channels), dtype=np.float32)
        with np.errstate(divide="ignore"):
            self._inverse_C = np.where(noise.noise_C > 0, 1.0 / noise.noise_C, 0.0)
        self._fed = 0
        self._recent = _Recent(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))

    @property
    def wait(self) -> float:
        """Seconds of voltage after a peak needed for its label."""
        return self._wait / self.sampling_rate

    @classmethod
    def learn(cls, voltage: Voltage, sorting: Sorting, settings: SortSettings) -> OnlineSorter:
        """Return a sorter for the voltage after a stretch that was sorted offline.

        Args:
            voltage: the stretch.
            sorting: its units and spikes.
            settings: settings of its sorting.

        Raises:
            SourceError: if the sorting has no units.
        """
        if not sorting.n_units:
            raise SourceError(f"{voltage.path}: the sorting has no units: expected at least one; sort a longer stretch")
        clean = clean_voltage(voltage, settings.filter, settings.windows)
        detector = make_detector(clean, settings.detection, settings.windows)
        windows = replace(settings.windows, window=BEFORE + AFTER, before=BEFORE)
        cutter = WindowCutter(voltage.sampling_rate, windows, detector.sign)
        place_N = np.round((sorting.time_N - voltage.start) * voltage.sampling_rate * FINENESS).astype(np.int64)
        cut_units, quiet = _cut(clean, cutter, place_N, sorting)
        noise_C = np.where(clean.used_C, noise_level(np.concatenate(quiet)), 0.0)
        noise = NoiseModel.fit(quiet, noise_C)
        templates, delay_U = _templates(cut_units, cutter, sorting, detector, noise_C)
        threshold_C = np.where(clean.used_C, settings.detection.threshold * noise_C, np.inf).astype(np.float32)
        bank = make_bank(templates, 0.0, noise, voltage.n_channels)
        online = replace(detector, threshold_C=threshold_C, energy=False)
        return cls(CausalCleaner(clean), online, bank, noise, delay_U, voltage.sampling_rate)

    def feed(self, raw_TC: np.ndarray) -> OnlineSpikes:
        """Feed a block of voltage, and return the spikes that can be labelled now.

        Args:
            raw_TC: ``(T, C)`` µV, following the previous block.
        """
        n = len(raw_TC)
        x_TC = self._cleaner.feed(raw_TC)
        joined_TC = np.concatenate([self._tail_TC, x_TC])
        white_CT = _white(joined_TC, self._noise.predictor_K, self._inverse_C)
        self._tail_TC = joined_TC[-ORDER:]
        self._x_TC = np.concatenate([self._x_TC[-self._kept :], x_TC])
        self._white_CT = np.concatenate([self._white_CT[:, -self._kept :], white_CT], axis=1)
        origin = self._fed - self._kept  # sample of the buffer's first column
        self._fed += n
        # Peaks from `kept - wait` to `wait` before the end have all their samples and are new.
        first, last = self._kept - self._wait, self._kept + n - self._wait
        found: list[tuple[np.ndarray, ...]] = []
        for _ in range(TURNS):
            if not _exceeds(self._x_TC, first, last, self._detector.threshold_C, self._detector.sign):
                break
            spikes = self._explain(first, last, origin)
            if not len(spikes[0]):
                break
            found.append(spikes)
        if not found:
            return OnlineSpikes(np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.float32))
        quarter_N, unit_N, scale_N = (np.concatenate(parts) for parts in zip(*found, strict=True))
        order = np.argsort(quarter_N, kind="stable")
        time_N = (quarter_N - self._delay_U[unit_N]) / QUARTERS / self.sampling_rate
        return OnlineSpikes(time_N[order], unit_N[order], scale_N[order])

    def _explain(self, first: int, last: int, origin: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Match the peaks in a part of the buffer and subtract them."""
        reach = self._detector.reach
        begin = first - reach
        part_TC = self._x_TC[begin : last + reach]
        usable_TC = np.broadcast_to(np.isfinite(self._detector.threshold_C), part_TC.shape)
        sample_P, channel_P = self._detector.find(part_TC, usable_TC)
        sample_P = sample_P + begin
        mine = (sample_P >= first) & (sample_P < last)
        recent = self._recent
        if not mine.any():
            return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
        old_quarter = recent.quarter_N - origin * QUARTERS
        quarter_N, unit_N, scale_N, gain_N = explain_peaks(
            self._x_TC,
            self._white_CT,
            sample_P[mine],
            channel_P[mine],
            self._bank,
            old_quarter,
            recent.unit_N,
            recent.gain_N,
            self._once,
            self._dead,
        )
        quarter_N = quarter_N + origin * QUARTERS
        moments = np.concatenate([recent.quarter_N, quarter_N])
        order = np.argsort(moments, kind="stable")
        order = order[moments[order] > (origin + self._kept - 4 * self._wait) * QUARTERS]
        units = np.concatenate([recent.unit_N, unit_N])[order]
        gains = np.concatenate([recent.gain_N, gain_N])[order]
        self._recent = _Recent(moments[order], units, gains)
        return quarter_N, unit_N, scale_N


@compiled()
def _filtered(raw_TC, centre_C, sos, state):  # type: ignore[no-untyped-def]
    """Return the block through second-order sections (direct form II transposed); ``state`` carries over."""
    n_samples, n_channels = raw_TC.shape
    x_TC = np.empty((n_samples, n_channels), dtype=np.float32)
    for c in range(n_channels):
        for t in range(n_samples):
            value = np.float64(raw_TC[t, c]) - centre_C[c]
            if not np.isfinite(value):
                value = 0.0
            for s in range(len(sos)):
                out = sos[s, 0] * value + state[s, 0, c]
                state[s, 0, c] = sos[s, 1] * value - sos[s, 4] * out + state[s, 1, c]
                state[s, 1, c] = sos[s, 2] * value - sos[s, 5] * out
                value = out
            x_TC[t, c] = value
    return x_TC


@compiled()
def _white(joined_TC, predictor_K, inverse_C):  # type: ignore[no-untyped-def]
    """Return ``(C, T)`` white voltage of a block after the samples needed for its prediction."""
    order = len(predictor_K) - 1
    n_samples, n_channels = joined_TC.shape
    white_CT = np.empty((n_channels, n_samples - order), dtype=np.float32)
    for c in range(n_channels):
        for t in range(order, n_samples):
            total = 0.0
            for k in range(order + 1):
                total += predictor_K[k] * joined_TC[t - k, c]
            white_CT[c, t - order] = total * inverse_C[c]
    return white_CT


@compiled()
def _exceeds(x_TC, first, last, threshold_C, sign):  # type: ignore[no-untyped-def]
    """Return True if a sample reaches a threshold: most blocks hold none, and need no search."""
    for t in range(first, last):
        for c in range(x_TC.shape[1]):
            value = abs(x_TC[t, c]) if sign == 0 else sign * x_TC[t, c]
            if value > threshold_C[c]:
                return True
    return False


def _pieces(clean: CleanVoltage) -> Iterator[tuple[int, np.ndarray]]:
    """Yield forward-filtered voltage and the sample that it begins with."""
    cleaner, voltage = CausalCleaner(clean), clean.voltage
    step = int(PIECE * voltage.sampling_rate)
    for start in range(0, voltage.n_samples, step):
        yield start, cleaner.feed(voltage.read(start, min(start + step, voltage.n_samples)))


def _cut(
    clean: CleanVoltage, cutter: WindowCutter, place_N: np.ndarray, sorting: Sorting
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return ``(n, C, L)`` windows of each unit, long enough for the filter's delay, and stretches without spikes."""
    rate = clean.voltage.sampling_rate
    late = int(DELAY * rate)
    longer = replace(cutter, settings=replace(cutter.settings, window=cutter.settings.window + 1e3 * DELAY))
    chosen_N = np.zeros(len(place_N), dtype=bool)
    for unit in range(sorting.n_units):
        mine = np.flatnonzero(sorting.unit_N == unit)
        chosen_N[mine[np.linspace(0, len(mine) - 1, min(len(mine), LEARNED)).astype(int)]] = True
    windows: list[list[np.ndarray]] = [[] for _ in range(sorting.n_units)]
    quiet: list[np.ndarray] = []
    everywhere = np.arange(clean.voltage.n_channels)
    for start, x_TC in _pieces(clean):
        local_N = place_N // FINENESS - start
        inside_N = (local_N >= longer.reach) & (local_N < len(x_TC) - longer.reach)
        for unit in range(sorting.n_units):
            rows = np.flatnonzero(inside_N & chosen_N & (sorting.unit_N == unit))
            if len(rows):
                windows[unit].append(longer.cut(x_TC, local_N[rows], place_N[rows] % FINENESS, everywhere))
        if sum(map(len, quiet)) < QUIET:
            free_T = np.ones(len(x_TC), dtype=bool)
            for local in local_N[(local_N > -2 * late) & (local_N < len(x_TC) + late)]:
                free_T[max(0, local - late) : local + 3 * late] = False
            length = 4 * late
            firsts = np.arange(0, len(x_TC) - length, length)
            quiet += [x_TC[one : one + length] for one in firsts if free_T[one : one + length].all()]
        if not quiet:
            quiet.append(x_TC)
    empty = np.zeros((0, clean.voltage.n_channels, longer.length), dtype=np.float32)
    return [np.concatenate(parts) if parts else empty for parts in windows], quiet


def _templates(
    cut_units: list[np.ndarray], cutter: WindowCutter, sorting: Sorting, detector: Detector, noise_C: np.ndarray
) -> tuple[Templates, np.ndarray]:
    """Return templates whose peak, moved by the filter, lies at the same sample, and the delay of each unit."""
    near_CM = detector.near_CM[:, : cutter.settings.max_channels]  # nearest first
    means, spreads, counts, delays = [], [], [], []
    channels_UM = near_CM[sorting.channel_U]
    for unit, cut_NCL in enumerate(cut_units):
        channel_M = channels_UM[unit][channels_UM[unit] >= 0]
        mean_PML = np.zeros((1, near_CM.shape[1], cutter.length), dtype=np.float32)
        delay = 0
        if len(cut_NCL):
            main_L = robust_mean(cut_NCL[:, channel_M[:1]])[0]
            part_L = main_L[cutter.before : cutter.before + int(DELAY * cutter.sampling_rate)]
            delay = int((np.abs(part_L) if detector.sign == 0 else detector.sign * part_L).argmax())
            windows_NML = cut_NCL[:, channel_M, delay : delay + cutter.length]
            mean_PML[0, : len(channel_M), : windows_NML.shape[2]] = robust_mean(windows_NML)
            spreads.append(amplitude_spread(windows_NML, mean_PML[0, : len(channel_M)], noise_C[channel_M]))
        else:
            spreads.append(1.0)
        means.append(mean_PML)
        counts.append(len(cut_NCL))
        delays.append(delay * QUARTERS)
    templates = Templates(
        np.array(means),
        channels_UM,
        sorting.channel_U,
        np.array(spreads, dtype=np.float32),
        np.array(counts),
        cutter.before,
        1,
    )
    return templates, np.array(delays, dtype=np.int64)
