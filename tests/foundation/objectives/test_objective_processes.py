"""The same global batch on 1, 2 and 3 processes under every ZeRO stage: the same loss and the same gradients.

What one process does is computed here without DeepSpeed. Each process group is spawned once and loops over the cases.
"""

import os
from pathlib import Path

import pytest
import torch
from objective_cases import CASES, build, global_batch

from foundation.training.distributed.rendezvous import free_port

HERE = Path(__file__).parent
VARIANTS = {
    "nuclr_released",
    "ndt_time",
    "vicreg_population",
    "sum",
}  # variants of others, run in the long campaign only


def alone(name: str) -> dict[str, torch.Tensor]:
    """Two steps of one process, in plain torch."""
    case = CASES[name]
    model, objective = build(case)
    trained = {
        **{f"model.{k}": p for k, p in model.named_parameters()},
        **{f"objective.{k}": p for k, p in objective.named_parameters() if p.requires_grad},
    }
    optimizer = torch.optim.AdamW(trained.values(), lr=1e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0)
    found: dict[str, torch.Tensor] = {}
    for step in range(2):
        views, context = global_batch(objective, case, step)
        terms = objective(model, views, context)
        optimizer.zero_grad()
        terms["loss"].backward()
        found |= {f"terms{step}/{key}": value.detach() for key, value in terms.items()}
        if step == 0:
            for key, p in trained.items():
                found[f"grad/{key}"] = torch.zeros_like(p) if p.grad is None else p.grad.clone()
        torch.nn.utils.clip_grad_norm_(trained.values(), 1.0)
        optimizer.step()
        objective.after_step(model, context.progress)
    return found


def together(fork, folder: Path, world: int, stages: list[int], cases: list[str]) -> dict[str, dict[str, torch.Tensor]]:
    """Results of a group of processes, for each case and stage."""
    result, port = folder / f"world{world}.pt", str(free_port())
    kept = {k: v for k, v in os.environ.items() if k != "FOUNDATION_ALONE"}
    started = []
    for rank in range(world):
        placed = {
            "RANK": rank,
            "LOCAL_RANK": rank,
            "WORLD_SIZE": world,
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
        }
        environment = kept | {k: str(v) for k, v in placed.items()} | {"OMP_NUM_THREADS": "1"}
        arguments = [str(HERE / "objective_processes.py"), str(result), ",".join(cases), ",".join(map(str, stages))]
        started.append(fork(arguments, environment, folder / f"world{world}-{rank}.log"))
    try:
        for process in started:
            process.wait(timeout=500)
    finally:
        for process in started:
            process.kill()
    assert result.is_file(), "\n".join(p.read_text()[-3000:] for p in sorted(folder.glob(f"world{world}-*.log")))
    return torch.load(result, weights_only=True)


def compare(found: dict[str, dict[str, torch.Tensor]]) -> None:
    off = []
    for name in {key.split("/")[0]: None for key in found}:
        one = alone(name)
        for key, many in found.items():
            if key.split("/")[0] != name:
                continue
            loss, later = (abs(float(many[f"terms{s}/loss"] / one[f"terms{s}/loss"]) - 1) for s in (0, 1))
            whole = {k: v for k, v in one.items() if k.startswith("grad/")}
            size = sum(float(g.square().sum()) for g in whole.values()) ** 0.5
            error = sum(float((many[k].reshape(g.shape) - g).square().sum()) for k, g in whole.items()) ** 0.5 / size
            target = max((float(v) for k, v in many.items() if k.startswith("off/")), default=0.0)
            if loss > 1e-5 or error > 1e-5 or later > 2e-4 or target > 1e-6:
                off.append(
                    f"{key}: loss {loss:.1e}, gradient {error:.1e}, second loss {later:.1e}, target {target:.1e}"
                )
            for term in set(one) - set(whole):
                if term.startswith("terms0/"):
                    assert float(many[term]) == pytest.approx(float(one[term]), rel=1e-4, abs=1e-5), (key, term)
    assert not off, "\n".join(off)


@pytest.mark.parametrize(("world", "stages"), [(2, [0, 3]), (3, [1, 2])])
def test_processes_agree_with_one(fork, tmp_path, world, stages):
    cases = [name for name in CASES if name not in VARIANTS]
    found = together(fork, tmp_path, world, stages, cases)
    assert len(found) == len(cases) * len(stages)
    compare(found)


@pytest.mark.long
@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_agree_with_one_under_every_stage(fork, tmp_path, world):
    found = together(fork, tmp_path, world, [0, 1, 2, 3], list(CASES))
    assert len(found) == len(CASES) * 4
    compare(found)
