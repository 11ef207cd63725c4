"""Results as JSON Lines: a file for each table and a line for each result, filled by any number of processes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from foundation.common.errors import FoundationError
from foundation.common.files.locks import file_lock, write_whole

SUFFIX = ".jsonl"


def read_results(table: Path) -> list[dict[str, Any]]:
    """Return the results of a table, in the order of its lines; an empty list if there is no such file.

    Args:
        table: a JSON Lines file.

    Raises:
        FoundationError: if a line is not a JSON object. The message names the file and the line.
    """
    if not table.is_file():
        return []
    results = []
    for number, line in enumerate(table.read_text().splitlines(), 1):
        try:
            result = json.loads(line)
        except ValueError as error:
            raise FoundationError(f"{table}, line {number}, is not a result ({error}): {_REMOVE}") from error
        if not isinstance(result, dict):
            raise FoundationError(f"{table}, line {number}, is not a result (not a JSON object): {_REMOVE}")
        results.append(result)
    return results


def put_result(table: Path, result: dict[str, Any], key: Sequence[str]) -> None:
    """Write a result into its table, in place of an earlier one with the same key.

    The file is replaced under a lock, so readers never see half a line, and processes that fill one table at the same
    time lose no lines. Lines are sorted by their key.

    Args:
        table: a JSON Lines file; the file and its folder are created if missing.
        result: JSON values.
        key: the fields that identify a result.

    Example:
        >>> import tempfile
        >>> table = Path(tempfile.mkdtemp()) / "table.jsonl"
        >>> for seed, score in ((1, 0.5), (0, 0.25), (1, 0.75)):
        ...     put_result(table, {"row": "linear", "seed": seed, "score": score}, key=("row", "seed"))
        >>> [(result["seed"], result["score"]) for result in read_results(table)]
        [(0, 0.25), (1, 0.75)]
    """
    table.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(table.with_name(f".{table.name}.lock")):
        kept = {_key(other, key): other for other in read_results(table)}
        kept[_key(result, key)] = result
        lines = [json.dumps(kept[k]) + "\n" for k in sorted(kept)]
        write_whole(table, "".join(lines).encode())


_REMOVE = "remove the line, and its run is repeated"


def _key(result: dict[str, Any], key: Sequence[str]) -> tuple[Any, ...]:
    return tuple(result[name] for name in key)
