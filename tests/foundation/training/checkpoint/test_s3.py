"""Checkpoints in a bucket: saving, retention, resuming, detection of damage, and outages of the server."""

import json
import shutil
from pathlib import Path

import pytest
import s3fs

from foundation.common.errors import FoundationError
from foundation.hub.checkpoints import load_model
from foundation.store.commit import atomic_files as files
from foundation.training import Trainer, pretrain
from foundation.training.checkpoint.checkpoint import MANIFEST, Checkpoints
from foundation.training.pretrain_settings import SafetySettings, SavingSettings


def model_bytes(output) -> bytes:
    return (Path(output) / "model" / "model.safetensors").read_bytes()


def logged(output) -> list[int]:
    return [json.loads(line)["step"] for line in (Path(output) / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def place(bucket):
    """A folder of a bucket with other runs."""
    Checkpoints(f"{bucket}/runs/other").files.write_bytes("step-00000099/checkpoint.json", b"{}")
    yield f"{bucket}/runs/mine"
    assert Checkpoints(f"{bucket}/runs/other").names() == ["step-00000099"]


def test_saved_rotated_and_resumed_on_another_machine(tiny, tmp_path, place, left_alone, caplog):
    cut = tiny(output=str(tmp_path / "cut"), saving=SavingSettings(place=place, best="loss"), checkpoint_every=1)
    pretrain(cut)
    assert not (tmp_path / "cut" / "checkpoints").exists()
    expected = model_bytes(left_alone)
    assert model_bytes(cut.output) == expected
    there = Checkpoints(place)
    lines = [json.loads(line) for line in (tmp_path / "cut" / "metrics.jsonl").read_text().splitlines()]
    best = min(lines, key=lambda line: line["loss"])["step"]
    assert set(there.names()) == {f"step-{n:08d}" for n in {5, 6, best}}  # the newest two, and the best
    assert there.unfinished() == []
    assert load_model(f"{place}/step-00000006/model").config.dim == 16
    # Another machine, which has nothing but the URL, finds the newest damaged.
    shutil.rmtree(tmp_path / "cut")
    there.files.write_bytes("step-00000006/model/model.safetensors", expected[:-1] + bytes([expected[-1] ^ 1]))
    with caplog.at_level("INFO"):
        pretrain(cut)
    assert (
        f"{place}/step-00000006 is damaged (model/model.safetensors has other bytes than were written)" in caplog.text
    )
    assert f"resuming from step 5 ({place}/step-00000005)" in caplog.text
    assert model_bytes(cut.output) == expected
    assert logged(cut.output) == [6]
    assert there.damage("step-00000006") == ""


def test_uncommitted_files_are_removed_from_the_bucket(tiny, place, caplog):
    settings = tiny(saving=SavingSettings(place=place))
    pretrain(settings)
    expected = model_bytes(settings.output)
    there = Checkpoints(place)
    there.files.remove(f"step-00000006/{MANIFEST}")
    assert there.unfinished() == ["step-00000006"]
    with caplog.at_level("INFO"):
        pretrain(settings)
    assert f"removing the unfinished checkpoint {place}/step-00000006" in caplog.text
    assert "resuming from step 4" in caplog.text
    assert model_bytes(settings.output) == expected


def test_two_processes_save_a_checkpoint_and_one_resumes(tiny, tmp_path, place, ranks, left_alone):
    saving = SavingSettings(place=place)
    two = tiny(output=str(tmp_path / "two"), saving=saving, zero_stage=2)
    started = ranks(two)
    assert [process.wait(500) for process in started] == [0, 0]
    there = Checkpoints(place)
    found = there.manifest("step-00000004")["files"]
    assert {name for name in found if name.startswith("optimizer/")} == {
        "optimizer/00000-of-00002.safetensors", "optimizer/00001-of-00002.safetensors"
    }  # fmt: skip
    assert "receipts" not in there.files.names("step-00000004")
    there.files.remove("step-00000006")
    shutil.rmtree(tmp_path / "two")
    pretrain(two)
    losses = [json.loads(line)["loss"] for line in (left_alone / "metrics.jsonl").read_text().splitlines()]
    after = [json.loads(line)["loss"] for line in (tmp_path / "two" / "metrics.jsonl").read_text().splitlines()]
    assert after == pytest.approx(losses[4:], rel=1e-4)


def test_server_outage_stops_the_run_and_it_resumes_afterwards(tiny, tmp_path, left_alone, monkeypatch):
    moto, boto3 = pytest.importorskip("moto.server"), pytest.importorskip("boto3")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test-key")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    once = {"retries": {"mode": "standard", "max_attempts": 1}, "connect_timeout": 2, "read_timeout": 5}
    monkeypatch.setitem(files.S3_OPTIONS, "config_kwargs", once)
    boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="goes-away")
    place = "s3://goes-away/run"
    safety = SafetySettings(retries=1, pause=0.05)
    settings = tiny(output=str(tmp_path / "cut"), saving=SavingSettings(place=place), safety=safety)
    step = Trainer.step

    def with_outage(self, batches):
        if batches[0].step == 3:
            self.saver.wait()
            server.stop()
        return step(self, batches)

    monkeypatch.setattr(Trainer, "step", with_outage)
    with pytest.raises(FoundationError, match=r"step-00000004 cannot be written \(.*cannot be listed now: make"):
        pretrain(settings)
    monkeypatch.setattr(Trainer, "step", step)
    back = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    back.start()
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        assert Checkpoints(place).names() == ["step-00000002"]
        assert Checkpoints(place).damage("step-00000002") == ""
        pretrain(settings)
        assert model_bytes(settings.output) == model_bytes(left_alone)
    finally:
        back.stop()
        s3fs.S3FileSystem.clear_instance_cache()
