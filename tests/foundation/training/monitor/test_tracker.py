"""Tracking that training never waits for: a real server that stops and starts, and one that never answers."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest
import requests
from mlflow import MlflowClient

from foundation.cli.commands import main
from foundation.common.tracking import mlflow_tracker as tracker_module
from foundation.common.tracking.mlflow_run import Run, accepted_name
from foundation.common.tracking.mlflow_tracker import Tracker, is_refusal, send_rest
from foundation.training import pretrain
from foundation.training.distributed.rendezvous import free_port
from foundation.training.trainer import Trainer


class Server:
    """``mlflow server`` on this machine, with its database in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1",
            "--backend-store-uri", f"sqlite:///{self.folder}/server.db",
            "--artifacts-destination", str(self.folder / "files"),
        ]  # fmt: skip
        # Without this the server starts eight more processes for jobs, which are not needed here.
        env = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with open(self.folder / "server.log", "a") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True, env=env)

    def wait(self) -> None:
        end = time.monotonic() + 200
        while time.monotonic() < end:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=2) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                time.sleep(0.2)
        raise AssertionError((self.folder / "server.log").read_text())

    def stop(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, 9)
            self.process.wait()
            self.process = None


@pytest.fixture
def server(tmp_path, empty_runs):
    found = Server(tmp_path)
    shutil.copy(empty_runs, tmp_path / "server.db")
    found.start()
    yield found
    found.stop()


def lines(settings) -> list[dict]:
    return [json.loads(line) for line in (Path(settings.output) / "metrics.jsonl").read_text().splitlines()]


def history(uri: str, run: str, name: str) -> dict[int, float]:
    found = MlflowClient(uri).get_metric_history(run, name)
    assert len({m.step for m in found}) == len(found), "a step was logged twice"
    return {m.step: m.value for m in found}


def test_server_restart_loses_no_metric(tiny, server, monkeypatch):
    """Down from step 10 to step 30 of a run that is then resumed: one MLflow run, every metric of every step."""
    settings = tiny(steps=40, checkpoint_every=5, tracking_uri=server.uri)
    server.wait()
    step = Trainer.step

    def with_outage(self, batches):
        if batches[0].step == 10:
            end = time.monotonic() + 60
            while not self.reports.run_id and time.monotonic() < end:  # it was there
                time.sleep(0.05)
            server.stop()
        if batches[0].step == 30:
            server.start()
        return step(self, batches)

    monkeypatch.setattr(Trainer, "step", with_outage)
    pretrain(settings)
    monkeypatch.undo()
    server.wait()
    run = json.loads((Path(settings.output) / "run.json").read_text())["run_id"]
    if not send_rest(Path(settings.output)):
        pytest.fail("what waited could not be sent")
    for _ in range(2):
        found = lines(settings)
        assert [line["step"] for line in found] == list(range(1, 41))
        for name in ("loss", "gradient_norm", "learning_rate", "rankme", "neuron_tokens_per_second"):
            assert set(history(server.uri, run, name)) == set(range(1, 41))
        assert history(server.uri, run, "loss") == {line["step"]: line["loss"] for line in found}
        assert set(history(server.uri, run, "system/cpu_percent")) == set(range(1, 41))
        state = MlflowClient(server.uri).get_run(run)
        assert state.info.status == "FINISHED"
        assert state.data.params["steps"] == "40"
        # Once more, from an earlier checkpoint: the same run continues and no step is logged twice.
        shutil.rmtree(Path(settings.output) / "checkpoints" / "step-00000040")
        shutil.rmtree(Path(settings.output) / "model")
        pretrain(settings)
        assert json.loads((Path(settings.output) / "run.json").read_text())["run_id"] == run


def test_training_ends_without_the_server_and_sends_the_rest_later(tmp_path, caplog):
    uri = f"sqlite:///{tmp_path}/away/mlflow.db"
    (tmp_path / "away").touch()  # a file where the database's folder should be
    tracker = Tracker(tmp_path / "run", uri, "pretrain", "run", patience=0.1)
    tracker.params({"steps": 2, "model": {"dim": 16}})
    for step in (1, 2):
        tracker.metrics({"loss": 1.0 / step, "bad": float("nan")}, step=step)
    assert not tracker.close()
    assert "away: unsent entries wait in" in caplog.text
    with open(tracker.queue, "a") as file:
        file.write('{"kind": "metr')  # a crash in the middle of a line
    (tmp_path / "away").unlink()
    (tmp_path / "away").mkdir()
    assert send_rest(tmp_path / "run")
    run = json.loads((tmp_path / "run" / "run.json").read_text())["run_id"]
    assert history(uri, run, "loss") == {1: 1.0, 2: 0.5}
    assert MlflowClient(uri).get_run(run).info.status == "FINISHED"
    assert MlflowClient(uri).get_run(run).data.params == {"steps": "2", "model.dim": "16"}


def logged(folder: Path, uri: str):
    """The MLflow run of a folder."""
    return MlflowClient(uri).get_run(json.loads((folder / "run.json").read_text())["run_id"])


def test_names_that_mlflow_refuses_arrive_under_other_names(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    names = ["validation/type (A|B)", "validation/type [A|B]", "../up", "/root", "a//b", "", "x" * 300, "y/" * 200]
    with_values = {name: float(k) for k, name in enumerate(names)}
    tracker = Tracker(tmp_path / "run", uri, "pretrain", "run", patience=0.1)
    tracker.params({"labels": {"(a)": 1, "[a]": 2}})
    tracker.metrics({"loss": 1.0} | with_values, step=1)
    assert tracker.close()
    found = logged(tmp_path / "run", uri)
    assert found.data.metrics == {"loss": 1.0} | {accepted_name(name): value for name, value in with_values.items()}
    assert len(found.data.metrics) == len(names) + 1
    assert sorted(found.data.params.values()) == ["1", "2"]
    assert found.info.status == "FINISHED"


def test_line_added_just_before_the_end_is_sent(tmp_path, monkeypatch):
    """The thread has read an empty queue; the last lines and the end arrive before it checks whether to stop."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    send_some, read_empty, ended = Tracker._send_some, threading.Event(), threading.Event()

    def late(self):
        sent = send_some(self)
        if not sent and not read_empty.is_set():
            read_empty.set()
            ended.wait(60)
        return sent

    monkeypatch.setattr(Tracker, "_send_some", late)
    tracker = Tracker(tmp_path / "run", uri, "pretrain", "run", patience=0.1)
    assert read_empty.wait(60)
    tracker.metrics({"loss": 1.0}, step=1)
    ending = tracker._ending.set
    monkeypatch.setattr(tracker._ending, "set", lambda: (ending(), ended.set()))
    assert tracker.close()
    assert logged(tmp_path / "run", uri).data.metrics == {"loss": 1.0}


def test_rejected_values_are_named_once_and_block_nothing(tmp_path, caplog, monkeypatch):
    """In several batches: the accepted values of a rejected line arrive."""
    monkeypatch.setattr("foundation.common.tracking.mlflow_run.accepted_name", lambda name: name)
    monkeypatch.setattr(tracker_module, "AT_ONCE", 5)
    files = Run.files

    def with_limit(self, path, folder=None):
        if folder == "too large":
            raise answer(413)
        files(self, path, folder)

    monkeypatch.setattr(Run, "files", with_limit)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    tracker = Tracker(tmp_path / "run", uri, "pretrain", "run", patience=0.1)
    tracker.params({"steps": 12, "model": {"dim": 16, "(bad)": 1}})
    tracker.files(Path(__file__), "too large")
    for step in range(1, 13):
        tracker.metrics({"loss": 1.0 / step, "type (A|B)": 0.5}, step=step)
    tracker.files(Path(__file__), "tests")
    assert tracker.close()
    found = logged(tmp_path / "run", uri)
    assert history(uri, found.info.run_id, "loss") == {step: 1.0 / step for step in range(1, 13)}
    assert found.data.params == {"steps": "12", "model.dim": "16"}
    assert MlflowClient(uri).list_artifacts(found.info.run_id, "tests")
    assert found.info.status == "FINISHED"
    expected = [record.getMessage() for record in caplog.records if "rejects" in record.getMessage()]
    for name in ("param 'model.(bad)'", f"file {Path(__file__).resolve()}", "metric 'type (A|B)'"):
        assert sum(name in message for message in expected) == 1, expected
    assert "away" not in caplog.text


def test_lines_for_a_deleted_run_go_to_a_new_one(tmp_path, until):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    tracker = Tracker(tmp_path / "run", uri, "pretrain", "run", patience=0.1)
    tracker.metrics({"loss": 1.0}, step=1)
    until(lambda: tracker._sent == tracker.queue.stat().st_size)
    first = tracker.id
    MlflowClient(uri).delete_run(first)
    tracker.metrics({"loss": 0.5}, step=2)
    assert tracker.close()
    found = logged(tmp_path / "run", uri)
    assert found.info.run_id != first
    assert history(uri, found.info.run_id, "loss") == {2: 0.5}


def answer(status: int) -> requests.HTTPError:
    """The error that sending a file raises."""
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError(response=response)


@pytest.mark.parametrize(("status", "refused"), [(400, True), (413, True), (401, False), (429, False), (503, False)])
def test_file_is_left_out_only_after_a_permanent_error(status, refused):
    assert is_refusal(answer(status)) == refused
    assert not is_refusal(requests.ConnectionError())
    assert not is_refusal(OSError(28, "No space left on device"))


def test_deleted_experiment_loses_nothing(tmp_path, caplog):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(uri)
    client.delete_experiment(experiment := client.create_experiment("pretrain"))
    tracker = Tracker(tmp_path / "run", uri, "pretrain", "run", patience=0.1)
    tracker.metrics({"loss": 1.0}, step=1)
    assert not tracker.close()
    assert "rejects the run" in caplog.text
    client.restore_experiment(experiment)
    assert send_rest(tmp_path / "run")
    assert logged(tmp_path / "run", uri).data.metrics == {"loss": 1.0}


def test_password_in_the_server_url_is_in_no_log_and_no_readable_file(tmp_path, caplog, monkeypatch):
    uri = f"http://me:s3cret@127.0.0.1:{free_port()}"
    caplog.set_level("DEBUG", logger="foundation")
    tracker = Tracker(tmp_path, uri, "pretrain", "run", patience=0.1)
    tracker.params({"tracking_uri": uri, "saving": {"place": "s3://key:s3cret@bucket/run"}})
    assert not tracker.close()
    assert "127.0.0.1" in caplog.text
    assert "s3cret" not in caplog.text
    holding = [path for path in tmp_path.rglob("*") if path.is_file() and "s3cret" in path.read_text()]
    assert [(path.name, path.stat().st_mode & 0o777) for path in holding] == [("server.json", 0o600)]
    asked = []
    monkeypatch.setattr(Run, "__init__", lambda self, uri, *rest: asked.append(uri) or 1 / 0)
    assert not send_rest(tmp_path)
    assert set(asked) == {uri}
    again = Tracker(tmp_path, uri.replace("s3cret", "other"), "pretrain", "run", patience=0.1)
    again.finish()
    assert len(again.queue.read_text().splitlines()) == 2, "another password is no other server"


def test_runs_are_listed_with_state_and_figures(tiny, tmp_path, capsys):
    settings = tiny(steps=3, output=str(tmp_path / "runs" / "first"))
    pretrain(settings)
    assert main(["runs", str(tmp_path / "runs")]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["run", "experiment", "state", "step"]
    assert row.split()[:4] == ["first", "pretrain", "finished", "3"]
    assert row.split()[4] == f"{lines(settings)[-1]['loss']:.4g}"
    assert main(["runs", str(tmp_path / "nothing")]) == 1
    assert "mlflow.db is missing" in capsys.readouterr().err
    assert main(["runs", str(tmp_path / "runs"), "--experiment", "other"]) == 2
    assert "experiment is 'other'" in capsys.readouterr().err
