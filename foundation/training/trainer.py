"""Pretraining: from a store of recordings to a model folder."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import shutil
import time
from dataclasses import asdict
from pathlib import Path

import torch
import yaml
from transformers.utils import logging as transformers_logging

from foundation.data import Loader, StepPlan
from foundation.errors import FoundationError, StoreError
from foundation.models import EIT
from foundation.objectives import build_objective, own_model
from foundation.progress import Progress
from foundation.store.catalog import Catalog
from foundation.store.storage import Store
from foundation.tracking import Run, default_tracking_uri
from foundation.training.card import model_card
from foundation.training.checkpoint import find_resumable, load_checkpoint, save_checkpoint, save_model, select
from foundation.training.contexts import Contexts
from foundation.training.engine import (
    PretrainModule,
    build_engine,
    deepspeed_config,
    is_launched,
    set_learning_rate,
    start_distributed,
)
from foundation.training.launch import launch
from foundation.training.schedule import learning_rate
from foundation.training.settings import PretrainSettings
from foundation.training.state import weights

log = logging.getLogger(__name__)


def pretrain(settings: PretrainSettings) -> Path:
    """Pretrain a model on a store; go on where an earlier run in the same output was.

    With ``processes`` above 1 this starts the DeepSpeed launcher and waits for it; each process it starts comes back
    here.

    Args:
        settings: see `PretrainSettings`.

    Returns:
        The folder of the model: config.json, model.safetensors and a model card (README.md).

    Raises:
        StoreError: if the store is missing or empty.
        CheckpointError: if ``output`` holds a run with other settings or recordings.
        FoundationError: if the loss is not finite, or a process ends with an error.
    """
    output = Path(settings.output)
    if settings.processes > 1 and not is_launched():
        launch(settings)
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
        self.settings, self.catalog = settings, catalog
        self.output = Path(settings.output)
        self.checkpoints = self.output / "checkpoints"
        self.rank, self.world = start_distributed()
        torch.manual_seed(settings.seed)
        model = own_model(settings.objective) or EIT(settings.model.config())
        objective = build_objective(settings.objective, getattr(model.config, "dim", settings.model.dim), model)
        self.plan = StepPlan(
            catalog,
            settings.data,
            objective.view_spec,
            bins_per_token=getattr(model.config, "patch_length", 1),
            seed=settings.seed,
        )
        self.loader = Loader(catalog, self.plan, rank=self.rank, world=self.world)
        self.contexts = Contexts(catalog, self.plan, steps=settings.steps, rank=self.rank, world=self.world)
        self.engine = build_engine(PretrainModule(model, objective, settings.precision), settings)
        self.identity = {**settings.identity(), "recordings": recordings_digest(catalog)}

    def run(self) -> Path:
        """Train to the last step and write the model."""
        first = self._resume()
        if first >= self.settings.steps and (self.output / "model" / "config.json").is_file():
            log.info("%s is trained already (%d steps)", self.output, first)
            return self.output / "model"
        if self.rank == 0:
            self._write_settings()
        torch.distributed.barrier()
        self.contexts.prepare()
        run = self._open_run() if self.rank == 0 else None
        try:
            last = self._train(first, run)
            model = self._write_model(last)
            if run is not None:
                run.files(self.output / "settings.yaml")
                run.files(self.output / "deepspeed.json")
                run.files(model, "model")
        except BaseException as error:
            if run is not None:
                run.close("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
        if run is not None:
            run.close()
        torch.distributed.barrier()
        return model

    def _resume(self) -> int:
        if self.settings.resume == "never":
            if self.rank == 0:
                for name in ("checkpoints", "model"):
                    shutil.rmtree(self.output / name, ignore_errors=True)
                for name in ("metrics.jsonl", "run.json"):
                    (self.output / name).unlink(missing_ok=True)
            torch.distributed.barrier()
        found = find_resumable(self.checkpoints, self.identity)
        first = 0
        if found is not None:
            path, first = found
            load_checkpoint(path, self.engine)
            log.info("going on from step %d (%s)", first, path)
        if self.rank == 0:
            _keep_metrics(self.output / "metrics.jsonl", first)
        return first

    def _train(self, first: int, run: Run | None) -> dict[str, float]:
        settings = self.settings
        if self.rank != 0:
            return self._train_steps(first, run, None)
        with Progress(settings.steps, "pretraining", "steps", start=first) as shown:
            return self._train_steps(first, run, shown)

    def _train_steps(self, first: int, run: Run | None, shown: Progress | None) -> dict[str, float]:
        settings, last = self.settings, {}
        started = time.perf_counter()
        for batch in self.loader.steps(first, settings.steps):
            waited = time.perf_counter() - started
            metrics = self.step(batch.step, batch.views)
            done = batch.step + 1
            seconds = time.perf_counter() - started
            started = time.perf_counter()
            if self.rank == 0 and (done % settings.log_every == 0 or done == settings.steps):
                windows = len(batch.views[0]) * self.world
                last = {**metrics, "seconds": seconds, "data_wait": waited, "windows_per_second": windows / seconds}
                self._log(done, last, run)
            if shown is not None:
                shown.step(note=f"loss {metrics['loss']:.3f}")
            if done % settings.checkpoint_every == 0 or done == settings.steps:
                save_checkpoint(
                    self.checkpoints, self.engine, step=done, identity=self.identity, keep=settings.keep_checkpoints
                )
        return last

    def step(self, step: int, views: list) -> dict[str, float]:
        """One update from this process's share of a step's windows.

        Raises:
            FoundationError: if the loss is not finite.
        """
        settings = self.settings
        rate = learning_rate(step, settings.steps, settings.optimizer)
        set_learning_rate(self.engine, rate)
        # Dropout depends on seed, step and process only, so that a resumed run draws what the first would have.
        torch.manual_seed(int.from_bytes(hashlib.sha256(f"{settings.seed}/{step}/{self.rank}".encode()).digest()[:7]))
        context = self.contexts(step).to(self.engine.device)
        terms = self.engine([view.to(self.engine.device).cast() for view in views], context)
        metrics = {name: float(value.detach()) for name, value in terms.items()}
        if not math.isfinite(metrics["loss"]):
            names = sorted({w.recording for w in self.plan(step)})
            raise FoundationError(
                f"the loss of step {step} is {metrics['loss']} (recordings {', '.join(names)}): lower "
                "optimizer.learning_rate, or look for bad values with `foundation catalog --verify`"
            )
        self.engine.backward(terms["loss"])
        self.engine.step()
        self.engine.module.objective.after_step(self.engine.module.model, context.progress)
        norm = self.engine.get_global_grad_norm()
        metrics |= {"learning_rate": rate} | ({} if norm is None else {"gradient_norm": float(norm)})
        return metrics

    def _log(self, step: int, metrics: dict[str, float], run: Run | None) -> None:
        with open(self.output / "metrics.jsonl", "a") as file:
            file.write(json.dumps({"step": step, **metrics}) + "\n")
        if run is not None:
            run.metrics(metrics, step)

    def _write_settings(self) -> None:
        self.output.mkdir(parents=True, exist_ok=True)
        (self.output / "settings.yaml").write_text(yaml.safe_dump(asdict(self.settings), sort_keys=False))
        (self.output / "deepspeed.json").write_text(json.dumps(deepspeed_config(self.settings), indent=1))

    def _open_run(self) -> Run:
        uri = self.settings.tracking_uri or default_tracking_uri(self.output.resolve().parent)
        note = self.output / "run.json"
        known = json.loads(note.read_text())["run_id"] if note.is_file() else None
        run = Run(uri, self.settings.experiment, self.output.name, known)
        note.write_text(json.dumps({"run_id": run.id, "tracking_uri": uri}))
        run.params({**asdict(self.settings), "world": self.world})
        return run

    def _write_model(self, last: dict[str, float]) -> Path:
        tensors = weights(self.engine)
        target = self.output / "model"
        if self.rank == 0:
            part = self.output / ".model.part"
            shutil.rmtree(part, ignore_errors=True)
            save_model(self.engine.module.model, select(tensors, "model."), part)
            (part / "README.md").write_text(model_card(self.settings, self.catalog, last))
            shutil.rmtree(target, ignore_errors=True)
            os.replace(part, target)
        return target


def recordings_digest(catalog: Catalog) -> str:
    """sha256 over the recordings' content: what data a run was given."""
    digests = sorted(record["digest"] for record in catalog.records)
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _keep_metrics(path: Path, steps: int) -> None:
    """Drop lines of steps that a resumed run will take again, and a last line that was cut off."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            if json.loads(line)["step"] <= steps:
                kept.append(line)
        except (ValueError, KeyError):
            continue
    path.write_text("".join(line + "\n" for line in kept))
