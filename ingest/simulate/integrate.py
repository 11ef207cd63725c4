"""Izhikevich's model in steps of a millisecond, compiled."""

from __future__ import annotations

import numpy as np

from foundation.common.compiled import compiled
from ingest.simulate.simulated_network import Network
from ingest.simulate.simulated_session import STEP, Session


def integrate(network: Network, session: Session, rng: np.random.Generator) -> list[np.ndarray]:
    """Simulate a session.

    v' = 0.04 v^2 + 5 v + 140 - u + I, u' = a (b v - u); at v >= 30 mV a spike, v <- c, u <- u + d. As in Izhikevich
    (2003), a step is 1 ms, v takes two half steps in it, and a spike's current arrives a step later.

    Args:
        network: N neurons.
        session: T steps of input.
        rng: of the noise.

    Returns:
        N arrays of spike times in seconds, on the grid of milliseconds.
    """
    steps, units = _run(
        network.abcd_N4,
        network.noise_N,
        network.drive_N,
        network.area_N,
        network.tuning_N2,
        network.speed_N,
        network.offsets,
        network.targets,
        network.weights,
        session.drive_T,
        session.noise_T,
        session.move_AT2,
        rng,
    )
    order = np.argsort(units, kind="stable")
    counts = np.bincount(units, minlength=len(network.mode_N))
    # Divided, not multiplied: k / 1000 is the float64 that a reader of "k milliseconds" expects.
    return np.split(steps[order] / round(1.0 / STEP), np.cumsum(counts)[:-1])


@compiled(cache=False)
def _run(  # type: ignore[no-untyped-def]  # pragma: no cover  (compiled)
    abcd_N4,
    noise_N,
    drive_N,
    area_N,
    tuning_N2,
    speed_N,
    offsets,
    targets,
    weights,
    drive_T,
    noise_T,
    move_AT2,
    rng,
):
    n_units, n_steps = len(noise_N), len(drive_T)
    v, u = np.full(n_units, -65.0), np.empty(n_units)
    for n in range(n_units):
        u[n] = abcd_N4[n, 1] * v[n]
    arriving, coming, drawn = np.zeros(n_units), np.zeros(n_units), np.zeros(n_units)
    n_areas = len(move_AT2)
    moved_A = np.zeros(n_areas)
    steps = np.empty(max(1024, n_units * n_steps // 20), dtype=np.int32)
    units = np.empty(len(steps), dtype=np.int32)
    n_spikes = 0
    for t in range(n_steps):
        for n in range(n_units):
            if v[n] >= 30.0:
                if n_spikes == len(steps):
                    steps = np.concatenate((steps, np.empty(len(steps), dtype=np.int32)))
                    units = np.concatenate((units, np.empty(len(units), dtype=np.int32)))
                steps[n_spikes], units[n_spikes] = t, n
                n_spikes += 1
                v[n] = abcd_N4[n, 2]
                u[n] += abcd_N4[n, 3]
                for k in range(offsets[n], offsets[n + 1]):
                    coming[targets[k]] += weights[k]
        for k in range(n_areas):
            moved_A[k] = np.sqrt(move_AT2[k, t, 0] * move_AT2[k, t, 0] + move_AT2[k, t, 1] * move_AT2[k, t, 1])
        for n in range(n_units):
            drawn[n] = rng.standard_normal()
        for n in range(n_units):  # no call in it: compiled to vector instructions
            area, voltage, recovery = area_N[n], v[n], u[n]
            x, y = move_AT2[area, t, 0], move_AT2[area, t, 1]
            current = drive_N[n] + drive_T[t] + noise_N[n] * noise_T[t] * drawn[n] + arriving[n]
            current += tuning_N2[n, 0] * x + tuning_N2[n, 1] * y + speed_N[n] * moved_A[area]
            voltage += 0.5 * (0.04 * voltage * voltage + 5.0 * voltage + 140.0 - recovery + current)
            voltage += 0.5 * (0.04 * voltage * voltage + 5.0 * voltage + 140.0 - recovery + current)
            u[n] = recovery + abcd_N4[n, 0] * (abcd_N4[n, 1] * voltage - recovery)
            v[n] = voltage
            arriving[n] = coming[n]
            coming[n] = 0.0
    return steps[:n_spikes], units[:n_spikes]
