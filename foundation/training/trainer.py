"""Pretraining: from a store of recordings to a model folder."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from transformers.utils import logging as transformers_logging

from foundation.data import Loader, StepPlan
from foundation.data.loader import StepBatch
from foundation.errors import RequeueError, StoreError
from foundation.progress import Progress
from foundation.store.catalog import Catalog
from foundation.store.storage import Store
from foundation.training.batches import Batches
from foundation.training.best import Best
from foundation.training.card import model_card
from foundation.training.checkpoint import Checkpoints, recordings_digest, select
from foundation.training.contexts import Contexts
from foundation.training.control import Control
from foundation.training.engine import build_engine, build_module, is_launched, start_distributed
from foundation.training.figures import System, Throughput
from foundation.training.restarts import launch_with_restarts
from foundation.training.resuming import resume
from foundation.training.run_folder import RunFolder
from foundation.training.saver import Saver
from foundation.training.settings import PretrainSettings
from foundation.training.signals import StopSignals
from foundation.training.skipping import Skips
from foundation.training.state import weights
from foundation.training.stopping import stop_if_asked
from foundation.training.suspects import find_suspects
from foundation.training.tracker import Tracker, open_tracker
from foundation.training.update import update
from foundation.training.validation import Validator, split
from foundation.training.watchdog import Watchdog

log = logging.getLogger(__name__)


def pretrain(settings: PretrainSettings) -> Path:
    """Pretrain a model on a store; go on where an earlier run in the same output was.

    With ``processes`` above 1, ``hosts`` or ``restarts`` this starts the DeepSpeed launcher and waits for it; each
    process it starts comes back here.

    Args:
        settings: see `PretrainSettings`.

    Returns:
        The folder of the model: config.json, model.safetensors and a model card (README.md).

    Raises:
        StoreError: if the store is missing or empty.
        CheckpointError: if ``output`` holds a run with other settings or recordings.
        RequeueError: if the run was told to stop; it has saved its state.
        FoundationError: if loss or gradients stay not finite, data or checkpoints cannot be read or written after
            repeated attempts, or a process ends with an error.
    """
    output = Path(settings.output)
    if settings.needs_launcher and not is_launched():
        launch_with_restarts(settings)
        return output / "model"
    catalog = Catalog.open(Store(settings.store))
    if not len(catalog):
        raise StoreError(f"the store at {settings.store!r} has no recordings: fill it with `foundation ingest`")
    transformers_logging.disable_progress_bar()
    trainer = Trainer(settings, catalog)
    return trainer.run()


class Trainer:
    """One process of a pretraining run.

    Args:
        settings: see `PretrainSettings`.
        catalog: the recordings.
    """

    def __init__(self, settings: PretrainSettings, catalog: Catalog) -> None:
        self.settings = settings
        self.catalog, held_out = split(catalog, settings.validation.held_out)
        self.folder = RunFolder(settings.output)
        self.rank, self.world = start_distributed(settings.safety.timeout)
        self.control = Control(settings.safety.timeout)
        module = build_module(settings)
        bins = getattr(module.model.config, "patch_length", 1)
        spec = module.objective.view_spec
        self.plan = StepPlan(self.catalog, settings.data, spec, bins_per_token=bins, seed=settings.seed)
        self.loader = Loader(self.catalog, self.plan, rank=self.rank, world=self.world)
        self.contexts = Contexts(self.catalog, self.plan, steps=settings.steps, rank=self.rank, world=self.world)
        self.validator = None
        if settings.validation.every:
            self.validator = Validator(
                settings, self.catalog, held_out, self.plan, self.control, lambda: build_module(settings)
            )
        self.engine = build_engine(module, settings)
        self.identity = {**settings.identity(), "recordings": recordings_digest(self.catalog)}
        self.checkpoints = Checkpoints(settings.saving.place or self.folder.path / "checkpoints")
        self.saver = Saver(self.checkpoints, self.control, settings, self.identity)
        self.throughput = Throughput(bins)
        self.skips = Skips(settings.safety.max_skipped)
        self.paths = {record["id"]: record["path"] for record in self.catalog.records}
        self.best = Best(settings.saving.best, settings.saving.highest)
        self.metrics: dict[str, float] = {}
        self.run_id: str | None = None
        self.tracker: Tracker | None = None

    def run(self) -> Path:
        """Train to the last step and write the model."""
        with ExitStack() as stack:
            if self.rank == 0:
                stack.enter_context(self.folder.held())
            self.signals = stack.enter_context(StopSignals(is_launched()))
            first = self._resume()
            ended = first >= self.settings.steps or first == self.folder.finished_at()
            if ended and (self.folder.model / "config.json").is_file():
                log.info("%s is trained already (%d steps)", self.folder.path, first)
                return self.folder.model
            if self.rank == 0:
                self.folder.write_settings(self.settings)
                self.tracker = open_tracker(self.settings, self.folder.path, self.run_id, self.world)
            self.contexts.prepare()
            if self.validator is not None:
                self.validator.prepare()
            try:
                model = self._train(first)
            except BaseException as error:
                if self.tracker is not None:
                    stopped = isinstance(error, KeyboardInterrupt | RequeueError)
                    self.tracker.close("KILLED" if stopped else "FAILED")
                raise
            if self.tracker is not None:
                for path in (self.folder.path / "settings.yaml", self.folder.path / "deepspeed.json"):
                    self.tracker.files(path)
                self.tracker.files(model, "model")
                self.tracker.close()
            self.control.of_first(None)
        return model

    def _resume(self) -> int:
        if self.settings.resume == "never" and self.rank == 0:
            self.folder.clear()
            for name in [*self.checkpoints.names(), *self.checkpoints.unfinished()]:
                self.checkpoints.files.remove(name)
        self.saver.clean()
        first, state = resume(self.checkpoints, self.control, self.identity, self.engine)
        if state:
            self.skips.total, self.skips.in_row = state["skipped"], state["skipped_in_row"]
            self.metrics, self.run_id = state["metrics"], state["run_id"]
            self.best.load(state["best"])
            self.saver.saved_step = first
        if self.rank == 0:
            self.folder.keep_lines(first)
        return first

    def _train(self, first: int) -> Path:
        settings = self.settings
        with ExitStack() as stack:
            self.watchdog = stack.enter_context(
                Watchdog(
                    self.folder.path / "stacks",
                    rank=self.rank,
                    factor=settings.safety.watchdog_factor,
                    least=settings.safety.watchdog_seconds,
                )
            )
            shown = None
            if self.rank == 0:
                shown = stack.enter_context(Progress(settings.steps, "pretraining", "steps", start=first))
                self.system = System(self.folder.path)
            batches = Batches(self.loader, first, settings.steps, settings.safety)
            stack.callback(batches.close)
            done = self._train_steps(first, batches, shown)
            self.watchdog.pause()
            self._save(done)
            self.saver.wait()
            self._stop_if_asked(done)
            whole = weights(self.engine, keep=self.rank == 0)
            if self.rank == 0:
                card = model_card(settings, self.catalog, self.metrics)
                self.folder.write_model(self.engine.module.model, select(whole, "model."), card)
                self.folder.finish(done)
        return self.folder.model

    def _train_steps(self, first: int, batches: Batches, shown: Progress | None) -> int:
        """Train from step ``first`` on; returns the number of steps done at the end."""
        settings, patience = self.settings, self.settings.validation.patience
        for step in range(first, settings.steps):
            if patience and self.best.since >= patience:
                log.info("%s has not got better in %d validations: the end", self.best.metric, patience)
                return step
            self.watchdog.beat(step)
            began = time.perf_counter()
            batch = batches.next()
            waited = time.perf_counter() - began
            self._stop_if_asked(step, batches)
            assert batch is not None
            metrics = self._step_and_count(batch, waited, measured=step == first)
            done = step + 1
            validated = self._validate(done)
            if done % settings.log_every == 0 or done == settings.steps or validated:
                self._log(done, metrics | validated)
            if shown is not None:
                shown.step(note=self._note(metrics))
            better = self.best.better(validated or self.metrics) if self._is_judged(done, validated) else False
            if (better or done % settings.checkpoint_every == 0) and done < settings.steps:
                self.watchdog.pause()
                self._save(done)
        return settings.steps

    def _is_judged(self, done: int, validated: dict[str, float]) -> bool:
        """Whether the metric that tells the best may be new: after a validation, or with a checkpoint."""
        return self.best.metric in (validated or (self.metrics if done % self.settings.checkpoint_every == 0 else {}))

    def _validate(self, done: int) -> dict[str, float]:
        if self.validator is None or done % self.settings.validation.every:
            return {}
        self.watchdog.pause()
        began = time.perf_counter()
        found = self.validator(self.engine)
        self.throughput.began += time.perf_counter() - began  # it is no training
        return found

    def _step_and_count(self, batch: StepBatch, waited: float, measured: bool) -> dict[str, float]:
        if measured and self.rank == 0:
            metrics = self.throughput.measure(
                lambda: self.step(batch.step, batch.views), batch.views, self.engine.device, self.settings.precision
            )
        else:
            metrics = self.step(batch.step, batch.views)
        self.throughput.add(batch.views, waited)
        return metrics

    def _stop_if_asked(self, step: int, batches: Batches | None = None) -> None:
        def save() -> None:
            self.watchdog.pause()
            self._save(step)
            self.saver.wait()

        asked = self.signals.asked if batches is not None else ""  # at the end there is nothing to stop
        unread = batches.failure if batches is not None else None
        stop_if_asked(step, self.control, self.saver, asked=asked, unread=unread, save=save)

    def step(self, step: int, views: list) -> dict[str, float]:
        """One update from this process's share of a step's windows; one that is not finite is skipped and counted.

        Raises:
            FoundationError: if too many steps in a row were skipped.
        """
        context = self.contexts(step).to(self.engine.device)
        views = [view.to(self.engine.device).cast() for view in views]
        metrics, moved = update(self.engine, views, context, self.settings, self.rank)
        if moved:
            self.skips.in_row = 0
        else:
            windows = find_suspects(self.engine.module, views, self.plan(step), self.paths, self.control)
            self.skips.add(step, metrics, *windows, folder=self.folder if self.rank == 0 else None)
        return metrics | {"skipped_steps": float(self.skips.total)}

    def _save(self, step: int) -> None:
        """Save the state after ``step`` steps, unless it is saved already."""
        if step == self.saver.saved_step:
            return
        state = {
            "skipped": self.skips.total,
            "skipped_in_row": self.skips.in_row,
            "metrics": self.metrics,
            "best": self.best.state(),
            "run_id": self.tracker.id if self.tracker is not None else None,
        }
        self.throughput.stalled += self.saver.save(self.engine, step, state)

    def _log(self, step: int, metrics: dict[str, float]) -> None:
        figures = self.throughput.figures(self.control)
        self.metrics = metrics | figures
        if self.rank != 0:
            return
        self.folder.add_metrics(step, self.metrics)
        assert self.tracker is not None
        self.tracker.metrics(self.metrics | self.system.figures(), step)

    def _note(self, metrics: dict[str, Any]) -> str:
        rate = self.metrics.get("neuron_tokens_per_second")
        return f"loss {metrics['loss']:.3f}" + (f", {rate:,.0f} tokens/s" if rate else "")
