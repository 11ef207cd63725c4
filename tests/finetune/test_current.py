"""A report covers one checkpoint, the last settings and the store's recordings; other results are listed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from finetune.current_results import read_current, settings_digest, write_note
from finetune.finetune_settings import FinetuneSettings
from finetune.report.html_report import left_out_sections, maps_sections, summary, write_report
from finetune.report.score_table import rows
from finetune.result import LeftOut, Result, Score, read_json, read_predictions, to_json, write_json, write_predictions
from foundation.common.digests import json_digest
from foundation.common.errors import FoundationError
from foundation.evaluation import CONTRACT_VERSION
from foundation.evaluation.metrics import Predictions

A, B = "a" * 64, "b" * 64
STORE = {"one": "1", "two": "2"}


@pytest.fixture
def settings(tmp_path):
    return FinetuneSettings("model", "store", str(tmp_path))


def result(settings, task, target, mode="probe", checkpoint=A, **changes) -> Result:
    score = Score({"balanced_accuracy": 0.7}, 0.6, 0.8)
    made = Result(
        task=task, target=target, title=f"{task} {target}", mode=mode, kind="classes", score=score,
        references={"rate": score, "majority": score, "shuffled": score}, gain=0.0, gain_low=-0.1, gain_high=0.1,
        gain_both=0.0, gain_both_low=-0.1, gain_both_high=0.1,
        samples=10, subjects=2, parts=2, part_name="animals", classes={"x": 5, "y": 5}, value_names=[], split="",
        interval="", notes=[], choices={}, seconds=1.0, contract=CONTRACT_VERSION, checkpoint=checkpoint,
        settings=settings_digest(settings, mode), recordings={"one": "1"}, readout="all features",
        key=json_digest([task, target, mode, checkpoint]),
    )  # fmt: skip
    return replace(made, **changes)


def write(settings, *results):
    for r in results:
        write_json(settings_path(settings, r), to_json(r))


def settings_path(settings, r):
    return Path(settings.output) / r.task / r.target / f"{r.mode}.json"


def test_results_of_another_checkpoint_are_named_but_not_shown(settings, tmp_path):
    write(settings, result(settings, "cell_type", "all"), result(settings, "location", "all", checkpoint=B))
    write_note(settings, B, ["location"], [])
    for checkpoint, shown, other in ((A, "cell_type", "location"), (B, "location", "cell_type")):
        current = read_current(tmp_path, checkpoint, STORE)
        assert [r.task for r in current.results] == [shown]
        ((place, reason),) = current.stale
        assert place == f"{other}/all/probe"
        assert "of checkpoint" in reason
        page = write_report(current.results, tmp_path / "page.html", left_out_sections(current)).read_text()
        assert f"Checkpoint {checkpoint[:12]} " in page
        assert f"{other}/all/probe" in page


def test_results_must_share_a_checkpoint_if_none_is_readable(settings, tmp_path):
    write(settings, result(settings, "cell_type", "all"))
    assert len(read_current(tmp_path, None, STORE).results) == 1
    write(settings, result(settings, "location", "all", checkpoint=B))
    with pytest.raises(FoundationError, match="results of 2 checkpoint"):
        read_current(tmp_path, None, STORE)
    with pytest.raises(FoundationError, match="expected one"):
        write_report([result(settings, "a", "a"), result(settings, "b", "b", checkpoint=B)], tmp_path / "page.html")


def test_results_of_other_settings_or_changed_recordings_are_stale(settings, tmp_path):
    before = replace(settings, seed=1)
    write(
        settings,
        result(settings, "behavior", "now"),
        result(before, "behavior", "seed"),
        result(settings, "behavior", "gone", recordings={"three": "3"}),
        result(settings, "behavior", "changed", recordings={"two": "0"}),
        result(settings, "behavior", "contract", contract=1),
    )
    write_note(settings, A, ["behavior"], [])
    current = read_current(tmp_path, A, STORE)
    assert [r.target for r in current.results] == ["now"]
    reasons = {place.split("/")[1]: reason for place, reason in current.stale}
    assert "other settings" in reasons["seed"]
    assert "recording three, which the store does not contain" in reasons["gone"]
    assert "recording two before it changed" in reasons["changed"]
    assert "contract 1" in reasons["contract"]
    with pytest.raises(FoundationError, match="none of the 5 results"):
        read_current(tmp_path, A, {})


def test_results_of_an_older_version_are_named(settings, tmp_path):
    old = to_json(result(settings, "location", "all"))
    del old["settings"], old["readout"]
    write(settings, result(settings, "cell_type", "all"))
    write_json(tmp_path / "location/all/probe.json", {**old, "contract": 1})
    current = read_current(tmp_path, A, STORE)
    assert [place for place, _ in current.stale] == ["location/all/probe"]


def test_targets_without_results_stay_until_their_task_is_rerun(settings, tmp_path):
    write(settings, result(settings, "cell_type", "all"))
    write_note(settings, A, ["location"], [LeftOut("location", "all", "no unit fires")])
    write_note(settings, A, ["cell_type"], [])
    current = read_current(tmp_path, A, STORE)
    assert [entry.target for entry in current.left_out] == ["all"]
    assert "no unit fires" in left_out_sections(current)[0].table[0][1]
    write_note(settings, A, ["location"], [])
    assert read_json(tmp_path / "finetune.json")["left_out"] == []


def test_map_of_another_checkpoint_is_not_drawn(settings, tmp_path):
    (tmp_path / "cell_type/all").mkdir(parents=True)
    z_SD, label_S = np.random.default_rng(0).normal(size=(6, 4)), np.array(["a", "b"] * 3)
    np.savez(tmp_path / "cell_type/all/embeddings.npz", z_SD=z_SD, label_S=label_S, checkpoint=np.array(A))
    assert maps_sections(tmp_path, [result(settings, "cell_type", "all", checkpoint=B)]) == []
    assert len(maps_sections(tmp_path, [result(settings, "cell_type", "all", checkpoint=A)])) == 1


def test_predictions_of_another_result_are_not_used(tmp_path):
    none = np.zeros(2)
    write_predictions(tmp_path / "rate.npz", Predictions(np.arange(2), np.arange(2), none, none, none, 2), "key")
    assert read_predictions(tmp_path / "rate.npz", "key") is not None
    assert read_predictions(tmp_path / "rate.npz", "other") is None


def test_summary_counts_targets(settings):
    made = rows([result(settings, "cell_type", "all"), result(settings, "location", "all")])
    assert summary(made).startswith("Of 2 decoding targets, the probe of the frozen model is better than")
