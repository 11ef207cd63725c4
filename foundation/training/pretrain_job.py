"""Pretraining: from a store of recordings to a model folder."""

from __future__ import annotations

from pathlib import Path

from transformers.utils import logging as transformers_logging

from foundation.common.errors import StoreError
from foundation.store.catalog import Catalog
from foundation.store.storage import Store
from foundation.training.checkpoint.resuming import never_once
from foundation.training.distributed.engine import is_launched, linear_kept
from foundation.training.inputs.training_recordings import choose_recordings
from foundation.training.launch.launch import launch_with_restarts
from foundation.training.pretrain_settings import PretrainSettings
from foundation.training.trainer import Trainer


def pretrain(settings: PretrainSettings) -> Path:
    """Pretrain a model on a store; go on where an earlier run in the same output was.

    With ``processes`` above 1, ``hosts`` or ``restarts`` this starts the DeepSpeed launcher and waits for it; each
    process it starts comes back here.

    Args:
        settings: see `PretrainSettings`.

    Returns:
        The folder of the model: config.json, model.safetensors and a model card (README.md).

    Raises:
        ConfigError: if the recordings are not what the objective is made for, or none is left to train on.
        StoreError: if the store is missing or empty.
        CheckpointError: if ``output`` holds a run with other settings or recordings.
        RequeueError: if the run was told to stop; it has saved its state.
        FoundationError: if loss or gradients stay not finite, data or checkpoints cannot be read or written after
            repeated attempts, no step counted, or a process ends with an error.
    """
    output = Path(settings.output)
    settings = never_once(settings)
    if settings.needs_launcher and not is_launched():
        # Nothing is removed for a run that has nothing to train on, nothing made for one with another population.
        if settings.resume == "never" or settings.objective.own_units():
            choose_recordings(settings, open_catalog(settings.store))
        launch_with_restarts(settings)
        return output / "model"
    catalog = open_catalog(settings.store)
    transformers_logging.disable_progress_bar()
    with linear_kept():
        return Trainer(settings, catalog).run()


def open_catalog(store: str) -> Catalog:
    """The recordings of a store.

    Raises:
        StoreError: if the store is missing or empty.
    """
    catalog = Catalog.open(Store(store))
    if not len(catalog):
        raise StoreError(f"the store at {catalog.store.name!r} has no recordings: fill it with `foundation ingest`")
    return catalog
