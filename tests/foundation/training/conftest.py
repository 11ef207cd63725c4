"""A model small enough to train in a second."""

from __future__ import annotations

import pytest

from foundation.data import DataSettings
from foundation.objectives import NeurPIRSettings, ObjectiveSettings
from foundation.training import ModelSettings, OptimizerSettings, PretrainSettings


@pytest.fixture
def tiny(small_store, tmp_path):
    """Builds settings of a short run on the small store; keyword arguments change them."""

    def build(**changes) -> PretrainSettings:
        base = {
            "store": str(small_store),
            "output": str(tmp_path / "run"),
            "steps": 6,
            "checkpoint_every": 2,
            "log_every": 1,
            "model": ModelSettings(dim=16, heads=2, individual_layers=1, interaction_layers=1),
            "data": DataSettings(bin_widths=[0.005, 0.025], tokens_per_step=1536, min_windows=4, max_units=12),
            "objective": ObjectiveSettings(neurpir=NeurPIRSettings(shortest=4, longest=12, projector=[32, 32])),
            "optimizer": OptimizerSettings(learning_rate=3e-3, warmup_steps=2),
        }
        return PretrainSettings(**(base | changes))

    return build
