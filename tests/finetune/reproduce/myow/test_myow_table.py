"""The MYOW tables: bins and splits, training by one rule, resuming, and the page with its map."""

import dataclasses

import numpy as np
import pytest

from finetune.reproduce import MYOWTable, ReproduceSettings, reproduce
from finetune.reproduce.common.run_results import find_recording, read_all
from finetune.reproduce.myow.bins_settings import LEARNED, Training
from finetune.reproduce.myow.bins_training import _Data, _Objective
from finetune.reproduce.myow.labelled_bins import read_reaches, read_sleep
from finetune.reproduce.myow.myow_page import PUBLISHED_STEPS, interval
from finetune.reproduce.myow.myow_runs import _shuffled, score
from foundation.common.errors import ConfigError, FoundationError
from foundation.common.settings.command import build_parser, parse
from foundation.common.settings.resources import config_names
from foundation.objectives import MYOWSettings
from foundation.store import (
    Catalog,
    Interval,
    IrregularTimeSeries,
    Source,
    Spikes,
    Store,
    Subject,
    Units,
    write_recording,
)
from foundation.training import PretrainSettings, pretrain

N_TRIALS, N_UNITS = 40, 8
QUICK = Training(max_steps=4, every=2, batch_size=16, myow=MYOWSettings(encoder=[8, 8], exclusion=2.0))


def counted(rng, rate_MN, start_M, width):
    """Spike trains with Poisson counts in each bin, spread evenly over it."""
    trains = []
    for rate_M in rate_MN.T:
        counts = rng.poisson(rate_M * width)
        times = [t + width * (np.arange(n) + 0.5) / n for t, n in zip(start_M, counts, strict=True) if n]
        trains.append(np.concatenate(times))
    return Spikes.from_trains(trains)


def reaches(make_recording):
    """Trials 4 s apart of 9 bins; each unit prefers a direction; the hand is slow in the first three bins."""
    rng = np.random.default_rng(0)
    start = 1.0 + 4.0 * np.arange(N_TRIALS)
    label = np.concatenate([rng.permutation(8) for _ in range(N_TRIALS // 8)])
    at = (start[:, None] + 0.1 * np.arange(9)).ravel()
    rate = 3 + 60 * (np.repeat(label, 9)[:, None] == np.arange(8))
    speed = np.tile(np.where(np.arange(9) < 3, 1.0, 9.0), N_TRIALS)
    velocity = IrregularTimeSeries(at + 0.05, np.stack([speed, 0 * speed], 1))
    return make_recording(
        0,
        source=Source(path="sub-Chewie.nwb", digest="1" * 64),
        subject=Subject("Chewie", species="Macaca mulatta"),
        units=Units(N_UNITS),
        domain=Interval(start, start + 0.9),
        spikes=counted(rng, rate, at, 0.1),
        behavior={"velocity": velocity},
        intervals={"trials": Interval(start, start + 0.9, {"direction": label * np.pi / 4})},
    ), label


def sleeping(make_recording):
    """400 bins of 4 s, states of 20 bins each; each unit prefers one of three."""
    rng = np.random.default_rng(1)
    state = np.tile([0, 1, 2, 1], 5)
    start = 80.0 * np.arange(len(state))
    at = 4.0 * np.arange(400)
    rate = 0.5 + 3 * (np.repeat(state, 20)[:, None] == np.arange(N_UNITS) % 3)
    names = np.array(["wake", "nrem", "rem"])[state]
    return make_recording(
        0,
        source=Source(path="sub-mouse.nwb", digest="2" * 64),
        subject=Subject("mouse", species="Mus musculus"),
        units=Units(N_UNITS),
        domain=Interval(np.array([0.0]), np.array([1600.0])),
        spikes=counted(rng, rate, at, 4.0),
        intervals={"states": Interval(start, start + 80.0, {"state": names})},
    )


@pytest.fixture(scope="module")
def recordings(make_recording, tmp_path_factory):
    path = tmp_path_factory.mktemp("bins") / "store"
    store = Store(path, create=True)
    monkey, label = reaches(make_recording)
    for recording in (monkey, sleeping(make_recording)):
        write_recording(store, recording)
    Catalog.build(store).save()
    return path, label


def test_sleep_of_one_state_and_missing_reaches_are_named(make_recording, tmp_path):
    asleep = sleeping(make_recording)
    states = asleep.intervals["states"]
    one = Interval(states.start, states.end, {"state": np.full(len(states.start), "wake")})
    monkey, _ = reaches(make_recording)
    unseen = Interval(np.array([0.0]), np.array([0.5]))  # before the first trial
    store = Store(tmp_path / "store", create=True)
    for recording in (
        dataclasses.replace(asleep, intervals={"states": one}),
        dataclasses.replace(monkey, domain=unseen, spikes=Spikes.from_trains([np.array([0.1])] * N_UNITS)),
    ):
        write_recording(store, recording)
    catalog = Catalog.build(store)
    with pytest.raises(ConfigError, match=r"has wake in the first \d+ bins of 4 s: expected at least two states"):
        read_sleep(find_recording(catalog, "mouse"))
    with pytest.raises(ConfigError, match=r"no observed bin of 0.1 s in any trial"):
        read_reaches(find_recording(catalog, "Chewie"))


def test_diverged_objective_gives_no_result(recordings, tmp_path):
    wild = dataclasses.replace(QUICK, optimizer="sgd", learning_rate=1e30)
    for model in ("byol", "supervised"):
        with pytest.raises(FoundationError, match="lower it"):
            reproduce(table(recordings, tmp_path, models=[model], training=wild))
    assert not list(tmp_path.rglob("*.jsonl"))


def table(recordings, tmp_path, **changes):
    settings = dataclasses.replace(
        MYOWTable(models=["linear", "shuffled", "byol"], seeds=[0], training=QUICK), **changes
    )
    return ReproduceSettings(
        store=str(recordings[0]), output=str(tmp_path / "runs"), name="t", page=str(tmp_path / "page.md"),
        experiment="myow", myow=settings,
    )  # fmt: skip


def found(recordings, subject):
    return find_recording(Catalog.open(Store(recordings[0])), subject)


def test_reaches_are_split_by_trial_and_only_fast_bins_count(recordings):
    parts = read_reaches(found(recordings, "Chewie"))
    assert [len(p) // 9 for p in (parts.learn, parts.held, parts.train, parts.test)] == [26, 6, 32, 8]
    assert parts.test.group_M.min() == parts.train.group_M.max() + 1
    assert parts.test.scored_M.tolist() == [False] * 3 * 1 + [True] * 6 + parts.test.scored_M[9:].tolist()
    assert parts.test.scored_M.sum() == 8 * 6
    np.testing.assert_allclose(parts.test.label_M[::9], recordings[1][32:] * np.pi / 4)
    assert set(np.unique(parts.whole.count_MN % 1)) == {0.0}


def test_sleep_is_split_in_time_as_released(recordings):
    parts = read_sleep(found(recordings, "mouse"))
    assert [len(p) for p in (parts.learn, parts.held, parts.train, parts.test)] == [224, 96, 224, 80]
    assert parts.test.start_M[0] == 320 * 4.0
    assert parts.whole.label_M.tolist() == np.repeat(np.tile([0, 1, 2, 1], 5), 20).tolist()
    assert parts.whole.group_M.max() == 2  # blocks of ten minutes in 1,600 s


def test_positive_pairs_are_near_and_in_the_same_trial(recordings):
    import torch

    bins = read_reaches(found(recordings, "Chewie")).train
    data = _Data(bins, raw=False, reach=True, max_distance=0.4)
    rows = torch.arange(len(bins)).repeat(20)
    partner = data.partner(rows, torch.Generator().manual_seed(0))
    apart = np.rint((bins.start_M[partner] - bins.start_M[rows]) / 0.1).astype(int)
    assert set(apart) == {-4, -3, -2, -1, 1, 2, 3, 4}
    assert (bins.group_M[partner] == bins.group_M[rows]).all()


def test_floor_decodes_labels_but_not_shuffled_ones(recordings, tmp_path):
    for subject, task in (("Chewie", "reach"), ("mouse", "sleep")):
        settings = table(recordings, tmp_path / task, subject=subject, task=task, models=["linear", "shuffled"])
        rows = read_all(reproduce(settings))
        assert rows["linear"][0].accuracy > 0.8
        if task == "reach":  # the mouse's training part is of two blocks alone, whose order may be drawn as it is
            assert rows["shuffled"][0].accuracy < 0.4
    bins = read_reaches(found(recordings, "Chewie")).train
    assert sorted(_shuffled(bins, 0).label_M) == sorted(bins.label_M)


@pytest.mark.parametrize("task", ["reach", "sleep"])
@pytest.mark.parametrize("name", LEARNED)
def test_every_row_runs_and_saves_its_result(recordings, tmp_path, name, task):
    if name == "cebra":
        pytest.importorskip("cebra")
    subject = "Chewie" if task == "reach" else "mouse"
    folder = reproduce(table(recordings, tmp_path, subject=subject, task=task, models=[name]))
    [result] = read_all(folder)[name]
    assert result.detail["steps"] in (1, 2, 4)
    low, high = interval([result])
    assert low <= result.accuracy <= high
    page = (tmp_path / "page.md").read_text()
    assert str(tmp_path) not in page
    assert ("parting" in result.detail) == (name == "swap_vae" and task == "reach")
    assert ("Swap-VAE's content predicts the direction of" in page) == ("parting" in result.detail)
    if task == "sleep":
        assert np.sum(result.detail["clusters"]) == 400
        assert (tmp_path / f"page/t/{name}-map.svg").is_file()
        assert ("![Map of states](page/t/myow-map.svg)" in page) == (name == "myow")


def test_map_shows_the_first_seed_in_any_run_order(recordings, tmp_path):
    pictures = []
    for seed in (1, 2, 0):
        settings = table(recordings, tmp_path, subject="mouse", task="sleep", models=["byol"], seeds=[seed])
        reproduce(settings)
        pictures.append((tmp_path / "page/t/byol-map.svg").read_bytes())
    assert pictures[0] == pictures[1]  # seed 2 left that of seed 1
    assert pictures[2] != pictures[1]  # seed 0 took its place


def test_labels_train_the_supervised_baseline(recordings, tmp_path):
    longer = dataclasses.replace(QUICK, max_steps=150, every=50, learning_rate=1e-2)
    for subject, task in (("Chewie", "reach"), ("mouse", "sleep")):
        settings = table(
            recordings, tmp_path / task, subject=subject, task=task, models=["supervised"], training=longer
        )
        assert read_all(reproduce(settings))["supervised"][0].accuracy > 0.6


def test_table_resumes_and_never_mixes_settings(recordings, tmp_path, forget):
    settings = table(recordings, tmp_path, seeds=[0, 1])
    folder = reproduce(settings)
    first = read_all(folder)
    assert [(name, [r.seed for r in rows]) for name, rows in first.items()] == [
        ("byol", [0, 1]), ("linear", [0]), ("shuffled", [0, 1]),
    ]  # fmt: skip
    forget(folder, "byol", 1)
    again = read_all(reproduce(settings))
    assert again["byol"][0].detail["seconds"] == 987.5 != again["byol"][1].detail["seconds"]
    assert again["byol"][1].right_R == first["byol"][1].right_R
    with pytest.raises(FoundationError, match="was made with other settings or data"):
        reproduce(table(recordings, tmp_path, training=dataclasses.replace(QUICK, every=1)))
    page = (tmp_path / "page.md").read_text()
    assert "Not run yet: supervised baseline, MYOW, Swap-VAE, CEBRA (time)." in page


def test_norm_scales_get_layer_rates_on_request_and_biases_never(recordings):
    bins = read_reaches(found(recordings, "Chewie")).train
    data = _Data(bins, raw=False, reach=True, max_distance=0.4)
    lars = dataclasses.replace(QUICK, optimizer="lars", supervised_learning_rate=1e-3, adapt_scales=True)
    run = _Objective("myow", data, lars, seed=0)
    named = [*run.model.named_parameters(), *run.objective.named_parameters()]
    adapted = {id(p): group["adapted"] for group in run.optimizer.param_groups for p in group["params"]}
    assert {id(p) for _, p in named if p.requires_grad} == set(adapted)
    assert all(adapted[id(p)] != n.endswith("bias") for n, p in named if p.requires_grad)
    assert any(p.ndim == 1 and adapted[id(p)] for _, p in named if p.requires_grad)
    by_shape = _Objective("myow", data, dataclasses.replace(lars, adapt_scales=False), seed=0)
    assert [group["adapted"] for group in by_shape.optimizer.param_groups] == [None]


def test_myow_setting_leaves_other_rows_unchanged(recordings, tmp_path, forget):
    lars = dataclasses.replace(QUICK, optimizer="lars", supervised_learning_rate=1e-3)
    folder = reproduce(table(recordings, tmp_path, models=["supervised", "byol"], training=lars))
    key = read_all(folder)["byol"][0].key
    forget(folder, "byol", 0)
    before = read_all(folder)
    changed = dataclasses.replace(lars, adapt_scales=True)
    after = read_all(reproduce(table(recordings, tmp_path, models=["supervised", "byol"], training=changed)))
    assert after["supervised"] == before["supervised"]
    assert after["byol"][0].key != key
    assert after["byol"][0].config["training"]["adapt_scales"]


def test_direction_errors_are_circular():
    assert score("reach", np.array([-0.1, np.pi, 0.5]), np.array([2 * np.pi, -np.pi, 0.0])) == pytest.approx(2 / 3)


def test_invalid_settings_and_recordings_are_named(recordings):
    with pytest.raises(ConfigError, match="task is 'maze'"):
        MYOWTable(task="maze")
    with pytest.raises(ConfigError, match="models has 'resnet'"):
        MYOWTable(models=["resnet"])
    with pytest.raises(ConfigError, match="optimizer is 'adam': expected one of adamw, sgd, lars"):
        Training(optimizer="adam")
    with pytest.raises(ConfigError, match="expected a separate rate for the supervised baseline"):
        Training(optimizer="lars")
    with pytest.raises(ConfigError, match="warmup is 5000: expected 0 to max_steps, 4000"):
        Training(warmup=5000)
    with pytest.raises(ConfigError, match="expected reaches"):
        read_reaches(found(recordings, "mouse"))
    with pytest.raises(ConfigError, match="expected hours of wake and sleep"):
        read_sleep(found(recordings, "Chewie"))


@pytest.mark.parametrize("name", [n for n in config_names("reproduce") if n.startswith("reproduce/myow-")])
def test_shipped_tables_are_valid_settings(name):
    given = ["--config", name, "--store", "s"]
    settings = parse(build_parser("reproduce", reproduce, ReproduceSettings), ReproduceSettings, given)
    assert f"reproduce/{settings.name}" == name
    assert settings.experiment == "myow"
    training = settings.myow.training
    assert training.steps == (4000 if name.endswith("-published") else None)
    assert training.max_steps == PUBLISHED_STEPS[settings.myow.task]
    if settings.myow.task == "reach":
        assert (training.optimizer, training.learning_rate, training.warmup) == ("lars", 0.8, 40)
        recipe = "objective/myow-monkey"
    else:
        assert (training.optimizer, training.learning_rate, training.warmup) == ("sgd", 1e-3, 1200)
        recipe = "objective/myow-sleep-mouse"
    given = ["--config", "pretrain/demo", "--config", recipe, "--store", "s", "--output", "o"]
    shipped = parse(build_parser("pretrain", pretrain, PretrainSettings), PretrainSettings, given).objective.myow
    assert settings.myow.training.myow == dataclasses.replace(shipped, exclusion=settings.myow.training.myow.exclusion)
