"""Location and retention of checkpoints, and leftovers of interrupted ones."""

import json
import shutil
from pathlib import Path

import fsspec
import pytest

from foundation.common.errors import CheckpointError, FoundationError
from foundation.hub.checkpoints import load_model
from foundation.training import pretrain
from foundation.training.checkpoint.checkpoint import MANIFEST, Checkpoints, list_checkpoints
from foundation.training.checkpoint.retention import Saved, to_keep
from foundation.training.distributed.deepspeed_state import set_moments
from foundation.training.output.run_folder import RunFolder
from foundation.training.pretrain_settings import SafetySettings, SavingSettings


def model_bytes(output) -> bytes:
    return (Path(output) / "model" / "model.safetensors").read_bytes()


@pytest.fixture
def bucket():
    yield "memory://bucket/run"
    fsspec.filesystem("memory").rm("/bucket", recursive=True)


@pytest.mark.parametrize("asynchronous", [True, False])
def test_checkpoints_under_a_url_resume(tiny, tmp_path, bucket, left_alone, asynchronous):
    saving = SavingSettings(place=bucket, asynchronous=asynchronous)
    cut = tiny(output=str(tmp_path / "cut"), saving=saving)
    pretrain(cut)
    assert not (tmp_path / "cut" / "checkpoints").exists()
    place = Checkpoints(bucket)
    assert place.names() == ["step-00000006", "step-00000004"]
    assert load_model(f"{bucket}/step-00000006/model").config.dim == 16
    place.files.write_bytes("step-00000006/objective.safetensors", b"damaged")
    shutil.rmtree(tmp_path / "cut")  # another machine, which has nothing but the URL
    pretrain(cut)
    assert model_bytes(cut.output) == model_bytes(left_alone)
    lines = (tmp_path / "cut" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [5, 6]


def test_uncommitted_checkpoint_is_ignored_and_removed(tiny, caplog):
    settings = tiny()
    pretrain(settings)
    expected = model_bytes(settings.output)
    folder = Path(settings.output) / "checkpoints"
    (folder / "step-00000006" / MANIFEST).unlink()
    assert [p.name for p in list_checkpoints(folder)] == ["step-00000004"]
    with caplog.at_level("INFO"):
        pretrain(settings)
    assert "removing the unfinished checkpoint" in caplog.text
    assert "resuming from step 4" in caplog.text
    assert model_bytes(settings.output) == expected


def test_retention_keeps_best_and_periodic_checkpoints():
    saved = [Saved(f"s{k}", k, 1800.0 * k, metric=float((k - 5) ** 2)) for k in range(10)]
    assert to_keep(saved, newest=1) == {"s9", "s5"}
    assert to_keep(saved, newest=1, highest=True) == {"s9", "s0"}
    assert to_keep(saved, newest=2, hours=2.0) == {"s9", "s8", "s5", "s0", "s4"}
    without = [Saved(s.name, s.step, s.time) for s in saved]
    assert to_keep(without, newest=3) == {"s7", "s8", "s9"}


def test_incomplete_moments_are_refused(tiny):
    from foundation.store import Catalog, Store
    from foundation.training.distributed.deepspeed_state import own_moments
    from foundation.training.trainer import Trainer

    settings = tiny()
    trainer = Trainer(settings, Catalog.open(Store(settings.store)))
    trainer.step([trainer.loader.load(0)])
    moments = own_moments(trainer.engine)
    name = next(n for n in moments if n.endswith("exp_avg/0"))
    with pytest.raises(CheckpointError, match="do not make up"):
        set_moments(trainer.engine, [moments | {name: moments[name][1:]}])
    with pytest.raises(CheckpointError, match="1 tensors missing"):
        set_moments(trainer.engine, [{n: t for n, t in moments.items() if n != name}])
    with pytest.raises(CheckpointError, match="lacks updates \\(the number of optimiser steps"):
        set_moments(trainer.engine, [{n: t for n, t in moments.items() if n != "updates"}])


def test_two_runs_cannot_write_to_one_folder(tmp_path):
    folder = RunFolder(tmp_path / "run")
    with folder.held(), pytest.raises(FoundationError, match="another run is writing to"), folder.held(patience=0.2):
        pass
    with folder.held(patience=0.2):
        pass


def test_unwritable_place_stops_the_run(tiny, tmp_path):
    (tmp_path / "file").touch()
    settings = tiny(
        saving=SavingSettings(place=str(tmp_path / "file" / "below")), safety=SafetySettings(retries=1, pause=0.01)
    )
    with pytest.raises(FoundationError, match=r"cannot be written .*there is no checkpoint"):
        pretrain(settings)
