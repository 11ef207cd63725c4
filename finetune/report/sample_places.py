"""Places of a target's samples: time, or recording and unit, in the order of its predictions."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np

from finetune.tasks.problems.decoding_task import Problem
from foundation.common.files.locks import write_whole
from foundation.evaluation.splits import Split

FILE = "samples.npz"


def write_samples(folder: Path, problem: Problem, split: Split) -> None:
    """Write the places of a target's samples beside its results.

    Args:
        folder: of the target.
        problem: its samples.
        split: the folds, whose order is that of predictions.
    """
    order = np.concatenate([fold.test for fold in split.folds])
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{name: values[order] for name, values in problem.places().items()})
    write_whole(folder / FILE, buffer.getvalue())


def read_samples(folder: Path, samples: int) -> dict[str, np.ndarray]:
    """Read the output of `write_samples`; empty if missing, damaged or of another number of samples."""
    try:
        with np.load(folder / FILE, allow_pickle=False) as stored:
            found = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, zipfile.BadZipFile):
        return {}
    return found if all(len(values) == samples for values in found.values()) else {}
