"""How well expected counts predict units' counts: bits per spike (co-smoothing) and Poisson D²."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import xlogy

SMALLEST = 1e-9  # expected count; the logarithm of 0 would cost infinitely many bits


def co_smoothing_bits(expected_TN: np.ndarray, count_TN: np.ndarray, usual_N: np.ndarray | None = None) -> float:
    """Return the gain in Poisson likelihood over mean rates, in bits per spike, of all units together.

    This is the primary metric of the Neural Latents Benchmark (Pei et al. 2021), where units are predicted from others.

    Args:
        expected_TN: ``(T, N)`` expected counts.
        count_TN: ``(T, N)`` counts.
        usual_N: ``(N,)`` mean counts to compare with; None: those of ``count_TN`` itself, as in that benchmark.

    Raises:
        ValueError: if there are no events or shapes differ.

    Example:
        >>> counts = np.array([[0.0], [2.0]])
        >>> round(co_smoothing_bits(np.array([[1e-9], [2.0]]), counts), 6)
        1.0
    """
    expected_TN, count_TN = _checked(expected_TN, count_TN)
    usual_N = count_TN.mean(axis=0) if usual_N is None else usual_N
    usual_TN = np.broadcast_to(usual_N, count_TN.shape)
    nats = (_log_likelihood(expected_TN, count_TN) - _log_likelihood(usual_TN, count_TN)).sum()
    return float(nats / count_TN.sum() / math.log(2))


def poisson_d2(expected_TN: np.ndarray, count_TN: np.ndarray) -> float:
    """Return the share of the Poisson deviance that is explained, the mean over units that fire.

    It is 0 for mean rates and 1 for expected counts that equal the counts, as R² is of squared errors.

    Args:
        expected_TN: ``(T, N)`` expected counts.
        count_TN: ``(T, N)`` counts.

    Raises:
        ValueError: if no unit has counts that vary, or shapes differ.

    Example:
        >>> counts = np.array([[0.0, 1.0], [2.0, 3.0]])
        >>> means = np.tile(counts.mean(axis=0), (2, 1))
        >>> round(poisson_d2(counts, counts), 6), poisson_d2(means, counts)
        (1.0, 0.0)
    """
    expected_TN, count_TN = _checked(expected_TN, count_TN)
    usual_TN = np.broadcast_to(count_TN.mean(axis=0), count_TN.shape)
    best_N = (xlogy(count_TN, count_TN) - count_TN).sum(axis=0)
    missed_N = best_N - _log_likelihood(expected_TN, count_TN).sum(axis=0)
    missed_by_usual_N = best_N - _log_likelihood(usual_TN, count_TN).sum(axis=0)
    varies_N = count_TN.std(axis=0) > 0
    if not varies_N.any():
        raise ValueError(f"none of {count_TN.shape[1]} units has counts that vary: expected at least one")
    return float(np.round((1 - missed_N[varies_N] / missed_by_usual_N[varies_N]).mean(), 12))


def _log_likelihood(expected_TN: np.ndarray, count_TN: np.ndarray) -> np.ndarray:
    """Return ``(T, N)`` Poisson log likelihood, without the factorial."""
    expected_TN = np.maximum(expected_TN, SMALLEST)
    likelihood_TN: np.ndarray = count_TN * np.log(expected_TN) - expected_TN
    return likelihood_TN


def _checked(expected_TN: np.ndarray, count_TN: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    expected_TN, count_TN = np.asarray(expected_TN, dtype=np.float64), np.asarray(count_TN, dtype=np.float64)
    if expected_TN.shape != count_TN.shape or expected_TN.ndim != 2:
        raise ValueError(
            f"expected counts have shape {expected_TN.shape} and counts {count_TN.shape}: expected (T, N) both"
        )
    if not count_TN.sum() > 0:
        raise ValueError("counts are all 0: expected events")
    return expected_TN, count_TN
