"""Sums over trials as JSON values, so that a page can resample trials without the predictions."""

from __future__ import annotations

from typing import Any

import numpy as np

from foundation.evaluation.metrics import CLASSES, VALUES, Predictions, sums

BITS = "bits"  # of hidden units: nats gained and events of each part


def pack_sums(predictions: Predictions) -> dict[str, Any]:
    """Return the sums over the independent parts of predictions, rounded to six digits, for `unpack_sums`.

    Example:
        >>> p = Predictions.of_classes(np.array([0, 1]), np.array([0, 0]), 2, np.array([7, 9]))
        >>> pack_sums(p)
        {'kind': 'classes', 'shape': [2, 2, 2], 'cells': [[0, 0, 0, 1], [1, 1, 0, 1]]}
    """
    total = sums(predictions)
    if predictions.kind == CLASSES:
        cells = np.argwhere(total)
        counts = total[tuple(cells.T)]
        return {"kind": CLASSES, "shape": list(total.shape), "cells": np.column_stack([cells, counts]).tolist()}
    return {"kind": VALUES, "errors": [[_short(pair) for pair in part] for part in total.tolist()]}


def pack_gains(sums_G2: np.ndarray) -> dict[str, Any]:
    """Return nats gained and events of each part, for `unpack_sums`.

    Example:
        >>> pack_gains(np.array([[0.123456789, 3.0]]))
        {'kind': 'bits', 'gains': [[0.123457, 3.0]]}
    """
    return {"kind": BITS, "gains": [_short(pair) for pair in sums_G2.tolist()]}


def _short(values: list[float]) -> list[float]:
    return [float(f"{value:.6g}") for value in values]


def unpack_sums(packed: dict[str, Any]) -> np.ndarray:
    """Return the sums of `foundation.evaluation.metrics.sums`, or ``(G, 2)`` nats gained and events.

    Example:
        >>> unpack_sums({"kind": "classes", "shape": [1, 2, 2], "cells": [[0, 1, 0, 3]]}).tolist()
        [[[0, 0], [3, 0]]]
    """
    if packed["kind"] == VALUES:
        return np.array(packed["errors"], dtype=np.float64)
    if packed["kind"] == BITS:
        return np.array(packed["gains"], dtype=np.float64)
    total = np.zeros(packed["shape"], dtype=np.int64)
    for *place, count in packed["cells"]:
        total[tuple(place)] = count
    return total
