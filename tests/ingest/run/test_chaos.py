"""Workers and drivers are killed at random moments: the store ends with the same bytes as an undisturbed ingest."""

from __future__ import annotations

import hashlib
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from foundation.store import Catalog, Store
from ingest.job import IngestSettings, ingest

FILES = 8


def bytes_of(store: Path) -> dict[str, str]:
    """Return the sha256 of every file, except the report, which holds times."""
    files = [path for path in sorted(store.rglob("*")) if path.is_file() and path.name != "ingest-report.json"]
    return {path.relative_to(store).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


class Ingest:
    """`foundation ingest` as a separate process."""

    def __init__(self, folder: Path, store: Path, log: Path) -> None:
        words = ["ingest", "--input", str(folder), "--store", str(store), "--workers", "2", "--address", "local"]
        self.log = log.open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "foundation", *words], stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL
        )

    def workers(self) -> list[psutil.Process]:
        """Ray names a worker's process after the task that it runs."""
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if any("ray::ingest" in word for word in child.cmdline()):
                    found.append(child)
            except psutil.Error:
                continue
        return found

    def begun(self) -> list[psutil.Process]:
        """The workers, as soon as there are some."""
        deadline = time.monotonic() + 120
        while not (workers := self.workers()):
            assert self.process.poll() is None, "it ended before a worker worked"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return workers

    def wait(self) -> int:
        status = self.process.wait(timeout=300)
        self.log.close()
        return status


def kill_once(run: Ingest, rng: random.Random, longest: float) -> str:
    """Kill the driver at a random moment, or a worker as soon as one works; return what was killed."""
    victim = rng.choice(["driver", "worker", "worker"])
    moment = time.monotonic() + rng.uniform(0.0, longest)
    while run.process.poll() is None:
        if time.monotonic() >= moment:
            try:
                if victim == "driver":
                    run.process.send_signal(signal.SIGKILL)
                    return victim
                if workers := run.workers():
                    rng.choice(workers).kill()
                    return victim
            except psutil.Error:
                continue
        time.sleep(0.01)
    return "nothing"


@pytest.fixture(scope="module")
def recordings(tmp_path_factory, nwb_maker) -> Path:
    folder = tmp_path_factory.mktemp("chaos") / "nwb"
    rng = np.random.default_rng(5)
    for k in range(FILES):
        trains = [np.sort(rng.uniform(0, 900, 60_000)) for _ in range(12)]
        nwb = nwb_maker.add_trains(nwb_maker.new(identifier=f"id{k}", session_id=f"s{k}"), trains)
        # One array: from the list that pynwb keeps, each spike is converted by itself when the file is written.
        nwb.units.spike_times_index.target.transform(lambda data: np.asarray(data, dtype=np.float64))
        nwb_maker.save(nwb, folder / f"sub-{k}" / f"sub-{k}_ses-s{k}.nwb")
    return folder


@pytest.fixture(scope="module")
def calm(recordings, tmp_path_factory) -> tuple[dict[str, str], float]:
    """The bytes and the duration of an undisturbed ingest in one process, without Ray."""
    store = tmp_path_factory.mktemp("calm") / "store"
    began = time.monotonic()
    assert ingest(IngestSettings(str(recordings), str(store), workers=0)).ok
    return bytes_of(store), time.monotonic() - began


def check_whole(store: Path, expected: dict[str, str]) -> None:
    assert bytes_of(store) == expected
    catalog = Catalog.open(Store(store))
    assert len(catalog) == FILES
    assert all(stored.verify() == [] for stored in catalog)


def test_killed_driver_leaves_no_processes_and_the_next_run_gives_the_same_bytes(recordings, calm, tmp_path):
    """The next run also loses a worker, and recovers."""
    expected, seconds = calm
    rng = random.Random(0)
    run = Ingest(recordings, tmp_path / "store", tmp_path / "log")
    workers = run.begun()
    time.sleep(rng.uniform(0.0, seconds / 4))
    run.process.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive
    run = Ingest(recordings, tmp_path / "store", tmp_path / "log")
    rng.choice(run.begun()).kill()
    assert run.wait() == 0, (tmp_path / "log").read_text()[-3000:]
    check_whole(tmp_path / "store", expected)


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_random_kills_give_the_same_bytes(recordings, calm, tmp_path):
    kills, (expected, seconds) = 50, calm
    log = tmp_path / "log"
    rng = random.Random(kills)
    killed: list[str] = []
    round_ = 0
    while len(killed) < kills:
        # Every store sees about five deaths, or else it is complete before the last of them.
        store = tmp_path / f"store{len(killed) // 5}"
        run = Ingest(recordings, store, log)
        victim = kill_once(run, rng, seconds)
        if victim != "nothing":
            killed.append(victim)
        run.wait()
        round_ += 1
        assert round_ < 4 * kills, f"only {len(killed)} of {round_} runs could be killed\n{log.read_text()[-3000:]}"
    assert {"driver", "worker"} <= set(killed)
    for store in sorted(tmp_path.glob("store*")):
        assert Ingest(recordings, store, log).wait() == 0, log.read_text()[-3000:]
        check_whole(store, expected)


def test_two_runs_on_one_store_do_not_harm_each_other(recordings, calm, tmp_path):
    runs = [Ingest(recordings, tmp_path / "store", tmp_path / f"log{k}") for k in range(2)]
    assert [run.wait() for run in runs] == [0, 0], [(tmp_path / f"log{k}").read_text()[-2000:] for k in range(2)]
    assert bytes_of(tmp_path / "store") == calm[0]
