"""Results as JSON Lines: several processes fill one table, and damage is named."""

import json
import subprocess
import sys

import pytest

from foundation.common.errors import FoundationError
from foundation.common.files.jsonl_results import put_result, read_results

FILL = """
import sys
from pathlib import Path
from foundation.common.files.jsonl_results import put_result
for seed in range(20):
    put_result(Path(sys.argv[1]), {"name": sys.argv[2], "seed": seed}, key=("name", "seed"))
"""


def test_concurrent_processes_lose_no_line(tmp_path):
    table = tmp_path / "deep" / "table.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", FILL, str(table), name]) for name in ("b", "a")]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert [(line["name"], line["seed"]) for line in read_results(table)] == [(n, s) for n in "ab" for s in range(20)]


def test_result_replaces_only_the_line_with_its_key(tmp_path):
    table = tmp_path / "table.jsonl"
    for seed, score in ((2, 0.1), (1, 0.2), (2, 0.3)):
        put_result(table, {"seed": seed, "score": score}, key=("seed",))
    assert read_results(table) == [{"seed": 1, "score": 0.2}, {"seed": 2, "score": 0.3}]
    assert read_results(tmp_path / "other.jsonl") == []


@pytest.mark.parametrize("line", ['{"seed": 1', "[1, 2]"])
def test_damaged_line_is_named(tmp_path, line):
    table = tmp_path / "table.jsonl"
    table.write_text(json.dumps({"seed": 0}) + f"\n{line}\n")
    with pytest.raises(FoundationError, match=r"table\.jsonl, line 2, is not a result .* remove the line"):
        read_results(table)
    with pytest.raises(FoundationError, match="line 2"):
        put_result(table, {"seed": 3}, key=("seed",))
    assert table.read_text().endswith(f"\n{line}\n")
