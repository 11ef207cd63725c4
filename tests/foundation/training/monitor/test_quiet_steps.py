"""Steps with too little activity to compare are skipped and counted, in all processes alike."""

import json
from pathlib import Path

import pytest

from foundation.common.errors import FoundationError
from foundation.training import pretrain
from foundation.training.checkpoint.checkpoint import list_checkpoints
from foundation.training.inputs.batches import Batches
from foundation.training.pretrain_settings import SafetySettings, ValidationSettings
from foundation.training.validation.validate import Validator

QUIET = (0, 1, 3)  # steps, from 0
SILENCED = f"""
from foundation.training.inputs import batches
load = batches.Batches.next
def quiet(self):
    found = load(self)
    for batch in found or []:
        for view in batch.views if batch.step in {QUIET} else []:
            view.x_BNT.zero_()
    return found
batches.Batches.next = quiet

import runpy
runpy.run_module("foundation.training", run_name="__main__", alter_sys=True)
"""


def lines(settings, name="metrics.jsonl") -> list[dict]:
    path = Path(settings.output) / name
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


@pytest.fixture
def silence(monkeypatch):
    """Make the windows of some steps silent, in this process."""
    load = Batches.next

    def start(steps) -> None:
        def quiet(self):
            batches = load(self)
            for batch in batches or []:
                if batch.step in steps:
                    for view in batch.views:
                        view.x_BNT.zero_()
            return batches

        monkeypatch.setattr(Batches, "next", quiet)

    return start


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_quiet_step_changes_nothing_and_gives_the_reason(tiny, silence, stage, caplog):
    silence(QUIET)
    settings = tiny(zero_stage=stage, checkpoint_every=1, keep_checkpoints=9)
    pretrain(settings)
    skipped = lines(settings, "skipped.jsonl")
    assert [s["step"] - 1 for s in skipped] == list(QUIET)
    for line in skipped:
        assert line["why"].startswith("only 0 units were active in both segments of a step")
        assert (line["loss"], line["suspects"]) == ("nan", "batch")
        assert "sub-" in line["windows"][0]
    assert "step 0 is skipped (only 0 units were active" in caplog.text
    folders = {int(p.name[-8:]): p for p in list_checkpoints(Path(settings.output) / "checkpoints")}
    for step in range(2, 7):
        names = ("model/model.safetensors", "objective.safetensors", "optimizer/00000-of-00001.safetensors")
        same = [(folders[step] / n).read_bytes() == (folders[step - 1] / n).read_bytes() for n in names]
        assert same == [step - 1 in QUIET] * 3
    found = lines(settings)
    assert [line["step"] for line in found if "loss" in line] == [3, 5, 6]
    assert found[-1]["skipped_steps"] == len(QUIET)


@pytest.mark.parametrize("stage", [0, pytest.param(3, marks=pytest.mark.long)])
def test_two_processes_skip_the_same_quiet_steps(tiny, silence, tmp_path, ranks, stage):
    """Both end, with the losses of one process."""
    (tmp_path / "silenced.py").write_text(SILENCED)
    two, one = tiny(output=str(tmp_path / "two"), zero_stage=stage), tiny(output=str(tmp_path / "one"))
    processes = ranks(two, program=[str(tmp_path / "silenced.py")])
    assert [p.wait(200) for p in processes] == [0, 0], (tmp_path / "rank-1.err").read_text()
    silence(QUIET)
    pretrain(one)
    assert [s["step"] - 1 for s in lines(two, "skipped.jsonl")] == list(QUIET)
    a, b = ([line["loss"] for line in lines(s) if "loss" in line] for s in (one, two))
    assert b == pytest.approx(a, rel=1e-4)


def test_too_many_quiet_steps_in_a_row_end_the_run(tiny, silence):
    silence(range(1, 60))
    settings = tiny(steps=60, safety=SafetySettings(max_skipped=3))
    with pytest.raises(
        FoundationError, match=r"4 steps in a row up to step 4 had too little to compare \(only 0 units"
    ):
        pretrain(settings)
    assert len(lines(settings, "skipped.jsonl")) == 4


def test_run_with_only_skipped_steps_fails_and_leaves_no_model(tiny, silence):
    settings = tiny(steps=3)
    folder = Path(settings.output)
    silence(range(3))
    for _ in range(2):  # the second run resumes from a checkpoint
        with pytest.raises(FoundationError, match=r"none of 3 steps counted.*the last one: only 0 units were active"):
            pretrain(settings)
        assert not (folder / "model").exists()
        assert not (folder / "finished.json").exists()
        assert len(lines(settings, "skipped.jsonl")) == 3
    silence(range(2))
    pretrain(tiny(steps=3, output=f"{folder}-2"))  # a single one suffices


def test_run_with_only_non_finite_losses_fails(tiny, monkeypatch):
    load = Batches.next

    def poisoned(self):
        batches = load(self)
        for batch in batches or []:
            batch.views = [view.cast() for view in batch.views]
            for view in batch.views:
                view.x_BNT[0, 0, 0] = float("inf")
        return batches

    monkeypatch.setattr(Batches, "next", poisoned)
    settings = tiny(steps=2)
    with pytest.raises(FoundationError, match=r"none of 2 steps counted.*the last one: loss nan, gradient norm nan"):
        pretrain(settings)
    assert not (Path(settings.output) / "finished.json").exists()


def test_quiet_windows_of_a_validation_do_not_count(tiny, monkeypatch, caplog):
    validation = ValidationSettings(every=3, held_out="subject == 'mouse3'", steps=2)
    settings = tiny(steps=3, validation=validation)
    call = Validator.__call__
    found = []

    def quiet(self, engine):
        load, silent = self.loader.load, set()

        def silenced(step):
            batch = load(step)
            for view in batch.views if step in silent else []:
                view.x_BNT.zero_()
            return batch

        monkeypatch.setattr(self.loader, "load", silenced)
        for steps in ((), (0,), (1,), (0, 1)):
            silent = set(steps)
            found.append(call(self, engine)["validation/loss"])
        return {"validation/loss": found[0]}

    monkeypatch.setattr(Validator, "__call__", quiet)
    pretrain(settings)
    assert found[0] == pytest.approx((found[1] + found[2]) / 2)
    assert found[3] != found[3]
    assert "step 2 of 2 of the validation is skipped: only 0 units were active" in caplog.text
