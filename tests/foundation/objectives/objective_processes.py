"""One process of a group that takes two steps of every objective under every ZeRO stage, and says what came out.

``python objective_processes.py RESULT cases stages`` with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT set.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from objective_cases import CASES, build, global_batch, share

from foundation.training import OptimizerSettings, PretrainSettings
from foundation.training.distributed.deepspeed_state import weights
from foundation.training.distributed.engine import (
    PretrainModule,
    build_engine,
    leave_group,
    set_learning_rate,
    start_distributed,
)


def two_steps(name: str, stage: int, rank: int, world: int) -> dict[str, torch.Tensor]:
    """First loss and its gradients, the loss of a second step, and the targets' deviation from their moving average."""
    from deepspeed.utils import safe_get_full_grad

    case = CASES[name]
    model, objective = build(case)
    settings = PretrainSettings("-", "-", zero_stage=stage, optimizer=OptimizerSettings(weight_decay=0.0))
    engine = build_engine(PretrainModule(model, objective), settings)
    found: dict[str, torch.Tensor] = {}
    for step in range(2):
        set_learning_rate(engine, 1e-3)
        views, context = share(*global_batch(objective, case, step), rank, world)
        terms = engine(views, context)
        engine.backward(terms["loss"])
        for key, value in terms.items():
            found[f"terms{step}/{key}"] = value.detach().clone()
        if step == 0:
            for key, parameter in engine.module.named_parameters():
                if parameter.requires_grad:
                    grad = safe_get_full_grad(parameter)
                    found[f"grad/{key}"] = torch.zeros(()) if grad is None else grad.detach().clone()
        engine.step()
        before = weights(engine)
        engine.module.objective.after_step(engine.module.model, context.progress)
        if "momentum" in terms:
            off = off_average(before, weights(engine), float(terms["momentum"]))
            found[f"off/{step}"] = torch.tensor(off)
    engine.destroy()
    return found


def off_average(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor], momentum: float) -> float:
    """The largest deviation of a target's weight from its moving average."""
    worst, moved = 0.0, 0.0
    for key, value in after.items():
        if "target_" in key and "running" not in key:
            online = key.replace("objective.target_model.", "model.").replace("target_", "")
            wanted = momentum * before[key] + (1 - momentum) * after[online]
            worst = max(worst, float((value - wanted).abs().max()))
            moved = max(moved, float((value - before[key]).abs().max()))
    assert moved > 1e-5, "the target network stands still"
    return worst


def main(result: str, cases: str, stages: str) -> None:
    rank, world = start_distributed()
    found = {}
    for name in cases.split(","):
        for stage in map(int, stages.split(",")):
            found[f"{name}/{stage}"] = two_steps(name, stage, rank, world)
    if rank == 0:
        torch.save(found, Path(result))
    torch.distributed.barrier()
    leave_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
