"""Accumulation over several processes: each computes its windows in parts, and the step equals the whole."""

import json
from pathlib import Path

import pytest

from foundation.common.errors import ConfigError
from foundation.objectives import ObjectiveSettings, SwapVAESettings
from foundation.training import ModelSettings, pretrain
from foundation.training.distributed.engine import build_module
from foundation.training.pretrain_settings import EngineSettings


def steps(settings) -> list[float]:
    lines = map(json.loads, (Path(settings.output) / "metrics.jsonl").read_text().splitlines())
    return [line[name] for line in lines for name in ("loss", "gradient_norm")]


# Under ZeRO 3 matrices of 100,000 entries and more are partitioned; every process keeps smaller ones.
WIDE = ModelSettings(dim=256, heads=2, individual_layers=1, interaction_layers=1)


@pytest.mark.parametrize(("world", "stage"), [pytest.param(2, 0, marks=pytest.mark.long), (3, 3)])
def test_accumulating_processes_take_the_same_steps(tiny, tmp_path, ranks, world, stage):
    """Some of three processes have fewer windows than parts."""
    plain = tiny(output=str(tmp_path / "plain"), steps=2, model=WIDE, checkpoint_every=9)
    pretrain(plain)
    parts = tiny(
        output=str(tmp_path / "parts"), steps=2, model=WIDE, checkpoint_every=9, zero_stage=stage,
        engine=EngineSettings(accumulate=3),
    )  # fmt: skip
    started = ranks(parts, world)
    assert [process.wait(400) for process in started] == [0] * world
    assert steps(parts) == pytest.approx(steps(plain), rel=1e-3)


def test_encoder_with_batch_statistics_is_refused(tiny):
    swap_vae = ObjectiveSettings("swap_vae", swap_vae=SwapVAESettings(units=12))
    with pytest.raises(ConfigError, match=r"engine\.accumulate is 2: expected 1 for SwapVAEModel, whose batch norm"):
        build_module(tiny(objective=swap_vae, engine=EngineSettings(accumulate=2)))
