"""Simulated voltage whose spikes are known: sessions in the manner of Pedreira et al. 2012, and several channels.

Pedreira, Martinez, Ison and Quian Quiroga (J Neurosci Methods 211, 58, 2012) put 2 to 20 units on one electrode, over a
background of many small spikes and multi-unit activity, five sessions for each number of units. These sessions are ours
in their manner, not theirs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from foundation.common.processes.compiled import compiled
from ingest.sorting.simulation.simulated_templates import PHASES, family_templates, file_templates, read_templates
from ingest.sorting.simulation.simulated_voltage_settings import SessionSettings

DECAY = 35.0  # µm: amplitude falls as 1 / (1 + (distance / DECAY)^2)
ROBUST = 0.6745  # median of |x| over the standard deviation, of a normal x
BURST_SIZE = 0.85  # of each spike of a burst over the one before
BURST_GAP = 0.003  # seconds above the refractory period, the mean gap in a burst
BACKGROUND_SHAPES = 64
FAR = (140.0, 200.0)  # µm from the electrodes' plane to the units of the background
MOST_SAMPLES = 2_000_000  # of which a median is taken


@dataclass(frozen=True)
class SimulatedVoltage:
    """A session of T samples on C channels with U units.

    Args:
        x_TC: float32, µV.
        sampling_rate: Hz.
        positions_C2: µm.
        times: seconds of the peaks of each unit's spikes, sorted.
        template_UCT: µV, each unit's mean waveform with its peak at `peak_sample`.
        snr_U: size of the template's peak over the background's standard deviation, on the unit's channel.
        channel_U: where the unit is largest.
        noise_C: µV, standard deviation of the background and the multi-unit activity, without the units.
        near_times: seconds of the spikes of each unit of the multi-unit activity, which is not in the truth.
    """

    x_TC: np.ndarray
    sampling_rate: float
    positions_C2: np.ndarray
    times: list[np.ndarray]
    template_UCT: np.ndarray
    snr_U: np.ndarray
    channel_U: np.ndarray
    noise_C: np.ndarray
    near_times: list[np.ndarray] = field(default_factory=list)


def simulate_session(
    settings: SessionSettings, units: int, seed: int | list[int], trains: list[np.ndarray] | None = None
) -> SimulatedVoltage:
    """Return a session with so many units; the same seed gives the same session.

    Args:
        settings: electrodes, units and noise.
        units: number of units; 0 gives background alone.
        seed: random seed.
        trains: seconds, rising, of each unit's spikes, such as those of a simulated network; None: they are drawn.

    Raises:
        ConfigError: if the template files hold too few units.
        SourceError: if a template file cannot be read.

    Example:
        >>> session = simulate_session(SessionSettings(seconds=2.0, min_rate=5, max_rate=9), units=2, seed=0)
        >>> session.x_TC.shape, len(session.times)
        ((48000, 1), 2)
    """
    rng = np.random.default_rng(seed)
    rate, samples = settings.sampling_rate, round(settings.seconds * settings.sampling_rate)
    positions_C2 = electrode_positions(settings)
    means = read_templates(settings.templates, settings.template_rate) if settings.templates else None
    if means is None:
        shape_UPT = family_templates(units, rate, rng) if units else np.zeros((0, PHASES, 1))
        pool_KPT = family_templates(BACKGROUND_SHAPES, rate, rng)
    else:
        shape_UPT = file_templates(means, units, rate, rng) if units else np.zeros((0, PHASES, 1))
        pool_KPT = file_templates(means, len(means), rate, rng)
    x_CT = make_background(settings, positions_C2, pool_KPT, samples, rng)
    near_times = add_near_units(x_CT, settings, positions_C2, pool_KPT, rng)
    noise_C = robust_std(x_CT)
    snr_U = np.exp(rng.uniform(np.log(settings.min_snr), np.log(settings.max_snr), units))
    gain_UC = _gains(positions_C2, units, rng)
    channel_U = gain_UC.argmax(axis=1) if units else np.zeros(0, dtype=np.int64)
    gain_UC = gain_UC * (snr_U * noise_C[channel_U])[:, None]
    times = []
    for u in range(units):
        hz = rng.uniform(settings.min_rate, settings.max_rate)
        time_N, size_N = spike_train(settings, hz, rng.random() < settings.bursting, rng)
        if trains is not None:
            time_N, size_N = trains[u], np.ones(len(trains[u]))
        phase = rng.uniform(0, 2 * np.pi)
        course_N = np.sin(np.pi * time_N / settings.seconds + phase)
        add_spikes(x_CT, time_N * rate, shape_UPT[u], gain_UC[u], size_N * (1 + settings.drift * course_N))
        times.append(time_N)
    template_UCT = gain_UC[:, :, None] * shape_UPT[:, None, 0]
    x_TC = np.ascontiguousarray(x_CT.T)
    return SimulatedVoltage(x_TC, rate, positions_C2, times, template_UCT, snr_U, channel_U, noise_C, near_times)


def electrode_positions(settings: SessionSettings) -> np.ndarray:
    """Return ``(C, 2)`` µm: one point, the corners of a square of 25 µm, or two columns with 20 µm between rows."""
    c = np.arange(settings.channels)
    step = {"electrode": 0.0, "tetrode": 25.0, "probe": 20.0}[settings.electrodes]
    return np.stack([(c % 2) * max(step, 25.0), (c // 2) * step], axis=1).astype(np.float64)


def spike_train(
    settings: SessionSettings, hz: float, bursts: bool, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the times of a unit's spikes in seconds, and their sizes; a Poisson train with a refractory period.

    Args:
        settings: length and refractory period.
        hz: mean rate; of a bursting unit the rate of bursts is a third of it, with 3 spikes on average.
        bursts: whether the unit fires bursts.
        rng: draws.
    """
    least, span = settings.refractory, settings.seconds - 0.006
    events = hz / 3 if bursts else hz
    count = rng.poisson(span * events * 2 + 50)
    gap_N = least + rng.exponential(1 / events - least, count)
    time_N = 0.003 + np.cumsum(gap_N)
    time_N = time_N[time_N < settings.seconds - 0.003]
    if not bursts:
        return time_N, np.ones(len(time_N))
    place_NB = np.arange(5)
    gap_NB = np.where(place_NB == 0, 0.0, least + rng.exponential(BURST_GAP, (len(time_N), 5)))
    time_NB = time_N[:, None] + np.cumsum(gap_NB, axis=1)
    fires_NB = place_NB < rng.integers(2, 5, len(time_N))[:, None]
    # A burst ends where the next one would begin within the refractory period.
    until_N = np.append(time_N[1:], settings.seconds) - np.maximum(least, 0.003)
    fires_NB &= (time_NB < until_N[:, None]) | (place_NB == 0)
    size_NB = np.broadcast_to(BURST_SIZE**place_NB, time_NB.shape)
    return time_NB[fires_NB], size_NB[fires_NB]


def add_spikes(
    x_CT: np.ndarray, sample_N: np.ndarray, shape_PT: np.ndarray, gain_C: np.ndarray, size_N: np.ndarray
) -> None:
    """Add one unit's spikes to voltage, each at the nearest of PHASES positions between two samples.

    Args:
        x_CT: float32, changed in place.
        sample_N: where the peaks lie, in samples.
        shape_PT: the unit's waveform at each phase.
        gain_C: µV, of each channel.
        size_N: factor of each spike.
    """
    step_N = np.rint(sample_N * PHASES).astype(np.int64)
    first_N = step_N // PHASES - peak_of(shape_PT)
    near_C = np.flatnonzero(np.abs(gain_C) > 1e-3 * np.abs(gain_C).max())
    shape_PT = shape_PT.astype(np.float32)
    _add(x_CT, first_N, step_N % PHASES, shape_PT, near_C, gain_C.astype(np.float32), size_N.astype(np.float32))


def peak_of(shape_PT: np.ndarray) -> int:
    """Return the sample of the peak of phase 0."""
    return int(shape_PT[0].argmin())


@compiled()
def _add(x_CT, first_N, phase_N, shape_PT, near_C, gain_C, size_N):  # type: ignore[no-untyped-def]
    samples = x_CT.shape[1]
    for c in near_C:
        for n in range(len(first_N)):
            low, high = max(0, -first_N[n]), min(shape_PT.shape[1], samples - first_N[n])
            factor = size_N[n] * gain_C[c]
            for t in range(low, high):
                x_CT[c, first_N[n] + t] += factor * shape_PT[phase_N[n], t]


def make_background(
    settings: SessionSettings, positions_C2: np.ndarray, pool_KPT: np.ndarray, samples: int, rng: np.random.Generator
) -> np.ndarray:
    """Return ``(C, samples)`` µV: many small distant units and white noise, scaled to the settings' standard deviation.

    Args:
        settings: numbers, rates and sizes.
        positions_C2: µm.
        pool_KPT: waveforms to draw from.
        samples: length.
        rng: draws.
    """
    x_CT = np.zeros((len(positions_C2), samples), dtype=np.float32)
    spread = np.ptp(positions_C2, axis=0)
    copies = max(1, round(spread.max() / 100.0))  # a longer probe has more tissue around it
    for _ in range(settings.background_units * copies):
        place_2 = positions_C2.mean(axis=0) + rng.uniform(-1, 1, 2) * (spread / 2 + 100.0)
        far_C = np.hypot(np.hypot(*(positions_C2 - place_2).T), rng.uniform(*FAR))
        count = rng.poisson(settings.background_rate * settings.seconds)
        at_N = np.sort(rng.uniform(0, samples, count))
        add_spikes(x_CT, at_N, pool_KPT[rng.integers(len(pool_KPT))], far_C**-2.0, np.ones(count))
    x_CT -= x_CT.mean(axis=1, keepdims=True)
    x_CT /= np.maximum(robust_std(x_CT), 1e-12)[:, None]
    if settings.electronic_noise > 0:
        x_CT += settings.electronic_noise * rng.standard_normal(x_CT.shape, dtype=np.float32)
    x_CT *= (settings.noise / robust_std(x_CT))[:, None]
    return x_CT


def add_near_units(
    x_CT: np.ndarray,
    settings: SessionSettings,
    positions_C2: np.ndarray,
    pool_KPT: np.ndarray,
    rng: np.random.Generator,
) -> list[np.ndarray]:
    """Add multi-unit activity of a stated size to voltage, and return the seconds of each of its units' spikes.

    Args:
        x_CT: float32 µV, changed in place.
        settings: numbers, rates and sizes.
        positions_C2: µm.
        pool_KPT: waveforms to draw from.
        rng: draws.
    """
    near, samples, times = settings.near_units, x_CT.shape[1], []
    for gain_C in _gains(positions_C2, near, rng) * settings.near_snr * settings.noise:
        count = rng.poisson(settings.near_rate * settings.seconds)
        at_N = np.sort(rng.uniform(0, samples, count))
        add_spikes(x_CT, at_N, pool_KPT[rng.integers(len(pool_KPT))], gain_C, np.ones(count))
        times.append(at_N / settings.sampling_rate)
    return times


def robust_std(x_CT: np.ndarray) -> np.ndarray:
    """Return ``(C,)`` the median of |x| / 0.6745: the standard deviation of a background, whatever spikes are in it."""
    return np.median(np.abs(x_CT[:, :: max(1, x_CT.shape[1] // MOST_SAMPLES)]), axis=1) / ROBUST


def _gains(positions_C2: np.ndarray, units: int, rng: np.random.Generator) -> np.ndarray:
    """Return ``(units, C)``: how large each unit is on each channel, 1 on its own, from a random place nearby."""
    low, high = positions_C2.min(axis=0) - 15.0, positions_C2.max(axis=0) + 15.0
    place_U2 = rng.uniform(low, high, (units, 2))
    depth_U = rng.uniform(5, 30, units)
    far_UC = np.sqrt(((positions_C2 - place_U2[:, None]) ** 2).sum(axis=2) + depth_U[:, None] ** 2)
    gain_UC = 1 / (1 + (far_UC / DECAY) ** 2)
    return gain_UC / gain_UC.max(axis=1, keepdims=True) if units else gain_UC
