"""The folder of a run: its settings, its metrics, its model; one run at a time writes there."""

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
    """A JSON Lines file on a disk that may be full for a while: lines that cannot be written wait for the next one.

    Args:
        path: of the file, to which lines are appended.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp()) / "later"
        >>> lines = Lines(folder / "metrics.jsonl")
        >>> lines.add({"step": 1})  # there is no such folder
        >>> folder.mkdir()
        >>> lines.add({"step": 2})
        >>> lines.path.read_text()
        '{"step": 1}\\n{"step": 2}\\n'
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.waiting: list[str] = []

    def add(self, line: dict[str, Any]) -> None:
        """Append a line; an error of the disk is logged and not raised."""
        self.waiting.append(json.dumps(line) + "\n")
        size = 0
        try:
            size = self.path.stat().st_size if self.path.exists() else 0
            with open(self.path, "a") as out:
                out.write("".join(self.waiting))
        except OSError as error:
            if len(self.waiting) == 1:
                log.warning("%s cannot be written (%s): its lines wait, and the run goes on", self.path, error)
            with suppress(OSError):  # half a line would spoil the next
                os.truncate(self.path, size)
            return
        self.waiting.clear()


class RunFolder:
    """What the first process of a run writes beside its checkpoints.

    Args:
        path: the run's output.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.metrics, self.skipped = Lines(self.path / "metrics.jsonl"), Lines(self.path / "skipped.jsonl")
        self.model = self.path / "model"
        self.finished = self.path / "finished.json"

    @contextmanager
    def held(self, patience: float = 60.0) -> Iterator[None]:
        """Hold the folder, so that no other run writes to it.

        Raises:
            FoundationError: if another run still writes to it after ``patience`` seconds.
        """
        with folder_lock(self.path, patience):
            yield

    def clear(self) -> None:
        """Remove what earlier runs left, but for checkpoints that are kept elsewhere."""
        for name in ("model", "stacks", "tracking"):
            shutil.rmtree(self.path / name, ignore_errors=True)
        for path in (self.path / "checkpoints").glob("step-*"):  # the lock beside them is held
            shutil.rmtree(path, ignore_errors=True)
        for name in ("metrics.jsonl", "skipped.jsonl", "run.json", "finished.json"):
            (self.path / name).unlink(missing_ok=True)

    def finish(self, steps: int) -> None:
        """Note that the run came to its end: a launcher's exit status does not always tell."""
        write_whole(self.finished, json.dumps({"steps": steps}))

    def finished_at(self) -> int:
        """Steps after which the run came to its end; -1 if it has not."""
        try:
            return int(json.loads(self.finished.read_text())["steps"])
        except (OSError, ValueError, KeyError):
            return -1

    def write_settings(self, settings: PretrainSettings) -> None:
        """settings.yaml, without secrets in URLs, and the DeepSpeed configuration that was made from it."""
        write_whole(self.path / "settings.yaml", yaml.safe_dump(public(asdict(settings)), sort_keys=False))
        write_whole(self.path / "deepspeed.json", json.dumps(deepspeed_config(settings), indent=1))

    def add_metrics(self, step: int, metrics: dict[str, float]) -> None:
        """One line of metrics.jsonl; what is not finite is left out."""
        self.metrics.add({"step": step} | {k: v for k, v in metrics.items() if math.isfinite(v)})

    def add_skipped(self, step: int, report: dict[str, Any]) -> None:
        """One line of skipped.jsonl: a step that did not count, and why."""
        self.skipped.add({"step": step, **report})

    def keep_lines(self, steps: int) -> None:
        """Drop lines of steps that a resumed run will take again, and a last line that was cut off."""
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
        """Write the folder of the trained model, with its card and the record of its pretraining."""
        for part in self.path.glob(f".*{PART}"):  # of a run that was killed while it wrote
            remove_if_left(part)
        with whole_folder(self.model, replace=True) as part:
            write_model(model, tensors, part)
            (part / "README.md").write_text(card)
            (part / RECORD).write_text(json.dumps(record, indent=1) + "\n")
        return self.model
