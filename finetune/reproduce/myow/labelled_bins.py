"""Recordings as bins of one population, with labels and a split in time: reaches, or hours of wake and sleep."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from foundation.common.errors import ConfigError
from foundation.data.reading.reader import ActivityReader
from foundation.store.stored import StoredRecording

REACH_SECONDS, SLEEP_SECONDS, BLOCK_SECONDS = 0.1, 4.0, 600.0
LEAST_SPEED, LEAST_SPREAD = 5.0, 1e-3
TRAIN_SHARE, SLEEP_TRAIN_SHARE = 0.8, 0.7
STATES = ("wake", "nrem", "rem")


@dataclass(frozen=True)
class Bins:
    """Bins of one population in order of time.

    Args:
        count_MN: ``(M, N)`` float32 events.
        start_M: ``(M,)`` seconds.
        group_M: ``(M,)`` trial, or block of ten minutes: the unit of resampling, never divided by a split of trials.
        label_M: ``(M,)`` direction in radians, or number of the state.
        scored_M: ``(M,)`` bool, whether a bin is scored; all bins are used without labels.
        width: seconds of a bin.
    """

    count_MN: np.ndarray
    start_M: np.ndarray
    group_M: np.ndarray
    label_M: np.ndarray
    scored_M: np.ndarray
    width: float

    def __len__(self) -> int:
        return len(self.start_M)

    def where(self, rows_M: np.ndarray) -> Bins:
        """Return a subset of the bins."""
        names = ("count_MN", "start_M", "group_M", "label_M", "scored_M")
        return replace(self, **{name: getattr(self, name)[rows_M] for name in names})


@dataclass(frozen=True)
class Parts:
    """A recording split in time.

    Args:
        learn: training bins while the number of steps is found.
            held: held-out bins that determine it.
            train: training bins of the final model.
            test: used once, at the end.
        whole: all bins, for the map of states.
    """

    learn: Bins
    held: Bins
    train: Bins
    test: Bins
    whole: Bins


def read_reaches(recording: StoredRecording) -> Parts:
    """Return the observed bins of 0.1 s of every trial; the first four fifths of the trials are for training.

    Bins with a hand speed above 5 (the recording's unit) are scored.

    Raises:
        ConfigError: if the recording has no trials with a direction, no velocity, or no observed bin in a trial.
    """
    trials, velocity = recording.intervals.get("trials"), recording.behavior.get("velocity")
    if trials is None or "direction" not in trials.columns or velocity is None:
        raise ConfigError(f"{recording.record.path} has no trials with a direction and velocity: expected reaches")
    reader = ActivityReader(recording)
    piece_starts: list[float] = []
    piece_bins: list[int] = []
    starts: list[float] = []
    group: list[int] = []
    for trial, (low, high) in enumerate(zip(trials.start, trials.end, strict=True)):
        seen = reader.domain.slice(float(low), float(high))
        for start, end in zip(seen.start, seen.end, strict=True):
            n_bins = int(np.floor((end - start) / REACH_SECONDS + 1e-6))
            if n_bins:
                piece_starts.append(float(start))
                piece_bins.append(n_bins)
                starts += (float(start) + REACH_SECONDS * np.arange(n_bins)).tolist()
                group += [trial] * n_bins
    if not piece_starts:
        raise ConfigError(f"{recording.record.path} has no observed bin of {REACH_SECONDS} s in any trial")
    table = reader.table(piece_starts, np.array(piece_bins), REACH_SECONDS)
    x_BNT = reader.read(table, dtype=torch.float32).x_BNT.numpy()
    rows = [x_NT[:, :n_bins].copy().T for x_NT, n_bins in zip(x_BNT, piece_bins, strict=True)]
    start_M, group_M = np.array(starts), np.array(group)
    bins = Bins(
        np.concatenate(rows), start_M, group_M,
        np.asarray(trials.columns["direction"], dtype=np.float64)[group_M],
        _speed(velocity, start_M) > LEAST_SPEED, REACH_SECONDS,
    )  # fmt: skip
    n_train = int(len(trials.start) * TRAIN_SHARE)
    n_learn = n_train - n_train // 5
    learn, held = group_M < n_learn, (group_M >= n_learn) & (group_M < n_train)
    return _parts(bins, learn, held, group_M < n_train, group_M >= n_train)


def read_sleep(recording: StoredRecording) -> Parts:
    """Return bins of 4 s with a state; the first 70 % of the first 80 % are for training and the last 20 % for testing.

    Raises:
        ConfigError: if the recording has no intervals of states, fewer than two states in its
            training part, or none in the other parts.
    """
    states = recording.intervals.get("states")
    if states is None or "state" not in states.columns or not len(states.start):
        raise ConfigError(f"{recording.record.path} has no intervals named states: expected hours of wake and sleep")
    reader = ActivityReader(recording)
    start, end = float(states.start[0]), float(states.end[-1])
    n_bins = round((end - start) / SLEEP_SECONDS)
    start_M = start + SLEEP_SECONDS * np.arange(n_bins)
    interval_M = np.searchsorted(states.start, start_M + SLEEP_SECONDS / 2, side="right") - 1
    known = np.array([STATES.index(s) if s in STATES else -1 for s in states.columns["state"].astype(str)])
    label_M = np.where(start_M < np.asarray(states.end)[interval_M], known[interval_M], -1)
    block_M = (start_M - start) // BLOCK_SECONDS
    count_MN = reader.read(reader.table([start], n_bins, SLEEP_SECONDS), dtype=torch.float32).x_BNT[0].T.numpy()
    bins = Bins(count_MN, start_M, block_M.astype(int), label_M, label_M >= 0, SLEEP_SECONDS)
    place_M = np.arange(n_bins)
    n_train = int(n_bins * TRAIN_SHARE)
    n_learn = int(n_train * SLEEP_TRAIN_SHARE)
    learn, held = place_M < n_learn, (place_M >= n_learn) & (place_M < n_train)
    present = {STATES[label] for label in np.unique(label_M[learn & bins.scored_M])}
    if len(present) < 2 or not (held & bins.scored_M).any() or not bins.scored_M[n_train:].any():
        raise ConfigError(
            f"{recording.record.path} has {', '.join(sorted(present)) or 'no state'} in the first {n_learn} bins of "
            f"{SLEEP_SECONDS:g} s: expected at least two states there, one in the other bins of the first {n_train}, "
            f"and one in the last {n_bins - n_train}"
        )
    return _parts(bins, learn, held, learn, place_M >= n_train)


def _speed(velocity: object, start_M: np.ndarray) -> np.ndarray:
    """Return the mean speed of each bin's samples, or the sample nearest to its middle if it has none."""
    times = np.asarray(velocity.timestamps)  # type: ignore[attr-defined]
    speed = np.linalg.norm(np.asarray(velocity.data, dtype=np.float64), axis=1)  # type: ignore[attr-defined]
    low, high = np.searchsorted(times, start_M - 1e-6), np.searchsorted(times, start_M + REACH_SECONDS - 1e-6)
    total = np.concatenate([[0.0], np.cumsum(speed)])
    nearest = np.abs(times[np.clip(np.stack([low - 1, low]), 0, len(times) - 1)] - start_M - REACH_SECONDS / 2).argmin(
        0
    )
    alone = speed[np.clip(low - 1 + nearest, 0, len(times) - 1)]
    return np.where(high > low, (total[high] - total[low]) / np.maximum(high - low, 1), alone)


def _parts(bins: Bins, learn: np.ndarray, held: np.ndarray, train: np.ndarray, test: np.ndarray) -> Parts:
    """Return the parts with the units that vary in training."""
    bins = replace(bins, count_MN=bins.count_MN[:, bins.count_MN[learn].std(0) > LEAST_SPREAD])
    return Parts(bins.where(learn), bins.where(held), bins.where(train), bins.where(test), bins)
