"""Tracking that training never waits for: what is to be logged goes to a file, and a thread sends it from there.

::

    tracking/
      queue.jsonl     what is to be logged, a JSON object a line
      sent.json       how far it has been sent
    run.json          which MLflow run this is

If the tracking server is away, lines wait; they are sent when it is back, by this run or the one that goes on from it.
"""

from __future__ import annotations

import json
import logging
import math
import os
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from foundation.tracking import Run, default_tracking_uri
from foundation.training.settings import PretrainSettings

log = logging.getLogger(__name__)
AT_ONCE = 500  # lines sent together
LONGEST_PAUSE = 20.0
HTTP = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}


class Tracker:
    """The MLflow run of a training run; only the first process has one.

    Args:
        folder: of the run.
        uri: tracking server or ``sqlite:///file``.
        experiment, name: of the MLflow run.
        known: id of a run to go on with, if ``run.json`` does not know one.
        patience: seconds that `close` waits for a server that is away.

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
        self.queue, self._mark, self._note = (
            folder / "tracking/queue.jsonl",
            folder / "tracking/sent.json",
            folder / "run.json",
        )
        self.queue.parent.mkdir(parents=True, exist_ok=True)
        found = _read(self._note)
        same = found.get("tracking_uri") == uri
        self.id: str | None = (found.get("run_id") if same else None) or known
        mark = _read(self._mark) if same else {}
        self._sent, self.last_step = int(mark.get("sent", 0)), int(mark.get("last_step", -1))
        if not same or not self.queue.is_file() or self._sent >= self.queue.stat().st_size:
            self.queue.write_bytes(b"")
            self._sent = 0
        for line in self._lines(self._sent)[0]:
            self.last_step = max(self.last_step, int(line.get("step", -1)))
        self._write_note()
        self._mark_sent()
        self._file = open(self.queue, "a")  # noqa: SIM115 (open as long as the run)
        if self.queue.stat().st_size and not self.queue.read_bytes().endswith(b"\n"):
            self._file.write("\n")  # a line that a crash has cut off
            self._file.flush()
        self._run: Run | None = None
        self._away_since: float | None = None
        self._more, self._ending = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._send_all, name="tracker", daemon=True)
        self._thread.start()

    def params(self, values: dict[str, Any]) -> None:
        """Log settings; a run that goes on keeps those that it has."""
        self._add({"kind": "params", "values": json.loads(json.dumps(values, default=str))})

    def metrics(self, values: dict[str, float], step: int) -> None:
        """Log numbers of a step; a step that is taken again after a restart is not logged again."""
        if step <= self.last_step:
            return
        self.last_step = step
        finite = {name: float(v) for name, v in values.items() if math.isfinite(v)}
        self._add({"kind": "metrics", "step": step, "time": int(time.time() * 1000), "values": finite})

    def files(self, path: Path, folder: str | None = None) -> None:
        """Log a file, or all of a folder; it must stay where it is until it has been sent."""
        self._add({"kind": "files", "path": str(path.resolve()), "folder": folder})

    def close(self, status: str = "FINISHED") -> bool:
        """End the run; ``FAILED`` or ``KILLED`` say that it did not come to its end.

        Returns:
            Whether all was sent. What was not stays in the queue.
        """
        self._add({"kind": "status", "status": status})
        return self.finish()

    def finish(self) -> bool:
        """Send what is there and stop sending; the state of the run stays as it is."""
        self._ending.set()
        self._more.set()
        self._thread.join()
        self._file.close()
        left = self._sent < self.queue.stat().st_size
        if left:
            log.warning(
                "the tracking server at %s is away: what it has not got waits in %s, for the run to go on or for "
                "`foundation runs --send %s`", self.uri, self.queue, self.folder,
            )  # fmt: skip
        return not left

    def _add(self, line: dict[str, Any]) -> None:
        try:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        except OSError as error:  # a full disk: training matters more
            log.warning("cannot write %s: %s", self.queue, error)
        self._more.set()

    def _send_all(self) -> None:
        pause = 1.0
        while True:
            try:
                if self._send_some():
                    pause, self._away_since = 1.0, None
                    continue
                if self._ending.is_set():
                    return
                self._more.wait()
                self._more.clear()
            except Exception as error:  # whatever it is, training goes on
                if self._away_since is None:
                    self._away_since = time.monotonic()
                    log.warning("tracking at %s: %s; metrics wait in %s", self.uri, _short(error), self.queue)
                log.debug("tracking", exc_info=True)
                self._run = None
                if self._ending.wait(pause):
                    if time.monotonic() - self._away_since > self.patience:
                        return
                    time.sleep(min(1.0, pause))
                pause = min(2 * pause, LONGEST_PAUSE)

    def _send_some(self) -> bool:
        """Send the next lines; False if there are none."""
        lines, end = self._lines(self._sent, AT_ONCE)
        if end == self._sent:
            return False
        if self._run is None:
            self._run = Run(self.uri, self.experiment, self.name, self.id)
            self.id = self._run.id
            self._write_note()
        run = self._run
        run.metric_lines([line for line in lines if line["kind"] == "metrics"])
        for line in lines:
            if line["kind"] == "params":
                run.params(line["values"])
            elif line["kind"] == "files" and Path(line["path"]).exists():
                run.files(Path(line["path"]), line["folder"])
            elif line["kind"] == "status":
                run.close(line["status"])
        self._sent = end
        self._mark_sent()
        return True

    def _lines(self, start: int, most: int = 1 << 60) -> tuple[list[dict[str, Any]], int]:
        """Whole lines from a place in the queue on, and where the last of them ends."""
        lines: list[dict[str, Any]] = []
        with open(self.queue, "rb") as file:
            file.seek(start)
            for raw in file:
                if not raw.endswith(b"\n") or len(lines) >= most:
                    break
                start += len(raw)
                try:
                    lines.append(json.loads(raw))
                except ValueError:  # cut off by a crash, and written on by the next run
                    log.warning("%s holds a line that is damaged", self.queue)
        return lines, start

    def _mark_sent(self) -> None:
        _write(self._mark, {"sent": self._sent, "last_step": self.last_step})

    def _write_note(self) -> None:
        note = {"run_id": self.id, "tracking_uri": self.uri, "experiment": self.experiment, "name": self.name}
        _write(self._note, note)


def open_tracker(settings: PretrainSettings, folder: Path, known: str | None, world: int) -> Tracker:
    """The MLflow run of a pretraining run, with its settings; ``known`` is the one that a checkpoint names."""
    uri = settings.tracking_uri or default_tracking_uri(folder.resolve().parent)
    tracker = Tracker(folder, uri, settings.experiment, folder.name, known)
    tracker.params({**asdict(settings), "world": world})
    return tracker


def send_rest(folder: Path) -> bool:
    """Send what a run that has ended could not; True if nothing is left."""
    note = _read(folder / "run.json")
    if not note:
        raise FileNotFoundError(f"{folder / 'run.json'}: no run in {folder}")
    tracker = Tracker(folder, note["tracking_uri"], note["experiment"], note["name"], patience=5.0)
    return tracker.finish()


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}


def _write(path: Path, value: dict[str, Any]) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(value))
    os.replace(part, path)


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"
