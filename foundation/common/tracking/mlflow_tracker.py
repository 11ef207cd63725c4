"""Tracking with MLflow that training never waits for: entries go to a file, from which a thread sends them.

::

    tracking/
      queue.jsonl     the entries, a JSON object a line
      sent.json       how far the queue has been sent
      server.json     the server's whole URL if it holds a name or password; only its owner can read the file
    run.json          the id of the MLflow run

If the tracking server does not answer, entries wait in the queue; this run, or one that resumes it, sends them later.
Entries that the server rejects for good are left out.
"""

from __future__ import annotations

import json
import logging
import math
import os
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from foundation.common.credentials import holds_secret, public, without_secrets
from foundation.common.files.locks import folder_lock, write_whole
from foundation.common.tracking.mlflow_run import Run, flatten

log = logging.getLogger(__name__)
AT_ONCE = 500  # lines sent together
MAX_PAUSE = 20.0
SERVER = "tracking/server.json"
Line = dict[str, Any]
# Error codes of MLflow for which retrying cannot help. Those of authentication can: a token may be renewed.
REFUSALS = (
    "BAD_REQUEST",
    "INVALID_PARAMETER_VALUE",
    "INVALID_STATE",
    "MALFORMED_REQUEST",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_DOES_NOT_EXIST",
)
PASSING = (401, 403, 407, 408, 409, 425, 429)  # HTTP statuses from 400 to 499 for which retrying can help
HTTP = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}


class Tracker:
    """The MLflow run of a training run or of a task; only the first process of a run has one.

    Args:
        folder: folder of the run.
        uri: tracking server or ``sqlite:///file``.
        experiment: name of the MLflow experiment.
        name: name of the MLflow run.
        known: id of an MLflow run to continue, if ``run.json`` names none.
        patience: seconds that `close` waits for a server that does not answer.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> tracker = Tracker(folder, f"sqlite:///{folder}/mlflow.db", "docs", "example")
        >>> tracker.metrics({"loss": 1.0}, step=1)
        >>> tracker.close()
        True
    """

    def __init__(
        self, folder: Path, uri: str, experiment: str, name: str, known: str | None = None, patience: float = 30.0
    ) -> None:
        self.folder, self.uri, self.experiment, self.name, self.patience = folder, uri, experiment, name, patience
        for variable, value in HTTP.items():
            os.environ.setdefault(variable, value)
        self.place = without_secrets(uri)
        self.queue, self._mark, self._note = (
            folder / "tracking/queue.jsonl",
            folder / "tracking/sent.json",
            folder / "run.json",
        )
        self.queue.parent.mkdir(parents=True, exist_ok=True)
        found = _read(self._note)
        same = without_secrets(found.get("tracking_uri", "")) == self.place  # under another password too
        self.id: str | None = (found.get("run_id") if same else None) or known
        mark = _read(self._mark) if same else {}
        self._sent, self.last_step = int(mark.get("sent", 0)), int(mark.get("last_step", -1))
        if not same or not self.queue.is_file() or self._sent >= self.queue.stat().st_size:
            self.queue.write_bytes(b"")
            self._sent = 0
        for line in read_lines(self.queue, self._sent)[0]:
            self.last_step = max(self.last_step, int(line.get("step", -1)))
        self._write_note()
        if holds_secret(uri):  # `send_rest` needs it
            write_whole(folder / SERVER, json.dumps({"tracking_uri": uri}), private=True)
        else:
            (folder / SERVER).unlink(missing_ok=True)
        self._mark_sent()
        self._file = open(self.queue, "a")  # noqa: SIM115 (open as long as the run)
        if self.queue.stat().st_size and not self.queue.read_bytes().endswith(b"\n"):
            self._file.write("\n")  # a line that a crash has cut off
            self._file.flush()
        self._run: Run | None = None
        self._error: Exception | None = None
        self._refused: set[str] = set()
        self._away_since: float | None = None
        self._more, self._ending = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._send_all, name="tracker", daemon=True)
        self._thread.start()

    def params(self, values: dict[str, Any]) -> None:
        """Log settings; a continued run keeps the settings that it already has."""
        self._add({"kind": "params", "values": public(json.loads(json.dumps(values, default=str)))})

    def metrics(self, values: dict[str, float], step: int) -> None:
        """Log metrics of a step; a step that is repeated after a restart is not logged again."""
        if step <= self.last_step:
            return
        self.last_step = step
        finite = {name: float(v) for name, v in values.items() if math.isfinite(v)}
        self._add({"kind": "metrics", "step": step, "time": int(time.time() * 1000), "values": finite})

    def files(self, path: Path, folder: str | None = None) -> None:
        """Log a file, or all files of a folder; they must stay in place until they have been sent."""
        self._add({"kind": "files", "path": str(path.resolve()), "folder": folder})

    def close(self, status: str = "FINISHED") -> bool:
        """End the run, with status ``FAILED`` or ``KILLED`` if it was cut short.

        Returns:
            True if the server has taken or rejected every entry. Otherwise the rest stays in the queue.
        """
        self._add({"kind": "status", "status": status})
        return self.finish()

    def finish(self) -> bool:
        """Send the entries in the queue and stop the thread; the state of the MLflow run does not change."""
        self._ending.set()
        self._more.set()
        self._thread.join()
        self._file.close()
        left = self._sent < self.queue.stat().st_size
        if left:
            state = "is away"
            if self._error is not None and is_refusal(self._error):
                state = f"rejects the run ({_short(self._error)})"
            log.warning(
                "the tracking server at %s %s: unsent entries wait in %s; resume the run or send them with "
                "`foundation runs --send %s`", self.place, state, self.queue, self.folder,
            )  # fmt: skip
        return not left

    def _add(self, line: dict[str, Any]) -> None:
        try:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        except OSError as error:  # a full disk must not stop training
            log.warning("cannot write %s: %s", self.queue, error)
        self._more.set()

    def _send_all(self) -> None:
        pause = 1.0
        while True:
            ending = self._ending.is_set()  # read this first: a line may be added between the last read and the end
            try:
                if self._send_some():
                    pause, self._away_since = 1.0, None
                    continue
                if ending:
                    return
                self._more.wait()
                self._more.clear()
            except Exception as error:  # training continues after any error
                self._error = error
                if self._away_since is None:
                    self._away_since = time.monotonic()
                    log.warning("tracking at %s: %s; metrics wait in %s", self.place, _short(error), self.queue)
                log.debug("tracking: %s", without_secrets(traceback.format_exc()))
                self._run = None
                if self._ending.wait(pause):
                    if time.monotonic() - self._away_since > self.patience:
                        return
                    time.sleep(min(1.0, pause))
                pause = min(2 * pause, MAX_PAUSE)

    def _send_some(self) -> bool:
        """Send the next lines; return False if the queue is empty."""
        lines, end = read_lines(self.queue, self._sent, AT_ONCE)
        if end == self._sent:
            return False
        run = self._run or self._open()
        try:
            send(run, lines)
        except Exception as error:
            if not is_refusal(error):
                raise
            # Open the run again: if it was deleted, a new one takes all lines.
            self._leave_out(send_singly(self._open(), lines))
        self._sent = end
        self._mark_sent()
        return True

    def _open(self) -> Run:
        self._run = None
        self._run = Run(self.uri, self.experiment, self.name, self.id)
        self.id = self._run.id
        self._write_note()
        return self._run

    def _leave_out(self, refused: dict[str, Exception]) -> None:
        """Log the names of values that were not rejected before."""
        new = {name: error for name, error in refused.items() if name not in self._refused}
        self._refused |= new.keys()
        if new:
            why = _short(next(iter(new.values())))
            log.warning("tracking at %s rejects %s, which is left out there: %s", self.place, ", ".join(new), why)

    def _mark_sent(self) -> None:
        _write(self._mark, {"sent": self._sent, "last_step": self.last_step})

    def _write_note(self) -> None:
        note = {"run_id": self.id, "tracking_uri": self.place, "experiment": self.experiment, "name": self.name}
        _write(self._note, note)


def send_rest(folder: Path, patience: float = 5.0) -> bool:
    """Send the entries that a run could not send before it ended; return True if the queue is empty now.

    Raises:
        FileNotFoundError: if there is no run in the folder.
        FoundationError: if the run is still writing.
    """
    note = _read(folder / "run.json")
    if not note:
        raise FileNotFoundError(f"{folder / 'run.json'}: no run in {folder}")
    uri = _read(folder / SERVER).get("tracking_uri", "")
    if without_secrets(uri) != note["tracking_uri"]:
        uri = note["tracking_uri"]
    with folder_lock(folder, patience=1.0):  # a run that is still writing sends its entries itself
        tracker = Tracker(folder, uri, note["experiment"], note["name"], patience=patience)
        return tracker.finish()


def is_refusal(error: Exception) -> bool:
    """True if retrying cannot help: the server rejected the request. Connection errors return False.

    Example:
        >>> from mlflow.exceptions import RestException
        >>> codes = ("INVALID_PARAMETER_VALUE", "RESOURCE_EXHAUSTED", "INTERNAL_ERROR", "PERMISSION_DENIED")
        >>> [is_refusal(RestException({"error_code": code})) for code in codes]
        [True, False, False, False]
    """
    code = getattr(error, "error_code", None)
    if code is not None:
        return code in REFUSALS
    status = getattr(getattr(error, "response", None), "status_code", None)  # of artifacts, which go by plain HTTP
    return isinstance(status, int) and 400 <= status < 500 and status not in PASSING


def read_lines(queue: Path, start: int, max_lines: int = 1 << 60) -> tuple[list[Line], int]:
    """Return the complete lines of the queue after a byte offset, and the offset of their end."""
    lines: list[Line] = []
    with open(queue, "rb") as file:
        file.seek(start)
        for raw in file:
            if not raw.endswith(b"\n") or len(lines) >= max_lines:
                break
            start += len(raw)
            try:
                lines.append(json.loads(raw))
            except ValueError:  # cut off by a crash and continued by the next run
                log.warning("%s holds a damaged line, which is left out", queue)
    return lines, start


def send(run: Run, lines: list[Line]) -> None:
    """Send lines together, metrics first."""
    run.metric_lines([line for line in lines if line["kind"] == "metrics"])
    for line in lines:
        if line["kind"] == "params":
            run.params(line["values"])
        elif line["kind"] == "files" and Path(line["path"]).exists():
            run.files(Path(line["path"]), line["folder"])
        elif line["kind"] == "status":
            run.close(line["status"])


def send_singly(run: Run, lines: list[Line]) -> dict[str, Exception]:
    """Send lines one by one, and the values of a rejected line one by one.

    Returns:
        The names of the rejected values, each with the server's error. All others have been sent.
    """
    refused: dict[str, Exception] = {}
    for line in lines:
        try:
            send(run, [line])
        except Exception as error:
            if not is_refusal(error):
                raise
            parts = _parts(line)
            refused |= send_singly(run, parts) if len(parts) > 1 else {_name(line): error}
    return refused


def _parts(line: Line) -> list[Line]:
    return [{**line, "values": {name: value}} for name, value in flatten(line.get("values", {})).items()]


def _name(line: Line) -> str:
    if line["kind"] in ("metrics", "params"):
        return f"{line['kind'].removesuffix('s')} {next(iter(flatten(line['values'])), '')!r}"
    return f"file {line['path']}" if line["kind"] == "files" else f"status {line['status']}"


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}


def _write(path: Path, value: dict[str, Any]) -> None:
    write_whole(path, json.dumps(value))


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {without_secrets(str(error)).splitlines()[0][:200] if str(error) else ''}"
