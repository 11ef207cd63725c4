"""The listing of MLflow runs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foundation.common.credentials import without_secrets
from foundation.common.errors import ConfigError, FoundationError
from foundation.common.output.pages import text_table
from foundation.common.settings.renamed_settings import renamed
from foundation.common.tracking.mlflow_run import default_tracking_uri
from foundation.common.tracking.mlflow_tracker import send_rest

FIGURES = {"loss": "loss", "neuron_tokens_per_second": "tokens/s", "skipped_steps": "skipped"}


@dataclass(frozen=True)
class RunsSettings:
    """Settings of `foundation runs`.

    Args:
        place: a tracking server, a folder with mlflow.db (the folder of the runs' outputs), or
            ``sqlite:///file``; null: $MLFLOW_TRACKING_URI, or the current folder.
        experiment: list only runs of this experiment; empty: all.
        max_runs: number of newest runs to list.
        send: first send the entries of the run in this output folder that its tracking server did not receive.

    Raises:
        ConfigError: if a value is invalid.
    """

    place: str | None = None
    experiment: str = ""
    max_runs: int = renamed("most", 20)
    send: str | None = None

    def __post_init__(self) -> None:
        if self.max_runs < 1:
            raise ConfigError(f"max_runs is {self.max_runs}: expected at least 1")


def list_runs(settings: RunsSettings) -> list[dict[str, Any]]:
    """List runs with their state and metrics, the newest first.

    Returns:
        For each run ``name``, ``id``, ``experiment``, ``state``, ``step``, ``started`` and ``ended`` (seconds since
        1970, or None), and its last ``loss``, ``neuron_tokens_per_second`` and ``skipped_steps``, if logged.

    Raises:
        FoundationError: if the place does not exist, or the server does not answer.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    if settings.send is not None:
        _send(Path(settings.send))
    uri = tracking_uri(settings.place)
    client = MlflowClient(tracking_uri=uri)
    try:
        names = {e.experiment_id: e.name for e in client.search_experiments()}
        if settings.experiment and settings.experiment not in names.values():
            known = ", ".join(sorted(names.values()))
            raise ConfigError(f"experiment is {settings.experiment!r}: {without_secrets(uri)} has {known}")
        wanted = [i for i, name in names.items() if settings.experiment in ("", name)]
        found = client.search_runs(wanted, max_results=settings.max_runs, order_by=["attributes.start_time DESC"])
        return [_summary(client, run, names) for run in found]
    except MlflowException as error:
        raise FoundationError(without_secrets(f"cannot list the runs at {uri}: {error}")) from error


def tracking_uri(place: str | None) -> str:
    """Return the tracking URI of a server, a database or a folder.

    Raises:
        FoundationError: if the folder holds no runs.
    """
    if place is None:
        uri = default_tracking_uri(Path.cwd())
    elif "://" in place or place.startswith("sqlite:"):
        return place
    else:
        uri = f"sqlite:///{Path(place).resolve() / 'mlflow.db'}"
    file = uri.removeprefix("sqlite:///")
    if uri.startswith("sqlite:///") and not Path(file).is_file():
        raise FoundationError(f"no runs: {file} is missing; name the folder that holds mlflow.db, or a tracking server")
    return uri


def table(runs: list[dict[str, Any]]) -> str:
    """Return the table that `foundation runs` prints.

    Example:
        >>> run = {"name": "a", "id": "0" * 32, "experiment": "pretrain", "state": "FINISHED", "step": 40, "loss": 1.5,
        ...        "started": 0.0, "ended": 65.0}
        >>> print(table([run]))
        run  experiment  state     step  loss  tokens/s  skipped  took     started           id
        a    pretrain    finished  40    1.5   -         -        0:01:05  1970-01-01 00:00  00000000
    """
    if not runs:
        return "no runs"
    head = ["run", "experiment", "state", "step", *FIGURES.values(), "took", "started", "id"]
    rows = [head]
    for run in runs:
        took = (run["ended"] or time.time()) - run["started"]
        began = time.strftime("%Y-%m-%d %H:%M", time.gmtime(run["started"]))
        figures = [_number(run.get(name)) for name in FIGURES]
        step = "-" if run["step"] is None else str(run["step"])
        rows.append(
            [run["name"], run["experiment"], run["state"].lower(), step, *figures, _span(took), began, run["id"][:8]]
        )
    return text_table(rows)


def _summary(client: Any, run: Any, names: dict[str, str]) -> dict[str, Any]:
    metrics = run.data.metrics
    last = max((m.step for m in client.get_metric_history(run.info.run_id, "loss")), default=None)
    return {
        "name": run.info.run_name,
        "id": run.info.run_id,
        "experiment": names.get(run.info.experiment_id, run.info.experiment_id),
        "state": run.info.status,
        "step": last,
        "started": run.info.start_time / 1000,
        "ended": run.info.end_time / 1000 if run.info.end_time else None,
        **{name: metrics[name] for name in FIGURES if name in metrics},
    }


def _send(folder: Path) -> None:
    try:
        sent = send_rest(folder)
    except FileNotFoundError as error:
        raise ConfigError(f"send is {str(folder)!r}: {error}") from error
    if not sent:
        raise FoundationError(
            f"the tracking server of {folder} still does not answer: nothing is lost, try again later"
        )


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 or float(value).is_integer() else f"{value:.4g}"


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
