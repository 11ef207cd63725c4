"""Runs in MLflow: parameters, metrics and files of one piece of work."""

from __future__ import annotations

import hashlib
import logging
import os
import posixpath
import re
import time
from pathlib import Path
from typing import Any

from foundation.common.credentials import public, without_secrets

log = logging.getLogger(__name__)
GONE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "INVALID_STATE")  # a missing or deleted run
LONGEST_NAME = 250  # most characters that MLflow accepts


def default_tracking_uri(folder: Path) -> str:
    """Return $MLFLOW_TRACKING_URI, or an SQLite file in ``folder``."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(folder / 'mlflow.db').resolve()}"


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as a flat mapping with dotted names.

    Example:
        >>> flatten({"a": {"b": 1}, "c": 2})
        {'a.b': 1, 'c': 2}
    """
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def accepted_name(name: str) -> str:
    """Return a name that MLflow accepts for a metric or a parameter: unchanged if possible, otherwise a unique variant.

    Example:
        >>> accepted_name("validation/type 2")
        'validation/type 2'
        >>> accepted_name("validation/type (A|B)"), accepted_name("validation/type [A|B]")
        ('validation/type -A-B--1fc7c9aa', 'validation/type -A-B--d6cd3f15')
    """
    like = re.sub(r"[^\w/.\- :]", "-", name)
    if posixpath.normpath(like) != like or like == "." or like.startswith(("..", "/")):  # another path
        like = "-" + like.lstrip(".").replace("/", "-")
    if like == name and len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{like[: LONGEST_NAME - len(digest) - 1]}-{digest}"


class Run:
    """One MLflow run, new or continued.

    Args:
        uri: tracking server or ``sqlite:///file``.
        experiment: the experiment's name; created if missing.
        name: the run's name.
        run_id: of a run to continue.

    Example:
        >>> import tempfile
        >>> with Run(f"sqlite:///{tempfile.mkdtemp()}/mlflow.db", "docs", "example") as run:
        ...     run.params({"lr": 0.1})
        ...     run.metrics({"loss": 1.0}, step=0)
        >>> len(run.id)
        32
    """

    def __init__(self, uri: str, experiment: str, name: str, run_id: str | None = None) -> None:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        for noisy in ("alembic", "mlflow", "mlflow.store.db.utils"):  # mlflow sets its own levels on import
            logging.getLogger(noisy).setLevel(logging.WARNING)

        self.client = MlflowClient(tracking_uri=uri)
        self.id = ""
        if run_id is not None:
            try:
                self.client.update_run(run_id, status="RUNNING")
                self.id = run_id
            except MlflowException as error:
                if error.error_code not in GONE:
                    raise
                where, why = without_secrets(uri), without_secrets(str(error))
                log.warning("run %s no longer exists at %s (%s): starting a new one", run_id, where, why)
        if not self.id:
            self.id = self.client.create_run(self._experiment(uri, experiment), run_name=name).info.run_id

    def _experiment(self, uri: str, name: str) -> str:
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        files = None
        if uri.startswith("sqlite:///"):  # keep the run's files beside the database
            files = (Path(uri.removeprefix("sqlite:///")).resolve().parent / "mlartifacts").as_uri()
        try:
            return str(self.client.create_experiment(name, artifact_location=files))
        except MlflowException:  # another process has just created it
            found = self.client.get_experiment_by_name(name)
            if found is None:
                raise
            return str(found.experiment_id)

    def params(self, values: dict[str, Any]) -> None:
        """Log parameters, nested ones by dotted names; a continued run keeps its existing values.

        Secrets in URLs are removed.
        """
        from mlflow.entities import Param

        known = self.client.get_run(self.id).data.params
        given = {accepted_name(name): value for name, value in flatten(public(values)).items()}
        new = [Param(name, str(value)[:6000]) for name, value in given.items() if name not in known]
        for first in range(0, len(new), 100):
            self.client.log_batch(self.id, params=new[first : first + 100])

    def metrics(self, values: dict[str, float], step: int = 0) -> None:
        """Log the metrics of a step."""
        self.metric_lines([{"values": values, "step": step, "time": int(time.time() * 1000)}])

    def metric_lines(self, lines: list[dict[str, Any]]) -> None:
        """Log metrics of many steps: objects with ``values``, ``step`` and ``time`` (milliseconds since 1970)."""
        from mlflow.entities import Metric

        found = [
            Metric(accepted_name(name), float(value), line["time"], line["step"])
            for line in lines
            for name, value in line["values"].items()
        ]
        for first in range(0, len(found), 1000):
            self.client.log_batch(self.id, metrics=found[first : first + 1000])

    def files(self, path: Path, folder: str | None = None) -> None:
        """Log a file, or all files of a folder."""
        if path.is_dir():
            self.client.log_artifacts(self.id, str(path), folder)
        else:
            self.client.log_artifact(self.id, str(path), folder)

    def close(self, status: str = "FINISHED") -> None:
        """End the run, with status ``FAILED`` or ``KILLED`` if it was cut short."""
        self.client.set_terminated(self.id, status)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.close("KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED")
