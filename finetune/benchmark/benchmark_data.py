"""The recordings of a benchmark: files of the data folder or a simulation, read into a store of the cache."""

from __future__ import annotations

from pathlib import Path

from finetune.benchmark.benchmark_settings import Benchmark
from foundation.common.errors import ConfigError
from foundation.store.input_store import ingested, simulated


class MissingDataError(ConfigError):
    """A benchmark whose recordings are not in the data folder."""


def find_files(name: str, benchmark: Benchmark, data: str) -> Path | None:
    """Return the place of a benchmark's recordings: a file, a folder or a glob; None if they are simulated.

    Args:
        name: of the benchmark, for messages.
        benchmark: says where in the data folder its files are.
        data: folder of the recordings.

    Raises:
        MissingDataError: if there is no such folder or file.
    """
    if benchmark.simulate:
        return None
    root = Path(data)
    how = f"; {how_to_get(benchmark)}" if benchmark.download else ""
    if not data or not root.is_dir():
        raise MissingDataError(f"data is {data!r}: expected a folder with {benchmark.files} for benchmark {name}{how}")
    if not any(root.glob(benchmark.files)):
        raise MissingDataError(f"data is {data!r} without {benchmark.files}: benchmark {name} needs them{how}")
    return root / benchmark.files


def how_to_get(benchmark: Benchmark) -> str:
    """Return how the files of a benchmark are fetched, as the end of a sentence."""
    if benchmark.dandiset:
        return f"fetch them with `dandi download DANDI:{benchmark.dandiset} -o FOLDER`"
    return f"get them from {benchmark.source}"


def store_of(name: str, benchmark: Benchmark, data: str) -> str:
    """Return a store with the recordings of a benchmark, made in the cache if it is not there.

    Args:
        name: of the benchmark.
        benchmark: what it needs.
        data: folder of the recordings.

    Raises:
        MissingDataError: if the files are missing.
        SourceError: if none of them can be read.
    """
    place = find_files(name, benchmark, data)
    given = str(place) if place is not None else simulated(benchmark.simulate)
    return ingested(given, benchmark.recipe)
