"""Units of a finetuning run for the report's map, in a file beside the run's results."""

from __future__ import annotations

import io
import logging
import zipfile
from pathlib import Path

import numpy as np

from finetune.tasks.problems.unit_task import UnitProblem
from foundation.common.files.locks import write_whole
from foundation.embedding.unit_facts import NUMBER, unit_facts

log = logging.getLogger(__name__)
FILE = "embeddings.npz"


def write_neurons(path: Path, problem: UnitProblem, z_SD: np.ndarray, checkpoint: str) -> None:
    """Write labelled units, with their properties and their embeddings by a checkpoint, for the map.

    Args:
        path: the .npz.
        problem: labelled units.
        z_SD: ``(S, D)`` their embeddings.
        checkpoint: digest of the embedding model.
    """
    arrays = unit_facts(problem.stored, problem.recording_S, problem.unit_S)
    arrays |= {"z_SD": np.asarray(z_SD, dtype=np.float32), "checkpoint": np.array(checkpoint)}
    arrays["label_S"] = np.array(problem.labels.classes)[problem.labels.y_S] if problem.labels.classes else np.empty(0)
    arrays["subject_S"] = problem.subject_S
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_whole(path, buffer.getvalue())


def read_neurons(path: Path, checkpoint: str) -> dict[str, np.ndarray] | None:
    """Return the arrays that `write_neurons` wrote; None if missing, of another checkpoint or in an older format."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            facts = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, zipfile.BadZipFile):
        return None
    needed = {"z_SD", "checkpoint", "recording_S", "unit_S", "isi_SB", NUMBER + "unit"}
    if not needed <= facts.keys() or str(facts["checkpoint"]) != checkpoint:
        log.info("%s has no units of this version and checkpoint: no map", path)
        return None
    return facts
