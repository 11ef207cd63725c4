"""A store of reaches in four directions, and a small model that reads it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from finetune.finetune_settings import FinetuneSettings, FullSettings, GRUSettings, WindowSettings
from finetune.heads.fitting import shared_trunk
from finetune.heads.fitting.fit_head import Evaluated, Scored, fit_head
from finetune.heads.fitting.full_finetuning import full
from finetune.heads.fitting.head_probe import probe_with_rates
from finetune.heads.head_files import save_head
from finetune.result import Score
from finetune.tasks.labels import behavior
from finetune.tasks.task import Sources
from foundation.data.reading.reader import ReaderCache
from foundation.evaluation.metrics import PRIMARY, primary
from foundation.hub.checkpoints import checkpoint_digest
from foundation.interop import to_nwb
from foundation.models import EIT, EITConfig
from foundation.store import (
    Catalog,
    Interval,
    IrregularTimeSeries,
    Recording,
    Source,
    Spikes,
    Store,
    Subject,
    Units,
    write_recording,
)

TRIALS, UNITS, TOKEN = 48, 12, 0.1


@pytest.fixture(scope="session")
def settings():
    return FinetuneSettings(
        "model",
        "store",
        "results",
        folds=3,
        control_repeats=4,
        full=FullSettings(steps=2, checks=1, tokens_per_step=512),
        gru=GRUSettings(units=16, max_epochs=12, patience=6, dropouts=[0.1], learning_rate=2e-2),
    )


@pytest.fixture(scope="session")
def sources(tmp_path_factory):
    """Reaches in four directions, 0.8 to 1.5 s long: bell-shaped speed, and units tuned to velocity."""
    rng = np.random.default_rng(0)
    start = 2.0 * np.arange(TRIALS)
    length = rng.integers(8, 16, TRIALS) * TOKEN
    direction = np.pi / 2 * (np.arange(TRIALS) % 4)
    times = np.arange(0.0, 2.0 * TRIALS, 0.02)
    trial = np.minimum((times // 2).astype(int), TRIALS - 1)
    inside = times - start[trial]
    speed = np.where(inside < length[trial], np.exp(-0.5 * ((inside - 0.5) / 0.15) ** 2), 0.0)
    speed *= 1 + 0.6 * np.sin(9 * times)  # a deviation from the mean course
    velocity = speed[:, None] * np.stack([np.cos(direction[trial]), np.sin(direction[trial])], axis=1)
    preferred = rng.uniform(0, 2 * np.pi, UNITS)
    rate = 8 + 60 * np.maximum(velocity @ np.stack([np.cos(preferred), np.sin(preferred)]), 0)
    trains = [np.sort(times.repeat(rng.poisson(r * 0.02)) + 1e-4) for r in rate.T]
    recording = Recording(
        Source("a.nwb", "0" * 64), Subject("m"), "s", Units(UNITS), Interval.single(0.0, 2.0 * TRIALS),
        spikes=Spikes.from_trains(trains),
        intervals={"trials": Interval(start, start + length, {"direction": direction})},
        behavior={"velocity": IrregularTimeSeries(times, velocity, "cm/s")},
    )  # fmt: skip
    store = Store(str(tmp_path_factory.mktemp("rows") / "store"), create=True)
    write_recording(store, recording)
    catalog = Catalog.build(store)
    return Sources(catalog, ReaderCache(catalog), WindowSettings(), 5, 5, folds=3, seed=0)


@pytest.fixture(scope="session")
def problems(sources):
    return {p.labels.target.split("-")[0]: p for p in behavior.find(sources).problems}


@pytest.fixture(scope="session")
def causal_problems(sources):
    causal = replace(sources, windows=WindowSettings(causal=True))
    return {p.labels.target.split("-")[0]: p for p in behavior.find(causal).problems}


@pytest.fixture(scope="session")
def causal_model(problems):
    """A small model with a causal population stream that knows the recording."""
    return model_of(problems["velocity"].recording.id, causal=True)


@pytest.fixture(scope="session")
def another_day(problems, make_recording, tmp_path_factory):
    """The same population without trials or labels, in a store and as an NWB file."""
    import pynwb

    folder = tmp_path_factory.mktemp("another_day")
    trials = problems["velocity"].recording.load().spikes
    recording = make_recording(
        7, n_units=UNITS, seconds=96.0, subject=Subject("m"), units=Units(UNITS, {"id": np.arange(UNITS)}),
        spikes=Spikes.from_trains([trials.train(k) for k in range(UNITS)]), domain=Interval([0.0, 50.0], [40.0, 96.0]),
    )  # fmt: skip
    store = Store(folder / "store", create=True)
    write_recording(store, recording)
    with pynwb.NWBHDF5IO(folder / "day2.nwb", "w") as io:
        io.write(to_nwb(recording))
    (found,) = Catalog.refresh(store)
    return folder, found


@pytest.fixture(scope="session")
def unit_model():
    """A small model without a population stream."""
    return model_of()


@pytest.fixture(scope="session")
def population_model(problems):
    """The same with a population stream that knows the recording."""
    return model_of(problems["velocity"].recording.id)


def model_of(population_of=None, causal=False):
    """A small model; with a population stream that knows a recording, if its id is given."""
    torch.manual_seed(0)
    layers = 1 if population_of else 0
    shape = {"dim": 16, "heads": 2, "individual_layers": 1, "interaction_layers": 1, "patch_length": 5}
    model = EIT(EITConfig(**shape, population_layers=layers, causal=causal))
    if population_of:
        model.add_populations({population_of: torch.zeros(UNITS)})
    return model


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory, population_model):
    """The folder of a model with a population stream that knows the recording."""
    folder = tmp_path_factory.mktemp("checkpoint") / "model"
    population_model.save_pretrained(folder)
    return folder


def keep_two_updates(training, seed):
    """Replace the search for the number of updates: so few updates rarely help."""
    return 2, [1.0 if one.problem.labels.n_classes else 0.5 for one in training.learned]


@pytest.fixture(scope="session")
def fitted(settings, checkpoint):
    """Fit the head of a problem to a model as `foundation finetune` does, and write it."""

    def fit(problem, model, mode, folder, checkpoint=checkpoint):
        split = problem.split(settings.folds, settings.seed)
        ours, rates = problem.features(model), problem.rate_features()
        probes = probe_with_rates(problem, rates, ours, split, settings, shuffled=False)
        made = {"rate": probes.rate, "probe": probes.model, "both": probes.both}
        if mode == "full":
            made["full"] = full(problem, lambda _: (model, ours), probes.both, split, settings)
        scored = {
            name: Scored(found.predictions, Score({PRIMARY[problem.labels.kind]: primary(found.predictions)}))
            for name, found in made.items()
        }
        named = {"name": str(checkpoint), "digest": checkpoint_digest(checkpoint)}
        about = Evaluated(model, ours, rates, scored, "by time", "none", named, "key")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shared_trunk._Training, "search", keep_two_updates)
            head, adapted = fit_head(problem, about, replace(settings, keep=mode))
        save_head(head, folder, adapted)
        return head, about

    return fit
