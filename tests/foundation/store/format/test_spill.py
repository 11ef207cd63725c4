"""Arrays that spill to files: the same values, no files left behind, and memory released."""

import mmap
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from foundation.common.errors import StoreError
from foundation.store.format import spill
from foundation.store.format.spill import LARGE, empty, let_go, pieces, runs


@pytest.fixture
def no_room(monkeypatch):
    """Limit memory for large arrays to 0."""
    monkeypatch.setattr(spill, "MEMORY", 0)


def in_a_file(array: np.ndarray) -> bool:
    base = array
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(base, memoryview | mmap.mmap)


def test_large_arrays_share_memory_and_the_rest_spill_to_files(monkeypatch):
    monkeypatch.setattr(spill, "MEMORY", 3 * LARGE)
    monkeypatch.setattr(spill._Block, "in_use", 0)
    monkeypatch.setattr(spill._Block, "spare", [])
    first, second = empty(LARGE, np.uint8), empty((2, LARGE // 2), np.uint8)[1:]
    assert not in_a_file(first)
    assert in_a_file(empty(LARGE + 1, np.uint8))
    third = empty(LARGE, np.uint8)
    assert not in_a_file(third)
    assert in_a_file(empty(LARGE, np.uint8))
    second[:] = 7
    let_go(second)  # nothing to release
    assert (second == 7).all()
    del first
    again = empty((LARGE // 16, 2), np.float64)  # the memory of the first one
    assert not in_a_file(again)
    again[:] = 1.5
    assert (second == 7).all()
    assert (again == 1.5).all()
    del second, third  # a view kept all of it
    assert not in_a_file(empty(2 * LARGE, np.uint8))


def test_only_large_arrays_spill(tmp_path, monkeypatch, no_room):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert empty(10, np.int32).base is None
    large = empty((LARGE // 8 + 1, 1), np.float64)
    assert in_a_file(large)
    assert large.flags.writeable
    assert list(tmp_path.iterdir()) == []  # the file has no name, so nothing is left behind


def test_released_arrays_keep_their_values_and_take_no_memory():
    code = """
import numpy as np
from foundation.store.format import spill
from foundation.store.format.spill import empty, let_go, pieces
spill.MEMORY = 0
def resident(): return int(open("/proc/self/statm").read().split()[1]) * 4096
array = empty(40_000_000, np.float64)  # 320 MB
before = resident()
for piece in pieces(array):
    array[piece] = np.arange(piece.start, piece.stop)
    assert resident() - before < 40e6
total = sum(int(array[piece].sum()) for piece in pieces(array))
let_go(array)
assert resident() - before < 10e6
assert total == 40_000_000 * 39_999_999 // 2
"""
    if not Path("/proc/self/statm").exists():
        pytest.skip("resident memory is read from /proc")
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_view_of_memory_is_left_alone():
    array = np.arange(10)
    let_go(array[2:5])
    assert array.tolist() == list(range(10))


def test_full_disk_is_an_error_and_not_a_crash(monkeypatch, no_room):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StoreError, match=r"0\.1 GB of temporary space.*No space left.*TMPDIR"):
        empty(10_000_000, np.float64)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (1, 3), (3_000_000,), (10, 0)])
def test_pieces_cover_all_rows_once(shape):
    array = np.zeros(shape, np.float64)
    covered = [row for piece in pieces(array) for row in range(piece.start, piece.stop)]
    assert covered == list(range(shape[0]))


def test_runs_cover_all_units_once(monkeypatch):
    rng = np.random.default_rng(0)
    for _ in range(50):
        counts = rng.integers(0, 6, rng.integers(0, 12))
        offsets = np.concatenate([[0], np.cumsum(counts)])
        found = list(runs(offsets, most=5))
        assert [unit for first, last in found for unit in range(first, last)] == list(range(len(counts)))
        assert all(offsets[last] - offsets[first] <= 5 or last == first + 1 for first, last in found)
    assert spill.PIECE_BYTES < spill.LARGE
