"""Ingests mutated files one after another, watched: reads numbers of mutations, writes what became of each.

Run by campaign.py, with limits on memory; a mutation that kills this process or makes it hang is known by its number.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import shutil
import sys
import sysconfig
import traceback
from dataclasses import asdict
from pathlib import Path

from broken_hdf5 import CANARY_TEXT, CANARY_TIME
from mutate import mutate

from foundation.store import Catalog, Store
from foundation.store.commit.verify import verify_store
from foundation.store.format.encode import encode
from ingest.recipe.recipes import load_recipe
from ingest.run.worker import Work
from ingest.sources import find_assets

MEMORY = 6 << 30
SECONDS = 30.0
"""The worker's own limit: after that many seconds it ends its process, whatever a library does."""
WRITES = (
    "os.mkdir",
    "os.rmdir",
    "os.remove",
    "os.rename",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "os.chown",
)
NEVER = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "subprocess.Popen",
    "socket.connect",
    "pickle.find_class",
    "ctypes.dlopen",
    "webbrowser.open",
    "urllib.Request",
)


class Watch:
    """Hears of every file that Python opens, removes or makes, and of programs, sockets and pickles."""

    def __init__(self) -> None:
        self.on, self.heard = False, []
        roots = [sys.prefix, sys.base_prefix, *sysconfig.get_paths().values(), Path(__file__).parents[3]]
        self.readable = [str(Path(root).resolve()) for root in roots] + [
            "/usr/share/zoneinfo",
            "/proc",
            "/sys",
            "/etc/mime",
        ]
        self.writable: list[str] = ["/dev/null"]
        sys.addaudithook(self.hear)

    def hear(self, event: str, arguments: tuple) -> None:
        if not self.on:
            return
        self.on = False  # looking at a path must not be heard
        try:
            if event == "open" and isinstance(arguments[0], str | bytes):
                writes = bool((arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))
                self._check(event, arguments[0], self.writable if writes else self.writable + self.readable)
            elif event in WRITES:
                self._check(event, arguments[0], self.writable)
            elif event in NEVER:
                self.heard.append(f"{event} {arguments!r:.200}")
        finally:
            self.on = True

    def _check(self, event: str, path: str | bytes, allowed: list[str]) -> None:
        place = os.path.realpath(os.fsdecode(path))
        if not any(place == root or place.startswith(f"{root}/") for root in allowed):
            self.heard.append(f"{event} {place}")


class Unnamed(logging.Handler):
    """What the worker reports as an error that it did not expect."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        where = [
            f"{Path(frame.filename).name}:{frame.lineno}"
            for frame in traceback.extract_tb(error and error.__traceback__)
        ]
        self.found.append(f"{record.getMessage()}: {type(error).__name__}: {error} at {' '.join(where[-6:])}"[:700])


def one(seed: int, goods: list[Path], folder: Path, outside: Path, watch: Watch, unnamed: Unnamed) -> dict:
    """Mutate, ingest, and look at the store."""
    place, root = folder / str(seed) / "in", folder / str(seed) / "store"
    place.mkdir(parents=True)
    canary = outside.read_bytes()
    path, what = mutate(seed, goods, place, outside)
    outside.write_bytes(canary)  # HDF5 writes to a file outside when a dataset is laid there
    work = Work(str(root), load_recipe("default"), timeout=SECONDS)
    store = Store(str(root), create=True)
    before = _tree(folder / str(seed)) | _tree(outside.parent)
    unnamed.found, watch.heard, watch.writable = [], [], ["/dev/null", str(root.resolve())]
    allowed = [*watch.readable]
    watch.readable.append(str(place.resolve()))
    wrong: list[str] = []
    receipt = None
    watch.on = True
    try:
        (asset,) = find_assets(str(path))
        receipt = work(asset)
    except Exception as error:
        wrong.append(f"{type(error).__name__}: {error}"[:500])
    finally:
        watch.on = False
        watch.readable = allowed
    wrong += [f"unnamed: {text}" for text in unnamed.found] + [f"outside: {text}" for text in watch.heard]
    status = receipt.status if receipt else "raised"
    wrong += _store_faults(store, status)
    changed = sorted(set((_tree(folder / str(seed)) | _tree(outside.parent)).items()) ^ set(before.items()))
    wrong += [f"changed: {name}" for (name, _) in changed if not name.startswith(str(root))]
    if not wrong and "FUZZ_KEEP" not in os.environ:
        shutil.rmtree(folder / str(seed))
    return {"seed": seed, "what": what, "status": status, "note": receipt.note if receipt else "", "wrong": wrong}


def _tree(folder: Path) -> dict[str, tuple]:
    return {str(p): (p.lstat().st_size, p.lstat().st_mtime_ns) for p in folder.rglob("*") if not p.is_dir()}


def _store_faults(store: Store, status: str) -> list[str]:
    """Nothing half-written; what was ingested is whole, once, and holds nothing from outside."""
    faults = []
    commits = store.commit_ids()
    if len(commits) != (status == "ingested"):
        faults.append(f"{len(commits)} commits after {status}")
    Catalog.build(store).save()
    verified = verify_store(store)
    if str(verified.left) != "[]" or not verified.ok:
        faults.append(f"the store is not whole: {verified} {verified.left}")
    for stored in Catalog.open(store):
        recording = stored.load()
        if CANARY_TEXT in json.dumps([stored.attributes, asdict(stored.record)]) or CANARY_TEXT in str(
            dict(recording.units)
        ):
            faults.append("text from outside the file is in the store")
        floats = [array.data for array in encode(recording).arrays.values() if array.data.dtype.kind == "f"]
        floats += [recording.spikes.times] if recording.spikes is not None else []
        if any((data == CANARY_TIME).any() for data in floats):
            faults.append("numbers from outside the file are in the store")
        str(stored.firing_rates())
    return faults


def _warm_up(goods: list[Path], root: Path) -> None:
    """Ingest what is good, unwatched: compiles and imports whatever is compiled and imported at first use."""
    work = Work(str(root), load_recipe("default"))
    Store(str(root), create=True)
    for good in goods:
        (asset,) = find_assets(str(good))
        receipt = work(asset)
        assert receipt.status in ("ingested", "needs sorting"), receipt
    verify_store(Store(str(root)))


def main() -> None:
    folder, outside, *goods = (Path(argument) for argument in sys.argv[1:])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    watch, unnamed = Watch(), Unnamed()
    logging.getLogger("ingest").addHandler(unnamed)
    logging.getLogger("ingest").propagate = False
    _warm_up(goods, folder / f"good{os.getpid()}")
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # libraries that print do not garble the answers
    for line in sys.stdin:
        answers.write(json.dumps(one(int(line), goods, folder, outside, watch, unnamed)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
