"""What a probe refuses to be fitted to."""

import numpy as np
import pytest

from finetune.finetune_settings import FinetuneSettings
from finetune.heads.head_probe import probe
from finetune.tasks.decoding_task import Labels
from finetune.tasks.unit_task import UnitProblem
from foundation.common.errors import ConfigError
from foundation.data import ActivityReader
from foundation.store import Store, StoredRecording, write_recording


def test_a_readout_takes_no_feature_and_no_value_that_is_not_finite(make_recording, tmp_path):
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
        windows=4,
        seed=0,
    )
    x_SF = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    x_SF[3, 1] = np.inf
    split = problem.split(3, 0)
    with pytest.raises(ConfigError, match="features hold 1 values that are not finite"):
        probe(problem, [x_SF], split, FinetuneSettings(checkpoint="c", store="s", output="o"))
