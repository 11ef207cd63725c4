"""One MLflow run per task: settings, scores and pictures. A server that is away does not hold finetuning up."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from finetune.finetune_settings import FinetuneSettings
from finetune.heads.head import ANY_POPULATION, head_name
from finetune.heads.head_files import read_key
from finetune.heads.mlflow_head import save_mlflow_head
from finetune.report.result_pictures import target_figure
from finetune.result import Result, read_json, read_predictions, write_json
from foundation.common.credentials import without_secrets
from foundation.common.digests import json_digest
from foundation.common.files.locks import write_whole
from foundation.common.tracking.mlflow_run import default_tracking_uri
from foundation.common.tracking.mlflow_tracker import Tracker, send_rest

log = logging.getLogger(__name__)
PATIENCE = 10.0


def log_task(settings: FinetuneSettings, task: str, results: list[Result], patience: float = PATIENCE) -> str | None:
    """Log the results of a task, unless just these are logged already.

    What is logged goes through a queue on disk, as in pretraining: it waits there for a server that is away, or that
    does not take it, until the same command runs again or ``foundation runs --send`` sends it.

    Args:
        settings: of the whole run.
        task: name of the task, and of the MLflow run.
        results: its results.
        patience: seconds to wait for a server that is away.

    Returns:
        None if all was sent, else the folder that holds what waits.
    """
    folder = Path(settings.output)
    uri = settings.tracking_uri or default_tracking_uri(folder.resolve().parent)
    where = without_secrets(uri)
    names = sorted({head_name(task, result.target) for result in results})
    names += [f"{ANY_POPULATION}/{name}" for name in names]
    heads = {name: found for name in names if settings.heads and (found := read_key(folder / name))}
    asked = [settings.register, settings.alias] if settings.register else []
    key = json_digest([where, settings.experiment, *sorted(r.key for r in results), heads, asked])
    note = folder / task / "mlflow.json"
    if read_json(note, key) is not None:
        return None
    place = folder / task / "tracking" / key[:12]
    try:
        if (place / "complete").is_file():  # all is in the queue
            sent = send_rest(place, patience)
        else:
            tracker = Tracker(place, uri, settings.experiment, task, patience=patience)
            tracker.params({"task": task, "model_digest": results[0].checkpoint, **asdict(settings)})
            tracker.metrics(_numbers(results), step=0)
            for result in results:
                _add_files(tracker, folder, result)
            for name in heads:
                model = folder / task / "models" / name
                save_mlflow_head(folder / name, model, settings.checkpoint)
                tracker.files(model, f"heads/{name}")
            (place / "complete").touch()
            sent = tracker.close()
    except Exception as error:  # the results are written: tracking is the lesser part
        log.debug("tracking", exc_info=error)
        log.warning("%s is not tracked: %s", task, without_secrets(f"{type(error).__name__}: {error}"))
        return str(place)
    if not sent:
        return str(place)
    identity = json.loads((place / "run.json").read_text())["run_id"]
    if settings.register:
        try:
            _register(uri, identity, heads, settings)
        except Exception as error:  # all is logged; the same command registers it
            log.warning("heads of %s are not registered: %s", task, without_secrets(f"{type(error).__name__}: {error}"))
            return str(place)
    write_json(note, {"key": key, "run_id": identity, "tracking_uri": where, "experiment": settings.experiment})
    return None


def _register(uri: str, run_id: str, heads: Mapping[str, str], settings: FinetuneSettings) -> None:
    """Make a version of a registered model of each head of a run, and let the alias name it."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    for head, key in heads.items():
        name = f"{settings.register}-{head.replace('/', '-')}"
        if not client.search_registered_models(filter_string=f"name = '{name}'"):
            client.create_registered_model(name, description=f"head {head} of foundation finetune")
        known = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
        version = known[0] if known else client.create_model_version(
            name, source=f"runs:/{run_id}/heads/{head}", run_id=run_id, tags={"head": key}
        )  # fmt: skip
        client.set_registered_model_alias(name, settings.alias, version.version)
        log.info("models:/%s@%s is version %s", name, settings.alias, version.version)


def _numbers(results: list[Result]) -> dict[str, float]:
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
    return numbers


def _add_files(tracker: Tracker, folder: Path, result: Result) -> None:
    place = folder / result.task / result.target
    predictions = read_predictions(place / f"{result.mode}.npz", result.key)
    if predictions is not None:
        picture = folder / result.task / "pictures" / f"{result.target}.{result.mode}.png"
        try:
            write_whole(picture, target_figure(result, predictions))
            tracker.files(picture, "pictures")
        except Exception as error:  # the numbers are logged without it
            log.warning("no picture of %s %s: %s: %s", result.target, result.mode, type(error).__name__, error)
    tracker.files(place / f"{result.mode}.json", f"results/{result.target}")
