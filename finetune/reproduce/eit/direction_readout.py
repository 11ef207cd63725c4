"""Linear readouts of directions: the floor that every model must beat, and what is read from a model without labels."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

STRENGTHS = tuple(10.0**k for k in np.arange(-5, 1.5, 0.5))


def choose_strength(x_SF: np.ndarray, y_S: np.ndarray, held_SF: np.ndarray, held_S: np.ndarray) -> float:
    """The inverse penalty that tells most of the held-out samples; the smallest of equals."""
    scores = [float((fit_linear(x_SF, y_S, c).predict(held_SF) == held_S).mean()) for c in STRENGTHS]
    return STRENGTHS[int(np.argmax(scores))]


def fit_linear(x_SF: np.ndarray, y_S: np.ndarray, strength: float) -> Pipeline:
    """Logistic regression of scaled features; the scaling is the training samples' own."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000)).fit(x_SF, y_S)
