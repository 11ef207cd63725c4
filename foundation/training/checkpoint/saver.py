"""Writes checkpoints in the background, from all processes at once, and applies retention."""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from foundation.common.errors import CheckpointError, ConfigError
from foundation.common.retry import retried
from foundation.training.checkpoint.checkpoint import Checkpoints, commit, model_config, sha256, snapshot, to_bytes
from foundation.training.checkpoint.retention import Rotation
from foundation.training.distributed.engine import deepspeed_config
from foundation.training.distributed.process_messages import Control
from foundation.training.pretrain_settings import PretrainSettings
from foundation.version import __version__

log = logging.getLogger(__name__)


class Saver:
    """Saves the checkpoints of a run.

    Each process writes its share, and a receipt that lists its files and their digests. The first process waits for all
    receipts and then writes the manifest, which commits the checkpoint. Processes do not wait for each other in
    between, so this runs in a thread while training continues.

    Args:
        place: the run's checkpoints.
        control: messages to the other processes.
        settings: settings of the run.
        identity: settings and recordings that decide the weights.
    """

    def __init__(
        self, place: Checkpoints, control: Control, settings: PretrainSettings, identity: dict[str, Any]
    ) -> None:
        self.place, self.control, self.settings, self.identity = place, control, settings, identity
        self.rotation = Rotation(place, settings)
        self.failure = ""
        self.saved_step = -1
        self.seconds = 0.0
        self._thread: threading.Thread | None = None

    def clean(self) -> None:
        """Remove checkpoints that earlier runs left unfinished. All processes call it."""
        if self.control.rank == 0:
            try:
                self.place.sure(self._clean, f"removing unfinished checkpoints in {self.place.files.name}")
            except Exception as error:
                log.warning("cannot remove unfinished checkpoints (%s: %s)", type(error).__name__, error)
        self.control.of_first(None)

    def _clean(self) -> None:
        for name in self.place.unfinished():
            log.info("removing the unfinished checkpoint %s", self.place.where(name))
            self.place.remove(name)

    def save(self, engine: Any, step: int, state: dict[str, Any]) -> float:
        """Save the state after ``step`` steps. All processes call it.

        Returns:
            Seconds for which training stopped.
        """
        began = time.perf_counter()
        self.wait()
        name = f"step-{step:08d}"
        if self.control.rank == 0:
            try:
                self._try(lambda: self.place.remove(name), f"clearing {name}")
            except Exception as error:
                self._fail(name, error)
        token = self.control.of_first(uuid.uuid4().hex)
        if self.control.any(bool(self.failure))[0]:
            return time.perf_counter() - began
        parts = snapshot(engine)
        texts = {}
        if self.control.rank == 0:
            texts["model/config.json"] = model_config(engine.module.model)
            texts["deepspeed.json"] = json.dumps(deepspeed_config(self.settings), indent=1).encode()
        self.saved_step = step
        self._thread = threading.Thread(
            target=self._write_all, args=(name, token, step, parts, texts, state), name="saver", daemon=True
        )
        self._thread.start()
        if not self.settings.saving.asynchronous:
            self.wait()
        return time.perf_counter() - began

    def wait(self) -> None:
        """Wait until this process has written its share of the last checkpoint, and the first one has committed it."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _write_all(
        self, name: str, token: str, step: int, parts: dict[str, Any], texts: dict[str, bytes], state: dict[str, Any]
    ) -> None:
        began = time.perf_counter()
        try:
            digests, sizes = {}, {}
            for file in [*texts, *parts]:
                content = texts[file] if file in texts else to_bytes(parts.pop(file))
                digests[file], sizes[file] = self._write(f"{name}/{file}", content), len(content)
            if self.control.rank != 0:
                receipt = {"token": token, "files": digests, "sizes": sizes}
                self._try(lambda: self.place.files.write_json(self._receipt(name, self.control.rank), receipt), name)
                return
            for rank in range(1, self.control.world):
                received = self._await(name, rank, token)
                digests |= received["files"]
                sizes |= received["sizes"]
            self.place.check_whole(name, sizes)  # before it is committed and an older one is removed
            manifest = {
                "step": step,
                "version": __version__,
                "identity": self.identity,
                "files": digests,
                "state": state,
                "world": self.control.world,
                "zero_stage": self.settings.zero_stage,
                "time": time.time(),
            }
            self._try(lambda: commit(self.place, name, manifest), f"committing {name}")
            self.rotation.rotate(*([f"{name}/receipts"] if self.control.world > 1 else []))
            self.seconds = time.perf_counter() - began
        except Exception as error:
            self._fail(name, error)
            if self.control.rank == 0:
                try:
                    self.place.remove(name)  # raises if the lease is lost
                except Exception as also:
                    log.debug("cannot remove its files: %s", also)

    def _fail(self, name: str, error: Exception) -> None:
        log.debug("saving failed", exc_info=True)
        self.failure = f"{self.place.where(name)} cannot be written ({type(error).__name__}: {error})"

    def _write(self, name: str, content: bytes) -> str:
        self._try(lambda: self.place.files.write_bytes(name, content), f"writing {name}")
        return sha256(content)

    def _try(self, action: Callable[[], None], what: str) -> None:
        """Change the place, with retries, unless another run has taken it over."""

        def change() -> None:
            self.place.check_held()
            action()

        safety, unless = self.settings.safety, (ConfigError, CheckpointError)
        retried(change, what, retries=safety.retries, pause=safety.pause, unless=unless)

    def _receipt(self, name: str, rank: int) -> str:
        return f"{name}/receipts/{rank:05d}.json"

    def _await(self, name: str, rank: int, token: str) -> dict[str, Any]:
        """Wait for the receipt of another process's share and return it."""
        end = time.monotonic() + self.settings.saving.patience
        while True:
            receipt = self.place.files.read_json(self._receipt(name, rank))
            if receipt is not None and receipt["token"] == token:
                return receipt
            if time.monotonic() > end:
                raise CheckpointError(
                    f"no share of process {rank} within {self.settings.saving.patience:g} s (saving.patience): "
                    "saving.place must be storage that all machines share"
                )
            time.sleep(0.02 if self.place.files.is_local else 0.5)
