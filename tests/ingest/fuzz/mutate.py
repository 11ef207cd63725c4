"""A mutated file from a number: the same number gives the same file."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import h5py
import numpy as np
from broken_bytes import BYTES
from broken_hdf5 import TREE, pick
from broken_values import VALUES
from broken_zarr import ZARR
from hostile_pickles import hostile_pickle


def mutate(seed: int, goods: list[Path], folder: Path, outside: Path) -> tuple[Path, str]:
    """Copy a good file into ``folder`` and break it in one to three ways.

    Args:
        seed: decides everything.
        goods: files to choose from; a quarter of the choices is the Zarr store.
        folder: an empty folder.
        outside: a file beyond it, for links that lead out.

    Returns:
        The file, and what was done to it.
    """
    rng = np.random.default_rng(seed)
    stores = [path for path in goods if path.is_dir()]
    files = [path for path in goods if path.is_file()]
    good = pick(rng, stores) if seed % 4 == 3 else pick(rng, files)
    if "voltage" in good.name and rng.random() < 0.7:  # most of what can be broken is not in it
        good = pick(rng, files)
    target = folder / good.name
    many = int(rng.choice([1, 1, 1, 2, 3]))
    if good.is_dir():
        shutil.copytree(good, target)
        ways = [pick(rng, [*ZARR, hostile_pickle, hostile_pickle]) for _ in range(many)]
        for way in ways:
            _try(way, target, rng, outside)
    elif seed % 4 == 0:
        _copy(good, target)
        ways = [pick(rng, BYTES)]
        ways[0](target, rng)
    else:
        _copy(good, target)
        ways = [pick(rng, TREE if rng.random() < 0.4 else VALUES) for _ in range(many)]
        for way in ways:
            with h5py.File(target, "r+") as file:
                _try(way, file, rng, outside)
    return target, f"{good.name}: {', '.join(way.__name__ for way in ways)}"


def _copy(good: Path, target: Path) -> None:
    shutil.copyfile(good, target)  # without the mode: originals may be read-only


def _try(way, what, rng, outside) -> None:
    """A second way may find that the first has taken what it wants to break."""
    with contextlib.suppress(KeyError, ValueError, TypeError, OSError, RuntimeError, IndexError):
        way(what, rng, outside)
