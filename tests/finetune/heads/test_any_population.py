"""A sleep head that reads averages over units: fitted to one population, applied to another."""

import json
from dataclasses import replace

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient

from finetune.finetune_job import finetune
from finetune.finetune_settings import FinetuneSettings, WindowSettings
from finetune.heads.decode import decode
from finetune.heads.head import HeadError
from finetune.heads.head_files import load_head
from finetune.heads.head_models import head_models
from finetune.predict_job import predict
from finetune.predict_settings import PredictSettings
from finetune.tasks.problems.unit_averages import averaged_activity, standardised
from foundation.models import EIT, EITConfig
from foundation.store import Catalog, Interval, Spikes, Store, Units, write_recording

SECONDS, BOUT = 480.0, 40.0


def animal(make_recording, seed, n_units, base):
    """Return units of given rates that fire twice as much awake as asleep."""
    rng = np.random.default_rng(seed)
    edges = np.arange(0, SECONDS, BOUT)
    times = np.arange(0, SECONDS, 0.1)
    rate_N = base * rng.uniform(0.5, 2.0, n_units)
    drive = np.where(times // BOUT % 2 == 0, 1.0, 0.5)
    trains = [
        np.sort(np.repeat(times, n) + rng.uniform(0, 0.1, n.sum()))
        for n in (rng.poisson(r * 0.1 * drive) for r in rate_N)
    ]
    return make_recording(
        seed, n_units=n_units, seconds=SECONDS, units=Units(n_units, {"id": np.arange(n_units) + 100 * seed}),
        spikes=Spikes.from_trains(trains), domain=Interval.single(0.0, SECONDS),
        intervals={"states": Interval(edges, edges + BOUT, {"state": np.array(["wake", "nrem"] * (len(edges) // 2))})},
    )  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory, make_recording, empty_runs):
    """Return results of an animal with 10 units, and a store of another with 6 units of other rates."""
    folder = tmp_path_factory.mktemp("any_population")
    for name, seed, n_units, base in (("known", 1, 10, 12.0), ("other", 2, 6, 4.0)):
        store = Store(folder / name, create=True)
        write_recording(store, animal(make_recording, seed, n_units, base))
        Catalog.build(store).save()
    torch.manual_seed(0)
    EIT(EITConfig(dim=16, heads=2, individual_layers=1, interaction_layers=1)).save_pretrained(folder / "model")
    settings = FinetuneSettings(
        str(folder / "model"), str(folder / "known"), str(folder / "out"), tasks=["sleep_state"], mode="probe", folds=3,
        bootstrap=100, control_repeats=2, random_weights=False, tracking_uri=f"sqlite:///{empty_runs}",
        windows=WindowSettings(sleep_tokens=5),
    )  # fmt: skip
    results = {
        keep: finetune(replace(settings, keep=keep, output=str(folder / keep))).results for keep in ("rate", "probe")
    }
    return folder, results


def true_states(times):
    return np.where(times // BOUT % 2 == 0, "wake", "nrem")


@pytest.mark.parametrize("keep", ["rate", "probe"])
def test_head_labels_another_population(place, keep):
    folder, results = place
    head = load_head(folder / keep / "any_population" / "sleep_state")
    assert head.kept.mode == keep
    assert head.population is None
    assert not head.of_units
    (recording,) = Catalog.open(Store(folder / "other"))
    decoded = decode(head, recording, head_models(head))
    assert decoded.unit_S is None
    np.testing.assert_allclose(decoded.out_SK.sum(axis=1), 1.0)
    assert (decoded.names == true_states(decoded.times)).mean() > 0.85
    (result,) = results[keep]
    assert result.reference("any_population") > 0.85
    assert head.kept.scores[keep]["metrics"][result.metric] == result.reference("any_population")


def test_head_of_one_population_refers_to_the_general_head(place):
    folder, _ = place
    (recording,) = Catalog.open(Store(folder / "other"))
    head = load_head(folder / "rate" / "sleep_state")
    with pytest.raises(HeadError, match=r"expected the same population; .*any_population/sleep_state-.* reads any"):
        decode(head, recording)


def test_predict_writes_samples_over_time(place, tmp_path):
    folder, _ = place
    head = str(folder / "rate" / "any_population" / "sleep_state")
    done = predict(PredictSettings(head, str(folder / "other"), output=str(tmp_path / "states.parquet")))
    assert "samples of 1 recording" in str(done)


def test_averages_ignore_order_and_scale_of_units():
    x_TN = np.random.default_rng(0).poisson(np.linspace(1, 9, 40)[:, None], size=(40, 7)).astype(np.float32)
    averages = averaged_activity(x_TN, counts=True)
    assert averages.shape == (40, 3)
    np.testing.assert_allclose(averages, averaged_activity(x_TN[:, ::-1], counts=True), atol=1e-5)
    scale_N = np.array([1, 4, 9, 1, 16, 25, 4], dtype=np.float32)  # one unit's rate must not outweigh another's
    np.testing.assert_allclose(averages, averaged_activity(x_TN * scale_N, counts=True), atol=1e-5)
    assert np.corrcoef(averages[:, 0], np.arange(40))[0, 1] > 0.9
    assert not standardised(np.full((5, 2), 3.0)).any()


def test_head_is_logged_with_the_run_of_its_task(place):
    note = json.loads((place[0] / "rate" / "sleep_state" / "mlflow.json").read_text())
    client = MlflowClient(note["tracking_uri"])
    (head,) = client.list_artifacts(note["run_id"], "heads/any_population")
    folder = client.download_artifacts(note["run_id"], head.path, str(place[0]))
    spikes = pd.DataFrame({"unit": np.repeat([3, 5], 400), "time": np.tile(np.linspace(0.01, 79.9, 400), 2)})
    table = mlflow.pyfunc.load_model(folder).predict(spikes, params={"end": 80.0})
    assert set(table["sleep_state"]) <= {"wake", "nrem"}
    assert len(table) == 20  # of 4 s
