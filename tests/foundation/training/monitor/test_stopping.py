"""Runs that are asked to stop, meet non-finite values, hang, or cannot write."""

import json
import resource
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from foundation.common.errors import FoundationError, RequeueError
from foundation.data import Loader
from foundation.data.covariate_settings import SurroundSettings
from foundation.data.covariates import Surroundings
from foundation.objectives import NeurPIRSettings, ObjectiveSettings
from foundation.store import Catalog, RegularTimeSeries, Store, write_recording
from foundation.training import ModelSettings, OptimizerSettings, pretrain
from foundation.training.checkpoint.checkpoint import Checkpoints, list_checkpoints
from foundation.training.inputs.batches import Batches
from foundation.training.output.run_folder import RunFolder
from foundation.training.pretrain_settings import SafetySettings
from foundation.training.trainer import Trainer

STEPS = 24


def lines(settings, name="metrics.jsonl") -> list[dict]:
    path = Path(settings.output) / name
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def model_bytes(output) -> bytes:
    return (Path(output) / "model" / "model.safetensors").read_bytes()


def test_stop_request_finishes_the_step_saves_and_exits_75(tiny, tmp_path, ranks, until):
    """SIGTERM to one process of two stops both; with a stopped process the others give up after the timeout."""
    settings = tiny(steps=4000, checkpoint_every=4000, safety=SafetySettings(timeout=10.0, watchdog_seconds=1.0))
    processes = ranks(settings)
    until(lambda: len(lines(settings)) >= 3)
    processes[1].send_signal(signal.SIGTERM)
    assert [p.wait(60) for p in processes] == [75, 75]
    message = (tmp_path / "rank-0.err").read_text()
    done = len(lines(settings))
    assert f"stopped by SIGTERM after {done} steps, which are saved" in message
    place = Checkpoints(Path(settings.output) / "checkpoints")
    assert place.names() == [f"step-{done:08d}"]
    assert place.damage(place.names()[0]) == ""

    processes = ranks(settings)
    until(lambda: len(lines(settings)) >= done + 20)
    psutil.Process(processes[1].pid).suspend()
    began = time.monotonic()
    assert processes[0].wait(60) == 1
    assert time.monotonic() - began < 30
    stacks = list((Path(settings.output) / "stacks").glob("rank-00000-*.txt"))
    assert any("training/trainer.py" in path.read_text() for path in stacks)


def test_usr1_and_resume_give_the_weights_of_an_undisturbed_run(tiny, tmp_path, monkeypatch):
    whole, cut = tiny(output=str(tmp_path / "whole")), tiny(output=str(tmp_path / "cut"))
    before = signal.getsignal(signal.SIGUSR1)
    pretrain(whole)
    step = Trainer.step

    def asked(self, batches):
        if batches[0].step == 2:
            signal.raise_signal(signal.SIGUSR1)
        return step(self, batches)

    monkeypatch.setattr(Trainer, "step", asked)
    with pytest.raises(RequeueError, match="stopped by SIGUSR1 after 3 steps"):
        pretrain(cut)
    monkeypatch.undo()
    assert [p.name for p in list_checkpoints(tmp_path / "cut" / "checkpoints")] == ["step-00000003", "step-00000002"]
    assert signal.getsignal(signal.SIGUSR1) is before
    pretrain(cut)
    assert model_bytes(cut.output) == model_bytes(whole.output)


@pytest.fixture
def poisoned(small_store, tmp_path, make_recording):
    """A store whose recording of sampled activity holds finite numbers that are too large for the model."""
    shutil.copytree(small_store, tmp_path / "poisoned")
    store = Store(tmp_path / "poisoned")
    values = np.random.default_rng(0).normal(size=(1200, 12)).astype(np.float32)
    values[150::300, 3] = 3e38  # at 7.5, 22.5, 37.5 and 52.5 s
    rate = RegularTimeSeries(values, 20.0, 0.0)
    write_recording(store, make_recording(9, spikes=None, activity=rate, activity_kind="values"))
    Catalog.build(store).save()
    return str(tmp_path / "poisoned")


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_non_finite_step_changes_nothing_and_its_windows_are_named(tiny, poisoned, stage, caplog, tmp_path):
    shape = ModelSettings(dim=16, heads=2, individual_layers=1, interaction_layers=1, value_transform="none")
    settings = tiny(
        store=poisoned, zero_stage=stage, steps=STEPS, checkpoint_every=1, keep_checkpoints=STEPS, model=shape
    )
    pretrain(settings)
    skipped = lines(settings, "skipped.jsonl")
    assert 0 < len(skipped) < STEPS // 2
    assert all(s["suspects"] == "embedding" for s in skipped)
    assert {w.split()[0] for s in skipped for w in s["windows"]} == {"sub-9.nwb"}
    assert "Windows (embedding not finite): sub-9.nwb at " in caplog.text
    at = {s["step"] for s in skipped}
    folders = {int(p.name[-8:]): p for p in list_checkpoints(Path(settings.output) / "checkpoints")}
    for step in range(2, STEPS + 1):
        names = ("model/model.safetensors", "optimizer/00000-of-00001.safetensors")
        same = [(folders[step] / n).read_bytes() == (folders[step - 1] / n).read_bytes() for n in names]
        assert same == [step in at] * 2
    assert lines(settings)[-1]["skipped_steps"] == len(skipped)
    assert all(np.isfinite(line.get("loss", 0.0)) for line in lines(settings))


def test_two_processes_skip_the_same_non_finite_step(tiny, poisoned, ranks, tmp_path):
    shape = ModelSettings(dim=16, heads=2, individual_layers=1, interaction_layers=1, value_transform="none")
    one, two = (
        tiny(store=poisoned, zero_stage=2, steps=STEPS, model=shape, output=str(tmp_path / name), log_every=1)
        for name in ("one", "two")
    )
    pretrain(one)
    assert [process.wait(240) for process in ranks(two)] == [0, 0]
    skipped = [[(s["step"], sorted(s["windows"])) for s in lines(run, "skipped.jsonl")] for run in (one, two)]
    assert skipped[0] == skipped[1] != []
    kept = [[line["loss"] for line in lines(run) if "loss" in line] for run in (one, two)]
    assert kept[1] == pytest.approx(kept[0], rel=1e-4)


def test_window_with_non_finite_input_is_named(tiny, monkeypatch):
    settings = tiny()
    load = Batches.next

    def damaged(self):
        batches = load(self)
        if batches is not None and batches[0].step == 2:
            batches[0].views = [view.cast() for view in batches[0].views]
            batches[0].views[1].x_BNT[3, 0, 0] = torch.nan
        return batches

    monkeypatch.setattr(Batches, "next", damaged)
    pretrain(settings)
    (skipped,) = lines(settings, "skipped.jsonl")
    assert (skipped["step"], skipped["suspects"], skipped["loss"]) == (3, "input", "nan")
    trainer = Trainer(settings, Catalog.open(Store(settings.store)))
    window = trainer.plan(2)[3]
    path = next(r.path for r in trainer.catalog.records if r.id == window.recording)
    assert skipped["windows"][0].startswith(f"{path} at {window.views[0].start:.3f} s")
    assert len(skipped["windows"]) == 1


def test_too_many_non_finite_steps_stop_the_run(tiny, tmp_path):
    bad = OptimizerSettings(learning_rate=1e30, warmup_steps=0, clip=1e9)
    settings = tiny(steps=60, checkpoint_every=100, optimizer=bad, safety=SafetySettings(max_skipped=3))
    with pytest.raises(FoundationError, match=r"4 steps in a row up to step \d+ were not finite .*lower optimizer"):
        pretrain(settings)
    skipped = lines(settings, "skipped.jsonl")
    assert len(skipped) == 4
    assert {s["suspects"] for s in skipped} <= {"embedding", "batch"}
    assert "sub-" in skipped[0]["windows"][0]


def test_full_disk_stops_the_run_and_keeps_the_last_checkpoint(tiny, tmp_path, ranks, until):
    """A limit on file size replaces the full disk: model and moments do not fit, lines of metrics do."""
    settings = tiny(
        steps=2000,
        checkpoint_every=10,
        model=ModelSettings(dim=128, heads=2),
        safety=SafetySettings(retries=2, pause=0.1),
    )
    (process,) = ranks(settings, world=1)
    place = Checkpoints(Path(settings.output) / "checkpoints")
    until(lambda: len(place.names()) >= 1)
    psutil.Process(process.pid).rlimit(psutil.RLIMIT_FSIZE, (2_000_000, resource.RLIM_INFINITY))
    assert process.wait(60) == 1
    message = (tmp_path / "rank-0.err").read_text()
    assert "File too large): retrying in 0.2 s" in message
    assert "cannot be written (OSError" in message
    newest = place.names()[0]
    assert f"the last good checkpoint is {place.where(newest)}" in message
    assert place.damage(newest) == ""
    assert place.unfinished() == []
    assert not list((Path(settings.output) / "checkpoints").rglob("*.part"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_metrics_wait_for_disk_space_and_the_run_continues(tiny, caplog):
    """A disk that is full when metrics are written, and has space again for the last of them."""
    settings = tiny(steps=6, log_every=1)
    file = Path(settings.output) / "metrics.jsonl"
    file.parent.mkdir(parents=True)
    file.symlink_to("/dev/full")
    add, seen = RunFolder.add_metrics, []

    def one_more(self, step, metrics):
        seen.append(step)
        if len(seen) == 6:
            file.unlink()
        add(self, step, metrics)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "add_metrics", one_more)
        pretrain(settings)
    assert [line["step"] for line in lines(settings)] == [1, 2, 3, 4, 5, 6]
    assert caplog.text.count("cannot be written ([Errno 28] No space left on device): keeping its lines") == 1


def test_unreadable_batch_is_read_again(tiny, monkeypatch):
    settings = tiny()
    trainer = Trainer(settings, Catalog.open(Store(settings.store)))
    plain = [trainer.loader.load(step) for step in range(4)]
    batch_of, asked = Loader._batch, []

    def busy(self, windows, views):
        asked.append(windows.step)
        if len(asked) == 2:
            raise OSError("busy")
        return batch_of(self, windows, views)

    monkeypatch.setattr(Loader, "_batch", busy)
    batches = Batches(trainer.loader, 0, 4, SafetySettings(retries=1, pause=0.01))
    for other in plain:
        (one,) = batches.next()
        assert one.step == other.step
        assert torch.equal(one.views[0].x_BNT, other.views[0].x_BNT)
    assert asked == [0, 1, 1, 2, 3]
    assert batches.next() is None
    assert batches.failure is None


def test_late_surrounding_information_changes_nothing(tiny, tmp_path, monkeypatch):
    """It is read with the step's windows, and again with them."""
    objective = ObjectiveSettings("neurpir", neurpir=NeurPIRSettings(4, 8, surround=SurroundSettings("raw", dim=2)))
    whole, late = (
        tiny(output=str(tmp_path / name), objective=objective, safety=SafetySettings(retries=1, pause=0.01))
        for name in ("whole", "late")
    )
    pretrain(whole)
    of_step, asked = Surroundings.of_step, []

    def busy(self, recordings, windows):
        asked.append(windows.step)
        if len(asked) == 2:
            raise OSError("busy")
        return of_step(self, recordings, windows)

    monkeypatch.setattr(Surroundings, "of_step", busy)
    pretrain(late)
    assert asked[:3] == [0, 1, 1]
    assert model_bytes(late.output) == model_bytes(whole.output)


def test_lost_store_stops_the_run_but_a_short_outage_does_not(tiny, small_store, tmp_path, until, caplog):
    whole = tiny(output=str(tmp_path / "whole"), steps=12)
    pretrain(whole)
    shutil.copytree(small_store, tmp_path / "store")
    here, away = tmp_path / "store" / "recordings", tmp_path / "away"
    settings = tiny(store=str(tmp_path / "store"), steps=12, safety=SafetySettings(retries=1, pause=0.05))
    here.rename(away)
    with pytest.raises(FoundationError, match=r"the windows of step 0 cannot be read .* 0 steps are saved"):
        pretrain(settings)
    import threading

    again = threading.Timer(1.0, lambda: away.rename(here))
    again.start()
    pretrain(tiny(store=str(tmp_path / "store"), steps=12, safety=SafetySettings(retries=6, pause=0.1)))
    again.join()
    assert "retrying in 0.1 s" in caplog.text
    assert model_bytes(settings.output) == model_bytes(whole.output)
