"""Pickles made to do harm, in the place of a Zarr store's texts and references."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
from broken_hdf5 import pick
from broken_zarr import change, files


class _Runs:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.system, (f"touch {self.folder}/pickle-was-run",)


class _Reads:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return open, (str(self.path),)


def hostile_pickle(place: Path, rng: np.random.Generator, outside: Path) -> None:
    """A pickle that runs a program, reads a file, or is a bomb, where text or references belong."""
    paths = [path for path in files(place, ".zarray") if json.loads(path.read_text())["dtype"] == "|O"]
    path = pick(rng, paths)
    meta = json.loads(path.read_text())
    count = int(np.prod(meta["chunks"]))
    doubled: list = []
    for _ in range(60):
        doubled = [doubled, doubled]
    items = np.empty(count, dtype=object)
    items[:] = [
        pick(
            rng,
            [
                _Runs(outside.parent),
                _Reads(outside),
                doubled,
                10**400,
                {"path": _Runs(outside.parent)},
                "text",
                None,
                print,
            ],
        )
    ] * count
    whole = pickle.dumps(items, protocol=int(rng.integers(0, 6)))
    if rng.random() < 0.3:
        spots = bytearray(whole)
        spots[int(rng.integers(len(spots)))] ^= int(rng.integers(1, 256))
        whole = bytes(spots)
    meta |= {"compressor": None, "filters": [{"id": "pickle", "protocol": 5}]}
    change(place, path.relative_to(place).as_posix(), meta)
    (path.parent / ".".join("0" for _ in meta["shape"])).write_bytes(whole)
