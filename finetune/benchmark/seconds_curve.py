"""Scores over the seconds that were recorded: the same folds and readouts on the beginning of each recording."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from finetune.finetune_job import finetune
from finetune.finetune_settings import FinetuneSettings
from finetune.result import Result
from foundation.common.errors import ConfigError
from foundation.store import Catalog, Interval, Recording, Spikes, Store, write_recording

FEWEST_SHUFFLES = 2  # the controls are those of the whole recordings


def seconds_curve(settings: FinetuneSettings, seconds: list[float]) -> dict[str, list[Result]]:
    """Return the results of `finetune` on the first seconds of each recording.

    Windows of units get fewer tokens where they would be longer than the recording. Random weights and finetuning are
    left out.

    Args:
        settings: those of `finetune` on whole recordings, whose samples are units.
        seconds: of observed time, each a point of the curve.

    Returns:
        ``"10"`` (seconds) -> results of mode probe.
    """
    curve = {}
    for length in seconds:
        windows = settings.windows
        tokens = int(min(windows.unit_tokens, length // windows.unit_token))
        if not tokens:
            raise ConfigError(f"seconds has {length:g}: expected at least a token of {windows.unit_token:g} s")
        folder = Path(settings.output) / f"first-{length:g}s"
        cut = replace(
            settings,
            store=cut_store(settings.store, length, folder / "store"),
            output=str(folder / "results"),
            mode=["probe"],
            windows=replace(windows, unit_tokens=tokens),
            random_weights=False,
            control_repeats=FEWEST_SHUFFLES,
            cache_size=0,
        )
        curve[f"{length:g}"] = finetune(cut).results
    return curve


def cut_store(store: str, seconds: float, place: Path) -> str:
    """Write a store that holds the first seconds of each recording of another store.

    Args:
        store: with recordings of spikes.
        seconds: of observed time that each is cut to.
        place: folder of the new store; what was there is replaced.

    Returns:
        The new store.
    """
    shutil.rmtree(place, ignore_errors=True)
    made = Store(place, create=True)
    for recording in Catalog.open(Store(store)):
        write_recording(made, beginning(recording.load(), seconds))
    Catalog.build(made).save()
    return str(place)


def beginning(recording: Recording, seconds: float) -> Recording:
    """Return the first seconds of observed time of a recording with spikes.

    Raises:
        ConfigError: if it holds sampled activity.
    """
    if recording.spikes is None:
        raise ConfigError(f"{recording.source.path} holds sampled activity: expected spikes, which can be cut")
    observed = recording.domain.union()
    length = observed.end - observed.start
    before = np.cumsum(length) - length
    kept = before < seconds
    domain = Interval(observed.start[kept], (observed.start + np.minimum(length, seconds - before))[kept])
    spikes = recording.spikes
    trains = [train[domain.contains(train)] for train in map(spikes.train, range(spikes.n_units))]
    return replace(recording, domain=domain, spikes=Spikes.from_trains(trains))
