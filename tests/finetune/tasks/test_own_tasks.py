"""Custom tasks as docs/tasks.md shows them, and shipped tasks beyond cell type, velocity and sleep."""

import json
import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from finetune.finetune_job import finetune
from finetune.finetune_settings import FinetuneSettings, GRUSettings, WindowSettings
from finetune.heads.references.state_smoothing import smooth
from finetune.task_settings import TaskSettings, read_task
from finetune.tasks import TASKS
from finetune.tasks.problems.label_metrics import label_metrics
from finetune.tasks.task_names import load_tasks, own_task
from foundation.common.errors import ConfigError
from foundation.evaluation.metrics import Predictions
from foundation.models import EIT, EITConfig
from foundation.store import Catalog, Interval, IrregularTimeSeries, Spikes, Store, Units, write_recording

DOCS = Path(__file__).parents[3] / "docs" / "tasks.md"
SECONDS, N_UNITS = 240.0, 12


def labelled(make_recording, seed: int, rng):
    """Return units tuned to an angle, a wheel and licks; their depth and layer correlate with their rate."""
    times = np.arange(0, SECONDS, 0.05)
    angle = np.cumsum(rng.normal(0, 0.12, len(times)))
    wheel = np.sin(times / 2.3)
    licking = (times % 8 > 4).astype(float)
    licks = times[(rng.random(len(times)) < 0.4) & (licking > 0)]
    deep = np.arange(N_UNITS) % 2 == 0
    trains = []
    for unit in range(N_UNITS):
        base = 25.0 if deep[unit] else 6.0
        drive = (np.cos(angle - 2 * np.pi * unit / N_UNITS), wheel, 2 * licking - 1)[unit % 3]
        counts = rng.poisson(base * (1 + 0.9 * drive) * 0.05)
        trains.append(np.sort(np.repeat(times, counts) + rng.uniform(0, 0.05, counts.sum())))
    start = np.arange(0.0, SECONDS, 8.0)
    trials = Interval(np.concatenate([start, start + 4]), np.concatenate([start + 4, start + 8]))
    trials.columns["response"] = np.repeat(["wait", "lick"], len(start))
    rates = np.array([len(train) / SECONDS for train in trains])
    return make_recording(
        seed, n_units=N_UNITS, seconds=SECONDS, spikes=Spikes.from_trains(trains), domain=Interval.single(0.0, SECONDS),
        units=Units(N_UNITS, {
            "layer": np.where(deep, "L5", "L2/3"), "depth": np.where(deep, 900.0, 300.0) + rng.normal(0, 40, N_UNITS),
            "location": np.array(["VISp", "CA1", "DG"])[np.arange(N_UNITS) % 3], "qc_rate": rates,
        }),
        intervals={"periods": trials},
        behavior={
            "head_direction": IrregularTimeSeries(times, np.degrees(angle % (2 * np.pi))[:, None], "degrees"),
            "wheel_turns": IrregularTimeSeries(times, wheel[:, None], "rad/s"),
            "lick_left_times": IrregularTimeSeries(licks, np.ones((len(licks), 1)), "a.u."),
        },
    )  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory, make_recording):
    folder = tmp_path_factory.mktemp("own")
    store = Store(folder / "store", create=True)
    rng = np.random.default_rng(0)
    for seed in range(3):
        write_recording(store, labelled(make_recording, seed, rng))
    Catalog.build(store).save()
    torch.manual_seed(0)
    EIT(EITConfig(dim=16, heads=2, individual_layers=1, interaction_layers=1)).save_pretrained(folder / "model")
    for name, text in files_of_the_page().items():
        (folder / name).write_text(text)
    (folder / "choice.yaml").write_text((folder / "choice.yaml").read_text().replace("trials.", "periods."))
    return folder


def files_of_the_page() -> dict[str, str]:
    """Return the files that the page shows, by the name in their first line."""
    blocks = re.findall(r"```(?:yaml|python)\n(# (\S+?)[:\n].*?)```", DOCS.read_text(), re.DOTALL)
    return {name: text for text, name in blocks}


def run(place, *tasks, **changes):
    settings = FinetuneSettings(
        checkpoint=str(place / "model"), store=str(place / "store"), output=str(place / "results"), tasks=list(tasks),
        mode="probe", folds=3, bootstrap=100, control_repeats=3, random_weights=False, gru=GRUSettings(run=False),
        windows=WindowSettings(unit_token=0.1, unit_tokens=16, unit_windows=8, max_tokens=400), **changes,
    )  # fmt: skip
    evaluation = finetune(settings)
    assert evaluation.left_out == []
    return {(r.task, r.target): r for r in evaluation.results}


def rate(result):
    return result.references["rate"].metrics[result.metric]


def test_page_shows_the_files_of_its_commands():
    assert set(files_of_the_page()) == {"layer.yaml", "choice.yaml", "wheel.yaml", "my_tasks.py"}


def test_tasks_in_yaml_are_decoded(place):
    found = run(place, *(str(place / name) for name in ("layer.yaml", "choice.yaml", "wheel.yaml")))
    layer = found["layer", "all"]
    assert (layer.title, layer.metric, layer.samples, layer.parts) == (
        "Cortical layer of units",
        "balanced_accuracy",
        36,
        3,
    )
    assert rate(layer) > 0.9
    assert len([key for key in found if key[0] == "choice"]) == 3
    choice = found["choice", "mouse0-session0"]
    assert (choice.classes, choice.part_name) == ({"lick": 30, "wait": 30}, "trials")
    assert rate(choice) > 0.9
    wheel = found["wheel", "mouse0-session0"]
    assert (wheel.metric, wheel.value_names) == ("r2", ["wheel"])
    assert rate(wheel) > 0.5
    # A result is reused, and computed again when the file changes.
    before = (place / "results/layer/all/probe.json").stat().st_mtime_ns
    run(place, str(place / "layer.yaml"))
    assert (place / "results/layer/all/probe.json").stat().st_mtime_ns == before
    (place / "layer.yaml").write_text((place / "layer.yaml").read_text().replace("units.layer", "units.location"))
    assert set(run(place, str(place / "layer.yaml"))["layer", "all"].classes) == {"CA1", "DG", "VISp"}


def test_task_classes_in_python_are_decoded(place):
    found = run(place, f"{place}/my_tasks.py:FastUnits", f"{place}/my_tasks.py:Turning")
    assert rate(found["fast_units", "all"]) > 0.9
    turning = found["turning", "mouse1-session1"]
    assert set(turning.classes) == {"backward", "forward"}
    assert rate(turning) > 0.75
    head = json.loads((place / "results" / "turning-mouse1-session1" / "head.json").read_text())
    assert head["task"] == "turning"


def test_shipped_tasks_know_angles_events_places_and_divisions(place):
    found = run(place, "behavior", "events", "coordinates", "location")
    angle = found["behavior", "head_direction-mouse0-session0"]
    assert angle.value_names == ["cosine of head direction", "sine of head direction"]
    assert rate(angle) > 0.3
    assert angle.references["rate"].metrics["degrees"] < 50
    assert 70 < angle.references["majority"].metrics["degrees"] < 110
    licks = found["events", "lick_left_times-mouse0-session0"]
    assert set(licks.classes) == {"event", "none"}
    assert rate(licks) > 0.65
    depth = found["coordinates", "depth"]
    assert (depth.value_names, depth.samples, depth.subjects) == (["depth"], 36, 3)
    assert rate(depth) > 0.6
    assert depth.references["shuffled"].metrics["r2"] < 0.3
    region = found["location", "all"]
    assert 0 <= region.score.metrics["parent_accuracy"] <= 1
    assert "parent_accuracy" in region.references["rate"].metrics


def test_parent_is_scored_by_the_division_of_the_predicted_region(place):
    from types import SimpleNamespace

    labels = SimpleNamespace(circular=False, parents=("HPF", "HPF", "Isocortex"))
    y, predicted = np.array([0, 0, 1, 1, 2, 2]), np.array([1, 0, 0, 2, 2, 0])
    # HPF: 3 of 4 right, Isocortex: 1 of 2.
    assert label_metrics(labels, Predictions.of_classes(y, predicted, 3)) == {
        "parent_accuracy": pytest.approx((3 / 4 + 1 / 2) / 2)
    }


def test_degrees_are_measured_on_the_circle():
    from types import SimpleNamespace

    true, predicted = np.radians([350.0, 10.0, 90.0]), np.radians([10.0, 350.0, 180.0])
    y, p = (np.stack([np.cos(a), np.sin(a)], axis=1) for a in (true, predicted))
    predictions = Predictions(y, 3 * p, np.zeros_like(y), np.zeros(3), np.zeros(3), 0)
    labels = SimpleNamespace(circular=True, parents=())
    assert label_metrics(labels, predictions)["degrees"] == pytest.approx((20 + 20 + 90) / 3)


def test_smoothing_equals_brute_force_over_all_state_sequences():
    """Compare with every state sequence of six time bins, with gaps between some of them."""
    rng = np.random.default_rng(0)
    moves, says = (rng.dirichlet(np.ones(3), size=3) for _ in range(2))
    predicted, gap = rng.integers(0, 3, 6), np.array([1, 1, 4, 1, 2])
    steps = [np.linalg.matrix_power(moves, k) for k in gap]
    posterior = np.zeros((6, 3))
    for course in product(range(3), repeat=6):
        chance = says[course[0], predicted[0]] / 3
        for t in range(1, 6):
            chance *= steps[t - 1][course[t - 1], course[t]] * says[course[t], predicted[t]]
        posterior[range(6), course] += chance
    for share in (np.ones(3), np.array([0.8, 0.1, 0.1])):
        assert smooth(predicted, gap, moves, says, share).tolist() == (posterior / share).argmax(axis=1).tolist()


def test_states_are_scored_with_and_without_smoothing(place):
    (place / "licking.yaml").write_text("task: licking\nlabel: periods.response\nkind: classes\nper: time\n")
    result = run(place, str(place / "licking.yaml"))["licking", "mouse2-session2"]
    smoothed = result.references["rate_smoothed"]
    assert smoothed.metrics["balanced_accuracy"] >= rate(result) - 0.02
    assert "hidden Markov model" in smoothed.detail
    assert (smoothed.low is None) == (result.score.low is None)
    assert "smoothed" in result.references


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("task: layer\nlabel: units.layer\n", "kind"),
        ("task: layer\nlabel: units.layer\nkind: clases\n", "kind is 'clases'"),
        ("task: location\nlabel: units.layer\nkind: classes\n", "shipped one"),
        ("task: ../x\nlabel: units.layer\nkind: classes\n", "small letters"),
        ("task: a\nlabel: wheel\nkind: classes\n", "expected values, circular or events"),
        ("task: a\nlabel: wheel\nkind: values\nmetric: accuracy\n", "expected r2"),
        ("task: a\nlabel: units.x\nkind: circular\n", "expected classes or values"),
        ("task: a\nlabel: wheel\nkind: values\ncolour: red\n", "colour"),
        ("- a\n- b\n", "expected task, label and kind"),
        ("task: [\n", "is not valid YAML"),
    ],
)
def test_invalid_task_file_is_rejected_with_its_name(tmp_path, text, what):
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(ConfigError, match=what) as error:
        read_task(str(tmp_path / "own.yaml"))
    assert "own.yaml" in str(error.value)


def test_invalid_task_is_rejected(tmp_path, place):
    (tmp_path / "bad.py").write_text("class Other:\n    pass\n\nraise_ = 1\n")
    (tmp_path / "fails.py").write_text("1 / 0\n")
    for name, what in (
        (f"{tmp_path}/bad.py:Other", "expected a subclass of UnitTask"),
        (f"{tmp_path}/bad.py:Missing", "has no 'Missing'"),
        (f"{tmp_path}/none.py:A", "there is no file"),
        (f"{tmp_path}/fails.py:A", "ZeroDivisionError"),
        ("no_such_package.tasks:A", "there is no module 'no_such_package'"),
    ):
        with pytest.raises(ConfigError, match=what):
            own_task(name)
    with pytest.raises(ConfigError, match="second task called 'layer'"):
        load_tasks([str(place / "layer.yaml"), str(place / "layer.yaml")])
    with pytest.raises(ConfigError, match=r"tasks has 'layers': expected one of .*YAML"):
        FinetuneSettings("c", "s", "o", tasks=["layers"])
    (tmp_path / "none.yaml").write_text("task: nothing\nlabel: units.nothing\nkind: classes\n")
    with pytest.raises(ConfigError, match=r"which .* cannot give: no recording has such labels"):
        run(place, str(tmp_path / "none.yaml"))


def test_shipped_names_are_allowed_by_settings():
    assert set(load_tasks(None)) == set(TASKS)
    assert TaskSettings("a", "units.b", "classes").metric == "balanced_accuracy"
