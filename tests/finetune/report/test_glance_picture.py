"""The first picture of a report: the results that it shows and those that it leaves out."""

from dataclasses import replace

import numpy as np
import pytest

from finetune.finetune_settings import ReportSettings
from finetune.report.glance_picture import TARGETS, _chosen, glance_picture
from finetune.report.score_table import rows
from finetune.result import Result, Score, write_predictions
from foundation.common.errors import ConfigError
from foundation.evaluation.metrics import VALUES, Predictions


def result(task: str, target: str, value: float, kind: str = "classes") -> Result:
    metric = "balanced_accuracy" if kind == "classes" else "r2"
    scores = [Score({metric: v}, v - 0.1, v + 0.1) for v in (value, value - 0.2)]
    return Result(
        task=task, target=target, title=f"{task} of {target}", mode="probe", kind=kind, score=scores[0],
        references={"rate": scores[1]}, gain=0.2, gain_low=0.1, gain_high=0.3, gain_both=0.1, gain_both_low=None,
        gain_both_high=None, samples=100, subjects=1, parts=20, part_name="trials", classes={}, value_names=["speed"],
        split="", interval="", notes=[], choices={}, seconds=1.0, contract=4, checkpoint="c", settings="s",
        recordings={"a": "b"}, readout="", key="k",
    )  # fmt: skip


def test_every_label_is_shown_before_any_second_recording():
    many = [result("behavior", f"velocity-{k}", 0.5, VALUES) for k in range(12)]
    found = _chosen(rows([*many, result("cell_type", "all", 0.8), result("location", "all", 0.7)]))
    assert [row.first.target for row in found] == [*(f"velocity-{k}" for k in range(TARGETS - 2)), "all", "all"]


def test_panel_is_drawn_for_each_available_result(tmp_path):
    assert glance_picture([], tmp_path) is None
    made = [result("behavior", "velocity-a", 0.5, VALUES), result("cell_type", "all", 0.8)]
    alone = glance_picture(rows(made), tmp_path)
    assert alone.alt == "Panels: scores of 2 targets from firing rates and from the frozen model."
    y_S = np.sin(np.arange(40.0))[:, None]
    trial_S, zero_S = np.arange(40) // 10, np.zeros((40, 1))
    folder = tmp_path / "behavior" / "velocity-a"
    folder.mkdir(parents=True)
    write_predictions(folder / "probe.npz", Predictions(y_S, 0.9 * y_S, zero_S, trial_S // 2, trial_S, 0), "k")
    (tmp_path / "cell_type" / "all").mkdir(parents=True)
    z_SD, label_S = np.random.default_rng(0).normal(size=(20, 4)), np.array(["PV", "SST"] * 10)
    np.savez(tmp_path / "cell_type" / "all" / "embeddings.npz", z_SD=z_SD, label_S=label_S, checkpoint="c")
    whole = glance_picture(rows(made), tmp_path)
    assert whole.alt.startswith(
        "Panels: behavior of velocity-a as measured and as decoded; 20 units by cell type on two"
    )
    assert whole.width > 2 * alone.width
    other = [replace(r, checkpoint="another", key="another") for r in made]
    assert glance_picture(rows(other), tmp_path).alt == alone.alt


def test_picture_is_a_png_of_one_run():
    with pytest.raises(ConfigError, match=r"picture is 'a.jpg': expected the name of a \.png file"):
        ReportSettings("s", "c", "r", picture="a.jpg")
    with pytest.raises(ConfigError, match="--results of one run"):
        ReportSettings(runs=["a"], picture="a.png")
