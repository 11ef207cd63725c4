"""The page that compares finetuning runs: comparable results, other results, and the page in a browser."""

import json
from dataclasses import replace

import numpy as np
import pytest

from finetune.finetune_settings import ReportSettings
from finetune.report.finetune_runs import difference, read_runs, run_names
from finetune.report.html_report import report
from finetune.report.runs_page import score_lines
from finetune.result import CurvePoint, Gain, Result, Score, to_json, write_json, write_predictions
from foundation.cli.commands import main
from foundation.common.errors import ConfigError, FoundationError
from foundation.embedding.unit_facts import ISI_EDGES
from foundation.evaluation import CONTRACT_VERSION
from foundation.evaluation.confidence_intervals import recall_intervals
from foundation.evaluation.coverage import coverage_curve
from foundation.evaluation.metrics import PRIMARY, Predictions, primary

STATES = ("nrem", "rem", "wake")
KINDS = ("PV", "SST")


def predicted(y_S, right: float, n_classes: int, rng) -> Predictions:
    """Return predictions with this share correct; values get noise of one minus the share."""
    n = len(y_S)
    fold_S, cluster_S = np.arange(n) * 3 // n, np.arange(n) * 12 // n
    if n_classes:
        wrong = rng.random(n) > right
        predicted = np.where(wrong, (y_S + 1) % n_classes, y_S)
        return Predictions(y_S, predicted, np.empty((n, 0)), fold_S, cluster_S, n_classes)
    predicted = y_S + (1 - right) * rng.normal(size=y_S.shape)
    return Predictions(y_S, predicted, np.zeros_like(y_S), fold_S, cluster_S, 0)


def write_target(folder, task, target, labels, right, checkpoint, seed, curve=(), recordings=None):
    """Write a target with a probe, a finetuned model and firing rates, as a run does."""
    rng = np.random.default_rng(seed)
    y_S, classes, value_names, samples = labels
    kind = "classes" if classes else "values"
    place = folder / task / target
    place.mkdir(parents=True)
    rows = {name: predicted(y_S, share, len(classes), rng) for name, share in
            (("rate", 0.7), ("probe", right - 0.05), ("full", right))}  # fmt: skip
    scores = {
        name: Score({PRIMARY[kind]: primary(p)}, primary(p) - 0.05, primary(p) + 0.05) for name, p in rows.items()
    }
    shuffled = Score({PRIMARY[kind]: 0.4 if classes else 0.0}, 0.3 if classes else -0.1, 0.45 if classes else 0.1)
    base = Result(
        task, target, f"{target} of {task}", "full", kind, scores["full"],
        {"rate": scores["rate"], "shuffled": shuffled}, 0.1, 0.05, 0.15, 0.0, -0.1, 0.1, len(y_S), 1, 12, "time blocks",
        dict.fromkeys(classes, len(y_S) // max(len(classes), 1)),
        list(value_names), "3 blocks", "bootstrap", ["<b>a note</b>"], {}, 1.0, CONTRACT_VERSION, checkpoint, "s" * 64,
        recordings or {"a": "0" * 64}, "all features", key=f"{task}{target}full",
        curve=[CurvePoint(n, scores, Gain(0.1, 0.0, 0.2)) for n in curve],
    )  # fmt: skip
    for mode in ("probe", "full"):
        result = replace(base, mode=mode, score=scores[mode], key=f"{task}{target}{mode}")
        result = result if mode == "full" else replace(result, curve=[])
        if task == "cell_type" and mode == "probe":
            sure = {name: replace(rows[name], confidence_S=rng.uniform(size=len(y_S))) for name in ("rate", "probe")}
            result = replace(result, coverage={name: coverage_curve(p, 100, 0) for name, p in sure.items()})
        write_json(place / f"{mode}.json", to_json(result))
        write_predictions(place / f"{mode}.npz", rows[mode], result.key)
    write_predictions(place / "rate.npz", rows["rate"], "references")
    np.savez(place / "samples.npz", **samples)


def write_run(folder, checkpoint: str, right: float, seed: int):
    """Write a run with states over time, a velocity, and cell types with embeddings."""
    n, units = 240, 40
    rng = np.random.default_rng(1)
    time = {"time_S": 2.0 + 4.0 * np.arange(n), "seconds_S": np.full(n, 4.0)}
    states = np.arange(n) // 20 % 3
    write_target(folder, "sleep_state", "mouse", (states, STATES, (), time), right, checkpoint, seed)
    velocity = np.stack([np.sin(np.arange(n) / 9), np.cos(np.arange(n) / 7)], axis=1)
    axes = ("velocity x (cm/s)", "velocity y (cm/s)")
    write_target(folder, "behavior", "velocity", (velocity, (), axes, time), right, checkpoint, seed, curve=(2, 4))
    kind = np.arange(units) % 2
    who = {"recording_S": np.repeat(["a", "b"], 20), "unit_S": np.tile(np.arange(20), 2)}
    write_target(folder, "cell_type", "all", (kind, KINDS, (), who), right, checkpoint, seed)
    facts = {
        **who, "z_SD": rng.normal(size=(units, 5)) + 3 * kind[:, None], "checkpoint": np.array(checkpoint),
        "label_S": np.array(KINDS)[kind], "subject_S": np.repeat(["m1", "m2"], 20),
        "text:animal": np.repeat(["m1", "m2"], 20),
        "text:session": np.repeat(["s1", "s2"], 20), "text:cell type": np.array(KINDS)[kind],
        "text:region": np.array(["CA1", "$$x$$</script>"])[kind], "number:unit": np.tile(np.arange(20.0), 2),
        "number:rate (Hz)": rng.lognormal(size=units),
        "isi_SB": np.full((units, len(ISI_EDGES) - 1), 9, dtype=np.uint8),
    }  # fmt: skip
    np.savez(folder / "cell_type" / "all" / "embeddings.npz", **facts)
    note = {
        "contract": CONTRACT_VERSION,
        "checkpoint": checkpoint,
        "settings": dict.fromkeys(("probe", "full"), "s" * 64),
    }
    left_out = [{"task": "location", "target": "all", "reason": "no unit <has> one", "failed": False}]
    write_json(folder / "finetune.json", {**note, "left_out": left_out})


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder / "small", "a" * 64, 0.8, 0)
    write_run(folder / "large", "b" * 64, 0.95, 1)
    return [str(folder / "small"), str(folder / "large")]


@pytest.fixture(scope="module")
def page(runs, tmp_path_factory):
    out = tmp_path_factory.mktemp("page") / "page.html"
    return report(ReportSettings(runs=runs, output=str(out)))


def test_page_shows_every_run_with_intervals_and_paired_differences(page, runs):
    text = page.read_text()
    small, large = read_runs(runs)
    for target in small.by_target:
        gain = difference(large, small, target)
        assert gain.verdict == "better"
        assert f"{gain.value:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}]" in text
        for run in (small, large):
            score = run.headline(target).score
            assert f"[{score.low:.2f}, {score.high:.2f}]" in text
    assert "large beats small on 3 of 3 targets" in text
    # overview, hypnogram, matrices and bars of two targets, coverage, traces, curve, and the map as a still
    assert text.count('<img src="data:image/png') == 10
    words = ("Hypnogram", "Confusion", "True and decoded", "share of the labelled trials", "share of units classified")
    for word in words:
        assert word in text
    assert "&lt;b&gt;a note&lt;/b&gt;" in text
    assert "no unit &lt;has&gt; one" in text


def test_runs_on_other_recordings_are_not_compared(runs, tmp_path):
    write_run(tmp_path / "other", "c" * 64, 0.9, 2)
    for path in (tmp_path / "other").rglob("full.json"):
        value = json.loads(path.read_text())
        path.write_text(json.dumps({**value, "recordings": {"z": "1" * 64}}))
    small, other = read_runs([runs[0], str(tmp_path / "other")])
    assert difference(other, small, ("cell_type", "all")) == "scored on other recordings"
    line = next(row for group in score_lines([small, other], [("cell_type", "all")]) for row in group["rows"])
    assert line["cells"][-1] == {"text": "-", "verdict": "", "why": "scored on other recordings"}


def test_predictions_of_other_samples_are_not_compared(runs, tmp_path):
    write_run(tmp_path / "other", "c" * 64, 0.9, 2)
    place = tmp_path / "other" / "cell_type" / "all"
    y_S = np.zeros(40, dtype=int)
    write_predictions(place / "full.npz", predicted(y_S, 0.9, 2, np.random.default_rng(0)), "cell_typeallfull")
    small, other = read_runs([runs[0], str(tmp_path / "other")])
    assert difference(other, small, ("cell_type", "all")) == "scored on other samples or folds"


def test_invalid_runs_are_rejected(runs, tmp_path, capsys):
    with pytest.raises(FoundationError, match="there are no results in"):
        report(ReportSettings(runs=[str(tmp_path)], output=str(tmp_path / "page.html")))
    assert not (tmp_path / "page.html").exists()
    with pytest.raises(FoundationError, match="twice"):
        run_names([runs[0], runs[0]])
    with pytest.raises(ConfigError, match="results and runs are both given"):
        ReportSettings(store="s", checkpoint="c", results="r", runs=runs)
    with pytest.raises(ConfigError, match="store is missing"):
        ReportSettings(results="r", checkpoint="c")
    with pytest.raises(ConfigError, match="at most 8"):
        ReportSettings(runs=[f"run{k}" for k in range(9)])
    assert main(["report"]) == 2
    assert "store is missing: expected output folders of `foundation finetune`" in capsys.readouterr().err


def test_command_accepts_folders_as_bare_words(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["report", *runs, "--output", "both.html"]) == 0
    assert (tmp_path / "both.html").is_file()
    assert "both.html" in capsys.readouterr().out


def test_class_intervals_equal_those_of_resampled_parts():
    """Compare with a loop over resamples."""
    rng = np.random.default_rng(3)
    found = predicted(np.arange(60) % 3, 0.7, 3, rng)
    recall_C, limits_C2 = recall_intervals(found, 300, seed=5)
    draws = np.random.default_rng([5, 12]).multinomial(12, np.full(12, 1 / 12), size=300)
    loops = []
    for draw in draws:
        rows = np.concatenate([np.repeat(np.flatnonzero(found.cluster_S == part), n) for part, n in enumerate(draw)])
        loops.append([np.mean(found.predicted_S[rows][found.y_S[rows] == c] == c) for c in range(3)])
    assert recall_C == pytest.approx([np.mean(found.predicted_S[found.y_S == c] == c) for c in range(3)])
    assert np.allclose(limits_C2.T, np.percentile(loops, (2.5, 97.5), axis=0))


@pytest.mark.parametrize("width", [1440, 390])
def test_page_works_in_a_browser(page, browser, open_page, wrong_in_page, width):
    assert open_page(page, width=width) == []
    columns = browser.execute_script(
        "const plot = Bokeh.documents[0].roots().find(r => r.renderers && r.below.length > 1);"
        "return Object.keys(plot.renderers[0].data_source.data).length"
    )
    assert columns > 6
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    menus = browser.execute_script(
        "return Bokeh.documents[0].roots().filter(r => r.type == 'Select').map(r => r.options.map(o => o[1]).join())"
    )
    assert "region,cell type,rate (Hz),animal" in menus[0]
    assert "cell type by small,cell type by large" in menus[0]
    assert all(run in menus[1] for run in ("small: principal components", "large: neighbours"))
    assert wrong_in_page() == []
