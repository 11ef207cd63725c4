"""A checkpoint of 2 processes loads on 1, and theirs on 3, under any ZeRO stage: the next losses agree."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from foundation.training.distributed.rendezvous import free_port

SCRIPT = Path(__file__).with_name("world_processes.py")


def run_group(world: int, config: Path, folder: Path, stages: int, outside, fork) -> dict[str, list[float]]:
    place = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    words = [str(SCRIPT), str(config), str(folder), str(stages)]
    errors = [config.with_name(f"{world}-{rank}.err") for rank in range(world)]
    started = [
        fork(words, outside(RANK=str(rank), LOCAL_RANK=str(rank), **place), errors[rank]) for rank in range(world)
    ]
    statuses = [process.wait(400) for process in started]
    assert statuses == [0] * world, "\n".join(path.read_text() for path in errors)
    return json.loads((folder / f"{world}.json").read_text())


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("worlds", "stages"), [((2, 1, 3), 2), pytest.param((3, 2, 1, 3, 2), 4, marks=pytest.mark.long)]
)
def test_every_checkpoint_loads_on_any_number_of_processes_under_any_stage(
    tiny, tmp_path, outside, fork, worlds, stages
):
    config = tmp_path / "settings.yaml"
    config.write_text(yaml.safe_dump(asdict(tiny(steps=4))))
    found: dict[str, list[float]] = {}
    for world in worlds:
        found |= run_group(world, config, tmp_path / "saved", stages, outside, fork)
    expected = found["2-0"]
    assert abs(expected[0] - expected[1]) > 1e-3
    loads = [name for name in found if " by " in name]
    assert len(loads) >= sum(4 * stages * k for k in range(3))
    for name, losses in found.items():
        assert losses == pytest.approx(expected, rel=1e-4), name
