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
    """Pretrain a model on a store; resume an earlier run in the same output.

    With ``processes`` above 1, ``hosts`` or ``restarts`` this starts the DeepSpeed launcher and waits for it; each of
    its processes calls this function again.

    Args:
        settings: see `PretrainSettings`.

    Returns:
        The folder of the model: config.json, model.safetensors and a model card (README.md).

    Raises:
        ConfigError: if the recordings do not fit the objective, or no recording is left to train on.
        StoreError: if the store is missing or empty.
        CheckpointError: if ``output`` holds a run with other settings or recordings.
        RequeueError: if the run was asked to stop; its state is saved.
        FoundationError: if loss or gradients stay non-finite, data or checkpoints cannot be read or written after all
    retries, all steps were skipped, or a process ends with an error.
    """
    output = Path(settings.output)
    settings = never_once(settings)
    if settings.needs_launcher and not is_launched():
        # Check the recordings before files of earlier runs are removed and new ones written.
        if settings.resume == "never" or settings.objective.own_units():
            choose_recordings(settings, open_catalog(settings.store))
        launch_with_restarts(settings)
        return output / "model"
    catalog = open_catalog(settings.store)
    transformers_logging.disable_progress_bar()
    with linear_kept():
        return Trainer(settings, catalog).run()


def open_catalog(store: str) -> Catalog:
    """Return the catalog of a store.

    Raises:
        StoreError: if the store is missing or empty.
    """
    catalog = Catalog.open(Store(store))
    if not len(catalog):
        raise StoreError(f"the store at {catalog.store.name!r} has no recordings: fill it with `foundation ingest`")
    return catalog
