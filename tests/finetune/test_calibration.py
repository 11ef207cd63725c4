"""With random labels, the probe leaves the control's 95 % interval in only one of twenty data sets."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import binom

from finetune.finetune_settings import FinetuneSettings
from finetune.heads.fitting.head_probe import probe_with_rates
from finetune.tasks.problems.decoding_task import Labels
from finetune.tasks.problems.trial_windows import Windows
from finetune.tasks.problems.unit_task import UnitProblem
from finetune.tasks.problems.window_task import WindowProblem
from foundation.evaluation import block_readout, linear_readout
from foundation.evaluation.confidence_intervals import control_interval
from foundation.evaluation.metrics import primary
from foundation.evaluation.readings import Features, each_row

SETS = 50
SETTINGS = FinetuneSettings("model", "store", "results", folds=2)


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """Use least squares of one strength: the tests check how labels are shuffled, not how a readout is fitted."""
    monkeypatch.setattr(block_readout, "PENALTIES", {"classes": (0.1,), "values": (1.0,)})
    monkeypatch.setattr(block_readout, "WEIGHTS", (0.0, 1.0))
    monkeypatch.setattr(block_readout, "fit", least_squares)


def least_squares(scores_SC, y_S, strength, n_classes, start=None):
    """A readout that weights all classes equally, in closed form."""
    weight_S = 1.0 / np.bincount(y_S)[y_S] if n_classes else np.full(len(y_S), 1.0)
    weight_S = weight_S / weight_S.sum()
    target_SK = np.eye(n_classes)[y_S] if n_classes else y_S
    mean_C, mean_K = weight_S @ scores_SC, weight_S @ target_SK
    centred = (scores_SC - mean_C) * weight_S[:, None]
    power = centred.T @ (scores_SC - mean_C) + strength * np.eye(len(mean_C))
    weight_CK = np.linalg.solve(power, centred.T @ (target_SK - mean_K))
    kind = "classes" if n_classes else "values"
    return linear_readout.Readout(weight_CK, mean_K - mean_C @ weight_CK, kind)


def stand_in(name):
    return SimpleNamespace(id=name, record=SimpleNamespace(subject=name, session=name, digest=name, path=name, lab=""))


def unit_problem(y_S, animals, units):
    names = [f"mouse{a:02}" for a in range(animals)]
    labels = Labels("cell_type", "all", "Cell type", y_S, classes=("a", "b"))
    return UnitProblem(
        labels,
        [stand_in(name) for name in names],
        np.repeat(np.arange(animals), units),
        np.tile(np.arange(units), animals),
        readers=None,
        bin_width=0.1,
        n_bins=1,
        bins_per_token=1,
        windows=1,
        seed=0,
    )


def units(rng, mixed, animals=10, per_animal=6):
    """Return units that resemble the others of their animal; class has no effect."""
    size = animals * per_animal
    x_SF = rng.normal(size=(size, 3)) + np.repeat(rng.normal(size=(animals, 3)), per_animal, axis=0)
    if mixed:
        y_S = rng.permutation(np.arange(size) % 2)
    else:
        y_S = np.repeat(rng.permutation(np.arange(animals) % 2), per_animal)
    return unit_problem(y_S, animals, per_animal), x_SF


def smooth(rng, size, dims, memory):
    """Return slow noise, correlated over ``memory`` samples."""
    white = rng.normal(size=(size + 4 * memory, dims))
    kernel = np.exp(-np.arange(4 * memory) / memory)
    return np.stack([np.convolve(x, kernel, mode="valid")[:size] for x in white.T], axis=1)


def window_problem(labels, n_windows, tokens, by_token):
    start_W = np.arange(n_windows) * float(tokens)
    windows = Windows(start_W, np.full(n_windows, tokens), np.arange(n_windows), "trials")
    window_S = np.repeat(np.arange(n_windows), tokens if by_token else 1)
    token_S = np.tile(np.arange(tokens), n_windows) if by_token else None
    return WindowProblem(
        labels, stand_in("a"), windows, window_S, token_S, token_seconds=1.0, readers=None, bins_per_token=1
    )


def trials(rng):
    y_S = rng.integers(0, 2, 60)
    labels = Labels("behavior", "direction", "Direction", y_S, classes=("a", "b"))
    return window_problem(labels, 60, 2, by_token=False), smooth(rng, 60, 3, 5)


def blocked_trials(rng):
    """Return classes in blocks of trials, and activity that drifts as slowly."""
    y_S = np.repeat(rng.integers(0, 2, 40), rng.integers(4, 9, 40))[:160]
    labels = Labels("behavior", "direction", "Direction", y_S, classes=("a", "b"))
    return window_problem(labels, 160, 2, by_token=False), smooth(rng, 160, 3, 8)


def values(rng):
    labels = Labels("behavior", "velocity", "Velocity", smooth(rng, 600, 1, 6), value_names=("x",))
    return window_problem(labels, 60, 10, by_token=True), smooth(rng, 600, 4, 6)


def states(rng):
    y_S = (smooth(rng, 400, 1, 3)[:, 0] > 0).astype(np.int64)
    labels = Labels("sleep_state", "a", "State", y_S, classes=("a", "b"))
    return window_problem(labels, 50, 8, by_token=True), smooth(rng, 400, 2, 3)


KINDS = {
    "units of animals with one class each": lambda rng: units(rng, mixed=False),
    "units of animals with both classes": lambda rng: units(rng, mixed=True),
    "trials": trials,
    "trials in blocks": blocked_trials,
    "values over time": values,
    "states over time": states,
}


def outside(make, seed):
    rng = np.random.default_rng([seed, 16])
    problem, x_SF = make(rng)
    features = [Features("noise", x_SF.astype(np.float32), (each_row(len(x_SF)),))]
    probes = probe_with_rates(problem, features, features, problem.split(SETTINGS.folds, SETTINGS.seed), SETTINGS)
    low, high = control_interval(probes.control)
    return not low <= primary(probes.model.predictions) <= high


def short(y_S, by_token=False):
    labels = Labels("behavior", "direction", "Direction", y_S, classes=("a", "b"))
    return window_problem(labels, len(y_S), 1, by_token)


FEW = {
    "units of one animal": (lambda: unit_problem(np.array([0, 0, 0, 1, 1]), 1, 5), 10, 39),
    "units of two animals": (lambda: unit_problem(np.array([0, 0, 1, 0, 1, 1]), 2, 3), 9, 39),
    "trials": (lambda: short(np.array([0, 1, 1, 0, 1])), 10, 39),
    "trials in runs": (lambda: short(np.repeat([0, 1], 10)), 20, 19),
    "states": (lambda: short(np.array([0, 0, 1, 0, 1, 1, 0, 1]), by_token=True), 8, 7),
}


@pytest.mark.parametrize("kind", FEW)
def test_small_numbers_of_label_permutations_are_counted(kind):
    make, ways, expected = FEW[kind]
    dealt, how = make().shuffles(39, 0)
    assert len(dealt) == expected
    assert f"there are only {ways} orders of the labels" in how


@pytest.mark.parametrize("kind", KINDS)
def test_random_labels_leave_the_control_interval_in_one_of_twenty_sets(kind):
    count = sum(outside(KINDS[kind], seed) for seed in range(SETS))
    low, high = binom.interval(0.99, SETS, 0.05)
    assert low <= count <= high, f"{count} of {SETS}"
