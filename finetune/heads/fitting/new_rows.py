"""Rows of a new population in a model's population stream, fitted to its activity while all else stays as it is."""

from __future__ import annotations

import copy
import logging
import math

import numpy as np
import torch

from finetune.tasks.problems.trial_windows import cut_windows
from finetune.training_loop import run_updates
from foundation.data.reading.reader import ActivityReader
from foundation.data.steps.held_out_time import Spans, training_time
from foundation.data.steps.step import StepContext
from foundation.embedding.unit_identity import unit_identity
from foundation.evaluation.splits import TooLittleError
from foundation.models import EIT
from foundation.models.parts.population_stream import PopulationPlaces, log_rates
from foundation.objectives.masked import Masked
from foundation.objectives.masked_settings import MaskedSettings
from foundation.store import StoredRecording
from foundation.store.stored_spikes import rates_within

log = logging.getLogger(__name__)
UPDATES, WINDOWS, LEARNING_RATE = 300, 16, 1e-2


def with_new_rows(
    model: EIT,
    recording: StoredRecording,
    *,
    token_seconds: float,
    tokens: int,
    seed: int = 0,
    updates: int = UPDATES,
    held_out: Spans = (),
) -> EIT:
    """Return a copy of a model whose population stream knows a recording too.

    The new rows are trained by masked modelling of the recording's activity, without labels: hidden units and moments
    must be distinguished from the rest, as in pretraining. Every other weight, also of the rows of earlier recordings,
    stays as it is, bit for bit. A model with ``made_rows`` makes rows from the identities of the units first, and adds
    the trained rows to these; without updates the made rows stand alone.

    Args:
        model: with a population stream that does not know the recording.
        recording: of a store.
        token_seconds: seconds of a token.
        tokens: of a window, at most.
        seed: of rows, windows and what is hidden.
        updates: of the rows; 0 for made rows alone.
        held_out: ``[start, end]`` seconds of intervals whose activity the rows must not be fitted to; windows also keep
            the length of the longest window away from them.

    Raises:
        TooLittleError: if the intervals leave no window.
    """
    changed, reader = copy.deepcopy(model), ActivityReader(recording)
    domain = training_time(recording, held_out, gap=token_seconds * tokens) if len(held_out) else reader.domain
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        measured = rates_within(recording, domain) if len(held_out) else recording.firing_rates()
        rates = log_rates(measured, recording.is_counts)
        made = model.config.made_rows
        identities = {recording.id: unit_identity(recording, domain)} if made else None
        changed.add_populations({recording.id: rates}, identities, freeze_rest=True, blank=made)
        if not updates:
            return changed.requires_grad_(True).eval()
        starts, tokens_W, _ = cut_windows(domain, token_seconds, tokens)
        if not len(starts):
            raise TooLittleError(f"held_out is {held_out}: it leaves no window of {recording.record.path}")
        _train(changed, reader, starts, tokens_W, token_seconds / model.config.population_patch, seed, updates)
    return changed.requires_grad_(True).eval()


def _train(
    model: EIT,
    reader: ActivityReader,
    starts: np.ndarray,
    tokens_W: np.ndarray,
    bin_width: float,
    seed: int,
    updates: int,
) -> None:
    objective = Masked(MaskedSettings(), model.config.dim, model)
    places = PopulationPlaces(model.config, [reader.recording.id])
    rng, bits = np.random.default_rng([seed, 23]), list[float]()
    rows = [weights for weights in model.parameters() if weights.requires_grad]
    optimizer = torch.optim.AdamW(rows, lr=LEARNING_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: 0.5 * (1 + math.cos(math.pi * n / updates)))
    usable = np.flatnonzero(tokens_W >= 2)
    usable = usable if len(usable) else np.arange(len(starts))

    def loss_of(update: int) -> torch.Tensor:
        model.train()
        chosen = np.sort(rng.choice(usable, min(WINDOWS, len(usable)), replace=False))
        table = reader.table(starts[chosen], tokens_W[chosen] * model.config.population_patch, bin_width)
        view = places.placed(reader.read(table, bins_per_token=model.config.population_patch, dtype=torch.float32))
        context = StepContext(
            torch.arange(len(view)),
            torch.zeros(len(view), dtype=torch.int64),
            seed=seed,
            step=update,
            steps=updates,
            bins_per_token=model.config.population_patch,
        )
        terms, _ = objective.losses(model, [view], context)
        bits.append(float(terms["bits_units"]))
        return terms["loss"]

    def after(_: int) -> None:
        schedule.step()

    run_updates(range(updates), loss_of, optimizer, clip=(rows, 1.0), after=after)
    last = float(np.mean(bits[-20:]))
    log.info("rows of %s: %d updates, %.3f bits a spike of hidden units", reader.recording.record.path, updates, last)
