"""Codec, chunk and shard of the store's arrays: stored size, writing, reading all, reading a random part.

    python benchmarks/store_layout.py                 # prints the tables
    python benchmarks/store_layout.py --page docs/benchmarks/store-layout.md

Candidates take turns in every round, so that a slow moment of the machine falls on all; figures are medians over
rounds. Needs `pip install -e '.[bench]'`. Real recordings are measured where $FOUNDATION_DATA names their folder.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, ZstdCodec
from zarr.codecs.numcodecs import Delta, PCodec

from foundation.store.blocks import to_blocks
from foundation.store.recording import Spikes
from foundation.store.ticks import to_ticks

PIPELINES = {"zarr": "zarr.core.codec_pipeline.BatchedCodecPipeline", "zarrs": "zarrs.ZarrsCodecPipeline"}
PARTS = 40  # random parts that are read in a round
PAGE_HEAD = """# Codec, chunk and shard of the store

Made by `{command}` (`--page` writes this page anew). {hardware}. {versions}.
Medians of {rounds} rounds in which the candidates take turns; warm page cache; one thread asks.
MB are 10^6 bytes of decoded data; `MB/s` are decoded bytes a second. A *part* is what the loader asks for: the rows of
one block of about 10^5 spikes of all units, or 10 s of samples, at a random place.

"""


@dataclass(frozen=True)
class Layout:
    """How an array is stored. ``codec`` is a name of `codecs`; chunk is rows; a shard holds ``shard`` chunks."""

    codec: str
    chunk: int
    shard: int = 64
    pipeline: str = "zarr"

    def __str__(self) -> str:
        pipeline = "" if self.pipeline == "zarr" else f", {self.pipeline}"
        shard = "no shard" if self.shard == 1 else f"{self.shard} a shard"
        return f"{self.codec}, {self.chunk:,} rows, {shard}{pipeline}"


@dataclass(frozen=True)
class Data:
    """An array to store, and the ranges of rows that a reader asks for."""

    name: str
    arrays: list[np.ndarray]
    parts: list[tuple[int, int, int]]  # array, first row, last row
    itemsize: str


def codecs(name: str, dtype: np.dtype) -> dict[str, Any]:
    """Arguments of `zarr.create_array`."""
    blosc = {
        "blosc-zstd5-shuffle": ("zstd", 5, "shuffle"),
        "blosc-zstd1-shuffle": ("zstd", 1, "shuffle"),
        "blosc-zstd3-shuffle": ("zstd", 3, "shuffle"),
        "blosc-zstd5-bitshuffle": ("zstd", 5, "bitshuffle"),
        "blosc-zstd1-bitshuffle": ("zstd", 1, "bitshuffle"),
        "blosc-zstd9-bitshuffle": ("zstd", 9, "bitshuffle"),
        "blosc-lz4-bitshuffle": ("lz4", 5, "bitshuffle"),
    }
    filters = []
    if name.startswith("delta+"):
        # Differences of floats do not give the floats back bit for bit.
        filters, name = [Delta(dtype=dtype.str)] if dtype.kind in "iu" else [], name.removeprefix("delta+")
    if name in blosc:
        cname, level, shuffle = blosc[name]
        return {"filters": filters, "compressors": BloscCodec(cname=cname, clevel=level, shuffle=shuffle)}
    if name.startswith("zstd"):
        return {"filters": filters, "compressors": ZstdCodec(level=int(name.removeprefix("zstd")))}
    if name == "pcodec":
        return {"serializer": PCodec(level=8, mode_spec="auto", delta_spec="auto"), "compressors": None}
    raise ValueError(name)


def write(folder: Path, data: Data, layout: Layout) -> None:
    for i, array in enumerate(data.arrays):
        chunk = (min(layout.chunk, len(array)), *array.shape[1:])
        shard = (chunk[0] * min(layout.shard, -(-len(array) // chunk[0])), *array.shape[1:])
        stored = zarr.create_array(
            str(folder / str(i)),
            shape=array.shape,
            dtype=array.dtype,
            chunks=chunk,
            shards=shard if layout.shard > 1 and shard != chunk else None,
            fill_value=0,
            overwrite=True,
            **codecs(layout.codec, array.dtype),
        )
        stored[...] = array


def measure(data: Data, layouts: list[Layout], rounds: int) -> list[dict[str, Any]]:
    """A row per layout; each layout's bytes are checked against the array."""
    times: dict[Layout, dict[str, list[float]]] = {layout: {"write": [], "all": [], "part": []} for layout in layouts}
    sizes, rng = {}, np.random.default_rng(0)
    n_values = sum(a.size for a in data.arrays)
    with tempfile.TemporaryDirectory() as root:
        for round_ in range(rounds + 1):  # the first one warms up
            parts = [data.parts[i] for i in rng.integers(len(data.parts), size=PARTS)]
            for number, layout in enumerate(layouts):
                zarr.config.set({"codec_pipeline.path": PIPELINES[layout.pipeline]})
                folder = Path(root) / str(number)
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                took = {"write": timed(lambda: write(folder, data, layout))}  # noqa: B023
                opened = [zarr.open_array(str(folder / str(i)), mode="r") for i in range(len(data.arrays))]
                if round_ == 0:
                    for array, stored in zip(data.arrays, opened, strict=True):
                        np.testing.assert_array_equal(array, stored[...])
                    sizes[layout] = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
                    continue
                took["all"] = timed(lambda: [a[...] for a in opened])  # noqa: B023
                took["part"] = timed(lambda: [opened[i][a:b] for i, a, b in parts]) / PARTS  # noqa: B023
                for key, seconds in took.items():
                    times[layout][key].append(seconds)
    megabytes = sum(a.nbytes for a in data.arrays) / 1e6
    part_rows = []
    for layout in layouts:
        median = {key: statistics.median(values) for key, values in times[layout].items()}
        part_rows.append(
            {
                "layout": str(layout),
                f"bytes a {data.itemsize}": f"{sizes[layout] / n_values:.2f}",
                "write MB/s": f"{megabytes / median['write']:.0f}",
                "read all MB/s": f"{megabytes / median['all']:.0f}",
                "read a part ms": f"{1e3 * median['part']:.2f}",
            }
        )
    return part_rows


def timed(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def simulated_spikes(n_units: int = 163, seconds: float = 600.0, rate: float = 5.0) -> Iterator[Spikes]:
    """Eight populations of Poisson units of log-normal rates whose mean is ``rate``, sampled at 30 kHz."""
    for seed in range(8):
        rng = np.random.default_rng(seed)
        rates = rng.lognormal(0, 1, n_units)
        rates *= rate / rates.mean()
        counts = rng.poisson(rates * seconds)
        yield Spikes.from_trains([np.sort(np.rint(rng.uniform(0, seconds, n) * 3e4)) / 3e4 for n in counts])


def spikes_data(name: str, recordings: list[Spikes]) -> Data:
    """Ticks as the store holds them, where their times lie on a grid; a part is a block."""
    arrays, parts = [], []
    for i, spikes in enumerate(recordings):
        blocks = to_blocks(spikes)
        exact = to_ticks(blocks.times)
        arrays.append(blocks.times if exact is None else exact[0].astype(np.int32))
        parts += [(i, int(row[0]), int(row[-1])) for row in blocks.offsets if row[-1] > row[0]]
    return Data(f"{name} ({', '.join(sorted({str(a.dtype) for a in arrays}))})", arrays, parts, "spike")


def sampled_data(name: str, array: np.ndarray, rows: int) -> Data:
    """Samples; a part is ``rows`` of them."""
    starts = np.linspace(0, max(len(array) - rows, 0), 500).astype(int)
    return Data(f"{name} {array.shape} {array.dtype}", [array], [(0, int(a), int(a) + rows) for a in starts], "value")


def calcium(n_units: int = 500, n_frames: int = 30_000) -> np.ndarray:
    """dF/F of units with events that decay within a second at 30 Hz, and noise: ``(T, N)`` float32."""
    from scipy.signal import lfilter

    rng = np.random.default_rng(0)
    events = rng.poisson(0.01, (n_frames, n_units)) * rng.exponential(0.5, (n_frames, n_units))
    return (lfilter([1], [1, -0.96], events, axis=0) + rng.normal(0, 0.05, events.shape)).astype(np.float32)


def real_data(folder: Path) -> Iterator[Data]:
    from ingest.nwb import read_nwb

    def read(name: str) -> list[Any]:
        return [r for p in sorted((folder / "nwb" / name).rglob("*.nwb")) if hasattr(r := read_nwb(str(p)), "units")]

    tracks = read("rat-track")
    yield spikes_data("rat-track", [r.spikes for r in tracks])
    yield spikes_data("optotagged, 8 files", [r.spikes for r in read("optotagged")[:8]])
    series = next(iter(tracks[-1].behavior.values()))
    yield sampled_data("rat-track position", np.ascontiguousarray(series.data), 600)
    yield sampled_data("rat-track position's timestamps", series.timestamps, 600)
    yield sampled_data("sleep counts", np.ascontiguousarray(read("sleep")[0].activity.data), 10)


SPIKE_CODECS = (
    "zstd3", "blosc-zstd1-shuffle", "blosc-zstd3-shuffle", "blosc-zstd5-shuffle", "blosc-zstd5-bitshuffle",
    "delta+zstd3", "delta+blosc-zstd1-shuffle", "delta+blosc-zstd5-shuffle", "delta+blosc-zstd5-bitshuffle", "delta+blosc-zstd9-bitshuffle",
    "delta+blosc-lz4-bitshuffle", "pcodec",
)  # fmt: skip
SAMPLE_CODECS = (
    "zstd3", "blosc-zstd1-shuffle", "blosc-zstd5-shuffle", "blosc-zstd1-bitshuffle", "blosc-zstd5-bitshuffle", "blosc-lz4-bitshuffle",
    "pcodec",
)  # fmt: skip


def tables(rounds: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    simulated = spikes_data("simulated spikes, 8 x 163 units x 600 s x 5 Hz", list(simulated_spikes()))
    yield f"Codecs: {simulated.name}", measure(simulated, [Layout(c, 1 << 17) for c in SPIKE_CODECS], rounds)
    chosen = "blosc-zstd5-shuffle"
    chunks = [Layout(chosen, 1 << n) for n in (14, 15, 16, 17, 18)]
    yield f"Chunks: {simulated.name}", measure(simulated, [*chunks, Layout(chosen, 1 << 17, 1)], rounds)
    both = [
        Layout(c, n, 64, p)
        for c in ("zstd3", chosen, "delta+blosc-zstd5-shuffle", "pcodec")
        for n in (1 << 17,)
        for p in PIPELINES
    ]
    yield f"Pipelines: {simulated.name}", measure(simulated, both, rounds)
    dff = calcium()
    rows = [n // (dff.itemsize * dff.shape[1]) for n in (1 << 18, 1 << 20, 1 << 22)]
    layouts = [Layout(c, rows[1]) for c in SAMPLE_CODECS]
    layouts += [Layout("blosc-zstd5-shuffle", n) for n in (rows[0], rows[2])]
    yield "simulated dF/F", measure(sampled_data("simulated dF/F", dff, 300), layouts, rounds)
    folder = os.environ.get("FOUNDATION_DATA")
    if folder:
        for data in real_data(Path(folder)):
            spikes = data.itemsize == "spike"
            yield (
                data.name,
                measure(data, [Layout(c, 1 << 17) for c in (SPIKE_CODECS if spikes else SAMPLE_CODECS)], rounds),
            )


def markdown(title: str, rows: list[dict[str, Any]]) -> str:
    lines = [f"## {title}", "", "| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    return "\n".join([*lines, *("| " + " | ".join(row.values()) + " |" for row in rows), ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--page", type=Path, help="write this markdown page")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", module="zarr")
    warnings.filterwarnings("ignore", module="zarrs")
    names = ("zarr", "numcodecs", "numpy", "pcodec", "zarrs")
    text = PAGE_HEAD.format(
        command="python benchmarks/store_layout.py",
        hardware=f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        versions=", ".join(f"{name} {version(name)}" for name in names),
        rounds=arguments.rounds,
    )
    for title, rows in tables(arguments.rounds):
        table = markdown(title, rows)
        sys.stdout.write(table + "\n")
        sys.stdout.flush()
        text += table + "\n"
    if arguments.page:
        arguments.page.parent.mkdir(parents=True, exist_ok=True)
        arguments.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
