"""The folder of a run with its settings, metrics and model; only one run at a time writes there."""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from foundation.common.credentials import public
from foundation.common.files.locks import PART, folder_lock, remove_if_left, whole_folder, write_whole
from foundation.training.checkpoint.checkpoint import Tensors, write_model
from foundation.training.distributed.engine import deepspeed_config
from foundation.training.output.pretraining_record import RECORD
from foundation.training.pretrain_settings import PretrainSettings

log = logging.getLogger(__name__)


class Lines:
    """A JSON Lines file that tolerates a full disk: lines that cannot be written wait for the next one.

    Args:
        path: the file to append to.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp()) / "later"
        >>> lines = Lines(folder / "metrics.jsonl")
        >>> lines.add({"step": 1})  # the folder does not exist yet
        >>> folder.mkdir()
        >>> lines.add({"step": 2})
        >>> lines.path.read_text()
        '{"step": 1}\\n{"step": 2}\\n'
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.waiting: list[str] = []

    def add(self, line: dict[str, Any]) -> None:
        """Append a line; disk errors are logged, not raised."""
        self.waiting.append(json.dumps(line) + "\n")
        size = 0
        try:
            size = self.path.stat().st_size if self.path.exists() else 0
            with open(self.path, "a") as out:
                out.write("".join(self.waiting))
        except OSError as error:
            if len(self.waiting) == 1:
                log.warning("%s cannot be written (%s): keeping its lines in memory meanwhile", self.path, error)
            with suppress(OSError):  # remove half a line, which would spoil the next one
                os.truncate(self.path, size)
            return
        self.waiting.clear()


class RunFolder:
    """The files that the first process of a run writes beside its checkpoints.

    Args:
        path: output folder of the run.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.metrics, self.skipped = Lines(self.path / "metrics.jsonl"), Lines(self.path / "skipped.jsonl")
        self.model = self.path / "model"
        self.finished = self.path / "finished.json"

    @contextmanager
    def held(self, patience: float = 60.0) -> Iterator[None]:
        """Lock the folder against other runs.

        Raises:
            FoundationError: if another run still writes to it after ``patience`` seconds.
        """
        with folder_lock(self.path, patience):
            yield

    def clear(self) -> None:
        """Remove the files of earlier runs, except checkpoints in another place."""
        for name in ("model", "stacks", "tracking"):
            shutil.rmtree(self.path / name, ignore_errors=True)
        for path in (self.path / "checkpoints").glob("step-*"):  # keep the lock beside them
            shutil.rmtree(path, ignore_errors=True)
        for name in ("metrics.jsonl", "skipped.jsonl", "run.json", "finished.json"):
            (self.path / name).unlink(missing_ok=True)

    def finish(self, steps: int) -> None:
        """Record that the run is complete, since a launcher's exit status is not reliable."""
        write_whole(self.finished, json.dumps({"steps": steps}))

    def finished_at(self) -> int:
        """Return the number of steps of a complete run; -1 if the run is not complete."""
        try:
            return int(json.loads(self.finished.read_text())["steps"])
        except (OSError, ValueError, KeyError):
            return -1

    def write_settings(self, settings: PretrainSettings) -> None:
        """Write settings.yaml, without secrets in URLs, and the resulting DeepSpeed configuration."""
        write_whole(self.path / "settings.yaml", yaml.safe_dump(public(asdict(settings)), sort_keys=False))
        write_whole(self.path / "deepspeed.json", json.dumps(deepspeed_config(settings), indent=1))

    def add_metrics(self, step: int, metrics: dict[str, float]) -> None:
        """Add a line to metrics.jsonl, without values that are not finite."""
        self.metrics.add({"step": step} | {k: v for k, v in metrics.items() if math.isfinite(v)})

    def add_skipped(self, step: int, report: dict[str, Any]) -> None:
        """Add a line to skipped.jsonl: a skipped step, and why."""
        self.skipped.add({"step": step, **report})

    def keep_lines(self, steps: int) -> None:
        """Drop the lines of steps that a resumed run will repeat, and an incomplete last line."""
        for file in (self.metrics.path, self.skipped.path):
            if not file.is_file():
                continue
            kept = []
            for line in file.read_text().splitlines():
                try:
                    if json.loads(line)["step"] <= steps:
                        kept.append(line)
                except (ValueError, KeyError):
                    continue
            write_whole(file, "".join(line + "\n" for line in kept))

    def write_model(self, model: Any, tensors: Tensors, card: str, record: dict[str, Any]) -> Path:
        """Write the folder of the trained model, with its card and the record of its training data."""
        for part in self.path.glob(f".*{PART}"):  # left by a run that was killed while writing
            remove_if_left(part)
        with whole_folder(self.model, replace=True) as part:
            write_model(model, tensors, part)
            (part / "README.md").write_text(card)
            (part / RECORD).write_text(json.dumps(record, indent=1) + "\n")
        return self.model
