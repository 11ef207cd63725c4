"""How fast recordings are ingested, and with how much memory: writes docs/benchmarks/ingest.md.

    python benchmarks/ingest_speed.py [--rounds 20] [--only large small growth memory]

The plain loop that large files are compared with reads every array that ingest reads with h5py, in slices, and writes
it with zarr into a new array of the same codec, with no check, no digest and no change of layout.
"""

from __future__ import annotations

import one_thread  # noqa: F401

# isort: split
import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

import h5py
import numpy as np
import zarr
from harness import Page, in_turns, ratio_of
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.behavior import SpatialSeries
from pynwb.file import Subject
from zarr.codecs import BloscCodec

from foundation.common.processes.ray_cluster import ray_cluster
from foundation.store import Store
from ingest.recipe.recipes import load_recipe
from ingest.run.task_schedule import run_tasks
from ingest.run.worker import Work
from ingest.sources import find_assets

START = datetime(2021, 1, 1, tzinfo=UTC)
LARGE_SPIKES, LARGE_UNITS, LARGE_SECONDS = 25_000_000, 400, 7200.0
GIANT_SPIKES, GIANT_UNITS, GIANT_SECONDS = 250_000_000, 1000, 36_000.0
PLAIN_ROWS = 1 << 21


def write_file(path: Path, spikes: int, units: int, seconds: float, seed: int, behavior: bool = True) -> None:
    """Write an NWB file of units with uniform spike times on a 30 kHz grid, and a position at 100 Hz.

    Many spikes are written beside pynwb, which would hold each as an object.
    """
    many, few = spikes > 1_000_000, min(spikes, 1_000_000)
    rng = np.random.default_rng(seed)
    nwb = NWBFile("a benchmark", f"id{seed}", START, session_id=f"s{seed}", subject=Subject(subject_id=f"m{seed}"))
    if behavior:
        data = rng.normal(size=(int(seconds * 100), 2)).cumsum(0)
        nwb.add_acquisition(SpatialSeries(name="position", data=data, reference_frame="", rate=100.0, unit="meters"))
    nwb.add_unit_column("cell_type", "type")
    for unit in range(units):
        times = _train(rng, few // units, seconds)
        nwb.add_unit(spike_times=times, cell_type=("PV", "SST")[unit % 2])
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file, NWBHDF5IO(file=file, mode="w") as io:
        io.write(nwb)
    if not many:
        return
    count = spikes // units
    with h5py.File(path, "a") as file:
        attributes = {name: dict(file[f"units/{name}"].attrs) for name in ("spike_times", "spike_times_index")}
        del file["units/spike_times"], file["units/spike_times_index"]
        stored = file.create_dataset("units/spike_times", (count * units,), np.float64)
        ends = file.create_dataset("units/spike_times_index", data=np.arange(1, units + 1, dtype=np.uint64) * count)
        stored.attrs.update(attributes["spike_times"])
        ends.attrs.update(attributes["spike_times_index"] | {"target": stored.ref})
        for unit in range(units):
            stored[unit * count : (unit + 1) * count] = _train(rng, count, seconds)


def _train(rng: np.random.Generator, count: int, seconds: float) -> np.ndarray:
    return np.round(np.sort(rng.uniform(0, seconds, count)) * 30_000) / 30_000


def plain_loop(source: Path, target: Path) -> None:
    """Copy every array of a file through h5py and zarr, as simply as possible."""
    shutil.rmtree(target, ignore_errors=True)
    group = zarr.create_group(target)
    codec = BloscCodec(cname="zstd", clevel=5, shuffle="shuffle")
    with h5py.File(source) as file:
        names: list[str] = []
        file.visititems(lambda n, o: names.append(n) if isinstance(o, h5py.Dataset) and o.dtype.kind in "fiu" else None)
        for name in names:
            data = file[name]
            if not data.shape:
                continue
            chunk = (min(PLAIN_ROWS // 16, max(1, len(data))), *data.shape[1:])
            array = group.create_array(
                name.replace("/", "."), shape=data.shape, dtype=data.dtype, chunks=chunk, compressors=codec
            )
            for first in range(0, len(data), PLAIN_ROWS):
                array[first : first + PLAIN_ROWS] = data[first : first + PLAIN_ROWS]


def large_files(page: Page, folder: Path, rounds: int) -> None:
    files = folder / "large"
    for k in range(2):
        write_file(files / f"{k}.nwb", LARGE_SPIKES, LARGE_UNITS, LARGE_SECONDS, k)
    assets = find_assets(str(files))
    size = sum(asset.size for asset in assets) / len(assets) / 1e6
    recipe = load_recipe("default")
    store = folder / "store"

    def fresh() -> Work:
        shutil.rmtree(store, ignore_errors=True)
        Store(store, create=True)
        return Work(str(store), recipe)

    def one() -> float:
        work = fresh()
        began = time.perf_counter()
        receipt = work(assets[0])
        assert receipt.status == "ingested", receipt
        return time.perf_counter() - began

    plain = lambda: plain_loop(Path(assets[0].url), folder / "plain")  # noqa: E731
    alone = in_turns({"plain": plain, "ingest": one}, rounds=rounds)

    with ray_cluster(2, "local") as ray, ProcessPoolExecutor(2, get_context("spawn")) as processes:

        def plain_twice() -> None:
            list(processes.map(plain_loop, [Path(a.url) for a in assets], [folder / "plain", folder / "plain-too"]))

        def by_workers(chosen: list) -> float:
            work = fresh()
            began = time.perf_counter()
            receipts = list(run_tasks(ray, chosen, work, limit=len(chosen)))
            assert all(receipt.status == "ingested" for receipt in receipts), receipts
            return time.perf_counter() - began

        # Both workers have imported what they need before anything is timed.
        sides = {"plain": plain, "1 worker": lambda: by_workers(assets[:1]), "2 workers": lambda: by_workers(assets)}
        sides["plain twice"] = plain_twice
        workers_times = in_turns(sides, rounds=rounds, warmup=2)
    page.heading("Large files")
    page.say(
        f"Files of {size:.0f} MB: {LARGE_SPIKES:,} spikes of {LARGE_UNITS} units and a position at 100 Hz, "
        "uncompressed as pynwb writes them, in the page cache. Ingest also takes the sha256 of the file and of every "
        "array, checks every spike, and sorts the spikes into blocks of time. Ray's start is not counted. "
        "Two plain loops at once, each in its own process on its own file, show how far two processes slow each other "
        "down on this machine."
    )
    rows = [
        ["plain loop", float(np.median(alone["plain"])), size / float(np.median(alone["plain"])), "1"],
        _row("two plain loops at once", workers_times["plain twice"], workers_times["plain"], size * 2, 2),
        _row("ingest, in this process", alone["ingest"], alone["plain"], size, 1),
        _row("ingest, Ray, 1 worker", workers_times["1 worker"], workers_times["plain"], size, 1),
        _row("ingest, Ray, 2 workers, 2 files", workers_times["2 workers"], workers_times["plain"], 2 * size, 2),
    ]
    page.table(["side", "seconds", "MB/s", "MB/s over the plain loop's (95 % interval)"], rows)
    for workers, files, target in (("1 worker", 1, 0.8), ("2 workers", 2, 1.6)):
        ratio = ratio_of(workers_times["plain"] * files, workers_times[workers])
        page.say(f"- {workers}: {ratio}: at least {target:g} {'holds' if ratio.holds(target) else 'does not hold'}")


def _row(name: str, ours: np.ndarray, plain: np.ndarray, size: float, files: int) -> list:
    ratio = ratio_of(plain * files, ours)
    return [name, float(np.median(ours)), size / float(np.median(ours)), str(ratio)]


def small_files(page: Page, folder: Path, rounds: int) -> None:
    for k in range(20):
        write_file(folder / "small" / f"{k:03d}.nwb", 2000, 20, 60.0, k)
    assets = find_assets(str(folder / "small"))
    recipe, store = load_recipe("default"), folder / "small-store"

    def pynwb_alone() -> None:
        for asset in assets:
            with NWBHDF5IO(asset.url, "r") as io:
                nwb = io.read()
                nwb.units.to_dataframe()
                for series in nwb.acquisition.values():
                    assert isinstance(series, TimeSeries)
                    series.data[:]

    def ours() -> float:
        shutil.rmtree(store, ignore_errors=True)
        Store(store, create=True)
        work = Work(str(store), recipe)
        began = time.perf_counter()
        assert all(work(asset).status == "ingested" for asset in assets)
        return time.perf_counter() - began

    times = in_turns({"pynwb": pynwb_alone, "ingest": ours}, rounds=rounds)
    milliseconds = {name: float(np.median(values)) / len(assets) * 1000 for name, values in times.items()}
    page.heading("Small files")
    page.say("20 files of 2,000 spikes of 20 units and a position; milliseconds a file, one process.")
    page.table(
        ["side", "ms a file"],
        [
            ["pynwb: open, read the units table and the series", milliseconds["pynwb"]],
            ["ingest: open, read, check, write, commit", milliseconds["ingest"]],
        ],
    )
    page.say(f"Ingest takes {ratio_of(times['ingest'], times['pynwb'])} times as long as pynwb's reading alone.")


def growth(page: Page, folder: Path) -> None:
    page.heading("Cost as work grows")
    page.say(
        "Small recordings, 2 workers, Ray's start not counted; then the same command again, with every recording "
        "in the store."
    )
    rows = []
    one = folder / "one.nwb"
    write_file(one, 2000, 20, 60.0, 0, behavior=False)
    recipe = load_recipe("default")
    with ray_cluster(2, "local") as ray:
        for n in (10, 100, 1000):
            files = folder / f"growth{n}"
            files.mkdir()
            for k in range(n):
                path = files / f"{k:04d}.nwb"
                shutil.copyfile(one, path)
                with h5py.File(path, "a") as file:
                    file["identifier"][()] = f"id{k}"
            store, assets = folder / f"growth-store{n}", find_assets(str(files))
            Store(store, create=True)
            work = Work(str(store), recipe)
            seconds = []
            for _ in range(2):
                began = time.perf_counter()
                assert all(r.status in ("ingested", "skipped") for r in run_tasks(ray, assets, work))
                seconds.append((time.perf_counter() - began) / n * 1000)
            shutil.rmtree(files)
            rows.append([n, *seconds])
    page.table(["recordings", "ms a recording", "ms a recording, again"], rows)


MEASURE = """
import re, sys
from ingest.recipe.recipes import load_recipe
from ingest.sources import find_assets
from ingest.run.worker import Work
(asset,) = find_assets(sys.argv[1])
receipt = Work(sys.argv[2], load_recipe("default"), timeout=3000)(asset)
assert receipt.status == "ingested", receipt
peak = re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read()).group(1)
print(peak, receipt.seconds)
"""


def memory(page: Page, folder: Path) -> None:
    rows = []
    for name, spikes, units, seconds in (
        ("small", 2000, 20, 60.0),
        ("large", LARGE_SPIKES, LARGE_UNITS, LARGE_SECONDS),
        ("giant", GIANT_SPIKES, GIANT_UNITS, GIANT_SECONDS),
    ):
        path, store = folder / f"{name}.nwb", folder / f"memory-{name}"
        write_file(path, spikes, units, seconds, 0)
        Store(store, create=True)
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, str(path), str(store)], check=True, capture_output=True, text=True
        )
        peak, took = done.stdout.split()
        rows.append([f"{spikes:,} spikes", path.stat().st_size / 1e6, int(peak) / 1e3, float(took)])
        path.unlink()
        shutil.rmtree(store)
    page.heading("Memory")
    page.say(
        "Peak resident memory of a process that ingests one file. Imports alone take 220 MB. Large arrays share 512 "
        "MiB (`foundation.store.format.spill`); those that do not fit are kept in an unnamed temporary file in $TMPDIR."
    )
    page.table(["file", "MB", "peak MB", "seconds"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--only", nargs="*", default=["large", "small", "growth", "memory"])
    parser.add_argument("--output", default="docs/benchmarks/ingest.md")
    chosen = parser.parse_args()
    packages = ["neural-foundation", "ray", "zarr", "numcodecs", "h5py", "pynwb", "hdmf", "numpy", "numba"]
    page = Page("Ingest", "python benchmarks/ingest_speed.py", packages)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if "large" in chosen.only:
            large_files(page, folder, chosen.rounds)
        if "small" in chosen.only:
            small_files(page, folder, chosen.rounds)
        if "growth" in chosen.only:
            growth(page, folder)
        if "memory" in chosen.only:
            memory(page, folder)
    page.not_measured(
        [
            "Files on a network file system or an object store, and archives: there the network limits the speed.",
            "More than two workers, more than one machine.",
            "Files that are not in the page cache.",
        ]
    )
    page.write(chosen.output)


if __name__ == "__main__":
    main()
