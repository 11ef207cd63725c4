"""One process of a pretraining run: its components and its training loop."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from foundation.common.output.progress import Progress
from foundation.data import Loader, StepBatch, WindowBatch
from foundation.models.parts.population_stream import PopulationPlaces
from foundation.store.catalog import Catalog
from foundation.training.checkpoint.checkpoint import select
from foundation.training.checkpoint.resuming import checkpoints_of, clear, hold, resume
from foundation.training.checkpoint.saver import Saver
from foundation.training.distributed.deepspeed_state import weights
from foundation.training.distributed.engine import build_engine, build_module, is_launched, start_distributed
from foundation.training.distributed.process_messages import Control
from foundation.training.inputs.batches import Batches
from foundation.training.inputs.run_plan import bins_per_token, run_plan
from foundation.training.inputs.surround_fitting import fit_surroundings
from foundation.training.inputs.training_recordings import (
    choose_recordings,
    measured_identities,
    measured_rates,
    read_labels,
    recordings_digest,
)
from foundation.training.launch.stop_signals import training_stops
from foundation.training.monitor.stopping import Best, stop_if_asked
from foundation.training.monitor.training_reports import Reports
from foundation.training.monitor.watchdog import Watchdog
from foundation.training.output.model_card import model_card
from foundation.training.output.pretraining_record import name_windows, pretraining_record
from foundation.training.output.run_folder import RunFolder
from foundation.training.pretrain_settings import PretrainSettings
from foundation.training.update.determinism import deterministic
from foundation.training.update.skipped_steps import Skips, all_of, find_suspects
from foundation.training.update.update import update
from foundation.training.validation.validate import Validator

log = logging.getLogger(__name__)


class Trainer:
    """One process of a pretraining run.

    Args:
        settings: see `PretrainSettings`.
        catalog: the recordings.
    """

    def __init__(self, settings: PretrainSettings, catalog: Catalog) -> None:
        self.settings = settings
        self.catalog, held_out = choose_recordings(settings, catalog)
        self.folder = RunFolder(settings.output)
        self.rank, self.world = start_distributed(settings.safety.timeout, settings.safety.joining)
        self.control = Control(settings.safety.timeout)
        rates, identities = measured_rates(settings, self.catalog), measured_identities(settings, self.catalog)
        self.labels = read_labels(settings, self.catalog)
        shape = None if self.labels is None else self.labels.shape
        build = partial(build_module, settings, rates, identities, shape)
        module = build()
        self.together = len(module.objective.sharing)
        name_windows(module.model.config, settings, module.objective, self.catalog)
        self.plan = run_plan(self.catalog, settings.data, module.objective, module.model.config, settings.seed)
        self.loader = Loader(
            self.catalog,
            self.plan,
            rank=self.rank,
            world=self.world,
            workers=settings.data.workers,
            prefetch=settings.data.prefetch * self.together,
            cache_bytes=settings.data.cache_bytes,
            total_steps=settings.steps,
        )
        self.validator = None
        if settings.validation.every:
            self.validator = Validator(settings, self.catalog, held_out, self.control, build)
        self.engine = build_engine(module, settings)
        self.identity = {**settings.identity(), "recordings": recordings_digest(self.catalog)}
        self.checkpoints = checkpoints_of(settings)
        self.saver = Saver(self.checkpoints, self.control, settings, self.identity)
        self.reports = Reports(self.folder, self.control)
        self.skips = Skips(settings.safety.max_skipped)
        self.paths = self.loader.records.texts("path")
        self.places = PopulationPlaces(module.model.config, self.plan.recordings)
        self.best = Best(settings.saving.best, settings.saving.highest)

    def run(self) -> Path:
        """Train to the last step and write the model."""
        with ExitStack() as stack:
            stack.enter_context(deterministic(self.settings.deterministic))
            hold(stack, self.folder, self.checkpoints, self.control)
            self.stops = stack.enter_context(training_stops(is_launched()))
            first = self._resume()
            ended = first >= self.settings.steps or first == self.folder.finished_at()
            # The first process decides, as other machines may see a removed file a little longer.
            if self.control.of_first(ended and (self.folder.model / "config.json").is_file()):
                log.info("%s is already trained (%d steps)", self.folder.path, first)
                return self.folder.model
            if self.rank == 0:
                self.reports.open(self.settings)
            fit_surroundings(self.loader.surroundings, self.control)
            if self.validator is not None:
                self.validator.prepare()
            try:
                model = self._train(first)
            except BaseException as error:
                self.reports.close(error)
                raise
            self.reports.close()
            self.control.of_first(None)
        return model

    def _resume(self) -> int:
        if self.settings.resume == "never" and self.rank == 0:
            clear(self.folder, self.checkpoints)
        first, state = resume(self.checkpoints, self.control, self.identity, self.engine)
        self.saver.clean()  # only once the place is known to belong to this run
        if state:
            self.skips.total, self.skips.in_row = state["skipped"], state["skipped_in_row"]
            self.reports.load(state["metrics"], state["run_id"])
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
                    min_seconds=settings.safety.watchdog_seconds,
                )
            )
            shown = None
            if self.rank == 0:
                shown = stack.enter_context(Progress(settings.steps, "pretraining", "steps", start=first))
            batches = Batches(self.loader, first, settings.steps, settings.safety, self.together)
            stack.callback(batches.close)
            done = self._train_steps(first, batches, shown)
            self.watchdog.pause()
            self.skips.check_end(done)
            self._save(done)
            self.saver.wait()
            self._stop_if_asked(done)
            whole = weights(self.engine, keep=self.rank == 0)
            if self.rank == 0:
                card = model_card(settings, self.catalog, self.reports.latest, self.engine.module.model)
                record = pretraining_record(settings, self.catalog, done, self.world)
                self.folder.write_model(self.engine.module.model, select(whole, "model."), card, record)
                self.folder.finish(done)
        return self.folder.model

    def _train_steps(self, first: int, batches: Batches, shown: Progress | None) -> int:
        """Train from step ``first`` on; return the number of steps done at the end."""
        settings, patience = self.settings, self.settings.validation.patience
        for step in range(first, settings.steps):
            if patience and self.best.since >= patience:
                log.info("%s has not improved in %d validations: stopping early", self.best.metric, patience)
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
                self.reports.log(done, metrics | validated)
            if shown is not None:
                shown.step(note=self.reports.note(metrics))
            if (self._is_better(done, validated) or done % settings.checkpoint_every == 0) and done < settings.steps:
                self.watchdog.pause()
                self._save(done)
        return settings.steps

    def _is_better(self, done: int, validated: dict[str, float]) -> bool:
        """Return True if the weights are the best so far; called after a validation or with a checkpoint.

        All processes call it and use the first process's values, because rates differ between processes.

        Raises:
            ConfigError: if the metric is unknown.
        """
        metric, saves = self.best.metric, done % self.settings.checkpoint_every == 0
        if metric.startswith("validation/") and self.validator is not None:
            saves = False  # the metric changes only after a validation
        if not metric or not (validated or saves):
            return False
        latest = self.control.of_first(self.reports.latest)
        self.best.check(latest)
        return (metric in validated or saves) and self.best.better(latest)

    def _validate(self, done: int) -> dict[str, float]:
        if self.validator is None or done % self.settings.validation.every:
            return {}
        self.watchdog.pause()
        began = time.perf_counter()
        found = self.validator(self.engine)
        self.reports.throughput.began += time.perf_counter() - began  # exclude validation from throughput
        return found

    def _step_and_count(self, batch: list[StepBatch], waited: float, measured: bool) -> dict[str, float]:
        if measured and self.rank == 0:
            metrics = self.reports.throughput.measure(
                lambda: self.step(batch), batch, self.engine.device, self.settings.precision
            )
        else:
            metrics = self.step(batch)
        self.reports.throughput.add(batch, waited)
        return metrics

    def _stop_if_asked(self, step: int, batches: Batches | None = None) -> None:
        def save() -> None:
            self.watchdog.pause()
            self._save(step)
            self.saver.wait()

        asked = self.stops.asked if batches is not None else ""  # at the end, requests to stop are ignored
        unread = batches.failure if batches is not None else None
        stop_if_asked(step, self.control, self.saver, asked=asked, unread=unread, save=save)

    def step(self, batches: list[StepBatch]) -> dict[str, float]:
        """Make one update from this process's share of a step; invalid steps are skipped and counted.

        Args:
            batches: batches of the step, one for each set of objectives that share windows.

        Raises:
            FoundationError: if too many steps in a row were skipped.
        """
        views = [[self._placed(view.to(self.engine.device).cast()) for view in b.views] for b in batches]
        contexts = [batch.context.to(self.engine.device) for batch in batches]
        metrics, moved = update(self.engine, list(zip(views, contexts, strict=True)), self.settings, self.rank)
        if moved:
            self.skips.in_row = 0
        else:
            quiet = self.engine.module.quiet
            windows = [batch.windows for batch in batches]
            if quiet:
                suspects = all_of(windows, self.paths, self.control)
            else:
                suspects = find_suspects(self.engine.module, views, windows, self.paths, self.control)
            self.skips.add(
                batches[0].step, metrics, *suspects, folder=self.folder if self.rank == 0 else None, quiet=quiet
            )
        return metrics | {"skipped_steps": float(self.skips.total)}

    def _placed(self, view: WindowBatch) -> WindowBatch:
        """Return a batch with the rows of its units, and with its labels if the objective decodes them."""
        view = self.places.placed(view)
        if self.labels is None:
            return view
        patch = bins_per_token(self.engine.module.model.config, "population")
        return self.labels.placed(view, self.plan.recordings, patch)

    def _save(self, step: int) -> None:
        """Save the state after ``step`` steps, unless it is already saved."""
        if step == self.saver.saved_step:
            return
        state = {
            "skipped": self.skips.total,
            "skipped_in_row": self.skips.in_row,
            "metrics": self.reports.latest,
            "best": self.best.state(),
            "run_id": self.reports.run_id,
        }
        self.reports.throughput.stalled += self.saver.save(self.engine, step, state)
