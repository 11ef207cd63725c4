"""What can be decoded of simulated hands: from the direction of the movement alone, and from spikes by ridge.

    python benchmarks/random_targets.py           # writes docs/benchmarks/random-targets.md

Needs `pip install -e '.[ingest]'`.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
import one_thread  # noqa: F401  (before NumPy)
import yaml
from harness import Page

from foundation.common.settings.resources import find_config
from foundation.evaluation.ridge_readout import solve_ridge
from ingest.simulate import SimulateSettings
from ingest.simulate.simulated_network import STEP, make_network
from ingest.simulate.simulated_session import Session, integrate, make_session

BIN, FOLDS, LAGS = 0.1, 5, (0, 3, 5)
PENALTIES = (300.0, 1000.0, 3000.0)
WHAT = """Networks of `configs/simulate/random-targets.yaml`, and the same with `movement: centre-out`. R² in bins of
100 ms, in 5 contiguous folds. *Direction's mean course* is given the onset and the direction (one of 8) of each
movement, and predicts the mean velocity of other movements in that direction at that time, inside trials only.
*Ridge k* reads square roots of the counts of all neurons from k bins before to k bins after; its penalty is the
best of three on the same folds, so its figures are slightly optimistic. *Half a session off*, a control: ridge on 5
bins, with movements from half a session later."""


def explained(y_SK: np.ndarray, predicted_SK: np.ndarray) -> float:
    """Return R2 of both dimensions together."""
    return float(1 - ((y_SK - predicted_SK) ** 2).sum() / ((y_SK - y_SK.mean(axis=0)) ** 2).sum())


def profile(session: Session, velocity_T2: np.ndarray) -> float:
    """Return R2 of the mean course of the movement's direction."""
    trials = session.trials or session.targets
    go_R, stop_R = np.array([t.go for t in trials]), np.array([t.stop for t in trials])
    direction_R = np.round(np.array([t.direction for t in trials]) / (np.pi / 4)).astype(int) % 8
    middle_T = (np.arange(len(velocity_T2)) + 0.5) * BIN
    trial_T = np.searchsorted(go_R, middle_T) - 1
    used = np.flatnonzero((trial_T >= 0) & (middle_T < stop_R[np.maximum(trial_T, 0)]))
    y_S2, trial_S = velocity_T2[used], trial_T[used]
    since_S = ((middle_T[used] - go_R[trial_S]) / BIN).astype(int)
    fold_S = trial_S * FOLDS // len(trials)
    predicted_S2 = np.zeros_like(y_S2)
    for s in range(len(used)):
        alike = (direction_R[trial_S] == direction_R[trial_S[s]]) & (since_S == since_S[s]) & (fold_S != fold_S[s])
        if alike.any():
            predicted_S2[s] = y_S2[alike].mean(axis=0)
    return explained(y_S2, predicted_S2)


def ridge(counts_TN: np.ndarray, y_T2: np.ndarray, lags: int) -> float:
    """Return R2 of the best of three penalties."""
    padded = np.pad(np.sqrt(counts_TN), ((lags, lags), (0, 0)))
    x_TF = np.concatenate([padded[k : k + len(y_T2)] for k in range(2 * lags + 1)], axis=1)
    predicted = {penalty: np.zeros_like(y_T2) for penalty in PENALTIES}
    for test in np.array_split(np.arange(len(y_T2)), FOLDS):
        near = np.arange(max(test[0] - 2 * lags, 0), min(test[-1] + 2 * lags + 1, len(y_T2)))
        train = np.setdiff1d(np.arange(len(y_T2)), near)
        mean_F, mean_2 = x_TF[train].mean(axis=0), y_T2[train].mean(axis=0)
        for penalty, into_T2 in predicted.items():
            into_T2[test] = (x_TF[test] - mean_F) @ solve_ridge(x_TF[train] - mean_F, y_T2[train] - mean_2, penalty)
            into_T2[test] += mean_2
    return max(explained(y_T2, p) for p in predicted.values())


def row(settings: SimulateSettings, k: int) -> list:
    """Return the row of one network and one movement."""
    rng = np.random.default_rng([settings.seed, k])
    network, session = make_network(settings, rng), make_session(settings, rng)
    trains = integrate(network, session, rng)
    per_bin = round(BIN / STEP)
    velocity_T2, position_T2 = (
        series.reshape(-1, per_bin, 2).mean(axis=1) for series in (session.velocity_T2, session.position_T2)
    )
    edges = np.arange(len(velocity_T2) + 1) * BIN
    counts_TN = np.stack([np.histogram(train, edges)[0] for train in trains], axis=1)
    off_T2 = np.roll(velocity_T2, len(velocity_T2) // 2, axis=0)
    return [
        settings.movement,
        k + 1,
        len(session.trials or session.targets),
        round(counts_TN.sum() / settings.seconds / settings.neurons, 1),
        round(profile(session, velocity_T2), 2),
        *(round(ridge(counts_TN, velocity_T2, lags), 2) for lags in LAGS),
        *(round(ridge(counts_TN, position_T2, lags), 2) for lags in LAGS),
        round(ridge(counts_TN, off_T2, LAGS[-1]), 2),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=4)
    parser.add_argument("--page", default="docs/benchmarks/random-targets.md", help="where the page goes")
    arguments = parser.parse_args()
    command = f"python benchmarks/random_targets.py --networks {arguments.networks}"
    page = Page("Simulated hands", command, ("numpy", "numba"))
    page.say(WHAT)
    settings = SimulateSettings(**yaml.safe_load(find_config("simulate/random-targets").read_text(encoding="utf-8")))
    head = ["movement", "network", "trials", "spikes/s", "direction's mean course"]
    head += [f"{name}, ridge {lags}" for name in ("velocity", "position") for lags in LAGS] + ["half a session off"]
    both = [settings, replace(settings, movement="centre-out")]
    page.table(head, [row(s, k) for s in both for k in range(arguments.networks)])
    page.not_measured(["nonlinear decoders", "other seeds", "networks with sleep"])
    page.write(arguments.page)


if __name__ == "__main__":
    main()
