"""Targets that fail, or have too little data, are reported with their reason; the others are finished and tracked."""

import json
import re
import shutil
import sqlite3
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow import MlflowClient

from finetune.finetune_job import finetune
from finetune.finetune_settings import FinetuneSettings, FullSettings, WindowSettings
from finetune.finetune_tracking import log_task
from finetune.report.html_report import ReportSettings, report
from finetune.report.score_table import table
from finetune.tasks import Found
from foundation.cli.commands import main
from foundation.common.errors import SourceError, StoreError
from foundation.common.tracking.mlflow_tracker import send_rest
from foundation.models import EIT, EITConfig
from foundation.store import Catalog, Source, Store, Subject, Units, write_recording

FORMULA = r"$\foo{$"
AWAY = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def place(tmp_path_factory, make_recording):
    """Return two animals with one unit of each cell type, and regions, one of them named like a formula."""
    folder = tmp_path_factory.mktemp("left-out")
    store = Store(folder / "store", create=True)
    kind = np.array(["a", "b"] + [""] * 6)
    region = np.array([FORMULA, "CA1"] * 4)
    for seed in range(2):
        units = Units(8, {"cell_type": kind, "location": region})
        write_recording(store, make_recording(seed, n_units=8, units=units))
    Catalog.build(store).save()
    torch.manual_seed(0)
    EIT(EITConfig(dim=16, heads=2, individual_layers=1, interaction_layers=1)).save_pretrained(folder / "model")
    return folder


@pytest.fixture(scope="module")
def settings(place):
    return FinetuneSettings(
        checkpoint=str(place / "model"),
        store=str(place / "store"),
        output=str(place / "results"),
        mode="probe",
        tasks=["cell_type", "location"],
        folds=2,
        bootstrap=100,
        control_repeats=3,
        tracking_uri=AWAY,
        windows=WindowSettings(unit_token=0.1, unit_tokens=16, unit_windows=4),
        full=FullSettings(steps=1, checks=1),
    )


@pytest.fixture(scope="module")
def evaluation(settings):
    return finetune(settings)


def test_target_with_too_little_data_is_left_out_and_the_others_finish(evaluation, settings):
    assert [(r.task, list(r.classes)) for r in evaluation.results] == [("location", [FORMULA, "CA1"])]
    (little,) = evaluation.left_out
    assert (little.task, little.failed) == ("cell_type", False)
    assert "expected at least 2" in little.reason
    assert evaluation.ok
    text = table(evaluation)
    assert "cell_type all is left out: no class has more than 1 units" in text
    assert "location" in text
    assert (Path(settings.output) / "location/all/probe.json").is_file()


def test_records_wait_while_the_server_is_away_and_are_sent_later(evaluation, settings, place):
    (waiting,) = evaluation.waiting
    assert f"`foundation runs --send {waiting}`" in table(evaluation)
    lines = [json.loads(line) for line in (Path(waiting) / "tracking/queue.jsonl").read_text().splitlines()]
    assert {"params", "metrics", "files", "status"} == {line["kind"] for line in lines}
    assert any(line["kind"] == "files" and line["path"].endswith("all.probe.png") for line in lines)
    note = json.loads((Path(waiting) / "run.json").read_text())
    database = f"sqlite:///{place}/mlflow.db"
    (Path(waiting) / "run.json").write_text(json.dumps({**note, "tracking_uri": database}))
    assert send_rest(Path(waiting))
    run = MlflowClient(database).get_run(json.loads((Path(waiting) / "run.json").read_text())["run_id"])
    assert run.info.status == "FINISHED"
    assert "all.probe.balanced_accuracy" in run.data.metrics


@pytest.mark.parametrize("fault", ["another release", "deleted experiment"])
def test_tracking_database_error_does_not_stop_the_run(evaluation, settings, tmp_path, place, fault):
    database = tmp_path / "mlflow.db"
    if (place / "mlflow.db").is_file():
        shutil.copy(place / "mlflow.db", database)  # made by the previous test: creating a database takes seconds
    uri = f"sqlite:///{database}"
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(settings.experiment)
    identity = experiment.experiment_id if experiment else client.create_experiment(settings.experiment)
    if fault == "another release":
        with sqlite3.connect(database) as connection:
            connection.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
        moved = tmp_path / "moved.db"  # a database that no store of this process has open
        shutil.copy(database, moved)
        uri = f"sqlite:///{moved}"
    else:
        client.delete_experiment(identity)
    output = tmp_path / "results"
    shutil.copytree(settings.output, output, ignore=shutil.ignore_patterns("tracking"))
    waiting = log_task(
        replace(settings, tracking_uri=uri, output=str(output)), "location", evaluation.results, patience=0
    )
    assert waiting is not None
    assert (Path(waiting) / "tracking/queue.jsonl").stat().st_size


def test_report_names_omissions_and_the_input_of_the_readouts(evaluation, settings, place):
    page = report(ReportSettings(settings.store, settings.checkpoint, settings.output, str(place / "page.html")))
    text = page.read_text()
    assert "left out: no class has more than 1 units" in text
    assert "all 16 features" in text
    assert "rate and inter-spike intervals" in text
    assert "weight of the model by fold" in text
    assert FORMULA in text


def test_recording_with_unreadable_labels_does_not_stop_the_others(place):
    def broken(error):
        raise error

    found = Found()
    first, second = Catalog.open(Store(place / "store"))
    found.add("sleep_state", first, "sleep_state", partial(broken, ValueError("states of two lengths")))
    found.add("sleep_state", first, "sleep_state", partial(broken, SourceError("states is damaged")))
    found.add("sleep_state", second, "sleep_state", lambda: (None, "too short"))
    assert [entry.reason for entry in found.failed] == ["ValueError: states of two lengths", "states is damaged"]
    assert found.skipped == ["sub-1.nwb is left out of sleep_state: too short"]


def test_failed_target_gives_exit_status_1_and_the_others_finish(settings, make_recording, tmp_path, capsys):
    store = Store(tmp_path / "store", create=True)
    for k, placed in enumerate((range(2, 6), range(6, 10))):  # one animal twice; no neuron has a region in both
        region = np.array([("CA1", "CA3")[n % 2] if n in placed else "" for n in range(10)])
        units = Units(10, {"cell_type": np.array(["a", "b"] + [""] * 8), "location": region})
        source = Source(path=f"{k}.nwb", digest=str(k) * 64)
        recording = make_recording(0, n_units=10, units=units, source=source, subject=Subject(f"m{k}"))
        write_recording(store, recording)
    Catalog.build(store).save()
    copied = replace(settings, store=str(tmp_path / "store"), output=str(tmp_path / "results"))
    assert main(["finetune", *command(copied)]) == 1
    shown = capsys.readouterr().out
    assert re.search("cell_type all failed: unit . of ..nwb and unit . of ..nwb are the same", shown)
    assert (tmp_path / "results/location/all/probe.json").is_file()


def test_target_with_too_little_data_gives_exit_status_0(evaluation, settings, capsys):
    assert main(["finetune", *command(settings)]) == 0
    assert "cell_type all is left out" in capsys.readouterr().out


def test_run_without_targets_gives_the_reasons(settings, tmp_path):
    with pytest.raises(StoreError, match="cell_type all: no class has more than 1 units"):
        finetune(replace(settings, tasks=["cell_type"], output=str(tmp_path)))


def command(settings):
    given = ["--checkpoint", settings.checkpoint, "--store", settings.store, "--output", settings.output]
    given += ["--mode", "[probe]", "--tasks", "[cell_type, location]", "--folds", "2", "--bootstrap", "100"]
    given += ["--control_repeats", "3", "--windows.unit_token", "0.1", "--windows.unit_tokens", "16"]
    given += ["--windows.unit_windows", "4", "--tracking_uri", AWAY]
    return given
