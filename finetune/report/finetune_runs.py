"""Finetuning runs that one report shows side by side: their results by target, and which ones are comparable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from finetune.current_results import NOTE, Current, read_current
from finetune.report.sample_places import read_samples
from finetune.report.score_table import Row, rows
from finetune.result import Gain, Result, read_json, read_predictions
from foundation.common.errors import FoundationError
from foundation.evaluation.confidence_intervals import gain
from foundation.evaluation.metrics import Predictions

RESAMPLES, SEED = 1000, 0
Target = tuple[str, str]


@dataclass(frozen=True)
class Run:
    """One output folder of `foundation finetune`.

    Args:
        name: name in the report.
        folder: of the results.
        current: its results.
        by_target: its readouts and controls by (task, target).
    """

    name: str
    folder: Path
    current: Current
    by_target: dict[Target, Row]

    @property
    def checkpoint(self) -> str:
        """Digest of the model that was finetuned."""
        return self.current.results[0].checkpoint

    def headline(self, target: Target) -> Result | None:
        """Return the run's headline result: the finetuned model if there is one, else the probe."""
        row = self.by_target.get(target)
        return None if row is None else row.headline

    def predictions(self, target: Target, name: str = "") -> Predictions | None:
        """Return the predictions of the headline, or of another row of the target; None if missing."""
        result = self.headline(target)
        if result is None:
            return None
        place = self.folder / target[0] / target[1]
        if name in ("", result.mode):
            return read_predictions(place / f"{result.mode}.npz", result.key)
        return read_predictions(place / f"{name}.npz", None)

    def samples(self, target: Target, predictions: Predictions) -> dict:
        """Return the places of predicted samples: ``time_S`` and ``seconds_S``, or recordings and units."""
        return read_samples(self.folder / target[0] / target[1], len(predictions.y_S))


def read_runs(folders: Sequence[str], recordings: Mapping[str, str] | None = None) -> list[Run]:
    """Read the results of some finetuning runs.

    Args:
        folders: outputs of `foundation finetune`.
        recordings: id -> digest of the store's current recordings; None: do not check whether results belong to them.

    Returns:
        One run a folder, in the order given.

    Raises:
        FoundationError: if a folder holds no current results.
    """
    runs = []
    for folder, name in zip(folders, run_names(folders), strict=True):
        note = read_json(Path(folder) / NOTE) or {}
        current = read_current(folder, note.get("checkpoint"), recordings)
        by_target = {(row.first.task, row.first.target): row for row in rows(current.results)}
        runs.append(Run(name, Path(folder), current, by_target))
    return runs


def run_names(folders: Sequence[str]) -> list[str]:
    """Return a short name for each folder: its last part, with the part before where two share one.

    Raises:
        FoundationError: if a folder is given twice.

    Example:
        >>> run_names(["out/a", "out/b"]), run_names(["x/finetune", "y/finetune"])
        (['a', 'b'], ['x/finetune', 'y/finetune'])
    """
    paths = [Path(folder).resolve() for folder in folders]
    twice = [folder for folder, path in zip(folders, paths, strict=True) if paths.count(path) > 1]
    if twice:
        raise FoundationError(f"runs holds {twice[0]!r} twice: expected different folders")
    depth = 1
    while max(Counter(path.parts[-depth:] for path in paths).values()) > 1:
        depth += 1
    return ["/".join(path.parts[-depth:]) for path in paths]


def targets_of(runs: Sequence[Run]) -> list[Target]:
    """Return the targets of all runs, the first run's first, task by task."""
    found = list(dict.fromkeys(target for run in runs for target in run.by_target))
    tasks = list(dict.fromkeys(task for task, _ in found))
    return sorted(found, key=lambda target: tasks.index(target[0]))


def difference(ours: Run, theirs: Run, target: Target) -> Gain | str:
    """Return the gain of one run's headline over another's with a paired interval, or why they are not comparable."""
    results = [run.headline(target) for run in (ours, theirs)]
    if results[0] is None or results[1] is None:
        return "only one of them has it"
    a, b = results[0], results[1]
    if a.recordings != b.recordings:
        return "scored on other recordings"
    if a.mode != b.mode:
        return "finetuned in one, probed in the other"
    predictions = [run.predictions(target) for run in (ours, theirs)]
    if predictions[0] is None or predictions[1] is None:
        return "predictions are missing"
    try:
        value, bounds = gain(predictions[0], predictions[1], RESAMPLES, SEED)
    except ValueError:
        return "scored on other samples or folds"
    return Gain(value, *(bounds or (None, None)))
