"""The simulated hand that follows random targets: its movement, its file, and its decodability."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from foundation.common.errors import ConfigError
from foundation.common.settings.resources import find_config
from foundation.evaluation.ridge_readout import solve_ridge
from ingest.nwb.read_nwb import digest_of, read_nwb
from ingest.simulate import SimulateSettings, simulate_izhikevich
from ingest.simulate.random_targets import HALF_WIDTH, MIN_DISTANCE, draw_target_trials
from ingest.simulate.simulated_network import make_network
from ingest.simulate.simulated_session import make_session

BIN = 0.1
TARGETS = {
    "networks": 1, "neurons": 50, "seconds": 300.0, "movement": "random-targets", "states": False, "tuning": 0.5,
    "untuned": 0.3, "gain_spread": 0.5, "lag_spread": 0.15, "position_tuning": 0.5,
}  # fmt: skip


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return SimulateSettings(str(tmp_path_factory.mktemp("targets") / "nwb"), **TARGETS)


@pytest.fixture(scope="module")
def path(settings):
    return simulate_izhikevich(settings)[0]


@pytest.fixture(scope="module")
def recording(path):
    return read_nwb(str(path))


def binned(recording, name):
    """(T, 2) means of a series in bins."""
    series = recording.behavior[name]
    per_bin = round(BIN * series.rate)
    return series.data[: len(series.data) // per_bin * per_bin].reshape(-1, per_bin, 2).mean(axis=1, dtype=np.float64)


def counts_of(recording):
    """(T, N) spikes in bins."""
    edges = np.arange(len(binned(recording, "velocity")) + 1) * BIN
    trains = [recording.spikes.train(n) for n in range(recording.n_units)]
    return np.stack([np.histogram(train, edges)[0] for train in trains], axis=1)


def explained(y_TK, predicted_TK):
    return float(1 - ((y_TK - predicted_TK) ** 2).sum() / ((y_TK - y_TK.mean(axis=0)) ** 2).sum())


def profile_by_direction(recording, folds=5):
    """R2 of velocity if the beginning of each movement and its direction, one of eight, are known."""
    trials, velocity_T2 = recording.intervals["trials"], binned(recording, "velocity")
    go_R = trials.columns["go_time"]
    direction_R = np.round(trials.columns["direction"] / (np.pi / 4)).astype(int) % 8
    middle_T = (np.arange(len(velocity_T2)) + 0.5) * BIN
    trial_T = np.searchsorted(go_R, middle_T) - 1
    used = np.flatnonzero((trial_T >= 0) & (middle_T < trials.end[np.maximum(trial_T, 0)]))
    y_S2, trial_S = velocity_T2[used], trial_T[used]
    since_S = ((middle_T[used] - go_R[trial_S]) / BIN).astype(int)
    fold_S = trial_S * folds // len(go_R)
    predicted_S2 = np.zeros_like(y_S2)
    for k, fold in enumerate(fold_S):
        alike = (direction_R[trial_S] == direction_R[trial_S[k]]) & (since_S == since_S[k]) & (fold_S != fold)
        if alike.any():
            predicted_S2[k] = y_S2[alike].mean(axis=0)
    return explained(y_S2, predicted_S2)


def ridge_on_lags(counts_TN, y_T2, lags=5, folds=5, penalty=1000.0):
    """R2 of ridge regression on all bins up to ``lags`` before and after, in contiguous folds."""
    n_bins = len(counts_TN)
    padded = np.pad(np.sqrt(counts_TN), ((lags, lags), (0, 0)))
    x_TF = np.concatenate([padded[k : k + n_bins] for k in range(2 * lags + 1)], axis=1)
    predicted_T2 = np.zeros_like(y_T2)
    for test in np.array_split(np.arange(n_bins), folds):
        near = np.arange(max(test[0] - 2 * lags, 0), min(test[-1] + 2 * lags + 1, n_bins))
        train = np.setdiff1d(np.arange(n_bins), near)
        mean_F, mean_2 = x_TF[train].mean(axis=0), y_T2[train].mean(axis=0)
        w_F2 = solve_ridge(x_TF[train] - mean_F, y_T2[train] - mean_2, penalty)
        predicted_T2[test] = (x_TF[test] - mean_F) @ w_F2 + mean_2
    return explained(y_T2, predicted_T2)


def test_hand_moves_smoothly_from_target_to_target_inside_the_square(recording):
    position, velocity = recording.behavior["position"], recording.behavior["velocity"]
    assert position.rate == velocity.rate == 100.0
    assert position.data.shape == velocity.data.shape == (30_000, 2)
    slope = np.gradient(position.data.astype(np.float64), 0.01, axis=0)
    np.testing.assert_allclose(slope, velocity.data, atol=2.0)
    assert np.abs(position.data).max() <= HALF_WIDTH + 1e-5
    assert 25 < np.linalg.norm(velocity.data, axis=1).max() < 80
    assert np.linalg.norm(np.diff(velocity.data, axis=0), axis=1).max() < 8  # no jump within 10 ms
    assert 0.05 < (np.linalg.norm(velocity.data, axis=1) < 0.5).mean() < 0.4  # and pauses


def test_trials_name_the_targets_and_the_hand_gets_there(recording):
    trials, position = recording.intervals["trials"], recording.behavior["position"].data
    target_R2 = np.stack([trials.columns["target_x"], trials.columns["target_y"]], axis=1)
    assert trials.start[1:].tolist() == trials.end[:-1].tolist()  # the next is shown when one ends
    assert ((trials.columns["go_time"] > trials.start) & (trials.columns["go_time"] < trials.end)).all()
    off_R = [np.linalg.norm(position[round(e * 100) - 5 : round(e * 100) + 35] - t, axis=1).min()
             for e, t in zip(trials.end[:-1], target_R2[:-1], strict=True)]  # fmt: skip
    assert np.quantile(off_R, 0.9) < 0.5
    way_R2 = np.diff(target_R2, axis=0, prepend=np.zeros((1, 2)))
    np.testing.assert_allclose(np.arctan2(way_R2[:, 1], way_R2[:, 0]) % (2 * np.pi), trials.columns["direction"])


def test_no_two_movements_are_alike():
    trials = draw_target_trials([(0.0, 600.0)], np.random.default_rng(0))
    target_R2 = np.array([trial.target for trial in trials])
    distance_R = np.linalg.norm(np.diff(target_R2, axis=0), axis=1)
    direction_R = np.array([trial.direction for trial in trials])
    duration_R = np.array([trial.moves[-1].start + trial.moves[-1].duration - trial.go for trial in trials])
    pause_R = np.array([b.go for b in trials[1:]]) - (np.array([a.go for a in trials[:-1]]) + duration_R[:-1])
    assert len(np.unique(direction_R)) == len(trials) > 300
    assert abs(np.exp(1j * direction_R).mean()) < 0.15  # in all directions
    assert distance_R.min() >= MIN_DISTANCE
    assert distance_R.std() / distance_R.mean() > 0.3
    assert duration_R.std() / duration_R.mean() > 0.3
    assert (pause_R < -0.02).mean() > 0.1  # some begin before the one before has ended
    assert (pause_R > 0.2).mean() > 0.1


def test_mean_course_explains_little_here_and_almost_all_of_centre_out(recording, tmp_path):
    assert profile_by_direction(recording) < 0.4
    centre_out = SimulateSettings(str(tmp_path), **(TARGETS | {"movement": "centre-out"}))
    reaches = read_nwb(str(simulate_izhikevich(centre_out)[0]))
    assert profile_by_direction(reaches) > 0.85


@pytest.mark.parametrize("name", ["velocity", "position"])
def test_ridge_on_lags_is_above_chance_and_leaves_room(recording, name):
    counts_TN, y_T2 = counts_of(recording), binned(recording, name)
    assert 0.4 < ridge_on_lags(counts_TN, y_T2) < 0.9
    # The same series half a session later is the control: as smooth, and nothing that the neurons hear.
    assert ridge_on_lags(counts_TN, np.roll(y_T2, len(y_T2) // 2, axis=0)) < 0.05


def test_units_follow_the_tuning_in_the_file(recording):
    """Counts against the hand's velocity along each unit's own axis, at the unit's own lead."""
    units = recording.units
    counts_TN, velocity_T2 = counts_of(recording), binned(recording, "velocity")
    depth_N = np.linalg.norm(units["velocity_tuning"], axis=1)
    tuned_N = depth_N > 0
    assert tuned_N.sum() == 35
    for name in ("speed_tuning", "position_tuning"):
        assert not np.any(units[name][~tuned_N])
    axis_N2 = units["velocity_tuning"] / np.maximum(depth_N, 1e-9)[:, None]
    axis_N2[~tuned_N] = (1.0, 0.0)
    lead_N = np.rint(units["movement_lead"] / BIN).astype(int)
    ahead, behind = np.full(recording.n_units, np.nan), np.full(recording.n_units, np.nan)
    for n in range(recording.n_units):
        heard_T = np.roll(velocity_T2 @ axis_N2[n], -lead_N[n])
        ahead[n] = np.corrcoef(heard_T, counts_TN[:, n])[0, 1]
        behind[n] = np.corrcoef(np.roll(heard_T, 8), counts_TN[:, n])[0, 1]
    strong_N = depth_N > np.median(depth_N[tuned_N])
    assert ahead[strong_N].mean() > 0.15
    assert ahead[strong_N].mean() > 3 * np.abs(behind[strong_N]).mean()
    assert np.abs(ahead[~tuned_N]).mean() < 0.08


def test_gains_and_leads_are_spread():
    settings = SimulateSettings("x", **(TARGETS | {"neurons": 500}))
    network = make_network(settings, np.random.default_rng(0))
    tuned_N = network.speed_N > 0
    assert tuned_N.sum() == 350
    plain = make_network(replace(settings, gain_spread=0.0), np.random.default_rng(0))
    gain_N = network.speed_N[tuned_N] / plain.speed_N[tuned_N]
    assert 0.45 < np.log(gain_N).std() < 0.55
    np.testing.assert_allclose(network.tuning_N2[tuned_N], gain_N[:, None] * plain.tuning_N2[tuned_N])
    lead_N = network.lead_N / 1000
    for area, mean in enumerate((0.05, 0.2)):
        part = lead_N[network.area_N == area]
        assert abs(part.mean() - mean) < 0.02
        assert part.min() > mean - 0.1501
        assert part.max() < mean + 0.1501
        assert part.std() > 0.07
    strength_N = np.linalg.norm(network.place_N2, axis=1)
    assert 0.15 < strength_N[strength_N > 0].mean() < 0.4  # 0.5 times a tuning of 0.5, and the mean of its gain


def test_tuning_changes_nothing_else_of_a_network():
    one = make_network(SimulateSettings("x"), np.random.default_rng(7))
    other = make_network(SimulateSettings("x", **{k: TARGETS[k] for k in list(TARGETS)[5:]}), np.random.default_rng(7))
    tuned = {"tuning_N2", "speed_N", "place_N2", "lead_N"}
    for name, value in vars(one).items():
        assert np.array_equal(value, getattr(other, name)) == (name not in tuned), name
    assert not one.place_N2.any()


def test_hand_rests_during_sleep():
    settings = SimulateSettings("x", **(TARGETS | {"states": True, "wake": 20.0, "nrem": 12.0, "rem": 8.0}))
    session = make_session(settings, np.random.default_rng(0))
    wake = [(bout.start, bout.end) for bout in session.bouts if bout.state == "wake"]
    for trial in session.targets:
        assert any(start <= trial.start and trial.stop <= end for start, end in wake)
    for bout in session.bouts:
        part = session.velocity_T2[round(bout.start * 1000) : round(bout.end * 1000)]
        assert part.any() == (bout.state == "wake")


def test_same_settings_give_the_same_bytes_in_any_process_and_number_of_networks(tmp_path):
    small = TARGETS | {"neurons": 20, "seconds": 30.0}
    here = simulate_izhikevich(SimulateSettings(str(tmp_path / "here"), **small))
    there = SimulateSettings(str(tmp_path / "there"), **(small | {"networks": 3}))
    call = f"from ingest.simulate import *; simulate_izhikevich({there!r})"
    environment = os.environ | {"PYTHONHASHSEED": "5", "OMP_NUM_THREADS": "2", "NUMBA_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-c", call], check=True, env=environment, capture_output=True)
    files = sorted((tmp_path / "there").rglob("*.nwb"))
    other = simulate_izhikevich(SimulateSettings(str(tmp_path / "other"), seed=1, **small))
    assert digest_of(str(files[0])) == digest_of(str(here[0]))
    assert len({digest_of(str(p)) for p in [*files, *other]}) == 4


def test_file_is_valid_nwb(path):
    import pynwb

    assert pynwb.validate(path=str(path)) == []


def test_shipped_config_has_random_targets():
    import yaml

    settings = SimulateSettings(**yaml.safe_load(find_config("simulate/random-targets").read_text()))
    assert settings.movement == "random-targets"
    assert settings.varies_tuning
    assert not replace(settings, tuning=1, untuned=0, gain_spread=0, lag_spread=0, position_tuning=0).varies_tuning


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("movement", "circles"), ("tuning", -0.1), ("untuned", 1.1), ("gain_spread", 3.0), ("lag_spread", 0.6),
        ("position_tuning", float("nan")),
    ],
)  # fmt: skip
def test_invalid_settings(key, value):
    with pytest.raises(ConfigError, match=f"^{key} is {value!r}: "):
        SimulateSettings(**({"output": "x"} | {key: value}))
