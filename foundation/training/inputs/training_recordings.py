"""The choice of a run's recordings, and checks that they fit its objective."""

from __future__ import annotations

import hashlib
import logging

import numpy as np
import torch

from foundation.common.errors import ConfigError
from foundation.common.output.progress import progress
from foundation.data.labels import LabelNames, RunLabels
from foundation.data.steps.held_out_time import as_interval, check_held_out_time
from foundation.embedding.unit_identity import unit_identity
from foundation.models.parts.population_stream import log_rates
from foundation.store.catalog import Catalog
from foundation.store.catalog_row import CatalogRows
from foundation.store.interval import Interval
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
    """Return the recordings to train on and the held-out recordings.

    A model with interval tokens uses only recordings with spike times, unless objectives read separate windows;
    then each plan of windows chooses.

    Raises:
        ConfigError: if either set is empty, the objective needs a single population and the run has several, or
    held-out time lies in no recording.
    """
    check_held_out_time(settings.data.held_out_time, catalog)
    intervals = settings.model.tokens == "intervals" and settings.objective.own_config() is None
    if intervals and not settings.data.own_windows:
        catalog = _with_spikes(catalog)
    training, held_out = split(catalog, settings.validation.held_out)
    if settings.objective.title in ("masked", "decoding") and settings.validation.every:
        raise ConfigError(
            f"validation.every is {settings.validation.every}: expected 0 with objective {settings.objective.title}, "
            "or a sum with another objective, since units of held-out recordings have no rows in the model"
        )
    for name, units in settings.objective.own_units().items():
        _check_population(
            settings, f"objective.{name}", units, training.records.select(training.records.numbers("n_units") > 0)
        )
    return training, held_out


def measured_rates(settings: PretrainSettings, catalog: Catalog) -> dict[str, torch.Tensor]:
    """Return recording id -> ``(N,)`` log rates of its units for a model with a population stream; otherwise ``{}``.

    Each recording is opened once, to read only its spike counts; with held-out time, all spikes are read and those
    outside that time are counted.
    """
    if not settings.model.population_layers or settings.objective.own_config() is not None:
        return {}
    recordings = (StoredRecording(catalog.store, row) for row in catalog.records if row.n_units)
    shown = progress(recordings, "reading rates of units", unit="recording", total=len(catalog))
    return {recording.id: log_rates(_rates(settings, recording), recording.is_counts) for recording in shown}


def measured_identities(settings: PretrainSettings, catalog: Catalog) -> dict[str, torch.Tensor]:
    """Return recording id -> ``(N,)`` identities of its units for a model with made rows; otherwise ``{}``.

    Identities are measured outside held-out time.
    """
    if not settings.model.made_rows or settings.objective.own_config() is not None:
        return {}
    recordings = (StoredRecording(catalog.store, row) for row in catalog.records if row.n_units)
    shown = progress(recordings, "measuring identities of units", unit="recording", total=len(catalog))
    return {
        recording.id: unit_identity(recording, _free_time(settings, recording) or recording.observed)
        for recording in shown
    }


def read_labels(settings: PretrainSettings, catalog: Catalog) -> RunLabels | None:
    """Return the labels of a run for the objective ``decoding``, without labels in held-out time; otherwise None.

    Raises:
        ConfigError: if no recording has any of the labels.
    """
    if "decoding" not in (settings.objective.weights or [settings.objective.name]):
        return None
    asked = settings.objective.decoding
    names = LabelNames(tuple(asked.series), tuple(asked.classes), asked.interval_weights)
    return RunLabels(catalog, names, settings.data.held_out_time)


def _free_time(settings: PretrainSettings, recording: StoredRecording) -> Interval | None:
    """Return the observed time outside a recording's held-out time; None if it has none."""
    held_out = settings.data.held_out_time.get(recording.id)
    return None if held_out is None else recording.observed.without(as_interval(held_out))


def _rates(settings: PretrainSettings, recording: StoredRecording) -> np.ndarray:
    """Return ``(N,)`` rates of units outside the held-out time."""
    free = _free_time(settings, recording)
    return recording.firing_rates() if free is None else rates_within(recording, free)


def _with_spikes(catalog: Catalog) -> Catalog:
    """Return the recordings with spike times.

    Raises:
        ConfigError: if no recording has spike times.
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
    """Raise unless there is exactly one recording with this many units, all present in every window.

    Two recordings with equal numbers of units are still two populations: unit 3 of each is another neuron. A recording
    counts even if none of its windows fits.
    """
    if len(records) > 1:
        one = next((r for r in records if r.n_units == units), records[0])
        shown = [f"{r.path} ({r.n_units} units)" for r in records[:SHOWN]]
        shown += [f"{len(records) - SHOWN} more"] * (len(records) > SHOWN)
        raise ConfigError(
            f"{name} is {units}: expected a single recording, found {len(records)}: "
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
