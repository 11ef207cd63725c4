"""One update of the weights."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any

import torch

from foundation.objectives.combined import Share
from foundation.training.distributed.engine import set_learning_rate, take_step
from foundation.training.pretrain_settings import PretrainSettings
from foundation.training.update.schedule import learning_rate


def update(
    engine: Any, shares: Sequence[Share], settings: PretrainSettings, rank: int
) -> tuple[dict[str, float], bool]:
    """Run forward and backward passes and an optimiser step; all processes call it.

    A step with a non-finite loss or gradient changes no state: weights, moments, target networks and running statistics
    stay. The same holds for a global batch with too little to compare; the module's ``quiet`` then gives the reason.

    Args:
        engine: DeepSpeed's engine around a `PretrainModule`.
        shares: this process's windows of the step on the device, with their context; one for each set of objectives
            that shares windows.
        settings: settings of the run.
        rank: rank of this process.

    Returns:
        The objective's terms with ``learning_rate`` and ``gradient_norm``, and whether the weights were updated.
    """
    (views, context), *others = shares
    step = context.step
    rate = learning_rate(step, settings.steps, settings.optimizer)
    set_learning_rate(engine, rate)
    # Dropout depends only on seed, step and process, so that a resumed run makes the same draws.
    torch.manual_seed(int.from_bytes(hashlib.sha256(f"{settings.seed}/{step}/{rank}".encode()).digest()[:7]))
    buffers = [(buffer, buffer.detach().clone()) for buffer in engine.module.buffers()]
    terms = engine(views, context, others)
    loss = terms["loss"]
    if engine.module.quiet:  # equal in every process, because rows come from the global batch
        engine.empty_partition_cache()  # under ZeRO 3, release what the backward pass would have released
        _put_back(buffers)
        return {"loss": math.nan, "learning_rate": rate, "gradient_norm": math.nan}, False
    # A non-finite loss makes every gradient non-finite in every process, so the norm gives all the same answer.
    engine.backward(loss * torch.where(loss.detach().isfinite(), 1.0, math.nan))
    norm, moved = take_step(engine, settings.optimizer.clip)
    if moved:
        engine.module.objective.after_step(engine.module.model, context.progress)
    else:
        _put_back(buffers)
    values = torch.stack([value.detach().double().reshape(()) for value in terms.values()]).tolist()
    return dict(zip(terms, values, strict=True)) | {"learning_rate": rate, "gradient_norm": norm}, moved


def _put_back(buffers: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    for buffer, before in buffers:
        buffer.copy_(before)
