"""Ways in which an NWB file's numbers and texts can be wrong while its structure is right."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from broken_hdf5 import items, pick, replace


def _named(file: h5py.File, *ends: str) -> list[str]:
    return [name for name in items(file, h5py.Dataset) if name.endswith(ends) and file[name].shape]


def ragged_index(file: h5py.File, rng: np.random.Generator, outside: Path) -> None:
    """Out of range, falling, wrapped around, of another length or kind."""
    names = _named(file, "_index")
    if not names:
        return
    name = pick(rng, names)
    ends = file[name][()].astype(np.int64)
    way = int(rng.integers(8))
    if way == 0 and len(ends):
        ends[int(rng.integers(len(ends)))] = pick(rng, [10**6, 2**31 - 1, 2**40, 2**62])
    elif way == 1:
        ends = ends[::-1].copy()
    elif way == 2:
        ends = ends - int(rng.integers(1, 10**6))
    elif way == 3:
        replace(file, name, data=np.full(len(ends), 2**64 - 1, np.uint64))
        return
    elif way == 4:
        replace(file, name, data=(ends % 256).astype(np.uint8))  # as written with too small an integer
        return
    elif way == 5:
        ends = np.concatenate([ends, ends[-1:], ends[-1:]])
    elif way == 6:
        ends = ends[:-1]
    else:
        replace(file, name, data=ends + 0.5)
        return
    replace(file, name, data=ends)


def times(file: h5py.File, rng: np.random.Generator, outside: Path) -> None:
    """Times that are missing, unsorted, negative, infinite, equal or absurd."""
    names = _named(file, "spike_times", "obs_intervals", "timestamps", "start_time", "stop_time")
    if not names:
        return
    name = pick(rng, names)
    data = file[name][()].astype(np.float64)
    if not data.size:
        return
    flat = data.reshape(-1)
    some = rng.random(flat.size) < pick(rng, [0.01, 0.3, 1.0])
    way = int(rng.integers(7))
    if way == 0:
        rng.shuffle(flat)
    elif way == 1:
        flat[:] = flat[0]
    elif way == 2:
        flat *= pick(rng, [-1.0, 1e12, 1e300, 1e-300, 0.0])
    elif way == 3:
        flat -= pick(rng, [1.0, 1e6, 1e18])
    elif way == 4:
        flat[:] = flat[::-1].copy()
    else:
        flat[some] = pick(rng, [np.nan, np.inf, -np.inf, -1.0, 1e308, 5e-324])
    replace(file, name, data=data)


def rates(file: h5py.File, rng: np.random.Generator, outside: Path) -> None:
    """Rates, conversions and offsets that no clock or amplifier has."""
    found = [
        (n, key) for n in items(file, h5py.Dataset) for key in ("rate", "conversion", "offset") if key in file[n].attrs
    ]
    if found:
        name, key = pick(rng, found)
        value = pick(rng, [0.0, -30.0, np.inf, -np.inf, np.nan, 1e300, 1e-300, 5e-324, "fast", np.array([1.0, 2.0])])
        file[name].attrs[key] = value


def ids_and_codes(file: h5py.File, rng: np.random.Generator, outside: Path) -> None:
    """Row numbers of other tables, codes of labels and ids that name what is not there."""
    names = [
        n
        for n in items(file, h5py.Dataset)
        if file[n].dtype.kind in "iu" and file[n].shape and not n.endswith("_index")
    ]
    if not names:
        return
    name = pick(rng, names)
    data = file[name][()].astype(np.int64)
    data.reshape(-1)[: max(1, data.size // 2)] = pick(rng, [-1, -(2**63), 2**63 - 1, 2**31, 10**6, 255])
    replace(file, name, data=data)


def texts(file: h5py.File, rng: np.random.Generator, outside: Path) -> None:
    """Text that is not UTF-8, holds NUL or control characters, is empty, or very long."""
    names = [name for name in items(file, h5py.Dataset) if file[name].dtype.kind in "OS"]
    names = [name for name in names if h5py.check_string_dtype(file[name].dtype)]
    if not names:
        return
    name = pick(rng, names)
    strange = pick(
        rng,
        [
            b"\xff\xfe\x80",
            b"caf\xe9",
            b"\xed\xa0\x80",
            b"",
            b"\x01\x1b[31m",
            b"../../x",
            b"/etc/passwd",
            b"a\nb",
            b"x" * 1_000_000,
            b"<script>alert(1)</script>",
            b"nan",
            "\u202e\u2028\ufeff".encode(),
        ],
    )
    kind = h5py.string_dtype("utf-8" if rng.random() < 0.8 else "ascii")
    shape = file[name].shape
    replace(file, name, shape=shape, dtype=kind)
    if shape == () or np.prod(shape) < 10_000:
        file[name][...] = np.full(shape, strange, dtype=object) if shape else strange


def empty(file: h5py.File, rng: np.random.Generator, outside: Path) -> None:
    """Nothing in one dataset, or in all of a table."""
    name = pick(rng, items(file, h5py.Dataset))
    group = name.rpartition("/")[0]
    targets = [name]
    if rng.random() < 0.5 and group:
        targets = [n for n in items(file, h5py.Dataset) if n.rpartition("/")[0] == group]
    for target in targets:
        dtype, shape = file[target].dtype, file[target].shape
        if shape:
            replace(file, target, shape=(0, *shape[1:]), dtype=dtype)
        elif rng.random() < 0.3:
            replace(file, target, data=h5py.Empty(dtype))


VALUES = [ragged_index, ragged_index, times, times, times, rates, ids_and_codes, texts, texts, empty]
