"""One process of a group that writes and loads checkpoints under every ZeRO stage.

``python world_processes.py SETTINGS FOLDER STAGES`` with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT set. For each
stage it trains some steps, saves, and trains on; then it loads what groups of other sizes have saved before, under this
stage (of STAGES of the stages under which they were saved), and trains on. FOLDER/<world>.json holds the losses of the
steps after each checkpoint.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from foundation.common.settings.command import build_parser, parse
from foundation.store import Catalog, Store
from foundation.training import PretrainSettings, pretrain
from foundation.training.checkpoint.checkpoint import Checkpoints, load_checkpoint
from foundation.training.distributed.engine import leave_group, start_distributed
from foundation.training.trainer import Trainer

SAVED_AT, LAST = 2, 4


def trainer_of(settings: PretrainSettings, place: Path) -> Trainer:
    changed = replace(settings, output=str(place.parent), saving=replace(settings.saving, place=str(place)))
    return Trainer(changed, Catalog.open(Store(settings.store)))


def losses(trainer: Trainer, first: int, last: int) -> list[float]:
    return [trainer.step([trainer.loader.load(step)])["loss"] for step in range(first, last)]


def written(settings: PretrainSettings, place: Path) -> list[float]:
    """Save after some steps, and return the losses of the steps after it."""
    trainer = trainer_of(settings, place)
    losses(trainer, 0, SAVED_AT)
    trainer.saver.save(trainer.engine, SAVED_AT, {})
    found = losses(trainer, SAVED_AT, LAST)  # while it is being written
    trainer.saver.wait()
    assert not trainer.saver.failure, trainer.saver.failure
    trainer.control.of_first(None)
    trainer.engine.destroy()
    return found


def loaded(settings: PretrainSettings, place: Path) -> list[float]:
    """Return the losses of the same steps after loading; a new model has different losses."""
    trainer = trainer_of(settings, place)
    with torch.no_grad():
        for parameter in trainer.engine.module.parameters():
            parameter.data.mul_(1.5)  # shows anything that loading leaves unchanged
    (name,) = Checkpoints(place).names()
    load_checkpoint(trainer.checkpoints, name, trainer.engine)
    found = losses(trainer, SAVED_AT, LAST)
    trainer.engine.destroy()
    return found


def main(config: str, folder: str, stages: str) -> None:
    rank, world = start_distributed()
    settings = parse(build_parser("world", pretrain, PretrainSettings), PretrainSettings, ["--config", config])
    root = Path(folder)
    before = sorted(root.glob("*/checkpoints"))
    found: dict[str, Any] = {}
    for stage in range(4):
        mine = replace(settings, zero_stage=stage)
        found[f"{world}-{stage}"] = written(mine, root / f"{world}-{stage}" / "checkpoints")
        for place in before:
            if (int(place.parent.name[-1]) - stage) % 4 >= int(stages):
                continue
            found[f"{place.parent.name} by {world}-{stage}"] = loaded(mine, place)
    if rank == 0:
        (root / f"{world}.json").write_text(json.dumps(found))
    torch.distributed.barrier()
    leave_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
