"""Neurons of a simulated network: firing modes, areas, tuning and synapses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ingest.simulate.simulate_settings import SimulateSettings

MODES = ("RS", "IB", "CH", "FS", "LTS")
AREAS = ("M1", "PMd")

# Izhikevich, Simple model of spiking neurons, IEEE Trans. Neural Networks 14 (2003), figure 2: a, b, c (mV), d.
PARAMETERS = {
    "RS": (0.02, 0.2, -65.0, 8.0),
    "IB": (0.02, 0.2, -55.0, 4.0),
    "CH": (0.02, 0.2, -50.0, 2.0),
    "FS": (0.1, 0.2, -65.0, 2.0),
    "LTS": (0.02, 0.25, -65.0, 2.0),
}
EXCITATORY = ("RS", "IB", "CH")

# Input in Izhikevich's units of current, such that all modes fire about 5 to 30 spikes a second. LTS neurons are nearer
# to their threshold (b = 0.25) and need less.
NOISE = {"RS": 5.0, "IB": 5.0, "CH": 5.0, "FS": 4.5, "LTS": 3.0}
DRIVE = {"RS": 2.8, "IB": 2.6, "CH": 2.2, "FS": 3.0, "LTS": 1.0}
EXCITE, INHIBIT = 1.6, -2.4
TUNING, SPEED = 2.0, 1.0
STEP = 0.001  # seconds of a step of the simulation

# Differences between the areas: scale of the noise, scale of recurrent synapses, by how much the input leads movement
# (s).
AREA_NOISE, AREA_COUPLING, AREA_LEAD = (1.0, 0.75), (1.0, 1.8), (0.05, 0.2)
WITHIN_AREA = 0.85


@dataclass(frozen=True)
class Network:
    """N neurons and their synapses, which are kept by sender.

    Args:
        mode_N: index into `MODES`.
        area_N: index into `AREAS`.
        abcd_N4: a, b, c, d of each neuron.
        noise_N: standard deviation of each neuron's thalamic noise, per millisecond.
        drive_N: constant input current.
        tuning_N2: input current per unit of hand velocity (x, y); velocity is in peak speeds.
        speed_N: input current per unit of hand speed.
        place_N2: input current per unit of hand position (x, y); position is in half-widths of the workspace.
        lead_N: steps by which each neuron's input is ahead of the hand; below 0, it is behind.
        offsets: ``(N + 1,)`` neuron ``n`` has the synapses ``offsets[n]:offsets[n + 1]``.
        targets, weights: ``(K,)`` receiver and current of each synapse.
    """

    mode_N: np.ndarray
    area_N: np.ndarray
    abcd_N4: np.ndarray
    noise_N: np.ndarray
    drive_N: np.ndarray
    tuning_N2: np.ndarray
    speed_N: np.ndarray
    place_N2: np.ndarray
    lead_N: np.ndarray
    offsets: np.ndarray
    targets: np.ndarray
    weights: np.ndarray

    @property
    def cell_types(self) -> list[str]:
        return [MODES[mode] for mode in self.mode_N]

    @property
    def locations(self) -> list[str]:
        return [AREAS[area] for area in self.area_N]


def make_network(settings: SimulateSettings, rng: np.random.Generator) -> Network:
    """Draw a network: equal numbers of each mode in each area, in the order of `MODES`."""
    n = settings.neurons
    mode_N = np.repeat(np.arange(len(MODES)), n // len(MODES))
    area_N = np.arange(n) % len(AREAS)
    excitatory_N = np.isin(mode_N, [MODES.index(mode) for mode in EXCITATORY])
    presets = np.array([PARAMETERS[MODES[mode]] for mode in mode_N])
    abcd_N4 = presets * (1.0 + settings.jitter * rng.uniform(-1.0, 1.0, presets.shape))
    shift = settings.drive_shift * rng.uniform(-1.0, 1.0)
    preferred_N = rng.uniform(0.0, 2 * np.pi, n)
    depth_N = TUNING * rng.uniform(0.5, 1.5, n) * np.where(excitatory_N, 1.0, 0.6)
    noise_N = np.array([NOISE[MODES[mode]] for mode in mode_N])
    if settings.areas:
        noise_N = noise_N * np.array(AREA_NOISE)[area_N]
    offsets, targets, weights = _synapses(settings, excitatory_N, area_N, rng)
    tuning_N2 = depth_N[:, None] * np.stack([np.cos(preferred_N), np.sin(preferred_N)], axis=1)
    speed_N = SPEED * rng.uniform(0.0, 2.0, n)
    gain_N, lead_N, place_N2 = _varied_tuning(settings, area_N, rng.spawn(1)[0])
    return Network(
        mode_N=mode_N,
        area_N=area_N,
        abcd_N4=abcd_N4,
        noise_N=noise_N,
        drive_N=np.array([DRIVE[MODES[mode]] for mode in mode_N]) + shift,
        tuning_N2=gain_N[:, None] * tuning_N2,
        speed_N=gain_N * speed_N,
        place_N2=gain_N[:, None] * place_N2,
        lead_N=lead_N,
        offsets=offsets,
        targets=targets,
        weights=weights,
    )


def _varied_tuning(
    settings: SimulateSettings, area_N: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the gain of each neuron (0 for untuned ones), its lead in steps, and its tuning to position.

    ``rng`` is a child of the network's own, so that nothing else changes with these settings.
    """
    n = len(area_N)
    gain_N = settings.tuning * np.exp(settings.gain_spread * rng.standard_normal(n))
    gain_N[rng.permutation(n)[: round(settings.untuned * n)]] = 0.0
    lead_N = np.array(AREA_LEAD)[area_N] if settings.areas else np.zeros(n)
    lead_N = np.rint((lead_N + settings.lag_spread * rng.uniform(-1.0, 1.0, n)) / STEP).astype(np.int64)
    axis_N, depth_N = rng.uniform(0.0, 2 * np.pi, n), settings.position_tuning * rng.uniform(0.5, 1.5, n)
    return gain_N, lead_N, depth_N[:, None] * np.stack([np.cos(axis_N), np.sin(axis_N)], axis=1)


def _synapses(
    settings: SimulateSettings, excitatory_N: np.ndarray, area_N: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each neuron's targets: mostly in its own area, never itself, none twice."""
    n, k = settings.neurons, settings.synapses
    same_NN = area_N[:, None] == area_N[None, :]
    chance_NN = np.where(same_NN, WITHIN_AREA, 1.0 - WITHIN_AREA)
    np.fill_diagonal(chance_NN, 0.0)
    chance_NN /= chance_NN.sum(axis=1, keepdims=True)
    targets = [rng.choice(n, size=k, replace=False, p=chance) for chance in chance_NN]
    scale_N = np.array(AREA_COUPLING)[area_N] if settings.areas else np.ones(n)
    strength_N = np.where(excitatory_N, EXCITE, INHIBIT) * settings.coupling
    # Ten synapses are the built-in number: more of them are weaker, so that rates stay.
    strength_N = strength_N * 10.0 / max(k, 1)
    weights = [rng.uniform(0.5, 1.5, k) * strength_N[i] * scale_N[targets[i]] for i in range(n)]
    return np.arange(n + 1, dtype=np.int64) * k, np.concatenate(targets).astype(np.int64), np.concatenate(weights)
