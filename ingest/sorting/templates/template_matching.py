"""Template matching: assign peaks to units, and resolve overlapping spikes.

In voltage whitened in space and time, the likelihood of a spike of a unit at a time with an amplitude is the energy
removed by subtracting its template. Peaks are explained one by one, best first; the residual is searched for further
peaks, and overlapping spikes are fitted again with the others subtracted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from foundation.common.processes.compiled import compiled
from ingest.sorting.spikes.detection import Detector
from ingest.sorting.templates.unit_templates import ORDER, QUARTERS, NoiseModel, Templates, shifted, tapered

ROUNDS = 3  # searches for further peaks in what is left
SWEEPS = 2  # refits of overlapping spikes
MIN_GAIN = 16.0  # energy, in units of the noise, that a spike must explain
MIN_SHARE = 0.25  # of its unit's energy that a spike must explain
LEFT_OVER = 0.1  # share of a nearby larger spike's energy that a further spike must exceed
LEAST, MOST = 0.5, 2.0  # of a spike, as a share of its template
AT_ONCE = 0.0004  # seconds within which the residual of a larger spike may look like another
REFRACTORY = 0.0008  # seconds between two spikes of a unit


class Bank(NamedTuple):
    """Templates at one moment, as the compiled loops read them.

    Args:
        raw_UQML: µV, at quarters of a sample.
        white_UQMW: the same made white.
        energy_UQ: of the white ones.
        channels_UM: of each unit, -1 where it has fewer.
        firm_U: how firmly an amplitude of 1 is expected, 1 / spread^2.
        first_C, units: units that a peak on channel c may be: ``units[first_C[c]:first_C[c + 1]]``.
        before: sample of the peak.
    """

    raw_UQML: np.ndarray
    white_UQMW: np.ndarray
    energy_UQ: np.ndarray
    channels_UM: np.ndarray
    firm_U: np.ndarray
    first_C: np.ndarray
    units: np.ndarray
    before: int


@dataclass(frozen=True)
class Matched:
    """Spikes of a stretch: quarter samples, unit, amplitude as a share of the template, and energy explained."""

    quarter_N: np.ndarray
    unit_N: np.ndarray
    scale_N: np.ndarray
    gain_N: np.ndarray


def make_bank(templates: Templates, sample: float, noise: NoiseModel, n_channels: int) -> Bank:
    """Return the templates at a sample of the recording, ready for matching."""
    raw_UQML = shifted(tapered(templates.at(sample)))
    known_UM = templates.channels_UM >= 0
    raw_UQML *= known_UM[:, None, :, None]
    white_UQMW = noise.white_windows(raw_UQML, np.maximum(templates.channels_UM, 0)[:, None])
    white_UQMW *= known_UM[:, None, :, None]
    unit_K, place_K = np.nonzero(known_UM)
    channel_K = templates.channels_UM[unit_K, place_K]
    order = np.lexsort((unit_K, channel_K))
    return Bank(
        raw_UQML,
        white_UQMW,
        (white_UQMW**2).sum(axis=(2, 3)),
        templates.channels_UM,
        (1.0 / templates.spread_U**2).astype(np.float32),
        np.searchsorted(channel_K[order], np.arange(n_channels + 1)).astype(np.int64),
        unit_K[order].astype(np.int64),
        templates.before,
    )


def match(
    x_TC: np.ndarray,
    usable_TC: np.ndarray,
    detector: Detector,
    bank: Bank,
    noise: NoiseModel,
    sampling_rate: float,
    overlaps: bool = True,
) -> Matched:
    """Return the spikes of a stretch of clean voltage.

    Args:
        x_TC: µV; replaced by the residual.
        usable_TC: False where spikes are excluded.
        detector: finds peaks.
        bank: templates.
        noise: makes the voltage white.
        sampling_rate: Hz.
        overlaps: search for spikes on top of others.
    """
    white_CT = np.ascontiguousarray(noise.white(x_TC).T)
    spikes = _Spikes.none()
    reach = bank.raw_UQML.shape[-1] + ORDER + 2
    once = round(AT_ONCE * sampling_rate)
    dead = round(REFRACTORY * sampling_rate)
    for turn in range(ROUNDS if overlaps else 1):
        sample_P, channel_P = detector.find(x_TC, usable_TC)
        inside = (sample_P > reach) & (sample_P < len(x_TC) - reach)
        if turn:
            inside &= spikes.near(sample_P, reach)
        sample_P, channel_P = sample_P[inside], channel_P[inside]
        if not len(sample_P) or not len(bank.units):
            break
        before = (spikes.quarter, spikes.unit, spikes.gain)
        found = explain_peaks(x_TC, white_CT, sample_P, channel_P, bank, *before, once, dead)
        if not len(found[0]):
            break
        spikes = spikes.joined(*found)
        if overlaps:
            for _ in range(SWEEPS):
                _refit(x_TC, white_CT, spikes.quarter, spikes.unit, spikes.scale, spikes.gain, bank)
    kept = spikes.gain > MIN_GAIN
    return Matched(spikes.quarter[kept], spikes.unit[kept], spikes.scale[kept], spikes.gain[kept])


@dataclass
class _Spikes:
    quarter: np.ndarray
    unit: np.ndarray
    scale: np.ndarray
    gain: np.ndarray

    @classmethod
    def none(cls) -> _Spikes:
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, np.float32))

    def joined(self, quarter: np.ndarray, unit: np.ndarray, scale: np.ndarray, gain: np.ndarray) -> _Spikes:
        """Return these and further spikes, in order of time."""
        all_quarter = np.concatenate([self.quarter, quarter])
        order = np.argsort(all_quarter, kind="stable")
        return _Spikes(
            all_quarter[order],
            np.concatenate([self.unit, unit])[order],
            np.concatenate([self.scale, scale])[order],
            np.concatenate([self.gain, gain])[order],
        )

    def near(self, sample_P: np.ndarray, reach: int) -> np.ndarray:
        """Return True for samples within a reach of a spike."""
        taken = self.quarter // QUARTERS
        first = np.searchsorted(taken, sample_P - reach)
        return (first < len(taken)) & (taken[np.minimum(first, len(taken) - 1)] <= sample_P + reach)


@compiled()
def _overlap(white_CT, unit, quarter, bank):  # type: ignore[no-untyped-def]
    """Return the product of the voltage with a unit's template whose peak is at a quarter sample."""
    first, phase = quarter // QUARTERS - bank.before, quarter % QUARTERS
    total = 0.0
    for m in range(bank.channels_UM.shape[1]):
        channel = bank.channels_UM[unit, m]
        if channel < 0:
            break
        for k in range(bank.white_UQMW.shape[3]):
            total += white_CT[channel, first + k] * bank.white_UQMW[unit, phase, m, k]
    return total


@compiled()
def _subtract(x_TC, white_CT, unit, quarter, scale, bank):  # type: ignore[no-untyped-def]
    first, phase = quarter // QUARTERS - bank.before, quarter % QUARTERS
    for m in range(bank.channels_UM.shape[1]):
        channel = bank.channels_UM[unit, m]
        if channel < 0:
            break
        for k in range(bank.white_UQMW.shape[3]):
            white_CT[channel, first + k] -= scale * bank.white_UQMW[unit, phase, m, k]
        for k in range(bank.raw_UQML.shape[3]):
            x_TC[first + k, channel] -= scale * bank.raw_UQML[unit, phase, m, k]


@compiled()
def _fit(white_CT, unit, quarter, search, bank):  # type: ignore[no-untyped-def]
    """Return gain, quarter sample and amplitude at which a unit explains most within some quarters."""
    best_gain, best_quarter, best_scale = -1e30, quarter, 1.0
    step = 2
    centre = quarter
    for stage in range(2):
        low = -search if stage == 0 else -1
        high = search if stage == 0 else 1
        by = step if stage == 0 else 2
        start = centre
        for shift in range(low, high + 1, by):
            at = start + shift
            product = _overlap(white_CT, unit, at, bank)
            energy = bank.energy_UQ[unit, at % QUARTERS]
            scale = (product + bank.firm_U[unit]) / (energy + bank.firm_U[unit])
            scale = min(max(scale, LEAST), MOST)
            gain = 2 * scale * product - scale * scale * energy - (scale - 1) ** 2 * bank.firm_U[unit]
            if gain > best_gain:
                best_gain, best_quarter, best_scale = gain, at, scale
        centre = best_quarter
    return best_gain, best_quarter, best_scale


@compiled()
def _best(white_CT, sample, channel, bank):  # type: ignore[no-untyped-def]
    best_gain, best_quarter, best_scale, best_unit = -1e30, 0, 1.0, -1
    for k in range(bank.first_C[channel], bank.first_C[channel + 1]):
        gain, quarter, scale = _fit(white_CT, bank.units[k], sample * QUARTERS, 6, bank)
        if gain > best_gain:
            best_gain, best_quarter, best_scale, best_unit = gain, quarter, scale, bank.units[k]
    return best_gain, best_quarter, best_scale, best_unit


@compiled()
def explain_peaks(  # type: ignore[no-untyped-def]
    x_TC, white_CT, sample_P, channel_P, bank, old_quarter, old_unit, old_gain, once, dead
):
    """Subtract the best template at each peak, best explained peaks first."""
    n_peaks = len(sample_P)
    gains = np.empty(n_peaks, dtype=np.float64)
    for p in range(n_peaks):
        gains[p] = _best(white_CT, sample_P[p], channel_P[p], bank)[0]
    likely = np.flatnonzero(gains > MIN_GAIN)  # most low peaks are noise
    order = likely[np.argsort(-gains[likely], kind="mergesort")]
    quarters = np.empty(n_peaks, dtype=np.int64)
    found = np.empty(n_peaks, dtype=np.int64)
    scales = np.empty(n_peaks, dtype=np.float32)
    explained = np.empty(n_peaks, dtype=np.float32)
    # Spikes taken out so far, by their place in time: the last one of each place, and the one before each.
    width = QUARTERS * max(once, dead) + 1
    last = np.full(QUARTERS * white_CT.shape[1] // width + 1, -1, dtype=np.int64)
    before_it = np.empty(n_peaks, dtype=np.int64)
    n = 0
    for p in order:
        gain, quarter, scale, unit = _best(white_CT, sample_P[p], channel_P[p], bank)
        if unit < 0 or gain <= MIN_GAIN:
            continue
        needed = max(MIN_GAIN, MIN_SHARE * bank.energy_UQ[unit, 0])
        allowed = True
        # The residual of a larger spike at the same time counts as a spike only if it explains a share of that one.
        low = np.searchsorted(old_quarter, quarter - QUARTERS * dead)
        high = np.searchsorted(old_quarter, quarter + QUARTERS * dead, side="right")
        for k in range(low, high):
            if abs(old_quarter[k] - quarter) <= QUARTERS * once and _share(old_unit[k], unit, bank.channels_UM):
                needed = max(needed, LEFT_OVER * old_gain[k])
            if old_unit[k] == unit:
                allowed = False
        place = quarter // width
        for near in range(max(place - 1, 0), min(place + 2, len(last))):
            k = last[near]
            while k >= 0:
                apart = abs(quarters[k] - quarter)
                if apart <= QUARTERS * once and _share(found[k], unit, bank.channels_UM):
                    needed = max(needed, LEFT_OVER * explained[k])
                if apart <= QUARTERS * dead and found[k] == unit:
                    allowed = False
                k = before_it[k]
        if not allowed or gain <= needed:
            continue
        _subtract(x_TC, white_CT, unit, quarter, scale, bank)
        quarters[n], found[n], scales[n], explained[n] = quarter, unit, scale, gain
        before_it[n] = last[place]
        last[place] = n
        n += 1
    return quarters[:n], found[:n], scales[:n], explained[:n]


@compiled()
def _share(one, other, channels_UM):  # type: ignore[no-untyped-def]
    """Return True if two units have a channel in common."""
    for a in range(channels_UM.shape[1]):
        if channels_UM[one, a] < 0:
            break
        for b in range(channels_UM.shape[1]):
            if channels_UM[one, a] == channels_UM[other, b]:
                return True
    return False


@compiled()
def _touches(quarters, unit_N, n, step, length, bank):  # type: ignore[no-untyped-def]
    """Return True if a spike before (step -1) or after (1) overlaps with a spike in time and on a channel."""
    k = n + step
    while 0 <= k < len(quarters) and abs(quarters[k] - quarters[n]) < QUARTERS * length:
        if _share(unit_N[k], unit_N[n], bank.channels_UM):
            return True
        k += step
    return False


@compiled()
def _refit(x_TC, white_CT, quarters, unit_N, scales, gains, bank):  # type: ignore[no-untyped-def]
    """Put each overlapping spike back, fit its unit, time and amplitude again, and subtract it; changes arrays."""
    length = bank.white_UQMW.shape[3]
    for n in range(len(quarters)):
        if not (_touches(quarters, unit_N, n, -1, length, bank) or _touches(quarters, unit_N, n, 1, length, bank)):
            continue
        _subtract(x_TC, white_CT, unit_N[n], quarters[n], -scales[n], bank)
        channel = bank.channels_UM[unit_N[n], 0]
        best_gain, best_quarter, best_scale, best_unit = -1e30, quarters[n], scales[n], unit_N[n]
        for k in range(bank.first_C[channel], bank.first_C[channel + 1]):
            gain, quarter, scale = _fit(white_CT, bank.units[k], quarters[n], 4, bank)
            if gain > best_gain:
                best_gain, best_quarter, best_scale, best_unit = gain, quarter, scale, bank.units[k]
        quarters[n], unit_N[n], scales[n], gains[n] = best_quarter, best_unit, best_scale, best_gain
        if best_gain > MIN_GAIN:
            _subtract(x_TC, white_CT, best_unit, best_quarter, best_scale, bank)
        else:
            scales[n] = 0.0
