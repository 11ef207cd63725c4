"""Cleaning of voltage: band-pass, common reference, whitening; and detection of bad channels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.signal import butter, sosfilt_zi

from foundation.common.errors import SourceError
from foundation.common.output.printable import count
from foundation.common.processes.compiled import compiled
from ingest.sorting.sort_settings import FilterSettings, WindowSettings
from ingest.sorting.spikes.neighbourhoods import neighbours_of
from ingest.sorting.voltage.voltage import Voltage

MARGIN = 0.05  # seconds read on both sides of a stretch: the filter has forgotten what is farther away
AROUND_MISSING = 0.005  # seconds around samples without value, in which no spike is detected
REFERENCE_FROM, WHITEN_FROM = 16, 2  # channels of a group
EXCERPTS, EXCERPT_SECONDS = 40, 0.5  # what noise is measured on, spread over the recording
EXCERPT_NUMBERS = 20_000_000  # of all excerpts together, at most: many channels get shorter ones
SATURATED = 0.01  # share of samples at the same extreme value from which on a channel cannot be used
RUN = 4  # samples in a row at the same extreme value that count as saturated
MAX_WHITENED = 32  # nearest channels that whitening looks at
HIGHEST = 0.45  # of the sampling rate


@dataclass(frozen=True)
class CleanVoltage:
    """Filtered voltage of a recording, a stretch at a time; a stretch does not depend on where others begin.

    Args:
        voltage: of C channels.
        sos: band-pass.
        used_C: channels that can be used; the others are 0.
        centre_C: µV that stand for samples without a value.
        reference: groups of channels whose median is subtracted, as indices.
        whitening_CC: whitening matrix over channels that keeps each channel's noise in µV; None: no whitening.
        noise_C: µV of noise after cleaning, median(|x|) / 0.6745; 0 for channels that are not used.
        notes: messages on the channels.
    """

    voltage: Voltage
    sos: np.ndarray
    used_C: np.ndarray
    centre_C: np.ndarray
    reference: tuple[np.ndarray, ...]
    whitening_CC: np.ndarray | None
    noise_C: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def margin(self) -> int:
        """Samples read on both sides."""
        return int(MARGIN * self.voltage.sampling_rate)

    def read(self, start: int, stop: int, whiten: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Return ``(stop - start, C)`` float32 µV, and ``(stop - start, C)`` True where spikes may be sought.

        Args:
            start, stop: samples; those outside of the recording are 0 and not to be used.
            whiten: take out what neighbours share in noise.
        """
        first, last = max(0, start - self.margin), min(self.voltage.n_samples, stop + self.margin)
        if first >= last:
            shape = (stop - start, self.voltage.n_channels)
            return np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=bool)
        raw_TC = self.voltage.read(first, last)
        x_TC, usable_TC = self._clean(raw_TC)
        if whiten and self.whitening_CC is not None:
            x_TC = x_TC @ self.whitening_CC
        before, after = max(0, -start), max(0, stop - self.voltage.n_samples)
        inside = slice(start + before - first, stop - after - first)
        pad = ((before, after), (0, 0))
        return np.pad(x_TC[inside], pad), np.pad(usable_TC[inside], pad)

    def _clean(self, raw_TC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        missing_TC = ~np.isfinite(raw_TC)
        usable_TC = np.broadcast_to(self.used_C, raw_TC.shape)
        if missing_TC.any():
            raw_TC = np.where(missing_TC, self.centre_C, raw_TC)
            usable_TC = usable_TC & ~_widened(missing_TC, int(AROUND_MISSING * self.voltage.sampling_rate))
        x_TC = band_passed(raw_TC, self.sos)
        for group in self.reference:
            x_TC[:, group] -= median_of_channels(x_TC[:, group])
        x_TC[:, ~self.used_C] = 0.0
        return x_TC, usable_TC


def median_of_channels(x_TC: np.ndarray) -> np.ndarray:
    """Return ``(T, 1)`` the median over channels; sorting short rows is several times faster than `numpy.median`.

    Example:
        >>> median_of_channels(np.array([[3.0, 1.0, 2.0, 10.0]])).tolist()
        [[2.5]]
    """
    sorted_TC, last = np.sort(x_TC, axis=1), x_TC.shape[1] - 1
    median_T1: np.ndarray = 0.5 * (sorted_TC[:, last // 2, None] + sorted_TC[:, (last + 1) // 2, None])
    return median_T1.astype(x_TC.dtype)


def band_passed(raw_TC: np.ndarray, sos: np.ndarray) -> np.ndarray:
    """Return the voltage filtered forwards and backwards, float32.

    Example:
        >>> slow_T1 = np.sin(2 * np.pi * 5.0 * np.arange(24_000) / 24_000.0)[:, None]
        >>> bool(np.abs(band_passed(slow_T1, band_filter(FilterSettings(), 24_000.0)))[2400:-2400].max() < 1e-3)
        True
    """
    padding = max(min(3 * (2 * len(sos) + 1), len(raw_TC) - 1), 0)
    x_TC = np.empty((len(raw_TC) + 2 * padding, raw_TC.shape[1]))
    x_TC[padding : padding + len(raw_TC)] = raw_TC
    x_TC[:padding] = 2.0 * x_TC[padding] - x_TC[2 * padding : padding : -1]  # turned about its ends, as scipy does
    x_TC[len(x_TC) - padding :] = 2.0 * x_TC[-padding - 1] - x_TC[-padding - 2 : -2 * padding - 2 : -1]
    start_S2 = sosfilt_zi(sos)
    for direction in (1, -1):
        _run_sections(x_TC[::direction], sos, start_S2)
    return x_TC[padding : padding + len(raw_TC)].astype(np.float32)


@compiled()
def _run_sections(x_TC, sos, start_S2):  # type: ignore[no-untyped-def]
    """Filter in place (direct form II transposed), from the steady state of the first sample.

    Channels are the inner loop: they lie side by side in memory, and the processor filters several at once. That takes
    a fifth of the time of `scipy.signal.sosfiltfilt`, which filters one channel after another.
    """
    n_samples, n_channels = x_TC.shape
    first_SC, second_SC = np.empty((len(sos), n_channels)), np.empty((len(sos), n_channels))
    for s in range(len(sos)):
        for c in range(n_channels):
            first_SC[s, c], second_SC[s, c] = start_S2[s, 0] * x_TC[0, c], start_S2[s, 1] * x_TC[0, c]
    for t in range(n_samples):
        for s in range(len(sos)):
            b0, b1, b2, a1, a2 = sos[s, 0], sos[s, 1], sos[s, 2], sos[s, 4], sos[s, 5]
            for c in range(n_channels):
                value = x_TC[t, c]
                out = b0 * value + first_SC[s, c]
                first_SC[s, c] = b1 * value - a1 * out + second_SC[s, c]
                second_SC[s, c] = b2 * value - a2 * out
                x_TC[t, c] = out


def band_filter(settings: FilterSettings, sampling_rate: float) -> np.ndarray:
    """Return the band-pass as second-order sections.

    Raises:
        SourceError: if the sampling rate is too low for the band.
    """
    high = min(settings.high, HIGHEST * sampling_rate)
    if settings.low >= high:
        raise SourceError(
            f"sampling rate is {sampling_rate:g} Hz: expected more than {settings.low / HIGHEST:g} Hz for a band from "
            f"filter.low, {settings.low:g} Hz; is the rate the file's?"
        )
    sections: np.ndarray = butter(settings.order, [settings.low, high], "bandpass", fs=sampling_rate, output="sos")
    return sections


def clean_voltage(voltage: Voltage, settings: FilterSettings, windows: WindowSettings) -> CleanVoltage:
    """Return a recording's cleaned voltage; measures noise on excerpts that do not depend on the chunk size.

    Raises:
        SourceError: if no channel can be used, or the band does not fit the sampling rate.
    """
    sos = band_filter(settings, voltage.sampling_rate)
    excerpts = list(excerpt_bounds(voltage))
    raw = [voltage.read(start, stop) for start, stop in excerpts]
    joined_TC = np.concatenate(raw)
    bad, notes = _unusable(joined_TC, voltage)
    used_C = ~bad
    if not used_C.any():
        raise SourceError(f"{voltage.path}: no channel can be sorted: {'; '.join(notes)}")
    finite = [x_T[np.isfinite(x_T)] for x_T in joined_TC.T]
    centre_C = np.array([np.median(x_T) if len(x_T) else 0.0 for x_T in finite])
    groups = [np.flatnonzero(used_C & (voltage.groups == group)) for group in np.unique(voltage.groups)]
    reference = [g for g in groups if _switched(settings.reference, len(g), REFERENCE_FROM) and len(g) > 1]
    nothing = np.zeros(voltage.n_channels, dtype=np.float32)
    clean = CleanVoltage(voltage, sos, used_C, centre_C, tuple(reference), None, nothing, tuple(notes))
    filtered_TC = np.concatenate([clean.read(start, stop)[0] for start, stop in excerpts])
    noise_C = np.where(used_C, noise_level(filtered_TC), 0.0)
    silent = used_C & (noise_C <= 0)
    if silent.any():
        notes.append(f"{_named(voltage, silent)} flat in the band of spikes: left out")
        used_C = used_C & ~silent
        if not used_C.any():
            raise SourceError(f"{voltage.path}: no channel can be sorted: {'; '.join(notes)}")
        groups = [group[used_C[group]] for group in groups]
    clean = replace(clean, used_C=used_C, noise_C=noise_C, notes=tuple(notes))
    whitened = [g for g in groups if _switched(settings.whiten, len(g), WHITEN_FROM) and len(g) > 1]
    if not whitened:
        return clean
    filtered_TC[:, ~used_C] = 0.0
    quiet_TC = filtered_TC[(np.abs(filtered_TC) <= 4.0 * np.where(noise_C > 0, noise_C, np.inf)).all(axis=1)]
    if len(quiet_TC) < 10 * voltage.n_channels:
        quiet_TC = filtered_TC
    whitening_CC = _whitening(quiet_TC, whitened, voltage, windows)
    noise_C = np.where(used_C, noise_level(filtered_TC @ whitening_CC), 0.0)
    return replace(clean, whitening_CC=whitening_CC, noise_C=noise_C)


def noise_level(x_TC: np.ndarray) -> np.ndarray:
    """Return ``(C,)`` median(|x|) / 0.6745: the standard deviation of the noise, however many spikes there are.

    Source: Quiroga, Nadasdy and Ben-Shaul, Neural Computation 16, 2004.

    Example:
        >>> x_TC = np.random.default_rng(0).normal(size=(100_000, 1)) * 7.0
        >>> bool(abs(noise_level(x_TC)[0] - 7.0) < 0.1)
        True
    """
    level_C: np.ndarray = np.median(np.abs(x_TC), axis=0) / 0.6745
    return level_C


def excerpt_bounds(voltage: Voltage) -> list[tuple[int, int]]:
    """Return where noise is measured: equal stretches, spread evenly; a short recording is taken whole."""
    length = int(min(EXCERPT_SECONDS * voltage.sampling_rate, EXCERPT_NUMBERS / EXCERPTS / voltage.n_channels))
    if voltage.n_samples <= EXCERPTS * length:
        return [(0, voltage.n_samples)]
    starts = np.linspace(0, voltage.n_samples - length, EXCERPTS).astype(int)
    return [(int(start), int(start) + length) for start in starts]


def _switched(switch: str, channels: int, least: int) -> bool:
    return switch == "on" or (switch == "auto" and channels >= least)


def _widened(mask_TC: np.ndarray, samples: int) -> np.ndarray:
    """Return True within so many samples of a True."""
    sums_TC = np.cumsum(np.pad(mask_TC.astype(np.int32), ((samples + 1, samples), (0, 0))), axis=0)
    return sums_TC[2 * samples + 1 :] > sums_TC[: -2 * samples - 1]


def _unusable(raw_TC: np.ndarray, voltage: Voltage) -> tuple[np.ndarray, list[str]]:
    """Return the channels that cannot be sorted, and why."""
    notes = []
    finite_TC = np.isfinite(raw_TC)
    missing = ~finite_TC.any(axis=0)
    if missing.any():
        notes.append(f"{_named(voltage, missing)} without any number: left out")
    elif not finite_TC.all():
        share = float((~finite_TC).mean())
        notes.append(f"{share:.2%} of the samples are not a number: no spike is sought within 5 ms of them")
    with np.errstate(all="ignore"):
        filled_TC = np.where(finite_TC, raw_TC, -np.inf)
        high_C = filled_TC.max(axis=0)
        low_C = np.where(finite_TC, raw_TC, np.inf).min(axis=0)
    constant = ~missing & (high_C == low_C)
    if constant.any():
        notes.append(f"{_named(voltage, constant)} constant: left out")
    at_end_TC = (raw_TC == high_C) | (raw_TC == low_C)
    in_run_TC = at_end_TC.copy()
    for shift in range(1, RUN):
        in_run_TC[shift:] &= at_end_TC[:-shift] & (raw_TC[shift:] == raw_TC[:-shift])
    saturated = ~missing & ~constant & (in_run_TC.mean(axis=0) > SATURATED)
    if saturated.any():
        notes.append(f"{_named(voltage, saturated)} saturated, at the end of the converter's range: left out")
    return missing | constant | saturated, notes


def _named(voltage: Voltage, mask_C: np.ndarray) -> str:
    names = voltage.channels.names[mask_C].tolist()
    few = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
    return f"{count(len(names), 'channel')} ({few})"


def _whitening(quiet_TC: np.ndarray, groups: list[np.ndarray], voltage: Voltage, windows: WindowSettings) -> np.ndarray:
    """Return ``(C, C)``: each column decorrelates a channel from its nearest ones (ZCA), and keeps its noise in µV."""
    whitening_CC = np.eye(voltage.n_channels)
    for group in groups:
        inside = np.isin(np.arange(voltage.n_channels), group)
        around = neighbours_of(voltage.channels, inside, 1.5 * windows.radius, MAX_WHITENED)
        covariance_CC = np.cov(quiet_TC[:, group], rowvar=False)
        place = {int(channel): k for k, channel in enumerate(group)}
        for channel in group:
            near = around[int(channel)]
            rows = [place[int(other)] for other in near]
            part = covariance_CC[np.ix_(rows, rows)]
            scale = np.sqrt(np.diag(part))
            values, vectors = np.linalg.eigh(part / np.outer(scale, scale))
            inverse = (vectors / np.sqrt(values + 0.02)) @ vectors.T
            mine = rows.index(place[int(channel)])
            whitening_CC[near, channel] = inverse[:, mine] / scale * scale[mine]
    return whitening_CC.astype(np.float32)
