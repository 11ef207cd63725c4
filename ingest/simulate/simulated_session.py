"""A simulated session: states of sleep and wake, reaches, their input, and the spikes that follow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foundation.common.processes.compiled import compiled
from ingest.simulate.random_targets import TargetTrial, draw_target_trials, follow_targets
from ingest.simulate.simulate_settings import RANDOM_TARGETS, SimulateSettings
from ingest.simulate.simulated_network import STEP, Network

BEHAVIOR_RATE = 100.0  # Hz
TARGETS = 8
REACH = 8.0  # cm from the centre to a target, and that count as 1 for the tuning to position
BEFORE, AFTER, PAUSE = 0.2, 0.2, 0.2  # seconds held at the centre, at the target, and after the return
PEAK_SPEED = 30.0  # cm/s that count as 1 for the tuning


@dataclass(frozen=True)
class Bout:
    """A stretch of one state, in seconds."""

    state: str
    start: float
    end: float


@dataclass(frozen=True)
class Trial:
    """A reach: held at the centre from ``start``, moving from ``go`` for ``duration``, held there to ``stop``."""

    start: float
    go: float
    duration: float
    stop: float
    target: int

    @property
    def direction(self) -> float:
        """Radians, counter-clockwise from the right."""
        return 2 * np.pi * self.target / TARGETS

    @property
    def back(self) -> float:
        """When the return to the centre begins; it takes as long as the reach."""
        return self.stop


@dataclass(frozen=True)
class Session:
    """A session of T steps of a millisecond.

    Args:
        bouts: states, one after another.
        trials: reaches, all of them awake; or random targets, in ``targets``.
        targets: random targets, all of them awake.
        drive_T: input current that all neurons share.
        noise_T: scale of their noise.
        position_T2, velocity_T2: the hand, cm and cm/s.
    """

    bouts: list[Bout]
    trials: list[Trial]
    targets: list[TargetTrial]
    drive_T: np.ndarray
    noise_T: np.ndarray
    position_T2: np.ndarray
    velocity_T2: np.ndarray

    @property
    def stride(self) -> int:
        """Steps between two samples of behaviour."""
        return round(1.0 / (BEHAVIOR_RATE * STEP))


def make_session(settings: SimulateSettings, rng: np.random.Generator) -> Session:
    """Draw a session."""
    bouts = draw_bouts(settings, rng)
    n_steps = round(settings.seconds / STEP)
    trials: list[Trial] = []
    targets: list[TargetTrial] = []
    if settings.reaches and settings.movement == RANDOM_TARGETS:
        targets = draw_target_trials([(bout.start, bout.end) for bout in bouts if bout.state == "wake"], rng)
        position_T2, velocity_T2 = follow_targets(targets, n_steps, STEP)
    else:
        trials = draw_trials(bouts, rng) if settings.reaches else []
        position_T2, velocity_T2 = _hand(trials, n_steps)
    drive_T, noise_T = _drive(bouts, n_steps, rng)
    return Session(bouts, trials, targets, drive_T, noise_T, position_T2, velocity_T2)


def draw_bouts(settings: SimulateSettings, rng: np.random.Generator) -> list[Bout]:
    """Draw wake, NREM, REM, wake ... to the end, each bout within 25 % of its mean length."""
    if not settings.states:
        return [Bout("wake", 0.0, settings.seconds)]
    bouts: list[Bout] = []
    time, k = 0.0, 0
    while time < settings.seconds:
        state = ("wake", "nrem", "rem")[k % 3]
        end = time + round(getattr(settings, state) * rng.uniform(0.75, 1.25), 1)
        # A stump at the end is too short to be a state.
        end = settings.seconds if end > settings.seconds - 2.0 else round(end, 3)
        bouts.append(Bout(state, time, end))
        time, k = end, k + 1
    return bouts


def draw_trials(bouts: list[Bout], rng: np.random.Generator) -> list[Trial]:
    """Draw consecutive reaches while awake; of every eight, one to each target."""
    trials: list[Trial] = []
    deck: list[int] = []
    for bout in bouts:
        time = bout.start + 0.5
        while bout.state == "wake":
            duration = round(rng.uniform(0.5, 0.7), 2)
            go = round(time + BEFORE, 3)
            stop = round(go + duration + AFTER, 3)
            following = round(stop + duration + PAUSE, 3)
            if following > bout.end:
                break
            deck = deck or rng.permutation(TARGETS).tolist()
            trials.append(Trial(round(time, 3), go, duration, stop, int(deck.pop())))
            time = following
    return trials


def _hand(trials: list[Trial], n_steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return minimum-jerk reaches (Flash and Hogan 1985): a bell-shaped speed, and rest at the target."""
    position_T2, velocity_T2 = np.zeros((n_steps, 2)), np.zeros((n_steps, 2))
    for trial in trials:
        heading = REACH * np.array([np.cos(trial.direction), np.sin(trial.direction)])
        out, back = round(trial.go / STEP), round(trial.back / STEP)
        length = round(trial.duration / STEP)
        s = np.arange(length) / length
        path = 10 * s**3 - 15 * s**4 + 6 * s**5
        speed = (30 * s**2 - 60 * s**3 + 30 * s**4) / trial.duration
        position_T2[out : out + length] = path[:, None] * heading
        velocity_T2[out : out + length] = speed[:, None] * heading
        position_T2[out + length : back] = heading
        position_T2[back : back + length] = (1 - path)[:, None] * heading
        velocity_T2[back : back + length] = -speed[:, None] * heading
    return position_T2, velocity_T2


def _drive(bouts: list[Bout], n_steps: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return shared current and scale of the noise. NREM: slow waves, up and down; REM: less input, theta waves."""
    drive_T, noise_T = np.zeros(n_steps), np.ones(n_steps)
    for bout in bouts:
        rows = slice(round(bout.start / STEP), round(bout.end / STEP))
        time = np.arange(rows.stop - rows.start) * STEP
        # Waves wander in frequency: a random walk of it, a point every 100 ms.
        knots = np.cumsum(rng.normal(0.0, 0.05, len(time) // 100 + 2))
        wander = np.interp(time, np.arange(len(knots)) * 0.1, np.tanh(knots))
        start = rng.uniform(0.0, 2 * np.pi)
        if bout.state == "nrem":
            phase = start + 2 * np.pi * np.cumsum(0.9 + 0.3 * wander) * STEP
            drive_T[rows] = 2.5 * np.tanh(3.0 * np.sin(phase)) - 1.0
            noise_T[rows] = 0.9
        elif bout.state == "rem":
            phase = start + 2 * np.pi * np.cumsum(7.0 + wander) * STEP
            drive_T[rows] = 1.5 * np.sin(phase) - 1.5
            noise_T[rows] = 0.9
    return drive_T, noise_T


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
    # The hand's input has one more row at the end: at rest, where it stopped.
    velocity_T2 = np.concatenate([session.velocity_T2 / PEAK_SPEED, np.zeros((1, 2))])
    place_T2 = np.concatenate([session.position_T2, session.position_T2[-1:]]) / REACH
    speed_T = np.sqrt(velocity_T2[:, 0] * velocity_T2[:, 0] + velocity_T2[:, 1] * velocity_T2[:, 1])
    steps, units = _run(
        network.abcd_N4,
        network.noise_N,
        network.drive_N,
        network.tuning_N2,
        network.speed_N,
        network.place_N2,
        network.lead_N,
        network.offsets,
        network.targets,
        network.weights,
        session.drive_T,
        session.noise_T,
        velocity_T2,
        speed_T,
        place_T2,
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
    tuning_N2,
    speed_N,
    place_N2,
    lead_N,
    offsets,
    targets,
    weights,
    drive_T,
    noise_T,
    velocity_T2,
    speed_T,
    place_T2,
    rng,
):
    n_units, n_steps = len(noise_N), len(drive_T)
    v, u = np.full(n_units, -65.0), np.empty(n_units)
    for n in range(n_units):
        u[n] = abcd_N4[n, 1] * v[n]
    arriving, coming, drawn = np.zeros(n_units), np.zeros(n_units), np.zeros(n_units)
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
        for n in range(n_units):
            drawn[n] = rng.standard_normal()
        for n in range(n_units):  # no call in it: compiled to vector instructions
            voltage, recovery = v[n], u[n]
            heard = min(max(t + lead_N[n], 0), n_steps)
            x, y = velocity_T2[heard, 0], velocity_T2[heard, 1]
            current = drive_N[n] + drive_T[t] + noise_N[n] * noise_T[t] * drawn[n] + arriving[n]
            current += tuning_N2[n, 0] * x + tuning_N2[n, 1] * y + speed_N[n] * speed_T[heard]
            current += place_N2[n, 0] * place_T2[heard, 0] + place_N2[n, 1] * place_T2[heard, 1]
            voltage += 0.5 * (0.04 * voltage * voltage + 5.0 * voltage + 140.0 - recovery + current)
            voltage += 0.5 * (0.04 * voltage * voltage + 5.0 * voltage + 140.0 - recovery + current)
            u[n] = recovery + abcd_N4[n, 0] * (abcd_N4[n, 1] * voltage - recovery)
            v[n] = voltage
            arriving[n] = coming[n]
            coming[n] = 0.0
    return steps[:n_spikes], units[:n_spikes]
