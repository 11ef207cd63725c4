"""Scores as text for the terminal."""

from dataclasses import replace

from finetune.report.html_report import write_report
from finetune.report.score_table import table
from finetune.result import CurvePoint, Evaluation, Gain, Result, Score, from_json, to_json


def score(value):
    return Score({"r2": value}, value - 0.1, value + 0.1)


RESULT = Result(
    task="behavior", target="velocity-a", title="Velocity, a", mode="full", kind="values", score=score(0.8),
    references={"rate": score(0.6), "both": score(0.7), "scratch": score(0.65)},
    gain=0.2, gain_low=0.1, gain_high=0.3, gain_both=0.1, gain_both_low=None, gain_both_high=None,
    samples=100, subjects=1, parts=20, part_name="trials", classes={}, value_names=["x"], split="", interval="",
    notes=[], choices={}, seconds=1.0, contract=4, checkpoint="c", settings="s", recordings={"a": "b"}, readout="",
)  # fmt: skip
POINT = CurvePoint(
    20,
    {"rate": score(0.3), "probe": score(0.4), "both": score(0.41), "full": score(0.5), "scratch": score(0.2)},
    Gain(0.2, 0.1, 0.3),
    Gain(0.3, 0.25, 0.35),
)


def test_label_curve_is_shown_and_ends_with_all_labels():
    result = replace(RESULT, curve=[POINT], gain_scratch=Gain(0.15, -0.01, 0.3))
    lines = table(Evaluation([result])).splitlines()
    heading, few, whole = lines[lines.index("with few labelled trials:") + 1 :]
    assert heading.split()[:3] == ["task", "target", "trials"]
    assert "0.50 [0.40, 0.60]" in few
    assert few.endswith("+0.20 [+0.10, +0.30]  +0.30 [+0.25, +0.35]")
    assert whole.split()[2] == "all"
    assert "0.65 [0.55, 0.75]" in whole
    assert whole.endswith("+0.20 [+0.10, +0.30]  +0.15 [-0.01, +0.30]")


def test_no_third_table_without_a_curve():
    assert "labelled trials" not in table(Evaluation([RESULT]))
    assert "from scratch" in table(Evaluation([RESULT]))


def test_result_with_a_curve_is_read_back_unchanged():
    result = replace(RESULT, curve=[POINT, replace(POINT, over_scratch=None)], gain_scratch=Gain(0.1))
    assert from_json(to_json(result)) == result
    assert from_json(to_json(RESULT)) == RESULT


def test_report_draws_an_available_label_curve(tmp_path):
    curved = write_report([replace(RESULT, curve=[POINT])], tmp_path / "curve.html").read_text()
    plain = write_report([RESULT], tmp_path / "plain.html").read_text()
    sentence = "with 20 the finetuned model has 0.50 [0.40, 0.60], firing rates 0.30 [0.20, 0.40]"
    assert sentence in curved
    assert "few labelled trials" not in plain
    assert curved.count("data:image/png") == plain.count("data:image/png") + 1
    assert "from scratch" in plain
