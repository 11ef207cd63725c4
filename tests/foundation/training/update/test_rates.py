"""Matrices of a wide model get their share of the learning rate under every ZeRO stage."""

import json

import pytest
import torch

from foundation.models import EIT, param_groups
from foundation.objectives import build_objective
from foundation.training import ModelSettings, pretrain
from foundation.training.distributed.engine import PretrainModule, build_engine, set_learning_rate, start_distributed


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_schedule_keeps_each_group_s_share(tiny, stage):
    shape = ModelSettings(dim=128, heads=4, individual_layers=1, interaction_layers=1)
    settings = tiny(model=shape, zero_stage=stage)
    start_distributed()
    torch.manual_seed(0)
    model = EIT(shape.config())
    objective = build_objective(settings.objective, 128, model)
    wanted = param_groups(torch.nn.ModuleList([model, objective]), 0.02, 0.01)
    engine = build_engine(PretrainModule(model, objective), settings)
    set_learning_rate(engine, 0.02)
    found = engine.optimizer.param_groups
    assert sorted({g["lr"] for g in found}) == [0.01, 0.02]
    assert {(g["lr"], g["weight_decay"]) for g in found} == {(g["lr"], g["weight_decay"]) for g in wanted}


def test_inducing_points_are_partitioned_like_other_parameters(tiny, tmp_path):
    shape = ModelSettings(dim=128, heads=4, individual_layers=1, interaction_layers=1, inducing_points=3)
    losses = []
    for stage in (0, 3):
        settings = tiny(model=shape, zero_stage=stage, steps=2, output=str(tmp_path / str(stage)))
        pretrain(settings)
        lines = (tmp_path / str(stage) / "metrics.jsonl").read_text().splitlines()
        losses.append([json.loads(line)["loss"] for line in lines])
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
