"""Tasks in flight: bounded, named, given memory by size, and again with more when their worker dies."""

import os
import signal
import time
from functools import partial
from itertools import pairwise
from pathlib import Path

from foundation.store import Source
from ingest.report import INGESTED, Receipt
from ingest.schedule import ATTEMPTS, memory_for, run_tasks
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


def test_memory_is_asked_for_by_size(ray_session, tmp_path):
    receipts = list(run_tasks(ray_session, assets(0, 10**8), partial(note_memory, tmp_path)))
    assert sorted(receipt.path for receipt in receipts) == ["0.nwb", "1.nwb"]
    assert given(tmp_path, "0.nwb") == [memory_for(0)]
    assert given(tmp_path, "1.nwb") == [memory_for(10**8)]


def test_a_dead_worker_is_replaced_by_one_with_more_memory(ray_session, tmp_path):
    first = memory_for(0)
    (receipt,) = run_tasks(ray_session, assets(0), partial(die_below, tmp_path, 2 * first))
    assert receipt.status == INGESTED
    assert given(tmp_path, "0.nwb") == [first, 2 * first]


def test_memory_that_never_suffices_is_reported_and_stops_nothing(ray_session, tmp_path):
    receipts = list(run_tasks(ray_session, assets(0, 5), partial(out_of_memory, tmp_path)))
    assert [receipt.status for receipt in receipts] == ["failed", "failed"]
    assert all("memory ran out" in receipt.note and "3 times (MemoryError)" in receipt.note for receipt in receipts)
    assert len(given(tmp_path, "0.nwb")) == ATTEMPTS


def test_no_machine_is_asked_for_more_memory_than_it_has(ray_session, tmp_path):
    largest = max(node["Resources"]["memory"] for node in ray_session.nodes())
    huge = assets(10**15)
    (receipt,) = run_tasks(ray_session, huge, partial(note_memory, tmp_path))
    assert receipt.status == INGESTED
    assert given(tmp_path, "0.nwb")[0] <= largest


def test_an_error_of_the_work_itself_is_reported_at_once(ray_session, tmp_path):
    (receipt,) = run_tasks(ray_session, assets(0), partial(broken, tmp_path))
    assert receipt.status == "failed"
    assert "a bug" in receipt.note
    assert len(given(tmp_path, "0.nwb")) == 1


def slow(folder: Path, asset: Asset) -> Receipt:
    began = time.time()
    time.sleep(0.3)
    (folder / asset.path).write_text(f"{began} {time.time()}")
    return Receipt(asset.path, INGESTED)


def test_work_in_flight_is_bounded_and_silence_is_seen(ray_session, tmp_path):
    seen = []
    receipts = list(run_tasks(ray_session, assets(*[1] * 5), partial(slow, tmp_path), limit=1, waiting=seen.append))
    assert len(receipts) == 5
    assert {len(running) for running in seen} == {1}
    spans = sorted(tuple(map(float, (tmp_path / f"{k}.nwb").read_text().split())) for k in range(5))
    assert all(first[1] <= second[0] for first, second in pairwise(spans))


def test_a_silent_worker_does_not_silence_the_driver(ray_session, tmp_path):
    def long(asset: Asset) -> Receipt:
        time.sleep(2.5)
        return Receipt(asset.path, INGESTED)

    seen = []
    list(run_tasks(ray_session, assets(1), long, waiting=seen.append))
    assert sum(len(running) == 1 for running in seen) >= 2
    assert seen[0][0].asset.path == "0.nwb"
