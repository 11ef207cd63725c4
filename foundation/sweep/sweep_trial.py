"""One trial of a sweep: a short pretraining run, and its loss on held-out recordings."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from foundation.common.digests import json_digest
from foundation.common.errors import ConfigError, FoundationError
from foundation.common.extensions.search_folders import inherit
from foundation.common.files.jsonl_results import SUFFIX, put_result, read_results
from foundation.common.private_names import whole_shape
from foundation.store.catalog import Catalog
from foundation.store.storage import Store
from foundation.sweep.sweep_settings import SweepSettings
from foundation.training.inputs.training_recordings import recordings_digest
from foundation.training.pretrain_settings import PretrainSettings, ValidationSettings
from foundation.training.trainer import Trainer
from foundation.training.validation.validate import split

LOSS = "validation/loss"
TRIALS = f"trials{SUFFIX}"


@dataclass(frozen=True)
class Trial:
    """A point of a sweep.

    Args:
        width: ``model.dim``.
        recordings: number of training recordings.
        seed: of weights and data order.

    Example:
        >>> Trial(16, 4, 0).name
        'width16-recordings4-seed0'
    """

    width: int
    recordings: int
    seed: int

    @property
    def name(self) -> str:
        """Return the name of the trial's files."""
        return f"width{self.width}-recordings{self.recordings}-seed{self.seed}"


@dataclass(frozen=True)
class Measured:
    """Result of a trial, a line of the results.

    Args:
        trial: the trial.
        parameters: of the encoder.
        tokens: neuron-tokens of its recordings.
        held_out: number of recordings that the loss is measured on.
        steps: number of training steps.
        loss: on held-out recordings, at the end.
        seconds: duration.
        digest: of settings and recordings.
    """

    trial: Trial
    parameters: int
    tokens: int
    held_out: int
    steps: int
    loss: float
    seconds: float
    digest: str


def trials(settings: SweepSettings) -> list[Trial]:
    """Return all points, the cheapest first."""
    found = [Trial(w, r, s) for w in settings.widths for r in settings.recordings for s in settings.seeds]
    return sorted(found, key=lambda t: (t.width**2 * t.recordings, t.seed))


def prepare(settings: SweepSettings, trial: Trial) -> tuple[PretrainSettings, Catalog, int]:
    """Return a trial's run, its recordings with held-out ones, and the neuron-tokens of its training recordings.

    Raises:
        ConfigError: if there are too few recordings.
    """
    catalog = Catalog.open(Store(settings.store))
    training, held_out = split(catalog, settings.held_out)
    if trial.recordings > len(training):
        raise ConfigError(
            f"recordings names {trial.recordings}: expected at most {len(training)}, the recordings that are not held "
            "out"
        )
    chosen = training.records[: trial.recordings]
    seconds = settings.data.bin_widths[0] * settings.model.with_dim(trial.width).config().patch_length
    tokens = round(sum((chosen.numbers("n_units") * chosen.numbers("duration")).tolist()) / seconds)
    steps = max(2, round(settings.passes * tokens / settings.data.tokens_per_step))
    runs = Path(settings.runs or Path(settings.output) / "runs")
    run = PretrainSettings(
        store=settings.store,
        output=str(runs / trial.name),
        steps=steps,
        seed=trial.seed,
        precision=settings.precision,
        checkpoint_every=max(50, math.ceil(steps / 4)),
        keep_checkpoints=1,
        log_every=max(1, steps // 10),
        tracking_uri=settings.tracking_uri,
        experiment="sweep",
        model=settings.model.with_dim(trial.width),
        data=settings.data,
        objective=settings.objective,
        optimizer=replace(settings.optimizer, warmup_steps=max(1, steps // 10)),
        validation=ValidationSettings(every=steps, held_out=settings.held_out, steps=settings.validation_steps),
    )
    return run, catalog.select([*chosen.ids, *held_out.ids]), tokens


def digest_of(run: PretrainSettings, catalog: Catalog) -> str:
    """Return a digest of everything that decides a trial's loss."""
    whole = [run.identity(), asdict(run.validation), recordings_digest(catalog)]
    return json_digest(whole)


def measure(settings: SweepSettings, trial: Trial) -> Measured:
    """Train, and measure the loss on the held-out recordings; the run's folder is removed.

    Raises:
        FoundationError: if the loss is not a number above 0, or training fails.
    """
    began = time.perf_counter()
    run, catalog, tokens = prepare(settings, trial)
    trainer = Trainer(run, catalog)
    trainer.run()
    loss = trainer.reports.latest.get(LOSS, math.nan)
    if not 0 < loss < math.inf:
        raise FoundationError(
            f"trial {trial.name}: {LOSS} is {loss}, and a power law needs losses above 0: choose another objective"
        )
    parameters = sum(math.prod(whole_shape(p)) for p in trainer.engine.module.model.parameters())
    trainer.engine.destroy()
    shutil.rmtree(run.output, ignore_errors=True)
    seconds = round(time.perf_counter() - began, 1)
    held_out = len(catalog) - trial.recordings
    return Measured(trial, parameters, tokens, held_out, run.steps, loss, seconds, digest_of(run, catalog))


def measure_in_worker(settings: SweepSettings, trial: Trial, inherited_variables: Mapping[str, str]) -> Measured:
    """Measure a trial in a process of Ray, which gets the search folders of custom classes."""
    inherit(inherited_variables)
    return measure(settings, trial)


def write(folder: Path, measured: Measured) -> None:
    """Write the result of a trial, in place of an earlier line of the same trial."""
    put_result(folder / TRIALS, asdict(measured) | {"name": measured.trial.name}, key=("name",))


def read_trials(folder: Path) -> dict[Trial, Measured]:
    """Return the results of all trials in a folder.

    Raises:
        ConfigError: if a line of the results is damaged, or the folder holds trials of an earlier version, one JSON
            file each.
    """
    former = sorted(folder.glob("width*-recordings*-seed*.json"))
    if former:
        raise ConfigError(
            f"{former[0]} is a trial of an earlier version: expected its JSON as a line of {folder / TRIALS}; name "
            "another output, or join the files there, one a line"
        )
    found: dict[Trial, Measured] = {}
    try:
        for line in read_results(folder / TRIALS):
            fields = {name: value for name, value in line.items() if name != "name"}
            measured = Measured(**(fields | {"trial": Trial(**fields["trial"])}))
            found[measured.trial] = measured
    except (FoundationError, TypeError, KeyError) as error:
        raise ConfigError(
            f"{folder / TRIALS} is damaged ({error}): remove the line, and the trial is run again"
        ) from error
    return found


def read(folder: Path, trial: Trial, digest: str) -> Measured | None:
    """Return the result of a trial, or None if it has not been run.

    Raises:
        ConfigError: if it was run with other settings or recordings, or its line is damaged.
    """
    measured = read_trials(folder).get(trial)
    if measured is not None and measured.digest != digest:
        raise ConfigError(
            f"{trial.name} in {folder / TRIALS} has other settings or recordings: name another output, or remove "
            "the line"
        )
    return measured
