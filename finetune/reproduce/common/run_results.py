"""Results of a table's runs, and their recordings.

A run is a line of a JSON Lines file, so a table can be filled over days and resumed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from foundation.common.digests import json_digest
from foundation.common.errors import ConfigError, FoundationError
from foundation.common.files.jsonl_results import SUFFIX, put_result, read_results
from foundation.evaluation.confidence_intervals import mean_interval
from foundation.store.catalog import Catalog
from foundation.store.stored import StoredRecording


def find_recording(catalog: Catalog, subject: str) -> StoredRecording:
    """Return the only recording of an animal.

    Raises:
        ConfigError: if the store has none or several.
    """
    found = [recording for recording in catalog if recording.subject.id == subject]
    if len(found) != 1:
        raise ConfigError(f"the store has {len(found)} recordings of subject {subject!r}: expected one")
    return found[0]


def source_digest(recording: StoredRecording) -> str:
    """Return the digest of a recording's source file, which does not depend on the store's schema or a recipe."""
    return recording.record.source.digest or recording.record.digest


@dataclass(frozen=True)
class RunResult:
    """The result of one run.

    Args:
        name: of the row.
        seed: of the run.
        key: digest of everything that affects the figures.
        config: configuration of the run.
        digests: of the data.
        accuracy: share of time steps classified correctly; for decoded behaviour the primary metric, R² or balanced
            accuracy.
        right_R: that share for each test trial; empty for decoded behaviour, whose sums over trials are in ``detail``.
        detail: further values (epochs, validation figures, seconds).
    """

    name: str
    seed: int
    key: str
    config: dict[str, Any]
    digests: dict[str, str]
    accuracy: float
    right_R: list[float]
    detail: dict[str, Any] = field(default_factory=dict)


def key_of(config: dict[str, Any], digests: dict[str, str]) -> str:
    """Return the digest of everything that affects a run's figures.

    Example:
        >>> key_of({"a": 1}, {}) == key_of({"a": 1}, {}), len(key_of({"a": 1}, {}))
        (True, 16)
    """
    return json_digest([config, digests])[:16]


def run_once(
    table: Path, name: str, seed: int, config: dict[str, Any], digests: dict[str, str], run: Callable[[], RunResult]
) -> RunResult:
    """Return the result of an earlier run with the same key, or make the run and append its result.

    Raises:
        FoundationError: if the table has a result with that name and seed but another key.
    """
    key = key_of(config, digests)
    for found in read_all(table).get(name, []):
        if found.seed == seed:
            if found.key != key:
                raise FoundationError(
                    f"{name}, seed {seed}, of {table} was made with other settings or data: move the file away, "
                    "or give another output"
                )
            return found
    result = run()
    put_result(table, asdict(result), key=("name", "seed"))
    return result


def tables_of(folder: Path) -> list[Path]:
    """Return the tables of a folder, sorted by name.

    Raises:
        FoundationError: if the folder holds results in the old format, a folder of JSON files per table.
    """
    former = sorted(folder.glob("*/*-seed*.json")) if folder.is_dir() else []
    if former:
        raise FoundationError(
            f"{former[0]} is a result of an earlier version: expected one {SUFFIX} file per table in {folder}; "
            "join the JSON files of each folder, one per line, or give another output"
        )
    return sorted(folder.glob(f"*{SUFFIX}"), key=lambda table: table.stem)


def finished(tables: Path, name: str, seed: int, key: str) -> RunResult | None:
    """Return the result of a run with that key from any table of the folder, or None."""
    found = (result for table in tables_of(tables) for result in read_all(table).get(name, []) if result.seed == seed)
    return next((result for result in found if result.key == key), None)


def read_all(table: Path) -> dict[str, list[RunResult]]:
    """Return all results of a table by row, sorted by seed.

    Raises:
        FoundationError: if a line is not a result.
    """
    rows: dict[str, list[RunResult]] = {}
    for number, line in enumerate(read_results(table), 1):
        try:
            result = RunResult(**line)
        except TypeError as error:
            raise FoundationError(
                f"{table}, line {number}, is not a result ({error}): remove the line to make its run again"
            ) from error
        rows.setdefault(result.name, []).append(result)
    return {name: sorted(found, key=lambda r: r.seed) for name, found in rows.items()}


def right_by_part(results: list[RunResult]) -> np.ndarray:
    """Return ``(R,)`` the accuracy of each test trial or network, averaged over seeds.

    Example:
        >>> right_by_part([RunResult("a", seed, "", {}, {}, 0.5, [0.0, seed]) for seed in (0, 1)]).tolist()
        [0.0, 0.5]
    """
    return np.mean([result.right_R for result in results], axis=0)


def same_seeds(ours: list[RunResult], theirs: list[RunResult]) -> tuple[list[RunResult], list[RunResult]]:
    """Return the runs of the seeds that two rows share; all runs, where the second row has only one.

    Example:
        >>> runs = [RunResult("a", seed, "", {}, {}, 0.5, []) for seed in (0, 1)]
        >>> [[run.seed for run in row] for row in same_seeds(runs[1:], runs)]
        [[1], [1]]
        >>> [[run.seed for run in row] for row in same_seeds(runs, runs[:1])]
        [[0, 1], [0]]
    """
    if len(theirs) == 1:
        return ours, theirs
    seeds = {run.seed for run in ours} & {run.seed for run in theirs}
    return [run for run in ours if run.seed in seeds], [run for run in theirs if run.seed in seeds]


def trial_interval(results: list[RunResult]) -> tuple[float, float]:
    """Return the 95 % interval of the mean over seeds, by a bootstrap over test trials or networks."""
    return mean_interval(right_by_part(results))
