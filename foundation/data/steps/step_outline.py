"""Outline of a step's windows before their times are drawn: recording, bin width and lengths, for the budget."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

BLOCK = 256  # windows whose numbers are drawn together


@dataclass(frozen=True)
class Outline:
    """The M windows of a step.

    Args:
        recording_M: index of the recording in the catalog.
        width_M: index of the bin width in the settings.
        tokens_MV: tokens of each view and candidate.
        cost_M: units x tokens over all views and candidates.
    """

    recording_M: np.ndarray
    width_M: np.ndarray
    tokens_MV: np.ndarray
    cost_M: np.ndarray

    def __len__(self) -> int:
        return len(self.cost_M)


def deal(cost_M: np.ndarray, world: int) -> np.ndarray:
    """Return the process of each window, of ``world`` processes.

    Windows are dealt from the largest to the smallest, forwards and then backwards, so that all processes have about
    the same work: all wait for the slowest. The numbers of windows differ by at most one.

    Args:
        cost_M: units x tokens of each window.
        world: processes.

    Example:
        >>> deal(np.array([5, 1, 8, 2, 7, 1]), world=2).tolist()
        [1, 0, 0, 0, 1, 1]
    """
    there_and_back = np.concatenate([np.arange(world), np.arange(world)[::-1]])
    owner_M = np.empty(len(cost_M), dtype=np.int64)
    owner_M[np.argsort(-cost_M, kind="stable")] = np.resize(there_and_back, len(cost_M))
    return owner_M


def fitted(cost_M: np.ndarray, budget: int, largest: int) -> int:
    """Return how many consecutive windows of an endless random list a step takes.

    A step ends with the window after which the largest possible one would no longer fit. The decision never looks at
    the next window: stopping before the first window that exceeds the budget would drop large windows more often than
    small ones, and large populations would get less than their share (Wald's equation holds for this rule, not for
    that one).

    Args:
        cost_M: units x tokens of each window.
        budget: units x tokens of a step.
        largest: the largest possible cost of one window.

    Example:
        >>> fitted(np.array([3, 1, 3, 3]), budget=8, largest=3), fitted(np.array([2, 2, 2, 2, 2]), budget=8, largest=2)
        (3, 4)
    """
    return int(np.searchsorted(np.cumsum(cost_M), budget - largest, side="right")) + 1


@dataclass(frozen=True)
class Outlines:
    """``outlines(step)`` is the `Outline` of a step, a function of seed and step alone.

    Args:
        cumulative_R: cumulative chance of the recordings; 1 from the last recording that may be drawn.
        units_R: units of a window of each recording.
        fits_RW: whether a window of each recording may have each bin width.
        longest_RW: tokens of the longest possible segment.
        min_tokens, max_tokens: tokens of a view.
        views: number of views, candidates included.
        budget: units x tokens of a step.
        seed: of all draws.
    """

    cumulative_R: np.ndarray
    units_R: np.ndarray
    fits_RW: np.ndarray
    longest_RW: np.ndarray
    min_tokens: int
    max_tokens: int
    views: int
    budget: int
    seed: int

    @cached_property
    def largest(self) -> int:
        """Return the largest units x tokens of one window."""
        most_R = np.minimum(np.where(self.fits_RW, self.longest_RW, 0).max(axis=1), self.max_tokens)
        drawn_R = np.diff(self.cumulative_R, prepend=0.0) > 0
        return int((self.units_R * most_R)[drawn_R].max()) * self.views

    def __call__(self, step: int) -> Outline:
        """Return the windows of a step; see `fitted`."""
        parts: list[Outline] = []
        spent = 0
        while spent <= self.budget:
            parts.append(self._block(step, len(parts)))
            spent += int(parts[-1].cost_M.sum())
        whole = [np.concatenate([getattr(part, name) for part in parts]) for name in Outline.__dataclass_fields__]
        count = fitted(whole[-1], self.budget, self.largest)
        return Outline(*(values[:count] for values in whole))

    def _block(self, step: int, number: int) -> Outline:
        u_MK = np.random.default_rng([self.seed, step, number]).random((BLOCK, 2 + self.views))
        recording_M = np.searchsorted(self.cumulative_R, u_MK[:, 0], side="right")  # below 1, as u is
        fits_MW = self.fits_RW[recording_M]
        chosen_M = (u_MK[:, 1] * fits_MW.sum(1)).astype(np.int64)  # index among the widths that fit
        width_M = (np.cumsum(fits_MW, axis=1) > chosen_M[:, None]).argmax(1)
        most_M1 = np.minimum(self.max_tokens, self.longest_RW[recording_M, width_M])[:, None]
        tokens_MV = self.min_tokens + (u_MK[:, 2:] * (most_M1 - self.min_tokens + 1)).astype(np.int64)
        return Outline(recording_M, width_M, tokens_MV, self.units_R[recording_M] * tokens_MV.sum(1))
