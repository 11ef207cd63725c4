"""Tasks in flight: bounded, named, with memory by size, and repeated with more memory if their worker dies."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from foundation.store import Source
from ingest.nwb.file.watched_file import METER
from ingest.run.ingest_progress import Watch
from ingest.run.ingest_report import INGESTED, Receipt
from ingest.run.task_schedule import ATTEMPTS, HEARTBEAT, memory_for, run_here, run_tasks
from ingest.sources import Asset


def assets(*sizes: int) -> list[Asset]:
    return [Asset(f"/data/{k}.nwb", f"{k}.nwb", size, Source(f"{k}.nwb", "")) for k, size in enumerate(sizes)]


def assigned() -> int:
    import ray

    return int(ray.get_runtime_context().get_assigned_resources()["memory"])


def note_memory(folder: Path, asset: Asset) -> Receipt:
    with open(folder / asset.path, "a") as file:
        file.write(f"{assigned()}\n")
    return Receipt(asset.path, INGESTED)


def die_below(folder: Path, least: int, asset: Asset) -> Receipt:
    receipt = note_memory(folder, asset)
    if assigned() < least:
        os.kill(os.getpid(), signal.SIGKILL)
    return receipt


def out_of_memory(folder: Path, asset: Asset) -> Receipt:
    note_memory(folder, asset)
    raise MemoryError


def broken(folder: Path, asset: Asset) -> Receipt:
    note_memory(folder, asset)
    raise RuntimeError("a bug")


def given(folder: Path, path: str) -> list[int]:
    return [int(line) for line in (folder / path).read_text().split()]


def test_memory_is_requested_by_size(ray_session, tmp_path):
    receipts = list(run_tasks(ray_session, assets(0, 10**8), partial(note_memory, tmp_path)))
    assert sorted(receipt.path for receipt in receipts) == ["0.nwb", "1.nwb"]
    assert given(tmp_path, "0.nwb") == [memory_for(0)]
    assert given(tmp_path, "1.nwb") == [memory_for(10**8)]


def test_dead_worker_is_replaced_with_more_memory(ray_session, tmp_path):
    first = memory_for(0)
    (receipt,) = run_tasks(ray_session, assets(0), partial(die_below, tmp_path, 2 * first))
    assert receipt.status == INGESTED
    assert given(tmp_path, "0.nwb") == [first, 2 * first]


def test_insufficient_memory_is_reported_and_stops_nothing(ray_session, tmp_path):
    receipts = list(run_tasks(ray_session, assets(0, 5), partial(out_of_memory, tmp_path)))
    assert [receipt.status for receipt in receipts] == ["failed", "failed"]
    assert all("memory ran out" in receipt.note and "3 times (MemoryError)" in receipt.note for receipt in receipts)
    assert len(given(tmp_path, "0.nwb")) == ATTEMPTS


def test_request_never_exceeds_a_machine_s_memory(ray_session, tmp_path):
    largest = max(node["Resources"]["memory"] for node in ray_session.nodes())
    huge = assets(10**15)
    (receipt,) = run_tasks(ray_session, huge, partial(note_memory, tmp_path))
    assert receipt.status == INGESTED
    assert given(tmp_path, "0.nwb")[0] <= largest


def test_error_in_the_work_is_reported_at_once(ray_session, tmp_path):
    (receipt,) = run_tasks(ray_session, assets(0), partial(broken, tmp_path))
    assert receipt.status == "failed"
    assert "a bug" in receipt.note
    assert len(given(tmp_path, "0.nwb")) == 1


def slow(folder: Path, asset: Asset) -> Receipt:
    began = time.time()
    time.sleep(0.3)
    (folder / asset.path).write_text(f"{began} {time.time()}")
    return Receipt(asset.path, INGESTED)


def test_work_in_flight_is_bounded_and_silence_is_noticed(ray_session, tmp_path):
    seen = []
    receipts = list(run_tasks(ray_session, assets(*[1] * 5), partial(slow, tmp_path), limit=1, waiting=seen.append))
    assert len(receipts) == 5
    assert {len(running) for running in seen} == {1}
    spans = sorted(tuple(map(float, (tmp_path / f"{k}.nwb").read_text().split())) for k in range(5))
    assert all(first[1] <= second[0] for first, second in pairwise(spans))


def test_silent_worker_does_not_silence_the_driver(ray_session, tmp_path):
    def long(asset: Asset) -> Receipt:
        time.sleep(2.5)
        return Receipt(asset.path, INGESTED)

    seen = []
    list(run_tasks(ray_session, assets(1), long, waiting=seen.append))
    assert sum(len(running) == 1 for running in seen) >= 2
    assert seen[0][0].asset.path == "0.nwb"


def test_queue_time_is_not_working_time(ray_session, tmp_path):
    seen = []

    def note(running):
        seen.extend((task.asset.path, task.since) for task in running)

    list(run_tasks(ray_session, assets(*[1] * 5), partial(slow, tmp_path), waiting=note))
    queued = {path for path, since in seen if since is None}
    assert len(queued) >= 3  # two processors, five tasks
    for path, since in seen:
        if since is not None:
            began = float((tmp_path / path).read_text().split()[0])
            assert time.time() - (time.monotonic() - since) - began < 1.5


def test_second_run_gets_its_share_while_the_first_continues(ray_session, tmp_path):
    (tmp_path / "first").mkdir()
    driver = subprocess.Popen(
        [sys.executable, "-c", FIRST_RUN, ray_session.get_runtime_context().gcs_address, str(tmp_path / "first")],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"},  # or else Ray does not look for it on 127.0.0.1
    )  # fmt: skip
    with driver:
        deadline = time.monotonic() + 200
        while len(list((tmp_path / "first").iterdir())) < 2:
            assert driver.poll() is None, driver.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        list(run_tasks(ray_session, assets(*[1] * 4), partial(slow, tmp_path)))
        begun = len(list((tmp_path / "first").iterdir()))
        assert driver.poll() is None
        driver.kill()
    assert begun < 1000  # it had two minutes of work for two processors, all of which it would have done first


FIRST_RUN = """
import sys, time
from functools import partial
from pathlib import Path
from foundation.common.processes.ray_cluster import ray_cluster
from foundation.store import Source
from ingest.run.ingest_report import INGESTED, Receipt
from ingest.run.task_schedule import run_tasks
from ingest.sources import Asset

def slow(folder, asset):
    began = time.time()
    time.sleep(0.25)
    (folder / asset.path).write_text(f"{began} {time.time()}")
    return Receipt(asset.path, INGESTED)

assets = [Asset(f"/data/{k}.nwb", f"{k}.nwb", 1, Source(f"{k}.nwb", "")) for k in range(1000)]
with ray_cluster(address=sys.argv[1]) as ray:
    list(run_tasks(ray, assets, partial(slow, Path(sys.argv[2]))))
"""


def test_closing_a_run_cancels_tasks_in_flight(ray_session, tmp_path):
    receipts = run_tasks(ray_session, assets(*[1] * 6), partial(slow, tmp_path))
    next(receipts)
    receipts.close()
    time.sleep(1.5)
    assert len(list(tmp_path.iterdir())) < 6
    (receipt,) = run_tasks(ray_session, assets(1), partial(note_memory, tmp_path))
    assert receipt.status == INGESTED


def test_without_ray_assets_are_read_one_after_another(tmp_path):
    def work(asset: Asset) -> Receipt:
        if asset.size == 2:
            raise MemoryError
        (tmp_path / asset.path).write_text(str(os.getpid()))
        time.sleep(1.2 if asset.size == 1 else 0.0)
        return Receipt(asset.path, INGESTED)

    seen = []
    receipts = list(run_here(assets(1, 2, 3), work, seen.append))
    assert [(r.path, r.status) for r in receipts] == [("2.nwb", INGESTED), ("1.nwb", "failed"), ("0.nwb", INGESTED)]
    assert "memory ran out" in receipts[1].note
    assert (tmp_path / "0.nwb").read_text() == str(os.getpid())
    assert seen[-1][0].asset.path == "0.nwb"


def read_by_halves(asset: Asset) -> Receipt:
    for _ in range(2):
        METER.count(asset.size // 2)
        time.sleep(1.5 * HEARTBEAT)
    return Receipt(asset.path, INGESTED, size=asset.size)


@pytest.mark.parametrize("where", ["on Ray", "here"])
def test_bytes_inside_an_asset_count_as_they_arrive(ray_session, where):
    (asset,) = assets(1000)
    watch, seen = Watch([asset]), []

    def waiting(running):
        watch.waiting(running)
        seen.append(watch.progress.done)

    if where == "on Ray":
        receipts = run_tasks(ray_session, [asset], read_by_halves, waiting=waiting)
    else:
        receipts = run_here([asset], read_by_halves, waiting)
    for receipt in receipts:
        watch.done(receipt)
    assert 500 in seen
    assert max(seen) <= 900  # the rest counts with the receipt
    assert watch.progress.done == 1000
