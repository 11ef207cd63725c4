"""Principal axes of standardised features that may exceed the memory; they are read in parts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

PART_BYTES = 1 << 23
OVERSAMPLES, POWER_STEPS = 10, 2


def row_parts(x: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the rows of an array, a few megabytes at a time.

    Example:
        >>> [part.shape for part in row_parts(np.zeros((3, 1 << 20)))]
        [(1, 1048576), (1, 1048576), (1, 1048576)]
    """
    return (x[part] for part in _parts(len(x), math.prod(x.shape[1:])))


def _parts(n_rows: int, width: int) -> Iterator[slice]:
    step = max(1, PART_BYTES // (8 * max(1, width)))
    for first in range(0, n_rows, step):
        yield slice(first, min(first + step, n_rows))


@dataclass(frozen=True)
class Standardised:
    """Some rows of features, each feature with mean 0 and standard deviation 1 over these rows; computed on demand.

    Args:
        x_SF: ``(S, F)`` raw features.
        mean_F, scale_F: ``(F,)`` float32.
        rows: indices of the rows; None: all.
    """

    x_SF: np.ndarray
    mean_F: np.ndarray
    scale_F: np.ndarray
    rows: np.ndarray | None = None

    @classmethod
    def of(cls, x_SF: np.ndarray, rows: np.ndarray | None = None) -> Standardised:
        """Standardise by the rows' own mean and standard deviation; constant features are left unchanged."""
        zero_F, one_F = np.zeros(x_SF.shape[1], np.float32), np.ones(x_SF.shape[1], np.float32)
        plain = cls(x_SF, zero_F, one_F, rows)
        sum_F = np.zeros(x_SF.shape[1])
        for part in plain.parts():
            sum_F += plain.taken(part).sum(axis=0, dtype=np.float64)
        mean_F = sum_F / len(plain)
        square_F = np.zeros(x_SF.shape[1])
        for part in plain.parts():
            square_F += ((plain.taken(part) - mean_F) ** 2).sum(axis=0)
        scale_F = np.sqrt(square_F / len(plain)).astype(np.float32)
        scale_F[scale_F < 1e-6] = 1.0
        return cls(x_SF, mean_F.astype(np.float32), scale_F, rows)

    def __len__(self) -> int:
        return len(self.x_SF) if self.rows is None else len(self.rows)

    def parts(self) -> Iterator[slice]:
        """Yield the rows, a few megabytes at a time."""
        return _parts(len(self), self.x_SF.shape[1])

    def taken(self, part: slice) -> np.ndarray:
        """Return ``(P, F)`` raw rows."""
        return self.x_SF[part] if self.rows is None else self.x_SF[self.rows[part]]

    def rows_of(self, part: slice) -> np.ndarray:
        """Return ``(P, F)`` rows, standardised."""
        x_PF = self.taken(part) - self.mean_F
        x_PF /= self.scale_F
        return x_PF.astype(np.float32, copy=False)

    def columns_of(self, part: slice) -> np.ndarray:
        """Return ``(S, P)`` columns, standardised."""
        x_SP = self.x_SF[:, part] if self.rows is None else self.x_SF[self.rows, part]
        return ((x_SP - self.mean_F[part]) / self.scale_F[part]).astype(np.float32, copy=False)

    def times(self, a_FC: np.ndarray) -> np.ndarray:
        """Return ``(S, C)`` the product with a matrix."""
        out_SC = np.empty((len(self), a_FC.shape[1]), np.float32)
        for part in self.parts():
            out_SC[part] = self.rows_of(part) @ a_FC
        return out_SC

    def transposed_times(self, a_SC: np.ndarray) -> np.ndarray:
        """Return ``(F, C)`` the product of the transposed with a matrix."""
        out_FC = np.zeros((self.x_SF.shape[1], a_SC.shape[1]), np.float32)
        for part in self.parts():
            out_FC += self.rows_of(part).T @ a_SC[part]
        return out_FC


def exact_axes(standard: Standardised, kept: int) -> tuple[np.ndarray, float]:
    """Return ``(F, kept)`` the strongest principal axes, and the standard deviation along the first.

    With fewer samples than features they come exactly, and faster, from the samples' inner products.
    """
    n_samples, n_features = len(standard), standard.x_SF.shape[1]
    gram_SS = np.zeros((n_samples, n_samples), np.float32)
    step = max(1, PART_BYTES // (8 * n_samples))
    for first in range(0, n_features, step):
        x_SP = standard.columns_of(slice(first, first + step))
        gram_SS += x_SP @ x_SP.T
        del x_SP
    wide_SS = gram_SS.astype(np.float64).T  # in LAPACK's order, so that it works in place: the matrix is symmetric
    del gram_SS
    power, u_SC = eigh(wide_SS, subset_by_index=[n_samples - kept, n_samples - 1], overwrite_a=True)
    del wide_SS
    keep = power > max(power[-1], 1e-12) * 1e-6
    if not keep.any():  # constant features: one axis without any variance
        return np.eye(n_features, 1, dtype=np.float32), 0.0
    power, u_SC = power[keep][::-1], u_SC[:, keep][:, ::-1]
    axes_FC = standard.transposed_times((u_SC / np.sqrt(power)).astype(np.float32))
    return axes_FC, float(np.sqrt(power[0] / n_samples))


def randomised_axes(standard: Standardised, kept: int, seed: int) -> tuple[np.ndarray, float]:
    """Return the same, approximately, by the randomised method of Halko, Martinsson and Tropp (2011)."""
    rng = np.random.RandomState(seed)
    n_samples, n_features = len(standard), standard.x_SF.shape[1]
    if n_samples < n_features:  # the smaller side is drawn
        a_SC = rng.normal(size=(n_samples, kept + OVERSAMPLES)).astype(np.float32)
        for _ in range(POWER_STEPS):
            a_SC = standard.times(standard.transposed_times(a_SC))
        q_FC, _ = np.linalg.qr(standard.transposed_times(a_SC))
        left_CC, value_C, _ = np.linalg.svd(standard.times(q_FC).T, full_matrices=False)
        axes_FC = q_FC @ left_CC[:, :kept]
    else:
        a_FC = rng.normal(size=(n_features, kept + OVERSAMPLES)).astype(np.float32)
        for _ in range(POWER_STEPS):
            a_FC = standard.transposed_times(standard.times(a_FC))
        q_SC, _ = np.linalg.qr(standard.times(a_FC))
        _, value_C, right_CF = np.linalg.svd(standard.transposed_times(q_SC).T, full_matrices=False)
        axes_FC = right_CF[:kept].T
    return np.ascontiguousarray(axes_FC, dtype=np.float32), float(value_C[0] / np.sqrt(n_samples - 1))
