"""Concurrent runs on one store do no harm, and leftovers of killed runs are removed."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from foundation.common.files.locks import part_folder, remove_if_left, write_whole
from foundation.store import Catalog, Source, Store, clean_store, verify_store, write_recording
from foundation.store.commit import snapshot


def test_concurrent_refreshes_lose_nothing(place, make_recording):
    """Each writer commits and refreshes; at the end every commit is in the snapshot."""
    Store(place, create=True)
    start = threading.Barrier(4)

    def run(first):
        store = Store(place)
        start.wait()
        for seed in range(first, first + 3):
            write_recording(store, make_recording(seed, n_units=2, seconds=5.0))
            Catalog.refresh(store)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, [0, 10, 20, 30]))
    assert len(Catalog.open(Store(place))) == 12
    assert verify_store(Store(place)).ok


def test_swap_that_lost_its_race_is_repeated(place, make_recording, monkeypatch):
    store = Store(place, create=True)
    write_recording(store, make_recording(0, n_units=2))
    Catalog.refresh(store)
    write_recording(store, make_recording(1, n_units=2))
    real, calls = snapshot.gather, []

    def gather(store, known=None):
        found = real(store, known)
        calls.append(len(found[0]))
        if len(calls) == 1:  # another run commits and swaps between this run's listing and its swap
            other = Store(place)
            write_recording(other, make_recording(2, n_units=2))
            other.write_bytes("catalog.parquet", snapshot.to_parquet(*real(other)))
        return found

    monkeypatch.setattr(snapshot, "gather", gather)
    assert len(Catalog.refresh(store)) == 3
    assert calls == [2, 3]
    assert len(Catalog.open(Store(place))) == 3


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux shows a handle's file")
def test_group_is_synced_before_its_commit(tmp_path, make_recording, monkeypatch):
    """For power cuts: every file and folder of a group is synced before its commit record is renamed."""
    synced, order = set(), []
    sync, replace = os.fsync, os.replace

    def fsync(handle):
        sync(handle)
        synced.add(Path(f"/proc/self/fd/{handle}").resolve())

    def rename(source, target):
        order.append((Path(target), set(synced)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", rename)
    store = Store(tmp_path / "store", create=True)
    synced.clear()
    identity = write_recording(store, make_recording(0, n_units=3))
    (before,) = [paths for target, paths in order if target.parent.name == "commits"]
    group = Path(store.path("recordings", store.commit(identity)["digest"]))
    (part,) = [path for path in before if path.parent == group.parent and path.name.startswith(f".{group.name}")]
    assert {part / path.relative_to(group) for path in group.rglob("*")} <= before
    assert group.parent in before


def test_file_is_swapped_only_if_unchanged(place):
    store = Store(place, create=True)
    assert store.version("x") == ""
    assert store.swap("x", b"one", "")
    assert not store.swap("x", b"two", "")
    version = store.version("x")
    assert store.swap("x", b"two", version)
    assert not store.swap("x", b"three", version)
    assert store.read_bytes("x") == b"two"
    # A request that is repeated because its answer was lost has still succeeded.
    assert store.swap("x", b"two", version) == store.is_s3


def test_committed_recordings_are_not_overwritten(place, make_recording, caplog):
    store = Store(place, create=True)
    identity = write_recording(store, make_recording(0))
    before = store.commit(identity)
    assert write_recording(store, make_recording(0, session="read otherwise")) == identity
    assert store.commit(identity) == before
    assert "keeping the committed recording" in caplog.text


def test_order_of_writing_leaves_no_trace(tmp_path, make_recording, store_digest):
    recordings = [make_recording(seed, n_units=3, seconds=20.0) for seed in range(5)]
    for name, order in {"a": [0, 1, 2, 3, 4], "b": [3, 1, 4, 0, 2]}.items():
        store = Store(tmp_path / name, create=True)
        for seed in order:
            write_recording(store, recordings[seed], "recipe")
            if name == "b":
                Catalog.refresh(store)
        Catalog.refresh(store)
    assert store_digest(tmp_path / "a") == store_digest(tmp_path / "b")


def test_large_arrays_give_the_same_bytes_from_any_thread(tmp_path, make_recording, store_digest):
    """Blosc uses threads only if called from the main thread, and its blocks then come in any order."""
    recording = make_recording(0, n_units=100, seconds=200.0)
    assert recording.n_spikes > 150_000
    digests = []
    for name in ("main", "other"):
        store = Store(tmp_path / name, create=True)
        with ThreadPoolExecutor(1) as pool:
            run = pool.submit if name == "other" else (lambda f, *a: f(*a))
            done = run(write_recording, store, recording)
            assert done if name == "main" else done.result()
        digests.append(store_digest(tmp_path / name))
    assert digests[0] == digests[1]


WRITER = """
import sys, time
import numpy as np
from foundation.store import Store, write_recording, Interval, Recording, Source, Spikes, Subject, Units
from foundation.store import storage
store = Store(sys.argv[1])
real = storage.group_objects
def slow(arrays, attributes):
    for number, part in enumerate(real(arrays, attributes)):
        if number == 2:
            print("half", flush=True)
            time.sleep(float(sys.argv[2]))
        yield part
storage.group_objects = slow
recording = Recording(Source("x.nwb", "x"), Subject("m"), "s", Units(1), Interval.single(0, 9),
                      spikes=Spikes.from_trains([np.arange(9.0)]))
write_recording(store, recording)
"""


@contextmanager
def writer_at_half(store, seconds):
    """A process that pauses in the middle of writing a recording."""
    command = [sys.executable, "-c", WRITER, store, str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "half\n"
        yield writer


def test_leftovers_of_a_killed_writer_are_removed(tmp_path, store_digest):
    store = Store(tmp_path / "store", create=True)
    with writer_at_half(store.url, 60) as writer:
        writer.send_signal(signal.SIGKILL)
    (left,) = verify_store(store).left
    assert left.endswith(".part")
    assert clean_store(store).parts == [left]
    assert set(store_digest(store.url)) == {"store.json"}


def test_files_of_a_living_writer_are_kept(tmp_path):
    store = Store(tmp_path / "store", create=True)
    with writer_at_half(store.url, 3) as writer:
        for _ in range(10):
            assert clean_store(store, older_than=0.0).parts == []
        assert writer.wait(timeout=60) == 0
    Catalog.refresh(store)
    verification = verify_store(store)
    assert (verification.ok, verification.recordings, verification.left) == (True, 1, [])


def test_half_written_file_is_removed_too(tmp_path):
    (tmp_path / ".x.json.abc.part").write_text("{")
    assert remove_if_left(tmp_path / ".x.json.abc.part")
    assert not remove_if_left(tmp_path / ".x.json.abc.part")
    write_whole(tmp_path / "x.json", b"{}")
    with part_folder(tmp_path / "folder") as part:
        assert not remove_if_left(part)
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def _write_and_clear(path, number, stop):
    target = Path(path) / f"target{number}"
    while not stop.is_set():
        write_whole(target, b"x" * 1000)
        with part_folder(Path(path) / "group") as part:
            (part / "a").write_text("a")
            assert (part / "a").read_text() == "a"


def test_cleaning_never_harms_a_writer(tmp_path):
    """Writers start and end all the time while another process cleans all the time."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    writers = [context.Process(target=_write_and_clear, args=(str(tmp_path), n, stop)) for n in range(2)]
    for writer in writers:
        writer.start()
    until, rounds = time.monotonic() + 5, 0
    while time.monotonic() < until:
        for part in tmp_path.glob("*.part"):
            remove_if_left(part)
        rounds += 1
    stop.set()
    for writer in writers:
        writer.join(30)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert rounds > 10
    assert not list(tmp_path.glob(".*.part"))


def records(n):
    """Commit records of a store of ``n`` recordings."""
    for i in range(n):
        source = Source(
            f"sub-{i % 500}/sub-{i % 500}_ses-{i}.nwb", f"dandi-etag:{i:032x}-1", "dandi", "000001", "draft"
        )
        yield {
            "id": f"{i:020x}", "digest": f"{i:064x}", "recipe": "r" * 20, "subject": f"dandi/000001/m{i % 500}",
            "species": "Mus musculus", "session": f"session {i}", "path": source.path, "source": vars(source),
            "n_units": 100, "n_spikes": 10**6, "duration": 3600.0, "longest_interval": 3600.0, "kind": "spikes",
            "resolution": 0.0, "labels": ["location", "position", "trials.choice"], "lab": "lab", "quality": {},
        }  # fmt: skip


def test_catalog_of_ten_thousand_opens_in_a_second_without_listing(place, monkeypatch):
    store = Store(place, create=True)
    assert store.swap(snapshot.SNAPSHOT, snapshot.to_parquet(list(records(10_000)), []), "")
    monkeypatch.setattr(type(store.fs), "ls", lambda *_, **__: pytest.fail("listed"))
    monkeypatch.setattr(Store, "names", lambda *_: pytest.fail("listed"))
    took = []
    for _ in range(3):
        began = time.perf_counter()
        catalog = Catalog.open(Store(place))
        took.append(time.perf_counter() - began)
    assert len(catalog) == 10_000
    assert min(took) < 1.0


def test_refresh_reads_only_new_commits(tmp_path, make_recording, monkeypatch):
    store = Store(tmp_path / "store", create=True)
    store.fs.makedirs(store.path("commits"))
    for record in records(50):
        (tmp_path / "store" / "commits" / f"{record['id']}.json").write_text(json.dumps(record))
    Catalog.refresh(store)
    write_recording(store, make_recording(0))
    read, real = [], Store.read_json
    monkeypatch.setattr(Store, "read_json", lambda self, name: (read.append(name), real(self, name))[1])
    assert len(Catalog.refresh(store)) == 51
    assert len(read) == 1
    # On demand everything is read again: a removed record is gone, a repaired one is read.
    (tmp_path / "store" / "commits" / f"{0:020x}.json").unlink()
    assert len(Catalog.refresh(store, full=True)) == 50
