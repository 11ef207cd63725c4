"""Features of all samples in the form for a readout: standardised, clipped, and as inner products if there are many.

With more features than training samples, ridge and logistic regression need only inner products and stay exact: the
weights lie in the span of the training samples. The inner products of lagged features are sums of those of single bins,
so lagged features are never built.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from foundation.evaluation.readings import Features, Reading

CLIP = 5.0  # standard deviations
PART_BYTES = 1 << 23
SMALLEST_SCALE = 1e-6


@dataclass(frozen=True)
class Block:
    """Features of S samples, scaled so that centred training samples have a mean squared norm of 1.

    Exactly one of the first two is given.

    Args:
        z_SC: ``(S, C)`` the features, if there are no more of them than training samples.
        gram_SS: ``(S, S)`` their inner products, if there are more.
        scale: factor of the standardised features.
        standard: standardisation of the features; None for a mixture of two blocks.
    """

    z_SC: np.ndarray | None = None
    gram_SS: np.ndarray | None = None
    scale: float = 1.0
    standard: Standard | None = None

    def __len__(self) -> int:
        return len(self.inner_products if self.z_SC is None else self.z_SC)

    @property
    def inner_products(self) -> np.ndarray:
        """Return ``(S, S)`` inner products; computed if the block holds features."""
        if self.gram_SS is not None:
            return self.gram_SS
        assert self.z_SC is not None
        return self.z_SC @ self.z_SC.T


def blocks(features: Features, train: np.ndarray) -> Iterator[tuple[Reading, Block]]:
    """Yield each reading of some features as a block.

    A feature is standardised by its mean and standard deviation over all bins that training samples read, and clipped
    at ``CLIP`` standard deviations; features that are constant in these bins are 0. A lag outside the window is 0.

    Args:
        features: of all samples.
        train: indices of the training samples.

    Example:
        >>> from foundation.evaluation.readings import each_row
        >>> x_TF = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)
        >>> ((_, block),) = blocks(Features("noise", x_TF, (each_row(6),)), train=np.arange(5))
        >>> block.z_SC.shape
        (6, 2)
    """
    bins = np.unique(np.concatenate([reading.rows_SL[train].ravel() for reading in features.readings]))
    standard = Standard.of(features.x_TF, bins[bins >= 0])
    gram_TT: np.ndarray | None = None
    for reading in features.readings:
        if reading.width(features.x_TF.shape[1]) <= len(train):
            z_SC = read(standard.columns(slice(None)), reading)
            yield reading, _scaled(Block(z_SC=z_SC, standard=standard), train)
            continue
        if gram_TT is None:
            gram_TT = standard.gram()
        last = reading is features.readings[-1]
        gram_SS = _read_gram(gram_TT, reading, overwrite=last)
        yield reading, _scaled(Block(gram_SS=gram_SS, standard=standard), train)


def mix(a: Block, b: Block, weight: float) -> Block:
    """Return the block of both sets of features side by side; ``b`` gets a share ``weight`` of the squared norm.

    With a weight of 0 the block is ``a``, with 1 it is ``b``.

    Raises:
        ValueError: if the weight is outside 0 to 1.
    """
    if not 0 <= weight <= 1:
        raise ValueError(f"weight is {weight}: expected 0 to 1")
    if weight in (0, 1):
        return b if weight else a
    if a.z_SC is not None and b.z_SC is not None and a.z_SC.shape[1] + b.z_SC.shape[1] <= len(a):
        return Block(z_SC=np.concatenate([a.z_SC * (1 - weight) ** 0.5, b.z_SC * weight**0.5], axis=1))
    gram_SS = a.inner_products * np.float32(1 - weight)
    gram_SS += np.float32(weight) * b.inner_products
    return Block(gram_SS=gram_SS)


@dataclass(frozen=True)
class Standard:
    """Standardised and clipped features, computed a few columns at a time.

    Args:
        x_TF: raw features.
        mean_F, scale_F: ``(F,)`` float32, over the bins that training samples read; infinite for constant features.
    """

    x_TF: np.ndarray
    mean_F: np.ndarray
    scale_F: np.ndarray

    @classmethod
    def of(cls, x_TF: np.ndarray, rows: np.ndarray) -> Standard:
        n_features = x_TF.shape[1]
        mean_F, scale_F = np.zeros(n_features, np.float32), np.ones(n_features, np.float32)
        for part in _parts(n_features, len(x_TF)):
            x_SP = x_TF[rows, part].astype(np.float64)
            mean_F[part] = x_SP.mean(axis=0)
            scale_F[part] = x_SP.std(axis=0)
        scale_F[scale_F < SMALLEST_SCALE] = np.inf
        return cls(x_TF, mean_F, scale_F)

    def columns(self, part: slice) -> np.ndarray:
        """Return ``(T, P)`` some of the features."""
        z_TP = self.x_TF[:, part] - self.mean_F[part]
        z_TP /= self.scale_F[part]
        return np.clip(z_TP, -CLIP, CLIP, out=z_TP).astype(np.float32, copy=False)

    def gram(self) -> np.ndarray:
        """Return ``(T, T)`` inner products."""
        n = len(self.x_TF)
        gram_TT = np.zeros((n, n), np.float32)
        for part in _parts(self.x_TF.shape[1], n):
            z_TP = self.columns(part)
            gram_TT += z_TP @ z_TP.T
        return gram_TT


def _parts(n_columns: int, height: int) -> Iterator[slice]:
    step = max(64, PART_BYTES // (8 * max(1, height)))
    return (slice(first, first + step) for first in range(0, n_columns, step))


def read(z_TF: np.ndarray, reading: Reading) -> np.ndarray:
    """Return ``(S, C)`` samples' readings of standardised features."""
    rows_SL = reading.rows_SL
    padded = np.concatenate([z_TF, np.zeros((1, z_TF.shape[1]), z_TF.dtype)])  # row -1
    if reading.mean:
        return padded[rows_SL].sum(axis=1) / (rows_SL >= 0).sum(axis=1, keepdims=True).astype(np.float32)
    return padded[rows_SL].reshape(len(rows_SL), -1)


def _read_gram(gram_TT: np.ndarray, reading: Reading, overwrite: bool) -> np.ndarray:
    """Return ``(S, S)`` inner products of the samples' readings, from those of single bins."""
    rows_SL = reading.rows_SL
    n_samples, n_lags = rows_SL.shape
    if n_lags == 1 and overwrite and np.array_equal(rows_SL[:, 0], np.arange(len(gram_TT))):
        return gram_TT
    out_SS = np.zeros((n_samples, n_samples), np.float32)
    if reading.mean:
        weight_ST = np.zeros((n_samples, len(gram_TT)), np.float32)
        there = np.nonzero(rows_SL >= 0)
        weight_ST[there[0], rows_SL[there]] = 1.0
        weight_ST /= weight_ST.sum(axis=1, keepdims=True)
        return (weight_ST @ gram_TT) @ weight_ST.T
    for lag in range(n_lags):
        rows_S = rows_SL[:, lag]
        here = np.flatnonzero(rows_S >= 0)
        for part in _parts(len(here), n_samples):
            a = here[part]
            out_SS[np.ix_(a, here)] += gram_TT[np.ix_(rows_S[a], rows_S[here])]
    return out_SS


def _scaled(block: Block, train: np.ndarray) -> Block:
    """Scale a new block in place by the mean squared norm of its centred training samples."""
    if block.z_SC is not None:
        norm = float(block.z_SC[train].var(axis=0, dtype=np.float64).sum())
        block.z_SC[:] *= np.float32(max(norm, 1e-12) ** -0.5)
    else:
        assert block.gram_SS is not None
        diagonal = float(np.diagonal(block.gram_SS)[train].mean(dtype=np.float64))
        norm = diagonal - float(block.gram_SS[train][:, train].mean(dtype=np.float64))
        block.gram_SS[:] *= np.float32(1 / max(norm, 1e-12))
    return replace(block, scale=max(norm, 1e-12) ** -0.5)
