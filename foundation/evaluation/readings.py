"""Readings of samples from features of time bins: their own bin, all lags around it, or the mean of their window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Reading:
    """The rows of a table of time bins that each sample reads.

    Args:
        name: description of the reading.
        rows_SL: ``(S, L)`` rows of the table, -1 for a lag outside the sample's window.
        mean: take the mean over the valid rows; otherwise the L rows are concatenated, with zeros (the mean of
            standardised features) for missing rows.
        lags: the lag of each row relative to the sample's own bin, if rows are lags.
    """

    name: str
    rows_SL: np.ndarray
    mean: bool = False
    lags: tuple[int, ...] = ()

    def width(self, n_features: int) -> int:
        """Return the number of features of a sample if a bin has ``n_features``."""
        return n_features if self.mean else n_features * self.rows_SL.shape[1]


@dataclass(frozen=True)
class Features:
    """Features of time bins (or of units), and the ways in which samples may read them.

    Args:
        name: description of the features.
        x_TF: ``(T, F)`` float32, a row for each bin of each window, one window after another.
        readings: alternatives, one of which the inner folds choose.
    """

    name: str
    x_TF: np.ndarray
    readings: tuple[Reading, ...]


def each_row(n_samples: int, name: str = "") -> Reading:
    """Return the reading of samples that each have their own row.

    Example:
        >>> each_row(3).rows_SL.tolist()
        [[0], [1], [2]]
    """
    return Reading(name, np.arange(n_samples)[:, None])


@dataclass(frozen=True)
class WindowRows:
    """Positions of the bins of W windows in a table of consecutive windows.

    Args:
        length_W: ``(W,)`` bins of each window.
    """

    length_W: np.ndarray

    def __len__(self) -> int:
        return int(self.length_W.sum())

    @property
    def first(self) -> np.ndarray:
        """Return ``(W,)`` the row of each window's first bin."""
        return np.cumsum(self.length_W) - self.length_W

    def own_bin(self, window_S: np.ndarray, bin_S: np.ndarray) -> Reading:
        """Return the reading of each sample's own bin.

        Example:
            >>> WindowRows(np.array([2, 3])).own_bin(np.array([0, 1]), np.array([1, 2])).rows_SL.tolist()
            [[1], [4]]
        """
        return Reading("own bin", (self.first[window_S] + bin_S)[:, None], lags=(0,))

    def all_lags(self, window_S: np.ndarray, bin_S: np.ndarray, max_lag: int, causal: bool = False) -> Reading:
        """Return the reading of the bins around each sample, from ``-max_lag`` to ``max_lag``, inside its window.

        Lags that lie outside every sample's window are left out. A causal reading ends with the sample's own bin.

        Example:
            >>> WindowRows(np.array([2, 3])).all_lags(np.array([0, 1]), np.array([1, 2]), 9).rows_SL.tolist()
            [[-1, 0, 1], [2, 3, 4]]
        """
        lag = min(max_lag, int(self.length_W.max(initial=1)) - 1)
        lag_L = np.arange(-lag, 1 if causal else lag + 1)
        rows_SL = self.lags(window_S, bin_S, lag_L)
        used_L = (rows_SL >= 0).any(axis=0)
        name = "all lags of the past" if causal else "all lags"
        return Reading(name, rows_SL[:, used_L], lags=tuple(lag_L[used_L].tolist()))

    def lags(self, window_S: np.ndarray, bin_S: np.ndarray, lag_L: np.ndarray) -> np.ndarray:
        """Return ``(S, L)`` the rows of some bins relative to each sample's own, -1 outside its window.

        Example:
            >>> WindowRows(np.array([2, 3])).lags(np.array([1]), np.array([0]), np.array([-1, 0])).tolist()
            [[-1, 2]]
        """
        bin_SL = bin_S[:, None] + lag_L
        inside_SL = (bin_SL >= 0) & (bin_SL < self.length_W[window_S][:, None])
        return np.where(inside_SL, self.first[window_S][:, None] + bin_SL, -1)

    def all_bins(self, window_S: np.ndarray) -> Reading:
        """Return the reading of all bins of each sample's window, side by side from the window's start.

        Example:
            >>> WindowRows(np.array([2, 3])).all_bins(np.array([0, 1])).rows_SL.tolist()
            [[0, 1, -1], [2, 3, 4]]
        """
        bin_L = np.arange(int(self.length_W.max(initial=1)))
        inside_SL = bin_L < self.length_W[window_S][:, None]
        return Reading("all bins", np.where(inside_SL, self.first[window_S][:, None] + bin_L, -1))

    def window_mean(self, window_S: np.ndarray, name: str = "window mean") -> Reading:
        """Return the reading of the mean over each sample's window."""
        return Reading(name, self.all_bins(window_S).rows_SL, mean=True)
