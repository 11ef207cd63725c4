"""What a linear layer reads from frozen features of bins: a direction, or a state of wake and sleep."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import f1_score
from sklearn.pipeline import Pipeline

from foundation.evaluation.linear_readout import fit_scaled

PENALTIES = tuple(10.0**k for k in range(-1, 5))
STRENGTHS = tuple(10.0**k for k in range(-4, 1))
NEAR, WIDER = np.pi / 8, 3 * np.pi / 16


def settings_of(task: str) -> tuple[float, ...]:
    """Penalties of ridge regression for reaches; inverse penalties of logistic regression for sleep."""
    return PENALTIES if task == "reach" else STRENGTHS


def fit_readout(task: str, x_MF: np.ndarray, label_M: np.ndarray, setting: float) -> Pipeline:
    """Fit ridge regression to cosine and sine, or class-balanced logistic regression, of scaled features."""
    if task == "reach":
        return fit_scaled(Ridge(setting), x_MF, _circle(label_M))
    return fit_scaled(LogisticRegression(C=setting, class_weight="balanced", max_iter=300), x_MF, label_M)


def predict(task: str, model: Pipeline, x_MF: np.ndarray) -> np.ndarray:
    """Directions in radians, or numbers of states."""
    said = model.predict(x_MF)
    return np.arctan2(said[:, 1], said[:, 0]) if task == "reach" else said


def score(task: str, said_M: np.ndarray, label_M: np.ndarray) -> float:
    """Share of bins within pi/8 of the direction, or F1 weighted by how often each state is there.

    Example:
        >>> score("reach", np.array([0.1, 6.2, 3.0]), np.array([0.0, 0.0, 0.0])) == 2 / 3
        True
    """
    if task == "reach":
        return float((error_of(said_M, label_M) < NEAR).mean())
    return float(f1_score(label_M, said_M, average="weighted"))


def error_of(said_M: np.ndarray, label_M: np.ndarray) -> np.ndarray:
    """Angle between what is said and what is true, 0 to pi."""
    return np.abs(np.angle(np.exp(1j * (said_M - label_M))))


def _circle(label_M: np.ndarray) -> np.ndarray:
    return np.stack([np.cos(label_M), np.sin(label_M)], axis=1)
