"""A sweep of four trials, from the command to the page; finished trials are not repeated."""

import re
from dataclasses import asdict, replace

import pytest
import yaml

from foundation.cli.commands import main
from foundation.common.errors import ConfigError
from foundation.data import DataSettings
from foundation.objectives import MYOWSettings, NDTSettings, ObjectiveSettings, SwapVAESettings
from foundation.sweep import SweepSettings, sweep
from foundation.sweep.power_law import fit_with_intervals
from foundation.sweep.sweep_outcome import Outcome
from foundation.sweep.sweep_page import render
from foundation.sweep.sweep_trial import Trial, digest_of, measure, prepare, read, read_trials, trials, write
from foundation.training import ModelSettings


@pytest.fixture
def small(small_store, tmp_path):
    """Settings of four trials of a second on the small store: two recordings for training, one held out."""
    return SweepSettings(
        store=str(small_store),
        output=str(tmp_path / "sweep"),
        held_out="subject == 'mouse3'",
        widths=[4, 8],
        recordings=[1, 2],
        validation_steps=2,
        address="local",
        model=ModelSettings(heads=2, individual_layers=1, interaction_layers=1),
        data=DataSettings(bin_widths=[0.005], tokens_per_step=1536, min_windows=4, max_units=12),
        objective=ObjectiveSettings("ndt", ndt=NDTSettings(4, 12)),
    )


def test_sweep_of_four_trials_runs_and_resumes(small, tmp_path, capsys):
    config = tmp_path / "sweep.yaml"
    content = {
        "held_out": small.held_out, "widths": [4, 8], "recordings": [1, 2], "validation_steps": 2, "address": "local",
        "model": {"heads": 2, "individual_layers": 1},
        "data": {"bin_widths": [0.005], "tokens_per_step": 1536, "min_windows": 4, "max_units": 12},
        "objective": {"name": "ndt", "ndt": {"min_tokens": 4, "max_tokens": 12}},
    }  # fmt: skip
    config.write_text(yaml.safe_dump(content))
    page, folder = tmp_path / "docs" / "scaling.md", tmp_path / "sweep"
    command = ["sweep", "--config", str(config), "--store", small.store, "--output", small.output]
    command += ["--page", str(page), "--tracking_uri", f"sqlite:///{tmp_path}/mlflow.db"]
    # One trial is already finished, and one cannot run.
    known = replace(measure(replace(small, runs=str(tmp_path / "before")), Trial(4, 1, 0)), seconds=999.0)
    write(folder, known)
    blocked = folder / "runs" / "width8-recordings2-seed0"
    blocked.parent.mkdir()
    blocked.touch()
    assert main(command) == 1
    assert re.search(r"1 of 3 trials failed: width8-recordings2-seed0 \(.*FileExistsError", capsys.readouterr().err)
    assert len(read_trials(folder)) == 3
    assert not page.exists()
    blocked.unlink()
    # The rest needs no Ray: the failed trial is run here.
    write(folder, measure(small, Trial(8, 2, 0)))
    assert main([*command, "--address", "127.0.0.1:9"]) == 0
    assert "Too few trials for a law" in capsys.readouterr().out
    found = {trial.name: asdict(one) for trial, one in read_trials(folder).items()}
    assert set(found) == {f"width{w}-recordings{r}-seed0" for w in (4, 8) for r in (1, 2)}
    assert found["width4-recordings1-seed0"] == asdict(known)
    assert len({one["loss"] for one in found.values()}) == 4
    assert all(0 < one["loss"] < 2 for one in found.values())
    tokens = {one["trial"]["recordings"]: one["tokens"] for one in found.values()}
    assert tokens == {1: 36_000, 2: 72_000}  # 12 units x 60 s in tokens of 20 ms
    assert found["width8-recordings2-seed0"]["steps"] == 47
    assert found["width8-recordings1-seed0"]["parameters"] > 2 * found["width4-recordings1-seed0"]["parameters"]
    assert not list((folder / "runs").glob("width*"))
    text = page.read_text()
    assert "](scaling.png)" in text
    assert "## Limits of these results" in text
    assert all(f"| {one['loss']:.4f} |" in text for one in found.values())
    assert small.store not in text
    assert page.with_suffix(".png").read_bytes()[:4] == b"\x89PNG"
    # Trials on Ray give the same loss as here, where torch may use other threads and so other sums.
    here = measure(replace(small, runs=str(tmp_path / "again")), Trial(8, 1, 0))
    assert here.loss == pytest.approx(found["width8-recordings1-seed0"]["loss"], rel=1e-6)


def test_finished_sweep_needs_no_ray(small, tmp_path, trials_of):
    for trial in trials(small):
        run, catalog, _ = prepare(small, trial)
        write(tmp_path / "sweep", replace(trials_of()[0], trial=trial, digest=digest_of(run, catalog)))
    outcome = sweep(replace(small, address="127.0.0.1:9"))
    assert len(outcome.measured) == 4
    assert (tmp_path / "sweep" / "scaling.md").is_file()


def test_trials_of_another_sweep_are_refused(small, tmp_path, trials_of):
    trial = Trial(4, 1, 0)
    run, catalog, _ = prepare(small, trial)
    measured = replace(trials_of()[0], trial=trial, digest=digest_of(run, catalog))
    write(tmp_path / "sweep", measured)
    assert read(tmp_path / "sweep", trial, digest_of(run, catalog)) == measured
    other = replace(small, validation_steps=3)
    with pytest.raises(ConfigError, match="has other settings or recordings: name another output"):
        sweep(other)
    (tmp_path / "sweep" / "trials.jsonl").write_text("{")
    with pytest.raises(ConfigError, match=r"trials\.jsonl is damaged"):
        sweep(small)


def test_trials_of_an_earlier_version_are_named(small, tmp_path):
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "width4-recordings1-seed0.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"width4-recordings1-seed0\.json is a trial of an earlier version"):
        sweep(small)


def test_page_shows_the_law_with_intervals_and_limits(small, true_law, trials_of):
    measured = trials_of(noise=0.01)
    fit = fit_with_intervals(measured, resamples=10, seed=0)
    page = render(Outcome(small, measured, fit), "scaling.png")
    low, high = fit.intervals["alpha"]
    assert f"| alpha, of parameters | {fit.law.alpha:.4f} | {low:.4f} to {high:.4f} |" in page
    assert "the middle 95 % of 10 fits" in page
    assert "cannot show" not in page
    assert "is not determined." not in page
    flat = [replace(m, loss=true_law(16_000, m.tokens)) for m in measured]  # size changes nothing
    page = render(Outcome(small, flat, fit_with_intervals(flat, resamples=10, seed=0)), "scaling.png")
    assert "hardly changes with size: alpha is not determined" in page
    loud = trials_of(noise=0.2)
    page = render(Outcome(small, loud, fit_with_intervals(loud, resamples=10, seed=0)), "scaling.png")
    assert "these trials cannot show how fast the loss falls with data" in page


def test_cheap_trials_run_first(small):
    found = trials(replace(small, seeds=[1, 0]))
    assert found[0] == Trial(4, 1, 0)
    assert found[-1] == Trial(8, 2, 1)
    assert len(found) == 8


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"widths": []}, r"widths is \[\]: expected one or more"),
        ({"recordings": [0, 1]}, r"recordings is \[0, 1\]: expected one or more, each at least 1"),
        ({"seeds": [1, 1]}, r"seeds is \[1, 1\]: .* given once"),
        ({"passes": 0.0}, r"passes is 0\.0: expected more than 0"),
        ({"resamples": 10}, "resamples is 10: expected at least 100"),
        ({"held_out": " "}, "held_out is empty"),
        ({"data": DataSettings()}, r"data\.bin_widths is .*: expected one value"),
        ({"objective": ObjectiveSettings("swap_vae", swap_vae=SwapVAESettings(units=4))}, "without its own encoder"),
        (
            {"objective": ObjectiveSettings("myow", myow=MYOWSettings(encoder=[8], units=4))},
            "without its own encoder",
        ),
    ],
)
def test_invalid_settings_are_refused(small, change, what):
    with pytest.raises(ConfigError, match=what):
        replace(small, **change)


def test_too_few_recordings_are_refused_before_any_work(small, tmp_path):
    with pytest.raises(ConfigError, match="recordings names 4: expected at most 3, the recordings that"):
        sweep(replace(small, recordings=[1, 4]))
    assert not (tmp_path / "sweep").exists()
