"""Sums over trials as JSON values, so that a page can resample trials without the predictions."""

from __future__ import annotations

from typing import Any

import numpy as np

from foundation.evaluation.metrics import CLASSES, VALUES, Predictions, sums


def pack_sums(predictions: Predictions) -> dict[str, Any]:
    """Return the sums over the independent parts of predictions, to six digits, as `unpack_sums` reads them.

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
    return {"kind": VALUES, "errors": [[[float(f"{e:.6g}") for e in pair] for pair in part] for part in total.tolist()]}


def unpack_sums(packed: dict[str, Any]) -> np.ndarray:
    """Return what `foundation.evaluation.metrics.sums` gave.

    Example:
        >>> unpack_sums({"kind": "classes", "shape": [1, 2, 2], "cells": [[0, 1, 0, 3]]}).tolist()
        [[[0, 0], [3, 0]]]
    """
    if packed["kind"] == VALUES:
        return np.array(packed["errors"], dtype=np.float64)
    total = np.zeros(packed["shape"], dtype=np.int64)
    for *place, count in packed["cells"]:
        total[tuple(place)] = count
    return total
