"""From a checkpoint and labelled recordings to scores, for labels that depend on activity and labels that do not."""

import json
from dataclasses import replace
from functools import partial

import mlflow
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from mlflow import MlflowClient

from finetune.finetune_job import finetune
from finetune.finetune_settings import FinetuneSettings, FullSettings, GRUSettings, WindowSettings
from finetune.heads.fitting import shared_trunk
from finetune.heads.head import HeadError, head_name
from finetune.heads.head_files import load_head
from finetune.predict_job import predict
from finetune.predict_settings import PredictSettings
from finetune.report.html_report import ReportSettings, report
from finetune.report.score_table import table
from finetune.result import Evaluation
from foundation.common.errors import CheckpointError, ConfigError, StoreError
from foundation.evaluation.block_readout import choose_weight
from foundation.models import EIT, EITConfig
from foundation.store import Catalog, Interval, IrregularTimeSeries, Spikes, Store, Units, write_recording

SECONDS, N_UNITS = 480.0, 12


def labelled(make_recording, seed: int, rng: np.random.Generator):
    """Return units that fire more awake than asleep and follow a hidden speed; two types differ in rate."""
    edges = np.arange(0, SECONDS, 40.0)
    states = Interval(edges, edges + 40.0, {"state": np.array(["wake", "nrem"] * (len(edges) // 2))})
    times = np.arange(0, SECONDS, 0.1)
    velocity = np.sin(times / 1.7)[:, None] * np.array([[1.0, -0.5]])
    awake = (times // 40 % 2 == 0).astype(float)
    kind = np.where(np.arange(N_UNITS) % 2 == 0, "fast", "slow")
    trains = []
    for unit in range(N_UNITS):
        base = 20.0 if kind[unit] == "fast" else 6.0
        rate = base * (0.5 + awake) * (1 + 0.8 * np.sin(times / 1.7) * (1 if unit < 6 else -1))
        counts = rng.poisson(np.maximum(rate, 0) * 0.1)
        trains.append(np.sort(np.repeat(times, counts) + rng.uniform(0, 0.1, counts.sum())))
    return make_recording(
        seed,
        n_units=N_UNITS,
        seconds=SECONDS,
        spikes=Spikes.from_trains(trains),
        domain=Interval.single(0.0, SECONDS),
        units=Units(N_UNITS, {"cell_type": kind, "location": rng.permutation(kind)}),
        intervals={"states": states},
        behavior={"velocity": IrregularTimeSeries(times, velocity, "cm/s")},
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory, make_recording):
    """Return a store of four animals and an untrained model: its features are random and frozen."""
    folder = tmp_path_factory.mktemp("finetune")
    store = Store(folder / "store", create=True)
    rng = np.random.default_rng(0)
    for seed in range(4):
        write_recording(store, labelled(make_recording, seed, rng))
    Catalog.build(store).save()
    torch.manual_seed(0)
    EIT(EITConfig(dim=16, heads=2, individual_layers=1, interaction_layers=1)).save_pretrained(folder / "model")
    return folder


@pytest.fixture(scope="module")
def settings(place) -> FinetuneSettings:
    return FinetuneSettings(
        checkpoint=str(place / "model"),
        store=str(place / "store"),
        output=str(place / "results"),
        folds=3,
        bootstrap=200,
        control_repeats=4,
        windows=WindowSettings(unit_token=0.1, unit_tokens=16, unit_windows=16, max_tokens=600),
        full=FullSettings(steps=3, checks=1),
        gru=GRUSettings(run=False),
        register="lab",
        alias="best",
    )


@pytest.fixture(scope="module")
def results(settings):
    return {(r.task, r.target, r.mode): r for r in finetune(settings).results}


def test_encoded_labels_are_decoded_and_shuffled_labels_are_not(results):
    informative = {key: r for key, r in results.items() if key[0] != "location"}
    assert {key[0] for key in informative} == {"cell_type", "behavior", "sleep_state"}
    for key, r in informative.items():
        chance = 0.0 if r.kind == "values" else 0.5
        assert r.value > chance + 0.25, key
        assert r.references["rate"].metrics[r.metric] > chance + 0.25, key
        assert r.references["majority"].metrics[r.metric] == pytest.approx(chance, abs=0.02), key
        # States alternate every 40 s here: the lags of a window reach from a rotated series into the true one.
        limit = r.value - 0.1 if key[0] == "sleep_state" else chance + 0.15
        assert r.references["shuffled"].metrics[r.metric] < limit, key
        assert r.score.low <= r.value <= r.score.high, key


def test_random_labels_are_not_decoded(results):
    r = results["location", "all", "probe"]
    assert 0.3 < r.value < 0.7


def test_every_result_records_how_it_was_made(results):
    unit = results["cell_type", "all", "probe"]
    assert (unit.samples, unit.subjects, unit.parts, unit.part_name) == (48, 4, 4, "animals")
    assert unit.classes == {"fast": 24, "slow": 24}
    assert "animals" in unit.split
    timed = next(r for key, r in results.items() if key[0] == "sleep_state")
    assert "contiguous blocks" in timed.split
    assert timed.subjects == 1


def test_both_modes_were_scored_on_the_same_samples(results):
    for (task, target, mode), r in results.items():
        if mode == "full":
            probe = results[task, target, "probe"]
            rest = {name: score for name, score in r.references.items() if name != "scratch"}
            assert (r.samples, r.classes, rest) == (probe.samples, probe.classes, probe.references)
            assert r.gain_scratch.value == pytest.approx(r.value - r.reference("scratch"))
            assert probe.gain_scratch is None


def test_only_results_of_equal_settings_are_reused(settings, results, place):
    files = {p: p.stat().st_mtime_ns for p in (place / "results").rglob("*.json")}
    again = finetune(settings).results
    assert [r.score for r in again] == [r.score for r in results.values()]
    assert {p: p.stat().st_mtime_ns for p in (place / "results").rglob("*.json")} == files
    assert place / "results" / "cell_type" / "head.json" in files
    one = replace(settings, tasks=["cell_type"], mode="probe", seed=1, output=str(place / "other"))
    assert finetune(one).results[0].key != results["cell_type", "all", "probe"].key


def test_results_are_the_same_without_the_cache(settings, results, place):
    kept = Store(place / "store").names("derived")
    assert any(name.startswith("cache-") for name in kept)
    one = replace(settings, tasks=["cell_type"], mode="probe", cache_size=0, output=str(place / "uncached"))
    (found,) = finetune(one).results
    assert found.score == results["cell_type", "all", "probe"].score
    assert Store(place / "store").names("derived") == kept


def test_modes_keep_separate_results(settings, place):
    """One run from scratch serves as a result and as the reference of finetuned modes; a bare word is one mode."""
    few = {"tasks": ["cell_type"], "random_weights": False, "register": None, "output": str(place / "modes")}
    given = replace(settings, mode=["mlp", "lora", "scratch"], full=FullSettings(steps=2, checks=1), **few)
    done = {r.mode: r for r in finetune(given).results}
    assert list(done) == ["mlp", "lora", "scratch"]
    assert done["mlp"].value > 0.75
    assert min(done["mlp"].choices["epochs"]) >= 1
    assert done["lora"].reference("scratch") == done["scratch"].value
    assert done["lora"].gain_scratch is not None
    assert done["scratch"].gain_scratch is None
    shown = table(Evaluation(list(done.values()), []))
    assert "model, MLP probe" in shown
    assert "model, LoRA" in shown
    alone = finetune(replace(given, mode="lora")).results
    assert [(r.mode, r.score, r.seconds) for r in alone] == [("lora", done["lora"].score, done["lora"].seconds)]


def test_every_target_keeps_its_head(results, place):
    heads = {folder.parent.name: load_head(folder.parent) for folder in (place / "results").glob("*/head.json")}
    assert set(heads) == {head_name(task, target) for task, target, _ in results}
    for (task, target, mode), r in results.items():
        head = heads[head_name(task, target)]
        assert head.kept.scores[mode]["metrics"] == pytest.approx(r.score.metrics)
        assert head.kept.samples == r.samples
        best = max(score["metrics"][r.metric] for score in head.kept.scores.values())
        assert head.kept.scores[head.kept.mode]["metrics"][r.metric] == best


def test_unit_heads_apply_to_other_animals_and_time_heads_do_not(results, place, small_store, tmp_path):
    kept = place / "results"
    done = predict(PredictSettings(str(kept / "cell_type"), str(small_store), str(tmp_path / "types.parquet")))
    table = pq.read_table(tmp_path / "types.parquet")
    assert len(done.decoded) == 4
    assert table.column_names[4:] == ["unit", "cell_type", "p(fast)", "p(slow)"]
    true = np.tile(np.where(np.geomspace(2.0, 30.0, 12) > 10, "fast", "slow"), 4)  # as in `labelled`, by rate
    assert (table["cell_type"].to_numpy() == true).mean() > 0.7
    sleep = next(folder for folder in kept.glob("sleep_state-*") if (folder / "head.json").is_file())
    one = PredictSettings(str(sleep), str(small_store), str(tmp_path / "sleep.parquet"))
    with pytest.raises(HeadError, match="expected the same population"):
        predict(replace(one, where=f"subject != '{load_head(sleep).population.subject}'"))


def test_every_task_is_an_mlflow_run_with_pictures(settings, results, place):
    for task in ("behavior", "sleep_state"):
        note = json.loads((place / "results" / task / "mlflow.json").read_text())
        client = MlflowClient(note["tracking_uri"])
        run = client.get_run(note["run_id"])
        assert run.info.status == "FINISHED"
        assert run.data.params["task"] == task
        assert client.list_artifacts(note["run_id"], "pictures")


def test_heads_are_registered_models(results, place):
    note = json.loads((place / "results" / "cell_type" / "mlflow.json").read_text())
    try:
        mlflow.set_tracking_uri(note["tracking_uri"])
        model = mlflow.pyfunc.load_model("models:/lab-cell_type@best")
    finally:
        mlflow.set_tracking_uri(None)
    assert {column.name for column in model.metadata.signature.inputs} == {"unit", "time"}
    rng = np.random.default_rng(0)
    slow, fast = (np.sort(rng.uniform(0, 60, n)) for n in (200, 2000))
    spikes = pd.DataFrame({"unit": np.repeat([7, 9], [200, 2000]), "time": np.concatenate([slow, fast])})
    table = model.predict(spikes, params={"end": 60.0})
    assert table["unit"].tolist() == [7, 9]
    assert table["cell_type"].tolist() == ["slow", "fast"]


def test_table_and_report_have_every_score(results, place, settings):
    text = table(Evaluation(list(results.values())))
    page = report(
        ReportSettings(settings.store, settings.checkpoint, settings.output, str(place / "report.html"))
    ).read_text()
    for r in results.values():
        for shown in (text, page):
            assert f"{r.value:.2f}" in shown
            assert f"{r.references['shuffled'].metrics[r.metric]:.2f}" in shown
    assert "<img" in page or "<svg" in page
    assert 'src="http' not in page


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"tasks": ["cell_tpye"]}, "'cell_tpye': expected one of"),
        ({"folds": 1}, "folds is 1: expected at least 2"),
        ({"mode": []}, "mode is empty"),
    ],
)
def test_invalid_settings_are_rejected(settings, change, what):
    with pytest.raises(ConfigError, match=what):
        replace(settings, **change)


def test_missing_input_is_named(settings, tmp_path, small_store):
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        finetune(replace(settings, checkpoint=str(tmp_path)))
    with pytest.raises(StoreError, match="there is no store"):
        finetune(replace(settings, store=str(tmp_path / "nothing")))
    with pytest.raises(ConfigError, match="tasks has 'sleep_state'"):
        finetune(replace(settings, store=str(small_store), tasks=["sleep_state"], output=str(tmp_path / "o")))


def test_population_gets_rows_with_any_token_length(settings, tmp_path):
    """A model of masked modelling alone has one token length and an untrained unit stream."""
    shape = {"dim": 16, "heads": 2, "individual_layers": 1, "interaction_layers": 0, "population_layers": 1}
    model = EIT(EITConfig(**shape, patch_length=1))
    model.add_populations({"another": torch.zeros(3)})
    model.save_pretrained(tmp_path / "model")
    few = {"tasks": ["behavior"], "mode": "probe", "random_weights": False, "heads": False}
    own = replace(settings, checkpoint=str(tmp_path / "model"), output=str(tmp_path / "out"), **few)
    for result in finetune(own).results:
        assert any(note.startswith("the population is new to the model") for note in result.notes)


def test_new_population_gets_rows_saved_with_its_head(settings, tmp_path):
    few = {"tasks": ["behavior"], "mode": "probe", "random_weights": False, "keep": "probe", "register": None}
    own = replace(settings, checkpoint="eit-tiny", output=str(tmp_path / "out"), alias=None, **few)
    results = finetune(own).results
    assert len(results) == 4
    for result in results:
        assert any(note.startswith("the population is new to the model") for note in result.notes)
    head = load_head(tmp_path / "out" / head_name("behavior", results[0].target))
    recording = next(iter(Catalog.open(Store(settings.store))))
    table = tmp_path / "decoded.parquet"
    where = f"id == '{recording.id}'"
    predict(PredictSettings(head=str(head.folder), input=settings.store, output=str(table), where=where))
    assert len(pq.read_table(table)) > 100


def test_finetuned_head_of_a_new_population_includes_both_models(settings, tmp_path, monkeypatch):
    """The network is averaged with a readout of the frozen model, which got rows too."""
    monkeypatch.setattr(shared_trunk._Training, "search", lambda training, seed: (1, [0.5]))
    monkeypatch.setattr("finetune.heads.fitting.fit_head.choose_weight", partial(choose_weight, weights=(0.5,)))
    few = {"tasks": ["behavior"], "mode": "full", "random_weights": False, "keep": "full", "register": None}
    own = replace(settings, checkpoint="eit-tiny", output=str(tmp_path / "out"), alias=None, **few)
    one = tmp_path / "store"
    store, catalog = Store(one, create=True), Catalog.open(Store(settings.store))
    write_recording(store, next(iter(catalog)).load())
    Catalog.build(store).save()
    (result,) = finetune(replace(own, store=str(one), full=replace(own.full, from_scratch=False))).results
    head = load_head(tmp_path / "out" / head_name("behavior", result.target))
    assert head.sources == {"rates", "model", "adapted"}
    predict(PredictSettings(head=str(head.folder), input=str(one), output=str(tmp_path / "decoded.parquet")))
    assert len(pq.read_table(tmp_path / "decoded.parquet")) > 100
