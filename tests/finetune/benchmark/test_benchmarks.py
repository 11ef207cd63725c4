"""From the name of a benchmark to its lines of results, its table and its page."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from finetune.benchmark import BenchmarkSettings, benchmark_names, benchmarks_page, read_benchmark, run_benchmarks
from finetune.benchmark.benchmark_data import MissingDataError, find_files, store_of
from finetune.benchmark.benchmark_runs import _finetuning
from finetune.benchmark.benchmark_tables import targets_of
from finetune.benchmark.seconds_curve import beginning, seconds_curve
from foundation.cli.commands import main
from foundation.common.errors import ConfigError, FoundationError
from foundation.common.files.jsonl_results import read_results
from foundation.common.settings.resources import config_names
from foundation.store import Catalog, Interval, Store

ROOT = Path(__file__).parents[3]
LOCAL = {
    *("reach-chewie", "reach-mihi", "sleep-mouse", "cell-type-optotagged", "location-head-direction", "position-rat"),
    *("izhikevich", "cell-type-one-laboratory"),
}


def test_benchmarks_that_need_no_download_are_these():
    assert {name for name in benchmark_names() if not read_benchmark(name).download} == LOCAL


def test_recipes_of_benchmarks_are_shipped_ones_of_their_dandisets():
    for name in benchmark_names():
        benchmark = read_benchmark(name)
        if benchmark.recipe != "auto":
            assert f"recipes/{benchmark.recipe}" in config_names("recipes"), name
            assert benchmark.recipe == f"dandi-{benchmark.dandiset}", name


def test_every_readout_is_a_row_with_sums_over_animals(benchmarked, benchmark_settings):
    (target,) = benchmarked.targets
    expected = {"rate", "statistics", "probe", "both", "statistics_both", "random", "majority", "shuffled", "lolcat"}
    assert expected <= set(target.rows)
    assert {name: sorted(rows) for name, rows in target.rows.items()} == {name: [43, 44] for name in target.rows}
    assert target.about["split"] == "leave one animal out, 4 animals"
    assert target.samples == "80 in 4 animals"
    figure, gain = target.figure("probe"), target.gain("probe")
    assert figure.low <= figure.value <= figure.high
    assert gain.value == pytest.approx(figure.value - target.figure("rate").value)
    assert "cell_type all" in str(benchmarked)
    curves = {name for name in target.rows if target.accuracy(name, 0.2) is not None}
    assert curves == {"rate", "statistics", "probe", "both", "statistics_both", "lolcat"}
    assert target.accuracy("rate", 1.0).value == pytest.approx(target.figure("rate").value)  # classes of equal size


def test_scores_over_seconds_equal_those_of_shortened_recordings(benchmark_settings, benchmarked, tmp_path):
    benchmark = replace(read_benchmark("izhikevich"), folds=2, seconds=[20.0])
    work = tmp_path / "work"
    work.mkdir()
    store = store_of("cell-type-optotagged", read_benchmark("cell-type-optotagged"), benchmark_settings.data)
    settings = _finetuning(benchmark, benchmark_settings, store, work, ["probe"], 43)
    ((seconds, (result,)),) = seconds_curve(settings, benchmark.seconds).items()
    assert seconds == "20"
    assert {"rate", "statistics", "both", "statistics_both"} <= set(result.references)
    assert "random" not in result.references
    for recording in Catalog.open(Store(work / "first-20s" / "store")):
        assert recording.domain.duration == pytest.approx(20.0)
        assert recording.load().spikes.span[1] < recording.domain.start[0] + 20.0


def test_beginning_counts_observed_time(make_recording):
    made = make_recording(0, seconds=60.0, domain=Interval(np.array([0.0, 30.0]), np.array([10.0, 60.0])))
    cut = beginning(made, 15.0)
    assert cut.domain.start.tolist() == [0.0, 30.0]
    assert cut.domain.end.tolist() == [10.0, 35.0]
    assert len(cut.spikes) == int(cut.domain.contains(made.spikes.times).sum())


def test_second_call_repeats_no_run(benchmarked, benchmark_settings, monkeypatch, tmp_path_factory):
    table = Path(benchmark_settings.output) / "cell-type-optotagged.jsonl"
    before = table.read_bytes()

    def refuse(settings):
        raise AssertionError(f"seed {settings.seed} was made again")

    monkeypatch.setattr("finetune.benchmark.benchmark_runs.finetune", refuse)
    again = run_benchmarks(benchmark_settings)
    assert table.read_bytes() == before
    assert str(again) == str(benchmarked)
    with pytest.raises(AssertionError, match="seed 45 was made again"):
        run_benchmarks(replace(benchmark_settings, seeds=[43, 44, 45]))


def test_result_of_other_settings_is_not_replaced(benchmarked, benchmark_settings):
    with pytest.raises(FoundationError, match=r"cell-type-optotagged\.jsonl holds a result of .*, mode probe, seed 43"):
        run_benchmarks(replace(benchmark_settings, control_repeats=3))


def test_page_shows_results_and_missing_runs(benchmarked, benchmark_settings):
    text = Path(benchmark_settings.page).read_text()
    assert text == benchmarks_page(Path(benchmark_settings.output))
    section = text[text.index("## cell-type-optotagged") : text.index("## Not yet run")]
    assert "| LOLCAT |" in section
    assert "gain over spike statistics" in section
    assert "| readout | 20% of units |" in section
    assert "does not say what pretraining saw" in section
    assert "| mc-maze |" in text[text.index("## Not yet run") :]


def test_committed_page_matches_its_results():
    assert benchmarks_page(ROOT / "results" / "benchmarks") == (ROOT / "docs/results/benchmarks.md").read_text()


def test_all_lists_missing_data_and_runs_the_rest(benchmarked, benchmark_settings, monkeypatch):
    monkeypatch.setattr("finetune.benchmark.benchmark_runs._run", lambda *_: None)
    shown = run_benchmarks(replace(benchmark_settings, names=[], all=True))
    assert set(shown.missing) == set(benchmark_names()) - {"cell-type-optotagged", "izhikevich"}
    assert "not run: reach-chewie: data is" in str(shown)


def test_missing_data_names_folder_and_files(tmp_path):
    missing = r"data is '.*' without 000128/sub-Jenkins/\*train\*\.nwb: benchmark mc-maze needs them"
    message = missing + ".*dandi download DANDI:000128"
    with pytest.raises(MissingDataError, match=message):
        find_files("mc-maze", read_benchmark("mc-maze"), str(tmp_path))
    with pytest.raises(MissingDataError, match="'nowhere': expected a folder with nwb/reach/sub-Mihi"):
        run_benchmarks(BenchmarkSettings(["reach-mihi"], data="nowhere"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": ["reach-chewy"]}, "names has 'reach-chewy': expected one of allen-cell-type, .*reach-chewie"),
        ({"names": []}, "no benchmark is named: expected --all, or one or more of allen-cell-type"),
        ({"all": True}, "names and all are both given"),
        ({"mode": ["best"]}, "mode has 'best': expected one of probe, mlp, full"),
        ({"seeds": [43, 43]}, r"seeds is \[43, 43\]: expected each seed once"),
    ],
)
def test_invalid_settings_are_rejected(changes, message):
    with pytest.raises(ConfigError, match=message):
        BenchmarkSettings(**{"names": ["reach-mihi"], "data": "d", **changes})


def test_command_accepts_names_as_bare_words(capsys):
    assert main(["benchmark", "reach-mihi", "sleep-mouse", "--data", "nowhere"]) == 2
    assert "data is 'nowhere': expected a folder with nwb/reach/sub-Mihi" in capsys.readouterr().err


def test_results_of_two_checkpoints_are_two_targets(benchmarked, benchmark_settings):
    lines = read_results(Path(benchmark_settings.output) / "cell-type-optotagged.jsonl")
    other = [line | {"checkpoint": "another"} for line in lines]
    assert [target.checkpoint for target in targets_of(lines + other)] == [benchmark_settings.checkpoint, "another"]
