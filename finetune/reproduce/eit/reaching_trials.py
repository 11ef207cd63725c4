"""Reaching trials, cut as in the EIT paper: bins of 100 ms from each trial's start, and windows of T bins."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from foundation.common.errors import ConfigError
from foundation.data.reading.reader import ActivityReader
from foundation.store.stored import StoredRecording

BIN_SECONDS = 0.1
BINS = 8
DIRECTIONS = 8
TRAIN_SHARE = 0.8
LEAST_SPREAD = 1e-3


@dataclass(frozen=True)
class Trials:
    """Binned trials, in order of recording.

    Args:
        rate_RNT: ``(R, N, T)`` float32 events per second.
        label_R: ``(R,)`` direction, 0 to 7.
    """

    rate_RNT: np.ndarray
    label_R: np.ndarray

    def __len__(self) -> int:
        return len(self.label_R)

    def where(self, rows: slice | np.ndarray) -> Trials:
        """Return a subset of the trials."""
        return Trials(self.rate_RNT[rows], self.label_R[rows])

    def units(self, keep_N: np.ndarray) -> Trials:
        """Return the trials of a subset of units."""
        return replace(self, rate_RNT=self.rate_RNT[:, keep_N])

    def first(self, n_bins: int) -> Trials:
        """Return the first bins of each trial."""
        return replace(self, rate_RNT=self.rate_RNT[..., :n_bins])

    def dealt(self, seed: int) -> Trials:
        """Return the trials with shuffled directions."""
        return replace(self, label_R=np.random.default_rng(seed).permutation(self.label_R))

    def centred(self) -> Trials:
        """Return the trials with each unit's mean over trials and bins subtracted."""
        return replace(self, rate_RNT=self.rate_RNT - self.rate_RNT.mean(axis=(0, 2), keepdims=True))


@dataclass(frozen=True)
class Cuts:
    """Windows of T bins from the trials of one part.

    Args:
        x_WNT: ``(W, N, T)`` float32 centred rates.
        count_WNT: ``(W, N, T)`` float32 events.
        label_W: ``(W,)`` direction.
        trial_W: ``(W,)`` index of the trial.
    """

    x_WNT: np.ndarray
    count_WNT: np.ndarray
    label_W: np.ndarray
    trial_W: np.ndarray

    def __len__(self) -> int:
        return len(self.label_W)

    def by_start(self) -> np.ndarray:
        """Return ``(W,)`` indices ordering all trials' first windows first, then all trials' second, and so on.

        Example:
            >>> trials = Trials(np.ones((3, 2, 8), dtype=np.float32), np.array([5, 1, 7]))
            >>> cut(trials, 7).by_start().tolist()  # three trials of two windows
            [0, 2, 4, 1, 3, 5]
        """
        _, first, trial_W = np.unique(self.trial_W, return_index=True, return_inverse=True)
        return np.argsort(np.arange(len(self)) - first[trial_W], kind="stable")


def read_trials(recording: StoredRecording) -> Trials:
    """Return the first consecutive observed bins of every trial, as many as the shortest trial has.

    Raises:
        ConfigError: if the recording has no trials with ``target_id``, one is not a direction from 0 to 7, or a
            trial has no observed bin.
    """
    trials = recording.intervals.get("trials")
    if trials is None or "target_id" not in trials.columns or not len(trials.start):
        raise ConfigError(f"{recording.record.path} has no trials with a target_id: expected reaching trials")
    label_R = trials.columns["target_id"].astype(np.int64)
    wrong = label_R[(label_R < 0) | (label_R >= DIRECTIONS)]
    if len(wrong):
        raise ConfigError(f"{recording.record.path} has target_id {wrong[0]}: expected 0 to {DIRECTIONS - 1}")
    reader = ActivityReader(recording)
    starts, lengths = [], []
    for start, stop in zip(trials.start, trials.end, strict=True):
        seen = reader.domain.slice(float(start), float(stop))
        n_bins = np.floor((seen.end - seen.start) / BIN_SECONDS + 1e-6).astype(int)
        if not n_bins.any():
            raise ConfigError(f"{recording.record.path}: the trial at {start:g} s has no observed bin")
        longest = int(n_bins.argmax())
        starts.append(float(seen.start[longest]))
        lengths.append(int(n_bins[longest]))
    shortest = min(lengths)
    counts = reader.read(reader.table(starts, shortest, BIN_SECONDS), dtype=torch.float32)
    return Trials(counts.x_BNT.numpy() / np.float32(BIN_SECONDS), label_R)


def split(trials: Trials) -> tuple[Trials, Trials]:
    """Split into the first four fifths for training and the rest for testing; keep units that vary in training, 8 bins.

    Example:
        >>> rate_RNT = np.random.default_rng(0).random((10, 3, 8)).astype(np.float32)
        >>> rate_RNT[:, 1] = 0
        >>> train, test = split(Trials(rate_RNT, np.arange(10)))
        >>> train.rate_RNT.shape, test.label_R.tolist()
        ((8, 2, 8), [8, 9])
    """
    n_train = int(len(trials) * TRAIN_SHARE)
    train, test = trials.where(slice(n_train)), trials.where(slice(n_train, None))
    keep_N = train.rate_RNT.std(axis=(0, 2)) > LEAST_SPREAD
    return train.units(keep_N).first(BINS), test.units(keep_N).first(BINS)


def cut(trials: Trials, n_bins: int) -> Cuts:
    """Return windows of ``n_bins`` bins, at most 6 per trial: 8 bins give 6 windows of 2 bins, or 3 of 6.

    Rates are centred over these trials only, as the paper does for training and test trials.

    Raises:
        ConfigError: if there are no trials or they are shorter than a window.

    Example:
        >>> trials = Trials(np.ones((2, 3, 8), dtype=np.float32), np.array([5, 1]))
        >>> [(len(cut(trials, n)), cut(trials, n).x_WNT.shape[1:]) for n in (2, 6)]
        [(12, (3, 2)), (6, (3, 6))]
    """
    length = trials.rate_RNT.shape[-1]
    if length < n_bins or not len(trials):
        raise ConfigError(f"bins is {n_bins}: expected at most {length}, as in the shortest of {len(trials)} trials")
    starts = range(min(6, length - n_bins + 1))
    centred = trials.centred().rate_RNT
    x = np.stack([centred[..., s : s + n_bins] for s in starts], axis=1)
    counts = np.stack([trials.rate_RNT[..., s : s + n_bins] for s in starts], axis=1) * BIN_SECONDS
    trial_W = np.repeat(np.arange(len(trials)), len(starts))
    return Cuts(
        x_WNT=np.ascontiguousarray(x.reshape(-1, *x.shape[2:])),
        count_WNT=np.rint(counts.reshape(-1, *x.shape[2:])).astype(np.float32),
        label_W=trials.label_R[trial_W],
        trial_W=trial_W,
    )
