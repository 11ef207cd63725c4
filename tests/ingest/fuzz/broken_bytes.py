"""Ways to break a file whatever its format: cut, flipped, overwritten, spliced."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def truncated(path: Path, rng: np.random.Generator) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * rng.uniform(0, 1))])


def flipped(path: Path, rng: np.random.Generator) -> None:
    whole = bytearray(path.read_bytes())
    end = len(whole) if rng.random() < 0.5 else min(len(whole), 20_000)  # the beginning holds most of the structure
    for place in rng.integers(0, end, int(rng.choice([1, 4, 16, 64, 400]))):
        whole[place] ^= int(rng.integers(1, 256))
    path.write_bytes(whole)


def overwritten(path: Path, rng: np.random.Generator) -> None:
    whole = bytearray(path.read_bytes())
    size = int(rng.choice([16, 512, 4096, 65536]))
    start = int(rng.integers(0, len(whole)))
    fill = [bytes(size), b"\xff" * size, rng.bytes(size), bytes(whole[:size])][int(rng.integers(4))]
    whole[start : start + size] = fill[: len(whole) - start]
    path.write_bytes(whole)


def spliced(path: Path, rng: np.random.Generator) -> None:
    whole = path.read_bytes()
    place, size = int(rng.integers(0, len(whole))), int(rng.choice([1, 8, 4096]))
    middle = rng.bytes(size) if rng.random() < 0.5 else b""
    path.write_bytes(whole[:place] + middle + whole[place + (0 if middle else size) :])


BYTES = [truncated, flipped, flipped, overwritten, spliced]
