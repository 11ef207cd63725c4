"""A model small enough to train in a second."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from foundation.data import DataSettings
from foundation.objectives import NeurPIRSettings, ObjectiveSettings
from foundation.training import ModelSettings, OptimizerSettings, PretrainSettings
from foundation.training.distributed.rendezvous import free_port


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
            "objective": ObjectiveSettings(neurpir=NeurPIRSettings(min_tokens=4, max_tokens=12, projector=[32, 32])),
            "optimizer": OptimizerSettings(learning_rate=3e-3, warmup_steps=2),
        }
        return PretrainSettings(**(base | changes))

    return build


PLACED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "FOUNDATION_ALONE")


@pytest.fixture
def outside(tmp_path):
    """Environment of a process of its own: of this one, without what places it in a process group."""

    def build(**changes) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in PLACED}
        return kept | {"FOUNDATION_LOG": str(tmp_path / "log"), "OMP_NUM_THREADS": "1"} | changes

    return build


@pytest.fixture
def ranks(tmp_path, outside):
    """Starts the processes of a run without a launcher; what still lives at the end is killed."""
    started = []

    def start(settings, world=2, **changes) -> list[subprocess.Popen]:
        config = tmp_path / f"{Path(settings.output).name}-ranks.yaml"
        config.write_text(yaml.safe_dump(asdict(settings)))
        place = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        for rank in range(world):
            own = outside(RANK=str(rank), LOCAL_RANK=str(rank), **place, **changes)
            command = [sys.executable, "-m", "foundation.training", "--config", str(config)]
            errors = open(tmp_path / f"rank-{rank}.err", "w")  # noqa: SIM115
            started.append(subprocess.Popen(command, env=own, stderr=errors))
            errors.close()
        return started[-world:]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.fixture
def until():
    """Waits for something to become true."""

    def wait(what, seconds=120.0, every=0.02):
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(every)

    return wait
