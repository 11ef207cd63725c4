"""One MLflow run per task: settings, scores and pictures."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import asdict
from pathlib import Path

from finetune.figures import target_figure
from finetune.result import Result, digest, read_json, read_predictions, write_json
from finetune.settings import FinetuneSettings
from foundation.credentials import without_secrets
from foundation.tracking import Run, default_tracking_uri

log = logging.getLogger(__name__)


def log_task(settings: FinetuneSettings, task: str, results: list[Result]) -> str:
    """Log the results of a task, unless just these are logged already.

    Args:
        settings: of the whole run.
        task: name of the task, and of the MLflow run.
        results: its results.

    Returns:
        The id of the MLflow run.
    """
    folder = Path(settings.output)
    uri = settings.tracking_uri or default_tracking_uri(folder.resolve().parent)
    key = digest([without_secrets(uri), settings.experiment, *sorted(r.key for r in results)])
    note = folder / task / "mlflow.json"
    known = read_json(note, key)
    if known is not None:
        return str(known["run_id"])
    with Run(uri, settings.experiment, task) as run:
        run.params({"task": task, "model_digest": results[0].checkpoint, **asdict(settings)})
        numbers: dict[str, float] = {}
        for result in results:
            name = f"{result.target}.{result.mode}"
            numbers |= {f"{name}.{metric}": value for metric, value in result.score.metrics.items()}
            for bound, value in (("low", result.score.low), ("high", result.score.high)):
                if value is not None:
                    numbers[f"{name}.{result.metric}.{bound}"] = value
            numbers[f"{name}.gain_over_rate"] = result.gain
            numbers[f"{name}.seconds"] = result.seconds
            for reference in result.references:
                value = result.reference(reference)
                if value is not None:
                    numbers[f"{result.target}.{reference}.{result.metric}"] = value
        run.metrics(numbers)
        with tempfile.TemporaryDirectory() as temporary:
            for result in results:
                place = folder / result.task / result.target
                predictions = read_predictions(place / f"{result.mode}.npz")
                if predictions is not None:
                    picture = Path(temporary) / f"{result.target}.{result.mode}.png"
                    picture.write_bytes(target_figure(result, predictions))
                    run.files(picture, "pictures")
                run.files(place / f"{result.mode}.json", f"results/{result.target}")
        identity = run.id
    where = without_secrets(uri)
    write_json(note, {"key": key, "run_id": identity, "tracking_uri": where, "experiment": settings.experiment})
    return identity
