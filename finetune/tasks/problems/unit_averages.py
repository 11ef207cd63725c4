"""Averages over units: features that every population has, whatever its units and their number."""

from __future__ import annotations

import numpy as np

from foundation.data.reading.reader import ActivityReader
from foundation.embedding.frozen_embeddings import check_kind, check_units_trained, embedded_parts
from foundation.evaluation.readings import WindowRows
from foundation.models import EIT

ACTIVITY, TOKENS = "averages of activity over units", "the model's tokens of units, averaged over units"


def averaged_activity(x_TN: np.ndarray, counts: bool) -> np.ndarray:
    """Return ``(T, 3)`` float32: mean and spread of activity over units, and the share of active units.

    Each unit is standardised over all tokens first, so that units with high rates do not decide alone, and each of the
    three features at the end, so that recordings with other rates and numbers of units have the same scale.

    Args:
        x_TN: activity of N units in T tokens of one recording.
        counts: whether it is counts, whose square roots are taken.

    Example:
        >>> x_TN = np.random.default_rng(0).poisson(2.0, size=(50, 6)).astype(np.float32)
        >>> np.allclose(averaged_activity(x_TN, True), averaged_activity(x_TN[:, ::-1], True), atol=1e-5)
        True
    """
    z_TN = standardised(np.sqrt(x_TN) if counts else x_TN)
    return standardised(np.stack([z_TN.mean(axis=1), z_TN.std(axis=1), (x_TN != 0).mean(axis=1)], axis=1))


def averaged_tokens(
    model: EIT, reader: ActivityReader, starts_W: np.ndarray, tokens_W: np.ndarray, token_seconds: float
) -> np.ndarray:
    """Return ``(T, D)`` float32: a model's embeddings of units at each token, averaged over all units.

    Features are standardised over the tokens of the recording.

    Args:
        model: with a unit stream.
        reader: of the recording.
        starts_W: seconds at which windows begin.
        tokens_W: tokens of each window.
        token_seconds: length of a token.

    Raises:
        CheckpointError: if the model gives no embeddings of the recording's units.
    """
    check_units_trained(model)
    check_kind(model, reader.recording)
    patch, first_W = model.config.patch_length, WindowRows(tokens_W).first
    x_TD = np.empty((int(tokens_W.sum()), model.config.dim), dtype=np.float32)
    for tokens in np.unique(tokens_W):
        here = np.flatnonzero(tokens_W == tokens)
        width, n_bins = token_seconds / patch, int(tokens) * patch
        for part, _, h_PNTD in embedded_parts(model, reader, starts_W[here], bin_width=width, n_bins=n_bins):
            x_TD[first_W[here[part]][:, None] + np.arange(tokens)] = h_PNTD.mean(axis=1)
    return standardised(x_TD)


def standardised(x_TF: np.ndarray) -> np.ndarray:
    """Return ``(T, F)`` float32 features with mean 0 and variance 1; 0 where a feature never changes.

    Example:
        >>> standardised(np.array([[1.0, 5.0], [3.0, 5.0]])).tolist()
        [[-1.0, 0.0], [1.0, 0.0]]
    """
    x_TF = np.asarray(x_TF, dtype=np.float64)
    spread_F = x_TF.std(axis=0)
    moves_F = spread_F > 1e-6 * np.maximum(np.abs(x_TF).max(axis=0, initial=0.0), 1e-12)
    found_TF = np.where(moves_F, (x_TF - x_TF.mean(axis=0)) / np.where(moves_F, spread_F, 1.0), 0.0)
    return found_TF.astype(np.float32)
