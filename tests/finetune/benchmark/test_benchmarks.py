"""From the name of a benchmark to its lines of results, its table and its page."""

from dataclasses import replace
from pathlib import Path

import pytest

from finetune.benchmark import BenchmarkSettings, benchmark_names, benchmarks_page, read_benchmark, run_benchmarks
from finetune.benchmark.benchmark_data import MissingDataError, find_files
from finetune.benchmark.benchmark_tables import targets_of
from foundation.cli.commands import main
from foundation.common.errors import ConfigError, FoundationError
from foundation.common.files.jsonl_results import read_results
from foundation.common.settings.resources import config_names

ROOT = Path(__file__).parents[3]
LOCAL = {
    *("reach-chewie", "reach-mihi", "sleep-mouse", "cell-type-optotagged", "location-head-direction", "position-rat"),
    "izhikevich",
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
    expected = {"rate", "probe", "both", "random", "majority", "shuffled", "lolcat"}
    assert expected <= set(target.rows)
    assert {name: sorted(rows) for name, rows in target.rows.items()} == {name: [43, 44] for name in target.rows}
    assert target.about["split"] == "leave one animal out, 4 animals"
    assert target.samples == "80 in 4 animals"
    figure, gain = target.figure("probe"), target.gain("probe")
    assert figure.low <= figure.value <= figure.high
    assert gain.value == pytest.approx(figure.value - target.figure("rate").value)
    assert "cell_type all" in str(benchmarked)


def test_a_second_call_makes_no_run_again(benchmarked, benchmark_settings, monkeypatch, tmp_path_factory):
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


def test_a_result_of_other_settings_is_not_replaced(benchmarked, benchmark_settings):
    with pytest.raises(FoundationError, match=r"cell-type-optotagged\.jsonl holds a result of .*, mode probe, seed 43"):
        run_benchmarks(replace(benchmark_settings, control_repeats=3))


def test_the_page_shows_results_and_missing_runs(benchmarked, benchmark_settings):
    text = Path(benchmark_settings.page).read_text()
    assert text == benchmarks_page(Path(benchmark_settings.output))
    section = text[text.index("## cell-type-optotagged") : text.index("## Not yet run")]
    assert "| LOLCAT |" in section
    assert "does not say what pretraining saw" in section
    assert "| mc-maze |" in text[text.index("## Not yet run") :]


def test_the_page_of_the_repository_matches_its_results():
    assert benchmarks_page(ROOT / "results" / "benchmarks") == (ROOT / "docs/results/benchmarks.md").read_text()


def test_all_lists_missing_data_and_runs_the_rest(benchmarked, benchmark_settings, monkeypatch):
    monkeypatch.setattr("finetune.benchmark.benchmark_runs._run", lambda *_: None)
    shown = run_benchmarks(replace(benchmark_settings, names=[], all=True))
    assert set(shown.missing) == set(benchmark_names()) - {"cell-type-optotagged", "izhikevich"}
    assert "not run: reach-chewie: data is" in str(shown)


def test_missing_data_names_folder_and_files(tmp_path):
    message = r"data is '.*', and mc-maze needs 000128/sub-Jenkins/\*train\*\.nwb there.*dandi download DANDI:000128"
    with pytest.raises(MissingDataError, match=message):
        find_files("mc-maze", read_benchmark("mc-maze"), str(tmp_path))
    with pytest.raises(MissingDataError, match="'nowhere', which is no folder: reach-mihi needs nwb/reach/sub-Mihi"):
        run_benchmarks(BenchmarkSettings(["reach-mihi"], data="nowhere"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": ["reach-chewy"]}, "names has 'reach-chewy': choose from allen-cell-type, .*reach-chewie"),
        ({"names": []}, "no benchmark is named: expected --all, or one or more of allen-cell-type"),
        ({"all": True}, "names and all are both given"),
        ({"mode": ["best"]}, "mode has 'best': choose from probe, mlp, full"),
        ({"seeds": [43, 43]}, r"seeds is \[43, 43\]: expected each seed once"),
    ],
)
def test_wrong_settings_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        BenchmarkSettings(**{"names": ["reach-mihi"], "data": "d", **changes})


def test_the_command_takes_names_as_bare_words(capsys):
    assert main(["benchmark", "reach-mihi", "sleep-mouse", "--data", "nowhere"]) == 2
    assert "data is 'nowhere', which is no folder: reach-mihi needs nwb/reach/sub-Mihi" in capsys.readouterr().err


def test_results_of_two_checkpoints_are_two_targets(benchmarked, benchmark_settings):
    lines = read_results(Path(benchmark_settings.output) / "cell-type-optotagged.jsonl")
    other = [line | {"checkpoint": "another"} for line in lines]
    assert [target.checkpoint for target in targets_of(lines + other)] == [benchmark_settings.checkpoint, "another"]
