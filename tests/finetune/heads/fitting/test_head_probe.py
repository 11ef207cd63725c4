"""Inputs that a probe rejects, and the memory that it needs beyond its features."""

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

from finetune.finetune_settings import FinetuneSettings
from finetune.heads.fitting.head_probe import probe, probe_with_rates
from finetune.tasks.problems.decoding_task import Labels
from finetune.tasks.problems.trial_windows import Windows
from finetune.tasks.problems.unit_task import UnitProblem
from finetune.tasks.problems.window_task import WindowProblem
from foundation.common.errors import ConfigError
from foundation.data import ActivityReader
from foundation.evaluation.readings import Features, each_row
from foundation.store import Store, StoredRecording, write_recording


def test_readout_rejects_non_finite_features_and_values(make_recording, tmp_path):
    store = Store(tmp_path / "store", create=True)
    stored = StoredRecording(store, write_recording(store, make_recording(0)))
    labels = Labels("cell_type", "cell_type", "Cell type", np.arange(12) % 2, classes=("fast", "slow"))
    problem = UnitProblem(
        labels,
        [stored],
        np.zeros(12, dtype=np.int64),
        np.arange(12),
        readers=lambda _: ActivityReader(stored),
        bin_width=0.1,
        n_bins=60,
        bins_per_token=1,
        windows=4,
        seed=0,
    )
    x_SF = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    x_SF[3, 1] = np.inf
    split = problem.split(3, 0)
    with pytest.raises(ConfigError, match="features hold 1 values that are not finite"):
        probe(problem, [Features("", x_SF, (each_row(12),))], split, FinetuneSettings("c", "s", "o"))


@pytest.mark.parametrize("n_classes", [2, 0])
def test_probes_and_control_need_little_memory_beyond_the_features(n_classes):
    rng, windows, tokens = np.random.default_rng(0), 30, 8
    x_SF = rng.normal(size=(windows * tokens, 80_000)).astype(np.float32)
    y_S = rng.integers(0, 2, len(x_SF)) if n_classes else rng.normal(size=(len(x_SF), 1))
    recording = SimpleNamespace(id="a", record=SimpleNamespace(digest="a"))
    problem = WindowProblem(
        Labels("behavior", "a", "A", y_S, classes=("a", "b")[:n_classes], value_names=("x",)),
        recording,
        Windows(np.arange(windows) * float(tokens), np.full(windows, tokens), np.arange(windows), "trials"),
        np.repeat(np.arange(windows), tokens),
        np.tile(np.arange(tokens), windows),
        token_seconds=1.0,
        readers=None,
        bins_per_token=1,
    )
    settings = FinetuneSettings("c", "s", "o", folds=2, control_repeats=2)
    model = [Features("model", x_SF, problem.readings)]
    rates = [Features("rates", x_SF[:, :20].copy(), problem.readings)]
    tracemalloc.start()
    try:
        probes = probe_with_rates(problem, rates, model, problem.split(2, 0), settings)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.2 * x_SF.nbytes, f"{peak / x_SF.nbytes:.2f} times the features, beside them"
    assert len(probes.control) == 2
    assert len(probes.both.choices["weight"]) == 2
