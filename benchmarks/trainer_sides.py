"""Processes of benchmarks/trainer.py: a trainer that takes a step on request, and one beside a bare loop.

    python benchmarks/trainer_sides.py on_request SETTINGS.yaml   # RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT set, or
    none python benchmarks/trainer_sides.py beside SETTINGS.yaml       # the real loop, each step followed by a bare one

What it says are lines that begin with ``@`` and go on in JSON.
"""

from __future__ import annotations

import one_thread  # noqa: F401  (before torch)

# isort: split
import itertools
import json
import sys
import time
from typing import Any

import torch
from torch import nn

from foundation.common.settings.command import build_parser, parse
from foundation.data import StepBatch
from foundation.models.learning_rates import param_groups
from foundation.store import Catalog, Store
from foundation.training import PretrainSettings, pretrain
from foundation.training.distributed.engine import build_module, leave_group
from foundation.training.trainer import Trainer

BATCHES = 4


def say(**what: Any) -> None:
    print("@" + json.dumps(what), flush=True)


def settings_of(file: str) -> PretrainSettings:
    settings: PretrainSettings = parse(
        build_parser("trainer", pretrain, PretrainSettings), PretrainSettings, ["--config", file]
    )
    return settings


class Bare:
    """The same module and optimiser without DeepSpeed, in five lines."""

    def __init__(self, settings: PretrainSettings) -> None:
        self.module, self.clip = build_module(settings).train(), settings.optimizer.clip
        groups = param_groups(self.module, settings.optimizer.learning_rate, settings.optimizer.weight_decay)
        betas = (settings.optimizer.beta1, settings.optimizer.beta2)
        self.optimizer = torch.optim.AdamW(groups, betas=betas)

    def step(self, views: list, context: Any) -> None:
        loss = self.module(views, context)["loss"]
        loss.backward()
        nn.utils.clip_grad_norm_(self.module.parameters(), self.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()


class Beside(Trainer):
    """The trainer's own loop; after each step a bare one on the same batch, which its own time leaves out."""

    def __init__(self, settings: PretrainSettings, catalog: Catalog) -> None:
        super().__init__(settings, catalog)
        self.bare, self.ours, self.theirs, self.between = Bare(settings), [], [], []
        self.left = 0.0

    def step(self, batches: list[StepBatch]) -> dict[str, float]:
        began = time.perf_counter()
        if self.left:
            self.between.append(began - self.left)  # reading, watching, counting, logging
        found = super().step(batches)
        (batch,) = batches
        ended = time.perf_counter()
        self.bare.step([view.cast() for view in batch.views], batch.context)
        self.left = time.perf_counter()
        self.ours.append(ended - began)
        self.theirs.append(self.left - ended)
        return found


def beside(settings: PretrainSettings) -> None:
    trainer = Beside(settings, Catalog.open(Store(settings.store)))
    trainer.run()
    # The first step is counted operation by operation, and what lies after the last step is its own.
    ours = [step + gap for step, gap in zip(trainer.ours[1:-1], trainer.between[1:], strict=True)]
    say(ours=ours, theirs=trainer.theirs[1:-1], between=trainer.between[1:])


def on_request(settings: PretrainSettings) -> None:
    trainer = Trainer(settings, Catalog.open(Store(settings.store)))
    batches = [trainer.loader.load(step) for step in range(BATCHES)]
    numbers = itertools.count()
    say(ready=True, parameters=sum(p.numel() for p in trainer.engine.module.parameters()))
    for line in sys.stdin:
        began = time.perf_counter()
        if line.strip() == "step":
            step = next(numbers)
            trainer._stop_if_asked(step)
            trainer.step([batches[step % BATCHES]])
            say(seconds=time.perf_counter() - began)
        elif line.strip() == "save":
            stall = trainer.saver.save(trainer.engine, next(numbers), {"metrics": {}})
            trainer.saver.wait()
            say(stall=stall, seconds=time.perf_counter() - began, failure=trainer.saver.failure)
        else:
            break
    trainer.engine.destroy()
    leave_group()


if __name__ == "__main__":
    {"on_request": on_request, "beside": beside}[sys.argv[1]](settings_of(sys.argv[2]))
