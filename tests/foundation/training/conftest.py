"""A model small enough to train in a second."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from foundation.data import DataSettings
from foundation.objectives import NeurPIRSettings, ObjectiveSettings
from foundation.training import ModelSettings, OptimizerSettings, PretrainSettings, pretrain
from foundation.training.distributed.rendezvous import free_port


@pytest.fixture(scope="session")
def short_run(small_store):
    """Build settings of a short run on the small store, with an output; keyword arguments change them."""

    def build(output: Path | str, **changes) -> PretrainSettings:
        base = {
            "store": str(small_store),
            "output": str(output),
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


@pytest.fixture
def tiny(short_run, tmp_path, empty_runs):
    """Build settings of a short run in the test's folder; keyword arguments change them."""
    shutil.copy(empty_runs, tmp_path / "mlflow.db")
    return lambda **changes: short_run(**({"output": tmp_path / "run"} | changes))


@pytest.fixture(scope="module")
def left_alone(short_run, tmp_path_factory, empty_runs) -> Path:
    """The output of an undisturbed short run. Tests compare with it, and only read it.

    One for each module: once an engine of ZeRO stage 3 was made in a process, its later runs differ in their last bits.
    """
    folder = tmp_path_factory.mktemp("left-alone")
    shutil.copy(empty_runs, folder / "mlflow.db")
    pretrain(short_run(output=folder / "run"))
    return folder / "run"


PLACED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "FOUNDATION_ALONE")


@pytest.fixture
def outside(tmp_path):
    """Environment for a separate process: this one's, without its place in a process group."""

    def build(**changes) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in PLACED}
        return kept | {"FOUNDATION_LOG": str(tmp_path / "log"), "OMP_NUM_THREADS": "1"} | changes

    return build


@pytest.fixture
def ranks(tmp_path, outside, fork):
    """Start the processes of a run without a launcher; kill the remaining ones at the end.

    ``program`` is what a process runs, a module or a script.
    """
    started = []

    def start(settings, world=2, program=("-m", "foundation.training"), **changes) -> list:
        config = tmp_path / f"{Path(settings.output).name}-ranks.yaml"
        config.write_text(yaml.safe_dump(asdict(settings)))
        place = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        for rank in range(world):
            own = outside(RANK=str(rank), LOCAL_RANK=str(rank), **place, **changes)
            errors = tmp_path / f"rank-{rank}.err"
            errors.unlink(missing_ok=True)
            started.append(fork([*program, "--config", str(config)], own, errors))
        return started[-world:]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def until():
    """Wait until a condition is true."""

    def wait(what, seconds=120.0, every=0.02):
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(every)

    return wait
