"""Codec, chunk and shard of the store's arrays: stored size, writing, reading all, reading a random part.

    python benchmarks/store_layout.py                 # writes docs/benchmarks/store-layout.md
    python benchmarks/store_layout.py --rounds 2 --page /tmp/page.md

Needs `pip install -e '.[bench,ingest]'`. Real recordings are measured where $FOUNDATION_DATA names their folder.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from harness import Page, in_turns
from store_data import Data, calcium, real_data, sampled_data, simulated_spikes, spikes_data
from zarr.codecs import BloscCodec, ZstdCodec
from zarr.codecs.numcodecs import Delta, PCodec

from foundation.store.format.spike_blocks import SPIKES_PER_BLOCK

PIPELINES = {"zarr": "zarr.core.codec_pipeline.BatchedCodecPipeline", "zarrs": "zarrs.ZarrsCodecPipeline"}
PARTS = 40  # random parts that are read in a round
WHAT = """MB are 10^6 decoded bytes. A *part* is what the loader asks for: one block of spikes of all units, or 10 s of
samples, at a random place. Figures are medians of {rounds} rounds in which the candidates take turns, on a warm page
cache. Bits are shuffled only where `bitshuffle` says so; the number is zstd's level."""
CHOICE = """Chosen (`foundation/store/format/zarr_arrays.py`): blosc with zstd and shuffled bytes, level 2, for integers
(ticks, counts, codes), and with shuffled bits, level 5, for floats; chunks of 65,536 rows, which are one block of
spikes, and of at most 512 KiB; 64 chunks a shard.

- pcodec makes spikes a fifth to three tenths smaller and time stamps a third as large. It is not used: the Zarr v3
  specification does not list it, and a reader would need one more package. blosc is part of the specification, and
  every Zarr v3 reader decodes it.
- Differences (`delta+`) make spikes an eighth to a quarter smaller. They are not in the specification either, are
  slower to read, rule out the faster pipeline, and do not restore floats bit for bit.
- Level 2 writes integers 1.4 to 1.6 times as fast as level 5 and up to a tenth faster than level 3, for three to eight
  percent of size against 5 and none to five against 3. Shuffled bits beat shuffled bytes for sampled floats in size,
  and are hardly slower.
- Against one file a chunk, a shard costs about half a millisecond a part and makes 64 times fewer objects.
- The pipeline of `zarrs` reads a part in about half the time. The bytes are the same, so a reader may use it
  (`zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"})`); the store does not need it."""


@dataclass(frozen=True)
class Layout:
    """How an array is stored. ``codec`` is a name of `codecs`; chunk is rows; a shard holds ``shard`` chunks."""

    codec: str
    chunk: int
    shard: int = 64
    pipeline: str = "zarr"


def codecs(name: str, dtype: np.dtype) -> dict[str, Any]:
    """Return arguments of `zarr.create_array`."""
    # Differences of floats do not give the floats back bit for bit.
    filters = [Delta(dtype=dtype.str)] if name.startswith("delta+") and dtype.kind in "iu" else []
    name = name.removeprefix("delta+")
    if name.startswith("blosc"):
        _, cname, shuffle = name.split("-")
        level = 5 if cname == "lz4" else int(cname[-1])
        blosc = BloscCodec(cname="lz4" if cname == "lz4" else "zstd", clevel=level, shuffle=shuffle)
        return {"filters": filters, "compressors": blosc}
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


def measure(page: Page, data: Data, layouts: list[Layout], rounds: int) -> None:
    """Return a table with a row per layout; each layout's bytes are checked against the arrays."""
    n_values, megabytes = sum(a.size for a in data.arrays), sum(a.nbytes for a in data.arrays) / 1e6
    with tempfile.TemporaryDirectory() as root:
        folders = {layout: Path(root) / str(number) for number, layout in enumerate(layouts)}
        sides: dict[str, Callable[[], Any]] = {}
        for layout, folder in folders.items():
            sides[f"write {layout}"] = partial(timed_write, folder, data, layout)
            sides[f"all {layout}"] = partial(timed_read, folder, data, layout, None)
            sides[f"part {layout}"] = partial(timed_read, folder, data, layout, np.random.default_rng(0))
        seconds = {name: float(np.median(times)) for name, times in in_turns(sides, rounds=rounds).items()}
        rows = []
        for layout, folder in folders.items():
            for array, stored in zip(data.arrays, opened(folder, data, layout), strict=True):
                np.testing.assert_array_equal(array, stored[...])
            size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
            speeds = [megabytes / seconds[f"{what} {layout}"] for what in ("write", "all")]
            part = 1e3 * seconds[f"part {layout}"] / PARTS
            rows.append([layout.codec, layout.chunk, layout.shard, layout.pipeline, size / n_values, *speeds, part])
    page.say(data.name)
    head = ["codec", "rows a chunk", "chunks a shard", "pipeline", f"bytes a {data.item}"]
    page.table([*head, "write MB/s", "read all MB/s", "read a part, ms"], rows)


def opened(folder: Path, data: Data, layout: Layout) -> list[zarr.Array]:
    zarr.config.set({"codec_pipeline.path": PIPELINES[layout.pipeline]})
    return [zarr.open_array(str(folder / str(i)), mode="r") for i in range(len(data.arrays))]


def timed_write(folder: Path, data: Data, layout: Layout) -> float:
    zarr.config.set({"codec_pipeline.path": PIPELINES[layout.pipeline]})
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    began = time.perf_counter()
    write(folder, data, layout)
    return time.perf_counter() - began


def timed_read(folder: Path, data: Data, layout: Layout, rng: np.random.Generator | None) -> float:
    """Read all, or random parts if there is something to draw them with."""
    arrays = opened(folder, data, layout)
    parts = [(i, 0, len(a)) for i, a in enumerate(data.arrays)]
    if rng is not None:
        parts = [data.parts[k] for k in rng.integers(len(data.parts), size=PARTS)]
    began = time.perf_counter()
    for i, first, last in parts:
        arrays[i][first:last]
    return time.perf_counter() - began


SPIKE_CODECS = [
    "zstd3",
    *[f"blosc-zstd{level}-shuffle" for level in (1, 2, 3, 5)],
    "blosc-zstd5-bitshuffle",
    "blosc-lz4-bitshuffle",
    "delta+zstd3",
    *[f"delta+blosc-zstd{level}-shuffle" for level in (1, 2, 3, 5)],
    "delta+blosc-zstd5-bitshuffle",
    "delta+blosc-lz4-bitshuffle",
    "pcodec",
]
SAMPLE_CODECS = [
    "zstd3",
    *[f"blosc-zstd{level}-{shuffle}" for shuffle in ("shuffle", "bitshuffle") for level in (1, 2, 3, 5)],
    "blosc-lz4-bitshuffle",
    "pcodec",
]


def fill(page: Page, rounds: int) -> None:
    block = SPIKES_PER_BLOCK
    simulated = spikes_data("8 simulated populations of 163 units, 600 s, 5 Hz a unit", list(simulated_spikes()))
    page.heading("Codecs, spikes")
    measure(page, simulated, [Layout(c, block) for c in SPIKE_CODECS], rounds)
    chosen = "blosc-zstd2-shuffle"
    page.heading("Chunks and shards, spikes")
    chunks = [Layout(chosen, n) for n in (block // 4, block // 2, block, 2 * block, 4 * block)]
    measure(page, simulated, [*chunks, Layout(chosen, block, 1)], rounds)
    page.heading("Pipelines, spikes")
    both = [Layout(c, block, 64, p) for c in ("zstd3", chosen, f"delta+{chosen}", "pcodec") for p in PIPELINES]
    measure(page, simulated, both, rounds)
    page.heading("Sampled activity")
    dff = calcium()
    rows = [n // (dff.itemsize * dff.shape[1]) for n in (1 << 17, 1 << 19, 1 << 21)]
    layouts = [Layout(c, rows[1]) for c in SAMPLE_CODECS]
    layouts += [Layout("blosc-zstd5-bitshuffle", n) for n in (rows[0], rows[2])]
    measure(page, sampled_data("simulated dF/F", dff, 300), layouts, rounds)
    left_out = ["a cold cache, and object stores", "the memory of each codec", "other processors"]
    folder = os.environ.get("FOUNDATION_DATA")
    if folder:
        page.heading("Real recordings ($FOUNDATION_DATA)")
        for data in real_data(Path(folder)):
            codecs_ = SPIKE_CODECS if data.item == "spike" else SAMPLE_CODECS
            if data.arrays[0].dtype.kind == "f":
                codecs_ = [name for name in codecs_ if not name.startswith("delta+")]
            measure(page, data, [Layout(c, block) for c in codecs_], rounds)
    else:
        left_out.append("real recordings: $FOUNDATION_DATA was not set")
    page.not_measured(left_out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--page", default="docs/benchmarks/store-layout.md", help="where the page goes")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    packages = ("zarr", "numcodecs", "numpy", "pcodec", "zarrs")
    page = Page(
        "Codec, chunk and shard of the store",
        f"python benchmarks/store_layout.py --rounds {arguments.rounds}",
        packages,
    )
    page.say(WHAT.format(rounds=arguments.rounds))
    page.say(CHOICE)
    fill(page, arguments.rounds)
    page.write(arguments.page)


if __name__ == "__main__":
    main()
