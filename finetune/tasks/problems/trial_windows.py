"""Windows of one recording, cut from trials or from all observed time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from foundation.store import Interval


@dataclass(frozen=True)
class Windows:
    """W windows of whole tokens, sorted by time.

    Args:
        start_W: ``(W,)`` seconds.
        tokens_W: ``(W,)`` length in tokens.
        part_W: ``(W,)`` the part of the recording that a window belongs to; parts are taken as independent.
        part_name: what a part is: ``trials`` or ``time blocks``.
    """

    start_W: np.ndarray
    tokens_W: np.ndarray
    part_W: np.ndarray
    part_name: str

    def __len__(self) -> int:
        return len(self.start_W)

    def where(self, keep: np.ndarray) -> Windows:
        """Some of the windows, by mask or sorted indices."""
        return replace(self, start_W=self.start_W[keep], tokens_W=self.tokens_W[keep], part_W=self.part_W[keep])


def cut_windows(pieces: Interval, token_seconds: float, longest: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Windows of at most ``longest`` tokens that fill each piece from its start; what is left of a token is dropped.

    A piece is cut into windows of nearly equal length, so that none is a lone remainder.

    Returns:
        starts in seconds, lengths in tokens, and the piece of each window.

    Example:
        >>> starts, tokens, piece = cut_windows(Interval([0.0, 5.0], [1.15, 5.05]), 0.1, 10)
        >>> [round(float(s), 6) for s in starts], tokens.tolist(), piece.tolist()
        ([0.0, 0.6], [6, 5], [0, 0])
    """
    starts, tokens, piece = [], [], []
    lengths = np.floor((pieces.end - pieces.start) / token_seconds + 1e-6).astype(np.int64)
    for k, length in enumerate(lengths):
        if length < 1:
            continue
        sizes = np.array([len(part) for part in np.array_split(np.arange(length), -(-length // longest))])
        starts.append(pieces.start[k] + token_seconds * (np.cumsum(sizes) - sizes))
        tokens.append(sizes)
        piece.append(np.full(len(sizes), k))
    empty = np.empty(0, dtype=np.int64)
    return (
        np.concatenate([*starts, np.empty(0)]),
        np.concatenate([*tokens, empty]),
        np.concatenate([*piece, empty]),
    )


def observed_trials(trials: Interval, domain: Interval) -> tuple[Interval, np.ndarray]:
    """The observed pieces of trials, in time order and without overlap, and the trial of each.

    Where a trial begins before the one before it has ended, it begins at that end.
    """
    start, end, trial = [], [], []
    reached = -np.inf
    for k in np.argsort(trials.start, kind="stable"):
        first, last = max(float(trials.start[k]), reached), float(trials.end[k])
        if last <= first:
            continue
        reached = last
        seen = domain.slice(first, last)
        start.append(seen.start)
        end.append(seen.end)
        trial.append(np.full(len(seen), k))
    empty = np.empty(0)
    pieces = Interval(np.concatenate([*start, empty]), np.concatenate([*end, empty]))
    return pieces, np.concatenate([*trial, empty.astype(np.int64)])


def trial_windows(trials: Interval, domain: Interval, token_seconds: float, longest: int) -> Windows:
    """Windows inside trials; a trial is one independent part."""
    pieces, trial = observed_trials(trials, domain)
    starts, tokens, piece = cut_windows(pieces, token_seconds, longest)
    return Windows(starts, tokens, trial[piece], "trials")


def block_windows(domain: Interval, token_seconds: float, longest: int, max_tokens: int, blocks: int) -> Windows:
    """Windows over all observed time; contiguous blocks of them are the independent parts.

    Args:
        domain: observed time.
        token_seconds: length of a token.
        longest: tokens of a window, at most.
        max_tokens: tokens in all, about, at most; windows are then spread evenly over the time.
        blocks: number of parts.
    """
    starts, tokens, _ = cut_windows(domain.union(), token_seconds, longest)
    total = int(tokens.sum())
    if total > max_tokens:
        keep = np.unique(np.linspace(0, len(starts) - 1, max(1, len(starts) * max_tokens // total)).round().astype(int))
        starts, tokens = starts[keep], tokens[keep]
    part = np.arange(len(starts)) * min(blocks, len(starts)) // max(len(starts), 1)
    return Windows(starts, tokens, part, "time blocks")
