"""Validation during training on held-out recordings. Each process takes its share."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from foundation.common.errors import ConfigError, StoreError
from foundation.common.retry import retried
from foundation.data import Loader, StepBatch
from foundation.embedding.frozen_embeddings import embed_units
from foundation.evaluation.ridge_readout import ridge_accuracy
from foundation.models.parts.population_stream import PopulationPlaces
from foundation.store.catalog import Catalog
from foundation.store.stored import StoredRecording
from foundation.training.distributed.deepspeed_state import weights
from foundation.training.distributed.engine import PretrainModule
from foundation.training.distributed.process_messages import Control
from foundation.training.inputs.run_plan import run_plan
from foundation.training.inputs.surround_fitting import fit_surroundings
from foundation.training.pretrain_settings import PretrainSettings

log = logging.getLogger(__name__)


def split(catalog: Catalog, held_out: str) -> tuple[Catalog, Catalog]:
    """Return the recordings to train on and the recordings to validate on.

    Raises:
        ConfigError: if either is empty.
    """
    if not held_out:
        return catalog, catalog.select([])
    held_R = catalog.matches(held_out)
    if not held_R.any() or held_R.all():
        raise ConfigError(
            f"validation.held_out is {held_out!r}: it chooses {held_R.sum()} of {len(catalog)} recordings: expected "
            "some to validate on and some to train on"
        )
    return catalog.select(~held_R), catalog.select(held_R)


class UnreadError(StoreError):
    """A validation failed because a process could not read its data."""


class Validator:
    """Validates a model in training.

    It works on a full copy of the weights in every process, so it is the same under every ZeRO stage and does not
    change training.

    Args:
        settings: settings of the run.
        training, held_out: training and held-out recordings.
        control: messages to the other processes.
        build: returns a new encoder and objective.
    """

    def __init__(
        self,
        settings: PretrainSettings,
        training: Catalog,
        held_out: Catalog,
        control: Control,
        build: Callable[[], PretrainModule],
    ) -> None:
        self.settings, self.training, self.held_out, self.control = settings, training, held_out, control
        self.build = build
        self._module = build()
        self.together = len(self._module.objective.sharing)
        # A different seed from training's: windows differ from training's, and are the same at every validation.
        own = run_plan(
            held_out, settings.data, self._module.objective, self._module.model.config, seed=settings.seed + 1
        )
        self.loader = Loader(
            held_out,
            own,
            rank=control.rank,
            world=control.world,
            prefetch=0,
            cache_bytes=settings.data.cache_bytes,
        )
        self._failure = ""

    def prepare(self) -> None:
        """Fit surrounding information that is not in the store yet. All processes call it."""
        fit_surroundings(self.loader.surroundings, self.control)

    @torch.no_grad()
    def __call__(self, engine: Any) -> dict[str, float]:
        """Return ``validation/loss``, and ``validation/<label>`` with its ``_chance``. All processes call it.

        The result is empty if a process cannot read its data.
        """
        module = self._copy_of(engine)
        steps = self.settings.validation.steps
        # Held-out units have no rows in a population stream, which therefore does not embed them.
        places = PopulationPlaces(module.model.config, self.loader.records.texts("id"))
        losses = []
        try:
            for step in range(steps):
                batches = self._read(partial(self._load, step))
                self._agree()
                shares = [
                    (
                        [places.placed(view.to(engine.device).cast()) for view in batch.views],
                        batch.context.to(engine.device),
                    )
                    for batch in batches
                ]
                loss = float(module(*shares[0], shares[1:])["loss"])
                if module.quiet:
                    log.warning("step %d of %d of the validation is skipped: %s", step + 1, steps, module.quiet)
                else:
                    losses.append(loss)
            found = {"validation/loss": sum(losses) / len(losses) if losses else math.nan}
            if self.settings.validation.label:
                found |= self._probe(module.model)
        except UnreadError as unread:
            log.warning("skipping a validation: %s", unread)
            return {}
        # Use the first process's values, so that all make the same decision.
        return {name: float(value) for name, value in self.control.of_first(found).items()}

    def _load(self, step: int) -> list[StepBatch]:
        """Return the batches of a step, one for each set of objectives that share windows."""
        return [self.loader.load(step * self.together + place) for place in range(self.together)]

    def _read(self, action: Callable[[], Any]) -> Any:
        """Return what ``action`` reads, with retries; None on failure, which `_agree` reports to all."""
        safety = self.settings.safety
        try:
            return retried(action, "reading for validation", retries=safety.retries, pause=safety.pause)
        except ConfigError:
            raise
        except Exception as error:
            self._failure = f"{type(error).__name__}: {error}"
            return None

    def _agree(self) -> None:
        """Raise `UnreadError` in all processes if one could not read its data."""
        why, self._failure = self._failure, ""
        reasons = [reason for reason in self.control.of_all(why) if reason]
        if reasons:
            raise UnreadError(reasons[0])

    def _copy_of(self, engine: Any) -> PretrainModule:
        whole = weights(engine)
        self._module.to(engine.device)
        self._module.load_state_dict(whole)
        # The encoder has no dropout; the objective normalises over the batch, as in training.
        self._module.objective.train()
        self._module.model.eval()
        return self._module

    def _probe(self, model: Any) -> dict[str, float]:
        label = self.settings.validation.label
        sides = [self._embedded(model, catalog) for catalog in (self.training, self.held_out)]
        if not all(len(labels) for _, labels in sides):
            return {}
        score, classes = ridge_accuracy(*sides[0], *sides[1])
        if math.isnan(score):
            return {}
        return {f"validation/{label}": score, f"validation/{label}_chance": 1 / classes}

    def _embedded(self, model: Any, catalog: Catalog) -> tuple[np.ndarray, np.ndarray]:
        """Return embeddings and labels of the labelled units of some recordings."""
        chosen = self.settings.validation
        labelled = catalog.records.select(catalog.records.with_label(chosen.label)) or catalog.records
        labelled = labelled[: chosen.recordings]
        mine: list[list[Any]] = []
        for record in labelled[self.control.rank :: self.control.world]:
            recording = StoredRecording(catalog.store, record)
            width = max(chosen.bin_width, recording.resolution / model.config.patch_length)
            n_bins = chosen.tokens * model.config.patch_length
            read = partial(self._labelled, model, recording, width, n_bins)
            try:
                found = self._read(read)
            except ConfigError as error:
                log.debug("%s is left out of the probe: %s", record.path, error)
                continue
            if found is None:
                break
            z_ND, labels = found
            mine += [[z.tolist(), str(text)] for z, text in zip(z_ND, labels, strict=True) if text]
        self._agree()
        rows = [row for part in self.control.of_all(mine) for row in part]
        return np.array([z for z, _ in rows]), np.array([text for _, text in rows])

    def _labelled(self, model: Any, recording: StoredRecording, width: float, n_bins: int) -> tuple[Any, Any]:
        chosen = self.settings.validation
        z_ND = embed_units(model, recording, bin_width=width, n_bins=n_bins, max_windows=chosen.windows)
        return z_ND, recording.units.text(chosen.label)
