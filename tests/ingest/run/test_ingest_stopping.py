"""SIGTERM and SIGHUP end an ingest like Ctrl-C: committed recordings are in the catalog, the report and the table."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from pathlib import Path

import pytest

from foundation.cli.commands import main
from foundation.common.processes.interrupts import StopRequests
from foundation.store import Catalog, Store


@pytest.fixture
def many(tmp_path, nwb_maker):
    """Enough files for a signal to arrive between the first and the last."""
    folder = tmp_path / "nwb"
    first = nwb_maker.save(nwb_maker.add_trains(nwb_maker.new(), [[0.5, 1.0], [2.0]]), folder / "000.nwb")
    content = Path(first).read_bytes()
    for k in range(1, 40):  # each has a place of its own, and a digest of its own
        (folder / f"{k:03d}.nwb").write_bytes(content + bytes(k))
    return folder


@pytest.fixture
def harmless():
    """Ignore a signal that comes too late, so that it does not end the tests."""
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def commits_in(store: Path) -> int:
    return len(list((store / "commits").glob("[0-9a-f]*.json")))


def send_after(store, commits: int, number: int) -> threading.Thread:
    """Send this process a signal once the store has this many recordings."""

    def wait() -> None:
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline:
            if commits_in(store) >= commits:
                os.kill(os.getpid(), number)
                return
            time.sleep(0.01)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize(("workers", "number", "status"), [(0, signal.SIGHUP, 129), (1, signal.SIGTERM, 143)])
def test_committed_recordings_are_reported(many, tmp_path, capsys, harmless, ray_session, workers, number, status):
    store = tmp_path / "store"
    sender = send_after(store, 3, number)
    words = ["ingest", "--input", str(many), "--store", str(store), "--workers", str(workers)]
    assert main(words) == status
    sender.join()
    out, err = capsys.readouterr()
    committed = commits_in(store)
    assert 3 <= committed < 40
    report = json.loads((store / "ingest-report.json").read_text())
    assert (report["counts"]["ingested"], report["files"]) == (committed, 40)
    assert len(Catalog.open(Store(store)).records) + len(Catalog.open(Store(store)).superseded) == committed
    assert f"{committed} of 40 files: {committed} ingested" in out
    assert f"stopped by {signal.Signals(number).name}; run the same command again to continue" in err
    assert main(words) == 0
    assert re.search(rf"\n40 files: {40 - committed} ingested, {committed} skipped", capsys.readouterr().out)


def test_second_signal_is_ignored_and_ignored_signals_stay_so(harmless):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as below nohup
    with StopRequests() as requests:
        os.kill(os.getpid(), signal.SIGHUP)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    assert (requests.status, requests.asked) == (143, "SIGTERM")
