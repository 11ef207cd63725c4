"""Old checkpoints are removed despite failures of storage; new ones never are."""

from types import SimpleNamespace

import pytest
import torch

from foundation.training.checkpoint import saver as saver_module
from foundation.training.checkpoint.checkpoint import Checkpoints
from foundation.training.checkpoint.saver import Saver
from foundation.training.pretrain_settings import SafetySettings


class FakeControl:
    """Replaces the messages between processes: this process is the first and agrees with itself."""

    rank = 0

    def __init__(self, world: int) -> None:
        self.world = world

    def any(self, *flags):
        return list(flags)

    def of_first(self, value):
        return value and "token"


@pytest.fixture
def build(tiny, tmp_path, monkeypatch):
    """Build the saver of a run whose weights are one tensor; all other processes answer at once."""

    def built(world=1, **changes) -> Saver:
        settings = tiny(safety=SafetySettings(retries=1, pause=0.01), **changes)
        place = Checkpoints(tmp_path / "checkpoints", retries=1, pause=0.01)

        def snapshot(engine):
            for rank in range(1, world):
                name = f"step-{engine.step:08d}/receipts/{rank:05d}.json"
                place.files.write_json(name, {"token": "token", "files": {}, "sizes": {}})
            return {"optimizer/00000-of-00001.safetensors": {"a": torch.ones(3)}}

        monkeypatch.setattr(saver_module, "snapshot", snapshot)
        monkeypatch.setattr(saver_module, "model_config", lambda model: b"{}")
        return Saver(place, FakeControl(world), settings, {})

    return built


def save(saver: Saver, *steps: int) -> list[int]:
    """Return the steps of the checkpoints that exist after saving."""
    for step in steps:
        saver.save(SimpleNamespace(step=step, module=SimpleNamespace(model=None)), step, {})
        saver.wait()
        assert saver.failure == ""
    return [int(name[-8:]) for name in saver.place.names()]


def failing(saver: Saver, monkeypatch, name: str, times: int) -> list[str]:
    """Make the removal of ``name`` fail a number of times; return the list of failures."""
    remove, failed = saver.place.files.remove, []

    def flaky(other):
        if other == name and len(failed) < times:
            failed.append(other)
            raise OSError("503 Slow Down")
        remove(other)

    monkeypatch.setattr(saver.place.files, "remove", flaky)
    return failed


@pytest.mark.parametrize("what", ["step-00000010", "step-00000010/checkpoint.json"])
def test_failed_removal_is_repeated_after_the_next_checkpoint(build, monkeypatch, caplog, what):
    saver = build(keep_checkpoints=1)
    save(saver, 10)
    failing(saver, monkeypatch, what, times=2)
    assert save(saver, 20)[0] == 20
    assert "step-00000010 failed (OSError: 503 Slow Down): retrying after the next checkpoint" in caplog.text
    assert saver.place.damage("step-00000020") == ""
    assert save(saver, 30) == [30]
    assert saver.place.files.names("") == ["step-00000030"]


def test_removal_that_fails_once_is_retried(build, monkeypatch):
    saver = build(keep_checkpoints=1)
    save(saver, 10)
    failed = failing(saver, monkeypatch, "step-00000010", times=1)
    assert save(saver, 20) == [20]
    assert len(failed) == 1
    assert saver.place.files.names("") == ["step-00000020"]


def test_undeletable_receipts_leave_the_checkpoint_intact(build, monkeypatch):
    saver = build(world=2)
    failing(saver, monkeypatch, "step-00000010/receipts", times=2)
    assert save(saver, 10) == [10]
    assert "receipts" in saver.place.files.names("step-00000010")
    assert save(saver, 20) == [20, 10]
    assert "receipts" not in saver.place.files.names("step-00000010")
    assert "receipts" not in saver.place.files.names("step-00000020")


def test_failed_listing_leaves_the_checkpoint_intact(build, monkeypatch, caplog):
    saver = build(keep_checkpoints=1)
    save(saver, 10)
    names, left = saver.place.names, iter([TimeoutError("timed out")] * 2)

    def flaky():
        for error in left:
            raise error
        return names()

    monkeypatch.setattr(saver.place, "names", flaky)
    assert save(saver, 20) == [20, 10]
    assert "choosing the checkpoints to keep" in caplog.text
    assert save(saver, 30) == [30]


def test_damaged_newer_checkpoints_do_not_count_as_kept(build):
    saver = build(keep_checkpoints=3)
    save(saver, 10, 90, 100)
    for step in (90, 100):
        saver.place.files.write_bytes(f"step-{step:08d}/deepspeed.json", b"damaged")
    again = build(keep_checkpoints=2)
    name, _ = again.place.resumable({})
    assert name == "step-00000010"
    assert save(again, 20, 30) == [100, 90, 30, 20]
    assert again.place.resumable({})[0] == "step-00000030"
    assert save(again, 90) == [100, 90, 30]  # rewritten
    assert again.place.damage("step-00000090") == ""
    assert save(again, 110) == [110, 90]
