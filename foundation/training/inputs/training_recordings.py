"""Which recordings a run trains on, and whether they are what its objective is made for."""

from __future__ import annotations

import hashlib
import logging

import numpy as np
import torch

from foundation.common.errors import ConfigError
from foundation.common.output.progress import progress
from foundation.data.steps.held_out_time import as_interval, check_held_out_time
from foundation.models.parts.population_stream import log_rates
from foundation.store.catalog import Catalog
from foundation.store.catalog_row import CatalogRows
from foundation.store.stored import StoredRecording
from foundation.store.stored_spikes import rates_within
from foundation.training.pretrain_settings import PretrainSettings
from foundation.training.validation.validate import split

log = logging.getLogger(__name__)
SHOWN = 5


def recordings_digest(catalog: Catalog) -> str:
    """Return the sha256 over the content digests of the recordings: it identifies the data that a run trains on."""
    digests = sorted(catalog.records.texts("digest"))
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def choose_recordings(settings: PretrainSettings, catalog: Catalog) -> tuple[Catalog, Catalog]:
    """Recordings to train on and recordings that are held out.

    A model whose tokens are of intervals takes recordings with spike times alone, unless objectives read windows of
    their own: then each plan of windows chooses.

    Raises:
        ConfigError: if there is none of either, the objective is made for one population and that is not what the
            run draws, or time is held out that no recording has.
    """
    check_held_out_time(settings.data.held_out_time, catalog)
    intervals = settings.model.tokens == "intervals" and settings.objective.own_config() is None
    if intervals and not settings.data.own_windows:
        catalog = _with_spikes(catalog)
    training, held_out = split(catalog, settings.validation.held_out)
    if settings.objective.title == "masked" and settings.validation.every:
        raise ConfigError(
            f"validation.every is {settings.validation.every}: expected 0 with objective masked, or a sum with another "
            "objective, since units of held-out recordings have no rows in the model"
        )
    for name, units in settings.objective.own_units().items():
        _check_population(
            settings, f"objective.{name}", units, training.records.select(training.records.numbers("n_units") > 0)
        )
    return training, held_out


def measured_rates(settings: PretrainSettings, catalog: Catalog) -> dict[str, torch.Tensor]:
    """Recording id -> ``(N,)`` log rates of its units, for a model with a population stream; empty for any other.

    Each recording is opened once, for its numbers of spikes alone; of one with held-out time all spikes are read, and
    those outside that time counted.
    """
    if not settings.model.population_layers or settings.objective.own_config() is not None:
        return {}
    recordings = (StoredRecording(catalog.store, row) for row in catalog.records if row.n_units)
    shown = progress(recordings, "reading rates of units", unit="recording", total=len(catalog))
    return {recording.id: log_rates(_rates(settings, recording), recording.is_counts) for recording in shown}


def _rates(settings: PretrainSettings, recording: StoredRecording) -> np.ndarray:
    """``(N,)`` rates of units in the time that is not held out."""
    held_out = settings.data.held_out_time.get(recording.id)
    if held_out is None:
        return recording.firing_rates()
    return rates_within(recording, recording.observed.without(as_interval(held_out)))


def _with_spikes(catalog: Catalog) -> Catalog:
    """Recordings with spike times.

    Raises:
        ConfigError: if there is none.
    """
    spikes_R = np.array([kind == "spikes" for kind in catalog.records.texts("kind")], dtype=bool)
    if not spikes_R.any():
        raise ConfigError(
            f"model.tokens is 'intervals' and none of {len(catalog)} recordings has spike times: expected 'bins'"
        )
    left_out = catalog.records.select(~spikes_R).texts("path")
    if len(left_out):
        more = f" and {len(left_out) - SHOWN} more" if len(left_out) > SHOWN else ""
        log.warning("left out because they have no spike times: %s%s", ", ".join(left_out[:SHOWN]), more)
    return catalog.select(spikes_R)


def _check_population(settings: PretrainSettings, name: str, units: int, records: CatalogRows) -> None:
    """Refuse all but one recording of so many units, every one of which is in every window.

    That two recordings have as many units does not make them one population: unit 3 of one is another neuron in the
    other. A recording counts also where none of its windows fits.
    """
    if len(records) > 1:
        one = next((r for r in records if r.n_units == units), records[0])
        shown = [f"{r.path} ({r.n_units} units)" for r in records[:SHOWN]]
        shown += [f"{len(records) - SHOWN} more"] * (len(records) > SHOWN)
        raise ConfigError(
            f"{name} is {units}: expected a single recording, and there are {len(records)}: "
            f"{', '.join(shown)}. Choose one by holding out the others, such as with "
            f"--validation.held_out \"id != '{one.id}'\" for {one.path}, and give its number of units"
        )
    for record in records:
        if record.n_units != units:
            raise ConfigError(
                f"{name} is {units}: expected {record.n_units}, the units of {record.path}; give --{name} "
                f"{record.n_units}"
            )
    if settings.data.max_units < units:
        raise ConfigError(
            f"data.max_units is {settings.data.max_units} and {name} {units}: expected at least {units}, as a "
            "window must hold all units"
        )
    if settings.validation.every:
        raise ConfigError(
            f"validation.every is {settings.validation.every}: expected 0 with {name}, since held-out recordings are "
            "other populations than the training recording"
        )
