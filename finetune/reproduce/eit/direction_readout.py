"""Linear readouts of directions: the floor that every model must beat, and what is read from a model without labels."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from foundation.evaluation.linear_readout import first_best, fit_scaled

STRENGTHS = tuple(10.0**k for k in np.arange(-5, 1.5, 0.5))


def choose_strength(x_SF: np.ndarray, y_S: np.ndarray, held_SF: np.ndarray, held_S: np.ndarray) -> float:
    """Return the inverse penalty with the best accuracy on the held-out samples; the smallest of equals."""
    scored = ((c, float((fit_linear(x_SF, y_S, c).predict(held_SF) == held_S).mean())) for c in STRENGTHS)
    return first_best(scored)[0]


def fit_linear(x_SF: np.ndarray, y_S: np.ndarray, strength: float) -> Pipeline:
    """Return a logistic regression of scaled features; ``strength`` is the inverse penalty."""
    return fit_scaled(LogisticRegression(C=strength, max_iter=2000), x_SF, y_S)
