"""Time opening and querying a catalog of many recordings, and measure its memory, here and in an earlier checkout.

Writes docs/benchmarks/catalog.md:

    git worktree add ../before 419d0f3
    python benchmarks/catalog.py --before ../before

`--first 3` measures nothing but the first opening on a machine, three times, and prints a line; where the machine does
other work too, start it with `chrt -f 10`, so that nothing interrupts it.

A synthetic snapshot of 10^6 commit records is written once; both sides read the same file in fresh processes, in turns.
Memory is read from /proc, so this runs on Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from harness import Page

from foundation.store import Store
from foundation.store.commit.snapshot import SNAPSHOT, to_parquet

ROOT = Path(__file__).parents[1]
QUERY = "species == 'Mus musculus' and n_units > 50 and 'cell_type' in labels and hours < 1"
PIECE = 50_000
# Prints what it measured, then holds the catalog until its input ends, so that a second process finds a first one.
OPEN = """
import json, sys, time
import psutil
sys.path.insert(0, sys.argv[3])  # before whatever an installation puts there
from foundation.store import Catalog, Store
import foundation
assert foundation.__file__.startswith(sys.argv[3] + "/"), foundation.__file__
store = Store(sys.argv[1])
before = psutil.Process().memory_full_info()
began = time.perf_counter()
catalog = Catalog.open(store)
opened = time.perf_counter() - began
began = time.perf_counter()
found = len(catalog.where(sys.argv[2]))
asked = time.perf_counter() - began
after = psutil.Process().memory_full_info()
print(json.dumps({
    "open": opened, "query": asked, "found": found, "recordings": len(catalog),
    "rss": after.rss - before.rss, "pss": after.pss - before.pss, "uss": after.uss - before.uss,
}), flush=True)
sys.stdin.read()
"""


def record_of(k: int, rng: np.random.Generator) -> dict[str, Any]:
    """Return a commit record as the store writes one."""
    dandiset, subject = f"{k // 2000:06d}", f"mouse-{k // 20}"
    path = f"sub-{subject}/sub-{subject}_ses-{k:08d}_behavior+ecephys.nwb"
    seconds = round(float(rng.uniform(600, 7200)), 6)
    tables = [f"trials.{name}" for name in ("choice", "contrast", "direction", "feedback", "go_cue", "outcome")]
    labels = (["cell_type"] if k % 3 else []) + ["location", "position", "pupil", "speed", *tables]
    return {
        "id": f"{k:020x}", "digest": rng.bytes(32).hex(), "recipe": f"{k % 7:020x}",
        "subject": f"dandi/{dandiset}/{subject}", "species": "Mus musculus" if k % 5 else "Rattus norvegicus",
        "session": f"ses-{k:08d}", "path": path,
        "source": {
            "path": path, "digest": f"dandi-etag:{rng.bytes(16).hex()}-1", "archive": "dandi", "dandiset": dandiset,
            "version": "0.230629.1955", "asset": f"{k:08x}-0000-4000-8000-{k:012x}", "licence": "CC-BY-4.0",
        },
        "n_units": int(rng.integers(5, 700)), "n_spikes": int(rng.integers(10_000, 10_000_000)),
        "duration": seconds, "longest_interval": seconds, "observed": [[0.0, seconds]], "kind": "spikes",
        "resolution": 0.0, "labels": labels, "lab": f"lab {k % 50}", "quality": {},
        "control": {"clock_jumps": 0, "duplicate_spikes": 0, "gaps": int(k % 3), "silences": 0, "units_dropped": 2},
    }  # fmt: skip


def write_snapshot(store: Store, count: int) -> int:
    """Write a snapshot of synthetic recordings and return its bytes."""
    rng = np.random.default_rng(0)
    tables = []
    for first in range(0, count, PIECE):
        records = [record_of(k, rng) for k in range(first, min(first + PIECE, count))]
        tables.append(pq.read_table(pa.BufferReader(to_parquet(records, [])), use_threads=False))
    path = store.path(SNAPSHOT)
    pq.write_table(pa.concat_tables(tables), path, compression="zstd")
    return Path(path).stat().st_size


class Opened:
    """A process with the packages of a checkout that has opened a catalog and holds it."""

    def __init__(self, tree: Path, store: Path, cache: Path) -> None:
        env = os.environ | {"PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1", "XDG_CACHE_HOME": str(cache)}
        command = [sys.executable, "-c", OPEN, str(store), QUERY, str(tree)]
        self._process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.measured: dict[str, float] = json.loads(self._process.stdout.readline())

    def end(self) -> None:
        """End the process."""
        self._process.communicate()


def first_openings(recordings: int, rounds: int) -> str:
    """Open a new snapshot with an empty cache, several times, and return a line about it."""
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        write_snapshot(Store(store, create=True), recordings)
        for number in range(rounds):
            opened = Opened(ROOT, store, Path(folder) / f"cache{number}")
            opened.end()
            seconds.append(opened.measured["open"])
    return (
        f"first opening of {recordings:,} recordings: {np.median(seconds):.1f} s, the median of {rounds} "
        f"({min(seconds):.1f} to {max(seconds):.1f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="another checkout of the repository")
    parser.add_argument("--first", type=int, default=0, help="how often the first opening alone is measured")
    parser.add_argument("--recordings", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks" / "catalog.md")
    given = parser.parse_args()
    if given.first:
        print(first_openings(given.recordings, given.first))
        return
    if given.before is None:
        parser.error("--before is not given: expected another checkout of the repository, or --first 3")
    before = given.before.resolve()
    asked = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(asked, cwd=before, check=True, capture_output=True, text=True).stdout.strip()
    page = Page("Catalog", f"python benchmarks/catalog.py --before <{commit}>", ("neural-foundation", "pyarrow"))
    trees = {"before": before, "after": ROOT}
    firsts: dict[str, list[dict[str, float]]] = {side: [] for side in trees}
    seconds: dict[str, list[dict[str, float]]] = {side: [] for side in trees}
    with tempfile.TemporaryDirectory() as folder:
        store, cache = Path(folder) / "store", Path(folder) / "cache"
        size = write_snapshot(Store(store, create=True), given.recordings)
        new = Opened(ROOT, store, cache)
        new.end()
        columns = sum(path.stat().st_size for path in cache.rglob("*.arrow"))
        for _ in range(given.rounds):
            for side, tree in trees.items():
                first = Opened(tree, store, cache)
                second = Opened(tree, store, cache)
                firsts[side].append(first.measured)
                seconds[side].append(second.measured)
                first.end()
                second.end()
                print(side, first.measured, second.measured, flush=True)
    assert len({one["found"] for side in firsts.values() for one in side}) == 1

    def row(title: str, measured: dict[str, list[dict[str, float]]], name: str, unit: float) -> list[Any]:
        return [title, *(float(np.median([one[name] for one in measured[side]])) / unit for side in trees)]

    page.say(
        f"A snapshot of {given.recordings:,} recordings ({size / 1e6:,.0f} MB), opened by commit {commit} (*before*) "
        f"and by this one in fresh processes, in turns ({given.rounds} of each); medians. Memory is what opening the "
        "catalog and one query add to a process. PSS divides a shared page among the processes that share it; USS "
        "counts only pages that no other process has."
    )
    page.table(
        ["", "before", "after"],
        [
            row("open, s", firsts, "open", 1.0),
            row(f"query `{QUERY}`, s", firsts, "query", 1.0),
            row("one process, RSS, MB", firsts, "rss", 1e6),
            row("second process beside it, PSS, MB", seconds, "pss", 1e6),
            row("second process beside it, USS, MB", seconds, "uss", 1e6),
        ],
    )
    page.say(
        f"The first process that opens a new snapshot on a machine writes a file of columns ({columns / 1e6:,.0f} MB, "
        f"in the cache folder): it took {new.measured['open']:.1f} s and {new.measured['rss'] / 1e6:,.0f} MB."
    )
    page.not_measured(["Object stores, where the snapshot is downloaded each time it is opened."])
    page.write(given.output)


if __name__ == "__main__":
    main()
