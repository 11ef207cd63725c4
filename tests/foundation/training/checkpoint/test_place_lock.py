"""A run locks its place before it changes anything there."""

import errno
import json
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import fsspec
import pytest

from foundation.common.errors import CheckpointError, FoundationError
from foundation.common.files import locks
from foundation.common.tracking.mlflow_tracker import Tracker, send_rest
from foundation.store import Catalog, Store
from foundation.store.commit.atomic_files import Files
from foundation.training import OptimizerSettings, pretrain
from foundation.training.checkpoint import place_lock
from foundation.training.checkpoint.checkpoint import MANIFEST, Checkpoints
from foundation.training.checkpoint.place_lock import LEASE, Lease
from foundation.training.checkpoint.resuming import hold
from foundation.training.launch.launch import launch_with_restarts
from foundation.training.output.run_folder import RunFolder
from foundation.training.pretrain_settings import SavingSettings
from foundation.training.trainer import Trainer


class Slow(Checkpoints):
    """A place where writing waits for permission."""

    def __init__(self, place: str) -> None:
        super().__init__(place)
        self.may, self.begun = threading.Event(), threading.Event()
        write = self.files.write_bytes

        def wait_and_write(name: str, content: bytes) -> None:
            if "/optimizer/" in name:
                self.begun.set()
                assert self.may.wait(120)
            write(name, content)

        self.files.write_bytes = wait_and_write


@pytest.fixture
def memory():
    yield "memory://locked/run"
    fsspec.filesystem("memory").rm("/locked", recursive=True)


def in_flight(settings, stack: ExitStack, locked: bool = True) -> tuple[Trainer, Slow]:
    """A run in the middle of its first checkpoint."""
    trainer = Trainer(settings, Catalog.open(Store(settings.store)))
    trainer.checkpoints = trainer.saver.place = place = Slow(settings.saving.place)
    if locked:
        hold(stack, trainer.folder, place, trainer.control)
    trainer.step([trainer.loader.load(0)])
    trainer._save(1)
    assert place.begun.wait(60)
    return trainer, place


@pytest.mark.parametrize("change", ["settings", "nothing", "never"])
def test_refused_run_leaves_a_checkpoint_in_progress_alone(tiny, tmp_path, change, monkeypatch):
    monkeypatch.setattr(place_lock, "PATIENCE", 0.5)
    saving = SavingSettings(place=str(tmp_path / "shared"))
    other = {
        "settings": {"optimizer": OptimizerSettings(learning_rate=1e-3)},
        "nothing": {},
        "never": {"resume": "never"},
    }[change]
    with ExitStack() as stack:
        first, place = in_flight(tiny(output=str(tmp_path / "a"), saving=saving), stack)
        with pytest.raises(FoundationError, match=r"another run is writing its checkpoints to .*shared: wait for it"):
            pretrain(tiny(output=str(tmp_path / "b"), saving=saving, **other))
        place.may.set()
        first.saver.wait()
    assert first.saver.failure == ""
    assert place.names() == ["step-00000001"]
    assert place.damage("step-00000001") == ""
    assert (tmp_path / "shared" / "step-00000001" / "deepspeed.json").is_file()


def test_run_with_other_settings_is_refused_before_it_removes_anything(tiny, tmp_path):
    place = Checkpoints(tmp_path / "shared")
    manifest = {"step": 2, "files": {}, "identity": {"steps": 7}, "state": {}}
    place.files.write_json(f"step-00000002/{MANIFEST}", manifest)
    place.files.write_bytes("step-00000004/deepspeed.json", b"{}")
    with pytest.raises(CheckpointError, match="other settings"):
        pretrain(tiny(saving=SavingSettings(place=str(tmp_path / "shared"))))
    assert place.unfinished() == ["step-00000004"]


def test_checkpoint_that_lost_a_file_does_not_count(tiny, tmp_path):
    with ExitStack() as stack:
        settings = tiny(output=str(tmp_path / "a"), saving=SavingSettings(place=str(tmp_path / "shared")))
        first, place = in_flight(settings, stack)
        (tmp_path / "shared" / "step-00000001" / "deepspeed.json").unlink()
        place.may.set()
        first.saver.wait()
    assert "deepspeed.json has 0 bytes: expected the" in first.saver.failure
    assert place.names() == []


def test_one_lease_at_a_time_and_an_abandoned_one_is_taken_over(memory):
    place = Checkpoints(memory).files
    with Lease(place, "a", "held by another", every=0.2) as first:
        with pytest.raises(FoundationError, match="held by another"), Lease(place, "b", "held by another", every=0.2):
            pass
        assert first.holder in place.read_bytes(LEASE).decode()
        assert not first.lost
    assert place.read_bytes(LEASE) is None
    for holder in ("elsewhere:/gone", first.holder):
        place.write_bytes(LEASE, json.dumps({"holder": holder, "run": "x", "turn": 1}).encode())
        with Lease(place, "a", "held by another", every=0.1) as again:
            assert json.loads(place.read_bytes(LEASE))["holder"] == again.holder == first.holder


def test_lost_lease_stops_saving(memory):
    place = Checkpoints(memory)
    place.files.write_bytes("step-00000001/a", b"1")
    with Lease(place.files, "a", "held by another", every=0.05) as lease:
        place.lease = lease
        place.check_whole("step-00000001", {"a": 1})
        place.files.write_bytes(LEASE, b'{"holder": "b"}')
        lease._thread.join(10)
        with pytest.raises(CheckpointError, match="taken over"):
            place.check_whole("step-00000001", {"a": 1})
    assert json.loads(place.files.read_bytes(LEASE)) == {"holder": "b"}, "what is another's stays"


def test_file_system_without_locks_gets_a_lease(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(locks, "lock_descriptor", refuse)
    place = Checkpoints(tmp_path)
    with place.held("a"):
        assert place.lease is not None
        assert (tmp_path / LEASE).is_file()
    assert not (tmp_path / LEASE).exists()


def test_queue_of_a_running_run_is_not_sent_by_another_process(tmp_path):
    tracker = Tracker(tmp_path, f"sqlite:///{tmp_path}/mlflow.db", "e", "run")
    with RunFolder(tmp_path).held(), pytest.raises(FoundationError, match="another run is writing"):
        send_rest(Path(tmp_path))
    assert tracker.finish()


class Unreliable(Files):
    """A place that loses one answer, or answers only when allowed."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.loses = ""
        self.may, self.asked = threading.Event(), threading.Event()
        self.may.set()

    def _answer(self, question: str) -> None:
        self.asked.set()
        assert self.may.wait(5)
        if self.loses == question:
            self.loses = ""
            raise OSError("the answer was lost")

    def version(self, name: str) -> str:
        found = super().version(name)
        self._answer("version")
        return found

    def swap(self, name: str, content: bytes, version: str) -> bool:
        with self._lock():
            is_swapped = Files.version(self, name) == version
            if is_swapped:
                self.write_bytes(name, content)
        self._answer("swap")
        return is_swapped


@pytest.mark.parametrize("question", ["version", "swap"])
def test_lost_answer_does_not_lose_the_lease(memory, until, question):
    place = Unreliable(memory)
    with Lease(place, "a", "held by another", every=0.02) as lease:
        place.loses = question
        until(lambda: not place.loses, 10)
        turn = lease._turn
        until(lambda: lease.lost or lease._turn > turn + 3, 10)
        assert not lease.lost
        assert json.loads(place.read_bytes(LEASE))["turn"] > turn
    assert place.read_bytes(LEASE) is None


def test_unresponsive_place_does_not_block_the_end(memory, monkeypatch):
    monkeypatch.setattr(place_lock, "PARTING", 0.1)
    place = Unreliable(memory)
    with Lease(place, "a", "held by another", every=0.02) as lease:
        place.may.clear()
        place.asked.clear()
        assert place.asked.wait(10)
        began = time.monotonic()
    assert time.monotonic() - began < 2
    place.may.set()
    lease._thread.join(10)
    assert place.read_bytes(LEASE) is None, "it is given back once the place answers"


def test_lease_taken_over_unnoticed_is_not_removed(memory):
    place = Checkpoints(memory).files
    with Lease(place, "a", "held by another", every=60):
        place.write_bytes(LEASE, b'{"holder": "b"}')
    assert json.loads(place.read_bytes(LEASE)) == {"holder": "b"}


def test_run_that_lost_its_lease_leaves_the_new_holder_s_checkpoints_alone(tiny, tmp_path, memory, until):
    settings = tiny(output=str(tmp_path / "a"), saving=SavingSettings(place=memory))
    theirs = Checkpoints(memory)

    def saved(name: str) -> bool:
        files = [f"{name}/model/model.safetensors", f"{name}/objective.safetensors", f"{name}/{MANIFEST}"]
        return all(theirs.files.read_bytes(file) == b"{}" for file in files)

    with ExitStack() as stack:
        first, place = in_flight(settings, stack, locked=False)
        place.lease = stack.enter_context(Lease(place.files, "a", "held by another", every=0.02))
        theirs.files.write_bytes(LEASE, b'{"holder": "b"}')
        until(lambda: place.lease.lost, 10)
        for name in ("step-00000001", "step-00000002"):
            for file in ("model/model.safetensors", "objective.safetensors", MANIFEST):
                theirs.files.write_bytes(f"{name}/{file}", b"{}")
        place.may.set()
        first.saver.wait()
        assert "taken over" in first.saver.failure
        assert saved("step-00000001")
        first.saver.failure = ""
        first.saver.save(first.engine, 2, {})
        first.saver.wait()
        assert "taken over" in first.saver.failure
        assert saved("step-00000002")
        with pytest.raises(CheckpointError, match="taken over"):
            place.remove("step-00000002")


def test_output_may_be_the_place_of_the_checkpoints(tmp_path):
    folder = RunFolder(tmp_path / "run")
    place = Checkpoints(folder.path)
    with folder.held(), place.held("a", patience=0.1):
        assert place.names() == place.unfinished() == []
        with pytest.raises(FoundationError, match="another run"), Checkpoints(folder.path).held("b", 0.1):
            pass


def test_restart_from_0_removes_nothing_from_a_place_of_another_run(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(place_lock, "PATIENCE", 0.1)
    place = Checkpoints(tmp_path / "shared")
    place.files.write_bytes(f"step-00000002/{MANIFEST}", b"{}")
    settings = tiny(resume="never", saving=SavingSettings(place=str(tmp_path / "shared")))
    with place.held("another"), pytest.raises(FoundationError, match="another run is writing its checkpoints"):
        launch_with_restarts(settings)
    assert place.names() == ["step-00000002"]
