"""A small store of animals that reach, and the table of decoded behaviour over it."""

import numpy as np
import pytest

from finetune.finetune_settings import FullSettings, GRUSettings
from finetune.reproduce import DecodingTable, ReproduceSettings, reproduce
from finetune.reproduce.common.run_results import read_all
from finetune.reproduce.decoding.decoding_settings import WORK
from foundation.store import (
    Catalog,
    Interval,
    IrregularTimeSeries,
    Spikes,
    Store,
    Subject,
    Units,
    write_recording,
)

N_TRIALS, BINS, UNITS = 48, 6, 8
PRETRAIN = """
steps: 2
checkpoint_every: 2
model: {dim: 16, heads: 2, individual_layers: 1, interaction_layers: 0, population_layers: 1, patch_length: 1}
data: {bin_widths: [0.1], tokens_per_step: 1024, max_units: 8}
objective: {name: masked, masked: {min_tokens: 2, max_tokens: 6}}
"""


def reaches(make_recording, subject: str, seed: int):
    """Trials 2 s apart in four directions; each unit fires with the velocity along an axis of its own."""
    rng = np.random.default_rng(seed)
    start = 1.0 + 2.0 * np.arange(N_TRIALS)
    direction = np.concatenate([rng.permutation(4) for _ in range(N_TRIALS // 4)]) * np.pi / 2
    times = (start[:, None] + 0.1 * (np.arange(BINS) + 0.5)).ravel()
    speed = np.sin(np.pi * (np.arange(BINS) + 0.5) / BINS) * rng.uniform(0.5, 1.5, (N_TRIALS, 1))
    velocity = (speed[..., None] * np.stack([np.cos(direction), np.sin(direction)], axis=-1)[:, None]).reshape(-1, 2)
    angle = np.arange(UNITS) * 2 * np.pi / UNITS
    rate = 20 * (1 + 0.9 * velocity @ np.stack([np.cos(angle), np.sin(angle)]))
    counts = rng.poisson(np.maximum(rate, 0) * 0.1)
    trains = [np.sort(np.concatenate([t + rng.uniform(-0.04, 0.04, n) for t, n in zip(times, c, strict=True)]))
              for c in counts.T]  # fmt: skip
    return make_recording(
        seed,
        subject=Subject(subject, species="Macaca mulatta"),
        units=Units(UNITS),
        domain=Interval(start, start + 0.1 * BINS),
        spikes=Spikes.from_trains(trains),
        intervals={"trials": Interval(start, start + 0.1 * BINS, {"direction": direction})},
        behavior={
            "velocity": IrregularTimeSeries(times, velocity, "cm/s"),
            "position": IrregularTimeSeries(times, 0.1 * velocity, "m"),  # a place that the units follow
        },
    )


@pytest.fixture(scope="package")
def place(tmp_path_factory, make_recording):
    """A folder with a store of three animals, of which a table decodes two, and a config of a short pretraining."""
    folder = tmp_path_factory.mktemp("decoding")
    store = Store(folder / "store", create=True)
    for seed, subject in enumerate(("Ann", "Bob", "Cleo")):
        write_recording(store, reaches(make_recording, subject, seed))
    Catalog.build(store).save()
    (folder / "pretrain.yaml").write_text(PRETRAIN)
    return folder


@pytest.fixture(scope="package")
def settings(place) -> ReproduceSettings:
    table = DecodingTable(
        subjects=["Ann", "Bob"],
        labels=["velocity", "direction", "hidden_units"],
        work=[name for name in WORK if name not in ("few_40", "few_80")],  # a fold has fewer trials
        seeds=[0, 1],
        pretrain=str(place / "pretrain.yaml"),
        models=str(place / "models"),
        folds=2,
        control_repeats=3,
        gru=GRUSettings(units=4, max_epochs=2, dropouts=[0.2]),
        full=FullSettings(steps=2, checks=1, tokens_per_step=512),
    )
    return ReproduceSettings(
        store=str(place / "store"), output=str(place / "results"), name="reach", page=str(place / "page.md"),
        experiment="decoding", decoding=table,
    )  # fmt: skip


@pytest.fixture(scope="package")
def rows(settings):
    return read_all(reproduce(settings))
