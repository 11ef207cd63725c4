"""Runs of a table: one small JSON file each, so that a table fills up over days and a stopped one goes on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from foundation.errors import FoundationError


@dataclass(frozen=True)
class RunResult:
    """What one run says.

    Args:
        name: of the row.
        seed: of the run.
        key: digest of everything that decides the figures.
        config: what was asked for.
        digests: of the data.
        accuracy: share of time steps told.
        right_R: that share for each test trial.
        detail: what else is to be known (epochs, validation figures, seconds).
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
    """Digest of what decides a run's figures.

    Example:
        >>> key_of({"a": 1}, {}) == key_of({"a": 1}, {}), len(key_of({"a": 1}, {}))
        (True, 16)
    """
    whole = json.dumps([config, digests], sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


def run_once(
    folder: Path, name: str, seed: int, config: dict[str, Any], digests: dict[str, str], run: Callable[[], RunResult]
) -> RunResult:
    """The result of an earlier run with the same key, or of ``run``, written to ``folder``.

    Raises:
        FoundationError: if there is a result of that name with another key: it is not written over.
    """
    path = folder / f"{name}-seed{seed}.json"
    key = key_of(config, digests)
    if path.is_file():
        found = read(path)
        if found.key != key:
            raise FoundationError(
                f"{path} is of another configuration or other data: move it away, or give another output"
            )
        return found
    result = run()
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(asdict(result), indent=1) + "\n")
    os.replace(part, path)
    return result


def read(path: Path) -> RunResult:
    """A result from its file.

    Raises:
        FoundationError: if it is damaged.
    """
    try:
        return RunResult(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise FoundationError(f"{path} is not a result: {error}; remove it to run it again") from error


def finished(tables: Path, name: str, seed: int, key: str) -> RunResult | None:
    """The result of a run with that key in any of the tables, one folder each, if one of them has it."""
    found = (read(path) for path in sorted(tables.glob(f"*/{name}-seed{seed}.json")))
    return next((result for result in found if result.key == key), None)


def read_all(folder: Path) -> dict[str, list[RunResult]]:
    """All results of a folder by row, sorted by seed."""
    rows: dict[str, list[RunResult]] = {}
    for path in sorted(folder.glob("*-seed*.json")):
        result = read(path)
        rows.setdefault(result.name, []).append(result)
    return {name: sorted(found, key=lambda r: r.seed) for name, found in rows.items()}


def trial_interval(results: list[RunResult], resamples: int = 10_000) -> tuple[float, float]:
    """95 % interval of the mean over seeds, by a bootstrap over test trials.

    Example:
        >>> same = RunResult("a", 0, "", {}, {}, 0.5, [0.0, 1.0] * 50)
        >>> low, high = trial_interval([same])
        >>> bool(0.38 < low < 0.42 and 0.58 < high < 0.62)
        True
    """
    right_R = np.mean([result.right_R for result in results], axis=0)
    n = len(right_R)
    weights = np.random.default_rng(n).multinomial(n, np.full(n, 1 / n), size=resamples) / n
    low, high = np.percentile(weights @ right_R, (2.5, 97.5))
    return float(low), float(high)
