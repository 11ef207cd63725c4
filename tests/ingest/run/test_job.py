"""The job: recordings that are committed, skipped or refused, and leftovers."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

import foundation.common.processes.ray_cluster
import ingest.job
from foundation.common.errors import ConfigError, SourceError, StoreError
from foundation.store import Catalog, Store
from ingest.job import IngestCommand, IngestSettings, run_command
from ingest.nwb.read_nwb import read_nwb
from ingest.quality.recording_filters import KeepRules
from ingest.run.ingest_report import IngestReport, Receipt
from ingest.sources import AssetFilters


def test_good_files_are_committed_and_bad_ones_reported(run, folder, tmp_path):
    report = run(folder, tmp_path / "store")
    assert not report.ok
    assert [r.path for r in report.ingested] == ["sub-0/good.nwb", "sub-1/good.nwb", "unsorted.nwb"]
    assert [r.path for r in report.failed] == ["cut.nwb", "text.nwb"]
    assert "truncated" in report.failed[0].note
    assert not any(str(folder) in r.note for r in report.failed)  # the path has a column of its own
    store = Store(tmp_path / "store")
    catalog = Catalog.open(store)
    assert sorted(r.path for r in catalog.records) == ["sub-0/good.nwb", "sub-1/good.nwb", "unsorted.nwb"]
    for stored in catalog:
        assert stored.verify() == []
        direct = read_nwb(str(folder / stored.record.path))
        assert stored.load().spikes.times.tolist() == direct.spikes.times.tolist()
    # Nothing partial: a group per commit, no leftovers.
    assert len(list((tmp_path / "store" / "recordings").iterdir())) == 3
    assert not list((tmp_path / "store").rglob("*.part"))


def test_report_as_text_and_as_file(run, folder, tmp_path):
    report = run(folder, tmp_path / "store", report=str(tmp_path / "out" / "report.json"))
    saved = json.loads((tmp_path / "store" / "ingest-report.json").read_text())
    assert saved == json.loads((tmp_path / "out" / "report.json").read_text()) == report.to_dict()
    assert saved["counts"] == {"ingested": 3, "skipped": 0, "left out": 0, "needs sorting": 0, "failed": 2}
    assert saved["files"] == len(saved["receipts"]) == 5
    text = str(report)
    counts = "5 files: 3 ingested, 0 skipped, 0 left out, 0 needs sorting, 2 failed"
    for part in ("cut.nwb", "truncated", "units_sorted 1", counts):
        assert part in text


def test_second_run_skips_without_reading(run, good_folder, tmp_path):
    first = run(good_folder, tmp_path / "store")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "store" / "recordings").rglob("*") if p.is_file()}
    second = run(good_folder, tmp_path / "store")
    assert second.ok
    assert [(r.path, r.id, r.n_units, r.n_spikes) for r in second.skipped] == [
        (r.path, r.id, r.n_units, r.n_spikes) for r in first.ingested
    ]
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "store" / "recordings").rglob("*") if p.is_file()}


def test_moved_file_is_the_same_recording_and_a_changed_one_another(run, good_folder, tmp_path, nwb_maker):
    run(good_folder, tmp_path / "store")
    shutil.move(good_folder / "unsorted.nwb", good_folder / "moved.nwb")
    nwb = nwb_maker.add_trains(nwb_maker.new(session_id="new"), [[7.0]])
    nwb_maker.save(nwb, good_folder / "sub-0" / "good.nwb")
    report = run(good_folder, tmp_path / "store")
    assert [r.path for r in report.skipped] == ["moved.nwb", "sub-1/good.nwb"]
    assert [r.path for r in report.ingested] == ["sub-0/good.nwb"]


def test_another_recipe_makes_other_recordings(run, good_folder, tmp_path):
    (tmp_path / "own.yaml").write_text("units: {cell_type: [klass]}")
    first = run(good_folder, tmp_path / "store")
    second = run(good_folder, tmp_path / "store", recipe=str(tmp_path / "own.yaml"))
    assert len(second.ingested) == 3
    assert {r.id for r in first.ingested}.isdisjoint(r.id for r in second.ingested)


def test_two_runs_give_the_same_bytes(run, good_folder, tmp_path):
    for name in ("one", "two"):
        run(good_folder, tmp_path / name)
    one, two = ({r.id: r for r in Catalog.open(Store(tmp_path / name)).records} for name in ("one", "two"))
    assert one == two  # records hold the digest of all content


def test_strict_refuses_corrected_recordings_even_if_ingested_before(run, good_folder, tmp_path):
    strict = run(good_folder, tmp_path / "strict", strict=True)
    assert [r.path for r in strict.failed] == ["unsorted.nwb"]
    assert "unit 0 are not sorted" in strict.failed[0].note
    run(good_folder, tmp_path / "both")
    again = run(good_folder, tmp_path / "both", strict=True)
    assert [r.path for r in again.failed] == ["unsorted.nwb"]
    assert len(again.skipped) == 2


def test_file_with_only_voltage_is_not_a_failure(run, tmp_path, nwb_maker):
    from pynwb.ecephys import ElectricalSeries

    nwb = nwb_maker.new()
    group = nwb.create_electrode_group("g", "g", "CA1", nwb.create_device("probe"))
    nwb.add_electrode(location="CA1", group=group)
    region = nwb.create_electrode_table_region([0], "all")
    data = np.zeros((3000, 1), np.int16)
    nwb.add_acquisition(ElectricalSeries(name="raw", data=data, electrodes=region, rate=30000.0))
    nwb_maker.save(nwb, tmp_path / "nwb" / "raw.nwb")
    report = run(tmp_path / "nwb", tmp_path / "store")
    assert report.ok
    assert report.needs_sorting[0].note == "1 channels at 30000 Hz for 0.1 s"
    assert len(Catalog.open(Store(tmp_path / "store"))) == 0


def test_unwritable_store_stops_before_reading(run, good_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(ingest.job, "ray_cluster", lambda *_: pytest.fail("work was begun"))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="file/store"):
        run(good_folder, tmp_path / "file" / "store")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(StoreError, match="not a store"):
        run(good_folder, tmp_path / "full")
    assert sorted(p.name for p in (tmp_path / "full").iterdir()) == ["thesis.txt"]


def test_bad_input_creates_no_store(run, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no NWB file"):
        run(tmp_path / "empty", tmp_path / "store")
    with pytest.raises(ConfigError, match="no config 'gone'"):
        run(tmp_path, tmp_path / "store", recipe="gone")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(("key", "value"), [("input", " "), ("store", ""), ("workers", -1), ("timeout", 0.0)])
def test_invalid_settings(key, value):
    with pytest.raises(ConfigError, match=f"^{key} is {value!r}: expected (a path|0 or more|more than 0)"):
        IngestSettings(**({"input": "a", "store": "b"} | {key: value}))


def test_catalog_is_refreshed_if_the_job_is_stopped(run, good_folder, tmp_path, monkeypatch):
    whole = ingest.job.run_tasks

    def stopped(*arguments, **others):
        receipts = whole(*arguments, **others)
        yield next(receipts)
        raise KeyboardInterrupt

    monkeypatch.setattr(ingest.job, "run_tasks", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(good_folder, tmp_path / "store", workers=1)
    committed = len(Catalog.open(Store(tmp_path / "store")))
    assert committed >= 1
    saved = json.loads((tmp_path / "store" / "ingest-report.json").read_text())
    assert (saved["files"], len(saved["receipts"])) == (3, committed)
    monkeypatch.undo()
    assert run(good_folder, tmp_path / "store").ok
    assert len(Catalog.open(Store(tmp_path / "store"))) == 3


def test_script_runs_when_copied_elsewhere(good_folder, tmp_path):
    """As `ray submit` does: the single file is copied to a home folder and run there, with a new Ray."""
    (good_folder / "text.nwb").write_text("no NWB")
    script = tmp_path / "home" / "job.py"
    script.parent.mkdir()
    shutil.copy(ingest.job.__file__, script)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | {"HOME": str(script.parent)}
    arguments = ["--config", "ingest/folder", "--input", str(good_folder), "--store", "store", "--address", "local"]
    command = [sys.executable, str(script), *arguments, "--workers", "1"]

    done = subprocess.run(
        command, capture_output=True, text=True, timeout=200, env=environment, cwd=script.parent, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "4 files: 3 ingested, 0 skipped, 0 left out, 0 needs sorting, 1 failed" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert len(Catalog.open(Store(script.parent / "store"))) == 3
    assert not (script.parent / ".ray").exists()  # Ray's token is not left in the home folder


def test_missing_ray(run, good_folder, tmp_path, monkeypatch):
    real = foundation.common.processes.ray_cluster.importlib.util.find_spec
    monkeypatch.setattr(
        foundation.common.processes.ray_cluster.importlib.util,
        "find_spec",
        lambda name, *a: None if name == "ray" else real(name, *a),
    )
    with pytest.raises(ConfigError, match=r"pip install 'neural-foundation\[ingest\]'"):
        run(good_folder, tmp_path / "store")


def test_no_cluster_at_the_address():
    code = (
        "from foundation.common.processes.ray_cluster import ray_cluster\nwith ray_cluster(address='127.0.0.1:9'): pass"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "no Ray cluster answers at address '127.0.0.1:9'" in done.stderr


def test_long_table_lists_only_files_that_were_not_ingested():
    receipts = [Receipt(f"{k:03d}.nwb", "ingested", id="x", size=10**6) for k in range(100)]
    report = IngestReport("in", "store", "r", [*receipts, Receipt("bad.nwb", "failed", note="why")], 101, seconds=2.0)
    text = str(report)
    assert "050.nwb" not in text
    assert "bad.nwb" in text
    assert "why" in text
    assert "101 files: 100 ingested" in text
    assert "50.0 MB/s" in text


def test_dry_run_reads_nothing(good_folder, tmp_path):
    command = IngestCommand(str(good_folder), dry_run=True, filters=AssetFilters(path=["unsorted*"]))
    lines = str(run_command(command)).splitlines()
    assert lines[1].startswith("unsorted.nwb")
    assert lines[-1].startswith("1 asset")
    assert list(tmp_path.iterdir()) == [good_folder]


def test_explain_reads_one_file_and_writes_nothing(good_folder, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    text = str(run_command(IngestCommand(explain=str(good_folder / "unsorted.nwb"))))
    assert "1 unit" in text
    assert "units_sorted 1" in text
    assert sorted(tmp_path.rglob("*")) == before


def test_recordings_below_the_minimum_are_left_out_with_reason(run, good_folder, tmp_path):
    report = run(good_folder, tmp_path / "store", keep=KeepRules(min_units=2))
    assert report.ok
    assert [(r.path, r.note) for r in report.left_out] == [("unsorted.nwb", "1 units, min_units is 2")]
    assert len(Catalog.open(Store(tmp_path / "store"))) == 2


def test_filters_apply_before_reading(run, good_folder, tmp_path):
    report = run(good_folder, tmp_path / "store", filters=AssetFilters(subject=["1"]))
    assert [r.path for r in report.receipts] == ["sub-1/good.nwb"]


def test_strict_skips_recordings_that_it_would_accept(run, good_folder, tmp_path):
    first = run(good_folder, tmp_path / "store")
    assert len(first.ingested) == 3
    second = run(good_folder, tmp_path / "store", strict=True)
    assert [r.path for r in second.skipped] == ["sub-0/good.nwb", "sub-1/good.nwb"]
    assert [r.path for r in second.failed] == ["unsorted.nwb"]
