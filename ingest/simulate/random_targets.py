"""A hand that follows random targets: all movements differ, so decoding needs more than their direction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

HALF_WIDTH = 8.0  # cm from the centre of the square to each of its sides
MIN_DISTANCE = 3.0  # cm between one target and the next
REACTION = (0.15, 0.4)  # seconds from a target's appearance to the start of the movement
SPEED = (6.0, 30.0)  # cm/s: length of a path over its duration
DURATION = (0.5, 2.2)  # seconds of a movement, at least and at most
DETOUR = 0.8  # standard deviation of how far the path bends to one side, as a share of the distance
# A movement is two overlapping submovements of 65 % of its duration; the second starts at 35 %.
SUBMOVEMENT, SECOND = 0.65, 0.35
ACQUIRED = 0.8  # share of a movement's duration after which the target counts as reached
HOLD_SHARE, HOLD = 0.3, (0.1, 0.6)  # share of targets that are held before the next appears, and for how long


@dataclass(frozen=True)
class Submovement:
    """A straight minimum-jerk displacement; those that overlap in time add up.

    Args:
        start, duration: seconds.
        shift: displacement (x, y) in cm.
    """

    start: float
    duration: float
    shift: tuple[float, float]


@dataclass(frozen=True)
class TargetTrial:
    """One target: shown from ``start``, the hand leaves for it at ``go``, and ``stop`` ends the trial.

    Args:
        start, go, stop: seconds. ``stop`` is when the next target is shown: the hand may still be settling then.
        target: (x, y) in cm from the centre.
        direction: from the previous target to this one, radians counter-clockwise from the right, 0 to 2 pi.
        moves: what the hand does from ``go`` on.
    """

    start: float
    go: float
    stop: float
    target: tuple[float, float]
    direction: float
    moves: tuple[Submovement, ...]


def draw_target_trials(spans: Iterable[tuple[float, float]], rng: np.random.Generator) -> list[TargetTrial]:
    """Draw targets one after another in every span of time; the hand stays where it is in between.

    Targets are uniform in a square, at least `MIN_DISTANCE` from the one before. The path to a target bends through a
    random point, and its mean speed is drawn log-uniformly, so that direction, distance, speed and curvature all
    differ from trial to trial. Most targets are followed at once by the next, before the hand is at rest; the others
    are held for a while.

    Args:
        spans: start and end of each span in seconds, in order and apart from each other.
        rng: the random generator.

    Example:
        >>> trials = draw_target_trials([(0.0, 60.0)], np.random.default_rng(0))
        >>> len(trials) > 30, len({trial.direction for trial in trials}) == len(trials)
        (True, True)
    """
    trials: list[TargetTrial] = []
    hand_2 = np.zeros(2)
    for begin, end in spans:
        shown = round(begin + 0.5, 3)
        while True:
            target_2 = _next_target(hand_2, rng)
            trial = _approach(shown, hand_2, target_2, rng)
            last = trial.moves[-1]
            if max(trial.stop, last.start + last.duration) > end:
                break
            trials.append(trial)
            hand_2, shown = target_2, trial.stop
    return trials


def _next_target(hand_2: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    while True:
        target_2 = rng.uniform(-HALF_WIDTH, HALF_WIDTH, 2)
        if np.hypot(*(target_2 - hand_2)) >= MIN_DISTANCE:
            return target_2


def _approach(shown: float, hand_2: np.ndarray, target_2: np.ndarray, rng: np.random.Generator) -> TargetTrial:
    way_2 = target_2 - hand_2
    side_2 = np.array([-way_2[1], way_2[0]])
    bend_2 = hand_2 + rng.uniform(0.2, 0.8) * way_2 + DETOUR * rng.standard_normal() * side_2
    bend_2 = bend_2.clip(-HALF_WIDTH, HALF_WIDTH)
    length = float(np.hypot(*(bend_2 - hand_2)) + np.hypot(*(target_2 - bend_2)))
    speed = float(np.exp(rng.uniform(*np.log(SPEED))))
    duration = round(float(np.clip(length / speed, *DURATION)), 2)
    go = round(shown + rng.uniform(*REACTION), 3)
    hold = rng.uniform(*HOLD) if rng.random() < HOLD_SHARE else 0.0
    part = round(SUBMOVEMENT * duration, 3)
    moves = (
        Submovement(go, part, _pair(bend_2 - hand_2)),
        Submovement(round(go + SECOND * duration, 3), part, _pair(target_2 - bend_2)),
    )
    return TargetTrial(
        start=shown,
        go=go,
        stop=round(go + ACQUIRED * duration + hold, 3),
        target=_pair(target_2),
        direction=float(np.arctan2(way_2[1], way_2[0]) % (2 * np.pi)),
        moves=moves,
    )


def _pair(values_2: np.ndarray) -> tuple[float, float]:
    return float(values_2[0]), float(values_2[1])


def follow_targets(trials: Sequence[TargetTrial], n_steps: int, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Return ``(T, 2)`` positions in cm and velocities in cm/s of the hand.

    A submovement follows the minimum-jerk path ``10 s^3 - 15 s^4 + 6 s^5`` (Flash and Hogan, The coordination of arm
    movements, J Neurosci 5, 1985), and submovements that overlap are added (Flash and Henis, Arm trajectory
    modifications during reaching towards visual targets, J Cogn Neurosci 3, 1991). The hand starts at the centre. Of
    submovements that overlap the earlier one also ends first, so that the hand never leaves the square.

    Args:
        trials: in order of time.
        n_steps: T.
        step: seconds of a step.

    Example:
        >>> trials = draw_target_trials([(0.0, 20.0)], np.random.default_rng(0))
        >>> position_T2, velocity_T2 = follow_targets(trials, 20_000, 0.001)
        >>> bool(np.allclose(position_T2[-1], trials[-1].target)), bool(np.abs(position_T2).max() < HALF_WIDTH + 1e-9)
        (True, True)
    """
    position_T2, velocity_T2, arrived_T2 = np.zeros((n_steps, 2)), np.zeros((n_steps, 2)), np.zeros((n_steps + 1, 2))
    for move in (move for trial in trials for move in trial.moves):
        first, length = round(move.start / step), round(move.duration / step)
        rows = slice(first, first + length)
        s = np.arange(length) / length
        shift_2 = np.array(move.shift)
        position_T2[rows] += (10 * s**3 - 15 * s**4 + 6 * s**5)[:, None] * shift_2
        arrived_T2[first + length] += shift_2
        velocity_T2[rows] += ((30 * s**2 - 60 * s**3 + 30 * s**4) / move.duration)[:, None] * shift_2
    return position_T2 + arrived_T2.cumsum(axis=0)[:-1], velocity_T2
