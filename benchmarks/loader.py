"""Windows a second of the loader, against torch_brain and against slices of counts in memory.

    python benchmarks/loader.py                                     # writes docs/benchmarks/loader.md
    python benchmarks/loader.py --rounds 3 --page /tmp/loader.md    # a rough look

Random windows of 1 s binned at 10 ms from 8 recordings of 163 units, 600 s, 5 Hz a unit; one thread, except where
workers are named. Needs `pip install -e '.[bench,interop,dev]'`. Real recordings are read where $FOUNDATION_DATA names
their folder.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import one_thread  # noqa: F401 - before numpy
import torch
from harness import Page, Ratio, in_turns, ratio_of
from loader_sides import BATCH, BIN, DURATION, Slices, Steps, TorchBrain, forget, write_both

from foundation.data import BlockSampler, Loader, RandomSampler, Sampler, block_spans, sampling_intervals
from foundation.data.shuffle_quality import distance_from_uniform, places_in_batches
from foundation.store import Catalog, Store, write_recording

WINDOW = {"duration": DURATION, "bin_width": BIN, "seed": 0}
PACKAGES = ("numpy", "numba", "torch", "zarr", "numcodecs", "torch_brain", "h5py")
BUFFER = 2


def rate(seconds: Any, batches: int) -> float:
    """Return windows a second: the median over rounds."""
    return BATCH * batches / float(torch.as_tensor(seconds).median())


def verdict(ratio: Ratio, target: float) -> str:
    """Return whether a claim holds, by the lower end of its interval."""
    return f"{ratio} times: at least {target:g} {'holds' if ratio.holds(target) else 'does not hold'}"


def uniform(catalog: Catalog) -> RandomSampler:
    return RandomSampler(intervals=sampling_intervals(catalog), **WINDOW)


def aligned(catalog: Catalog, buffer: int = BUFFER) -> BlockSampler:
    intervals, blocks = sampling_intervals(catalog), block_spans(catalog)
    return BlockSampler(intervals=intervals, blocks=blocks, buffer=buffer, jitter=True, **WINDOW)


def alone(catalog: Catalog, sampler: Sampler, cache_bytes: int = 1 << 30) -> Steps:
    """Return a loader without thread or workers, compiled and with its recordings open."""
    steps = Steps(Loader(catalog, sampler, batch_size=BATCH, prefetch=0, cache_bytes=cache_bytes))
    steps(1)
    return steps


def shares(steps: Steps, batches: int) -> str:
    """Return the share of time of each part."""
    spent = steps.loader.reader.seconds
    spent.update(dict.fromkeys(spent, 0.0))
    whole = steps(batches)
    parts = [f"{name} {100 * seconds / whole:.0f} %" for name, seconds in spent.items()]
    return ", ".join([*parts, f"drawing windows and the iterator {100 * (1 - sum(spent.values()) / whole):.0f} %"])


def warm(page: Page, folder: Path, catalog: Catalog, rounds: int) -> int:
    """Measure with all blocks in the cache; return the bytes of all decoded blocks."""
    page.heading("The working set fits the cache")
    steps = alone(catalog, uniform(catalog))
    for _ in range(30):
        steps(10)  # until every block is decoded
    sides = {"loader": (steps, 100), "torch_brain": (TorchBrain(folder / "torch_brain"), 2)}
    sides |= {"slices (N, T)": (Slices(catalog, False), 100), "slices (T, N)": (Slices(catalog, True), 100)}
    times = in_turns({name: lambda s=side, n=n: s(n) / n for name, (side, n) in sides.items()}, rounds=rounds)
    page.table(
        ["side", "windows/s", "loader's speed over it (95 % interval)"],
        [
            [name, rate(t, 1), "" if name == "loader" else str(ratio_of(t, times["loader"]))]
            for name, t in times.items()
        ],
    )
    page.say(f"- over torch_brain: {verdict(ratio_of(times['torch_brain'], times['loader']), 40)}")
    page.say(
        f"- over slices that give the same `x_BNT`: {verdict(ratio_of(times['slices (N, T)'], times['loader']), 1)}"
    )
    page.say(
        "`slices (N, T)` gives what the loader gives, `(B, N, T)` and a mask, but only windows on the grid of bins; "
        "`slices (T, N)` copies one piece of memory for each window and leaves units and time the other way round."
    )
    page.say(f"Of the loader's time: {shares(steps, 300)}.")
    return steps.loader.reader.cache.held


def small_cache(page: Page, folder: Path, catalog: Catalog, held: int, rounds: int) -> None:
    """Measure with a working set of 20 times the cache."""
    page.heading("The working set is 20 times the cache")
    cache = held // 20
    near, far = alone(catalog, aligned(catalog), cache), alone(catalog, uniform(catalog), cache)
    brain = TorchBrain(folder / "torch_brain")
    sides = {"block-aligned": (near, 74), "uniform": (far, 1), "torch_brain": (brain, 2)}
    times = in_turns({name: lambda s=side, n=n: s(n) / n for name, (side, n) in sides.items()}, rounds=rounds)
    over = {name: str(ratio_of(times["torch_brain"], t)) for name, t in times.items() if name != "torch_brain"}
    page.say(f"{held / 1e6:.1f} MB of decoded blocks, a cache of {cache / 1e6:.2f} MB; files are in the page cache.")
    page.table(
        ["order", "windows/s", "speed over torch_brain"], [[n, rate(t, 1), over.get(n, "")] for n, t in times.items()]
    )
    page.say(f"- block-aligned over torch_brain: {verdict(ratio_of(times['torch_brain'], times['block-aligned']), 10)}")
    page.say(f"Of the block-aligned loader's time: {shares(near, 148)}.")


def order(page: Page, catalog: Catalog, cache: int) -> None:
    """Measure windows per decode, and the distance of the order from uniform."""
    page.heading("Windows per decode, and the order")
    n_blocks, rows = sum(len(spans) for spans in block_spans(catalog).values()), []
    for buffer in (1, BUFFER, 8, 32):
        sampler = aligned(catalog, buffer)
        loader = Loader(
            catalog, sampler, batch_size=BATCH, prefetch=0, cache_bytes=max(cache, (buffer + 1) * 65536 * 8)
        )
        windows = sum(len(batch) for batch in loader)
        table = sampler.windows(0, len(sampler))
        found, expected = places_in_batches(table, BATCH, 80.0)
        rows.append(
            [
                f"blocks, buffer {buffer}",
                windows / loader.reader.cache.decodes,
                distance_from_uniform(table),
                found,
                expected,
            ]
        )
    sampler = uniform(catalog)
    steps = alone(catalog, sampler, cache)
    before = steps.loader.reader.cache.decodes
    steps(3)
    table = sampler.windows(0, 4736)
    found, expected = places_in_batches(table, BATCH, 80.0)
    decodes = steps.loader.reader.cache.decodes - before
    rows.append(["uniform", 3 * BATCH / decodes, distance_from_uniform(table), found, expected])
    page.table(["order", "windows per decode", "distance", "places in a batch", "in a uniform batch"], rows)
    page.say(
        f"{n_blocks} blocks, each of 65,536 spikes. Distance: 0 for a uniform order, 1 for the order of time "
        "(`foundation.data.shuffle_quality.distance_from_uniform`: how close together the order keeps windows that are "
        "neighbours in time). Places: different stretches of 80 s in a batch of 64. The cache holds a twentieth of all "
        "blocks, or one block more than the buffer if that is larger. An epoch of this order leaves out the ends of "
        f"blocks that are shorter than a window ({100 * aligned(catalog).left_out:.1f} % of the time, with jitter), "
        "and no window crosses the end of a block; with `RandomSampler` a window can start at every nanosecond."
    )


def workers(page: Page, catalog: Catalog, rounds: int) -> None:
    """Measure a thread, and two processes."""
    page.heading("A background thread, and two worker processes")
    rows = []
    for name, settings in (("a thread ahead", {"prefetch": 2}), ("2 workers", {"workers": 2, "prefetch": 4})):
        for order_name, sampler in (("uniform", uniform(catalog)), ("block-aligned", aligned(catalog, 16))):
            loader = Loader(catalog, sampler, batch_size=BATCH, **settings)
            count, seconds = 200 * max(rounds // 5, 1), []
            began = time.perf_counter()
            for k, _ in enumerate(loader.steps(0, 100 + count)):
                if k == 0:
                    first = time.perf_counter() - began
                if k >= 100:  # started, compiled, and most blocks decoded
                    seconds.append(time.perf_counter())
            rows.append([name, order_name, BATCH * (len(seconds) - 1) / (seconds[-1] - seconds[0]), first])
    page.table(["", "order", "windows/s", "s to the first batch"], rows)
    page.say("One run each; working set in the cache of each worker. Batches travel through shared memory.")


def cold(page: Page, folder: Path, catalog: Catalog, rounds: int) -> None:
    """Measure the first epoch, from the disk and from an object store."""
    page.heading("The first epoch")
    found: dict[str, list[float]] = {"disk, pages dropped": [], "s3 (moto on loopback)": []}
    url, server = on_s3(folder / "store")
    remote = Catalog.open(Store(url))
    for _ in range(max(rounds // 5, 2)):
        for name, where in zip(found, (catalog, remote), strict=True):
            sampler = aligned(where, 16)
            loader = Loader(where, sampler, batch_size=BATCH, prefetch=0)
            forget(folder / "store")
            began = time.perf_counter()
            windows = sum(len(batch) for batch in loader)
            found[name].append(windows / (time.perf_counter() - began))
    server.stop()
    page.table(
        ["from", "windows/s", "epochs"], [[n, float(torch.tensor(v).median()), len(v)] for n, v in found.items()]
    )
    page.say("A new loader each time, block-aligned, buffer 16; opening the recordings is included.")


def on_s3(folder: Path) -> tuple[str, Any]:
    """Return the same store in a bucket that moto serves: its URL, and the server."""
    import boto3
    import fsspec
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ.update(keys | {"AWS_ENDPOINT_URL": f"http://{host}:{port}"})
    boto3.client("s3").create_bucket(Bucket="bench")
    fsspec.filesystem("s3").put(f"{folder}/", "bench/store/", recursive=True)
    return "s3://bench/store", server


def real(page: Page, folder: Path, rounds: int) -> None:
    """Return recordings of $FOUNDATION_DATA, through ingest's own reader."""
    data = os.environ.get("FOUNDATION_DATA")
    if not data:
        page.not_measured(["real recordings: $FOUNDATION_DATA was not set"])
        return
    # A benchmark of the same name in this folder would hide the package.
    sys.path[:] = [place for place in sys.path if Path(place).resolve() != Path(__file__).resolve().parent]
    from ingest.nwb.read_nwb import read_nwb

    page.heading("Real recordings")
    store = Store(folder / "real", create=True)
    for path in sorted((Path(data) / "nwb").rglob("*.nwb")):
        recording = read_nwb(str(path))
        if getattr(recording, "spikes", None) is not None:
            write_recording(store, recording)  # type: ignore[arg-type]
    catalog = Catalog.build(store)
    rows = []
    for name, sampler in (("uniform", uniform(catalog)), ("block-aligned", aligned(catalog, 16))):
        steps = alone(catalog, sampler)
        first = rate(torch.tensor([steps(100)]), 100)
        for _ in range(10):
            steps(100)
        times = in_turns({"loader": lambda s=steps: s(50) / 50}, rounds=rounds)["loader"]
        rows.append([name, first, rate(times, 1), shares(steps, 100)])
    units = sum(r.n_units for r in catalog.records)
    spikes = sum(r.n_spikes for r in catalog.records)
    hours = sum(r.duration for r in catalog.records) / 3600
    page.say(
        f"The {len(catalog)} recordings with spikes of $FOUNDATION_DATA: {units} units, {spikes:,} spikes, "
        f"{hours:.0f} h."
    )
    page.table(["order", "windows/s, first 100 batches", "windows/s, later", "share of time"], rows)
    page.say(
        "Windows are drawn in proportion to observed time, so most of them come from long sessions with one or "
        "few units."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--page", default="docs/benchmarks/loader.md")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="Consolidated metadata")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    page = Page("The loader", "python benchmarks/loader.py", PACKAGES)
    page.say(
        "Random windows of 1 s binned at 10 ms from 8 recordings of 163 units, 600 s, 5 Hz a unit; spikes are binned "
        "when a window is read. Batches of 64 with uint8 counts and mask, through the iterator of `Loader`. One thread "
        f"of one process, except where noted. Sides take turns, {given.rounds} rounds; figures are medians with 95 % "
        "intervals."
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        catalog = write_both(folder)
        held = warm(page, folder, catalog, given.rounds)
        small_cache(page, folder, catalog, held, given.rounds)
        order(page, catalog, held // 20)
        workers(page, catalog, given.rounds)
        cold(page, folder, catalog, given.rounds)
        real(page, folder, given.rounds)
    page.not_measured(
        [
            "a GPU: copies from pinned memory, one batch ahead, are written but were not timed on this machine",
            "a network file system, and S3 over a network",
            "torch_brain with workers, and with its files cold",
            "more than two worker processes",
        ]
    )
    page.write(given.page)


if __name__ == "__main__":
    main()
