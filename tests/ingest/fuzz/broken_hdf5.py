"""Ways to break an HDF5 file of NWB: in its bytes, its tree, its links and its attributes."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

CANARY_TEXT = "canary-7f3a"
CANARY_TIME = 424242.4242


# -- tree --


def items(file: h5py.File, kind: type) -> list[str]:
    """Paths of all groups or datasets outside of the cached specifications."""
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, kind) else None)
    return sorted(name for name in found if not name.startswith("specifications"))


def pick(rng: np.random.Generator, choices: list):
    return choices[int(rng.integers(len(choices)))]


def replace(file: h5py.File, name: str, **how) -> h5py.Dataset:
    """Put another dataset in the place of one; it keeps the attributes."""
    kept = dict(file[name].attrs)
    del file[name]
    made = file.create_dataset(name, **how)
    for key, value in kept.items():
        made.attrs[key] = value
    return made


def other_dtype(file: h5py.File, rng: np.random.Generator, outside: Path) -> None:
    name = pick(rng, items(file, h5py.Dataset))
    shape = file[name].shape or ()
    kinds = [
        "i1",
        "u8",
        "f2",
        "c8",
        "S3",
        "V4",
        "?",
        h5py.string_dtype(),
        h5py.ref_dtype,
        h5py.vlen_dtype("f8"),
        np.dtype([("a", "i4"), ("b", "f8")]),
        h5py.enum_dtype({"a": 0}),
        h5py.opaque_dtype(np.dtype("M8[s]")),
    ]
    replace(file, name, shape=shape, dtype=pick(rng, kinds))


def other_shape(file: h5py.File, rng: np.random.Generator, outside: Path) -> None:
    name = pick(rng, items(file, h5py.Dataset))
    data = file[name][()]
    flat = np.asarray(data).reshape(-1)
    changed = [flat[:0], flat[: len(flat) // 2], flat.reshape(1, -1), np.concatenate([flat, flat]), flat[:, None, None]]
    if np.asarray(data).dtype.kind not in "OV":
        replace(file, name, data=pick(rng, changed))


def huge_shape(file: h5py.File, rng: np.random.Generator, outside: Path) -> None:
    name = pick(rng, [n for n in items(file, h5py.Dataset) if file[n].dtype.kind in "iuf"])
    size = int(pick(rng, [10**9, 10**12, 2**62]))
    shape = pick(rng, [(size,), (size, 2), (2, size)])
    chunks = tuple(min(n, 1000) for n in shape)
    replace(file, name, shape=shape, dtype=file[name].dtype, chunks=chunks)


def removed(file: h5py.File, rng: np.random.Generator, outside: Path) -> None:
    del file[pick(rng, items(file, h5py.Dataset) + items(file, h5py.Group))]


def swapped(file: h5py.File, rng: np.random.Generator, outside: Path) -> None:
    one, two = pick(rng, items(file, h5py.Dataset)), pick(rng, items(file, h5py.Dataset))
    if one != two:
        file.move(one, "aside")
        file.move(two, one)
        file.move("aside", two)


def strange_name(file: h5py.File, rng: np.random.Generator, outside: Path) -> None:
    name = pick(rng, items(file, h5py.Dataset) + items(file, h5py.Group))
    strange = pick(
        rng,
        ["..", "...", "x\\..\\y", "C:evil", "~", "\u202eevil", "n" * 5000, " ", "\n", "%2e%2e", "spike_times", "id"],
    )
    parent, _, last = name.rpartition("/")
    if strange in file[parent or "/"]:
        return
    source, target = file[parent or "/"].id, strange.encode()
    source.links.move(last.encode(), source, target)
    names = file[parent or "/"].attrs.get("colnames")
    if names is not None:
        file[parent].attrs["colnames"] = np.array([strange if n == last else n for n in names], dtype=object)


def deep(file: h5py.File, rng: np.random.Generator, outside: Path) -> None:
    group = file[pick(rng, ["acquisition", "processing", "/"]) if "acquisition" in file else "/"]
    for _ in range(int(pick(rng, [50, 1500]))):
        group = group.create_group("g")


# -- links --


def link_out(file: h5py.File, rng: np.random.Generator, outside: Path) -> None:
    """Links to a file beside this one's folder, in the place of what is read from it: times, or anything."""
    names = [name for name in items(file, h5py.Dataset) if name.endswith(("spike_times", "timestamps", "start_time"))]
    name = pick(rng, names if names and rng.random() < 0.7 else items(file, h5py.Dataset))
    there = str(outside)
    target = pick(
        rng,
        [there, there, there, f"../../../{outside.parent.name}/{outside.name}", f"/../..{there}", f"file://{there}"],
    )
    start = outside.read_bytes().index(np.float64(CANARY_TIME).tobytes() * 100)
    shape, dtype = file[name].shape, file[name].dtype
    how = int(pick(rng, [0, 1, 1, 1, 2, 3]))  # of these HDF5 itself would follow the second
    if how == 0 or dtype.kind == "O" or not shape:
        del file[name]
        file[name] = h5py.ExternalLink(target, "/units/spike_times")
    elif how == 1:
        replace(file, name, shape=shape, dtype=dtype, external=[(target, start, h5py.h5f.UNLIMITED)])
    elif how == 2:
        layout = h5py.VirtualLayout(shape=shape, dtype="f8")
        part = (slice(0, min(shape[0], 300)), *(slice(0, 1) for _ in shape[1:]))
        source = h5py.VirtualSource(target, "units/spike_times", shape=(360,))
        layout[part] = source[part[0]]
        kept = dict(file[name].attrs)
        del file[name]
        file.create_virtual_dataset(name, layout).attrs.update(kept)
    else:
        group = pick(rng, items(file, h5py.Group))
        del file[group]
        file[group] = h5py.ExternalLink(target, pick(rng, ["/units", "/", "/general"]))


def link_inside(file: h5py.File, rng: np.random.Generator, outside: Path) -> None:
    """Soft and hard links that lead nowhere, in circles, or to something else."""
    name = pick(rng, items(file, h5py.Dataset) + items(file, h5py.Group))
    target = pick(
        rng, ["/nowhere", "/", name, "units", pick(rng, items(file, h5py.Dataset)), pick(rng, items(file, h5py.Group))]
    )
    hard = file[target] if rng.random() < 0.5 and target in file else None
    if hard is not None and rng.random() < 0.5:
        groups = items(file, h5py.Group)
        file[f"{pick(rng, groups)}/again"] = hard
        return
    del file[name]
    parent = name.rpartition("/")[0]
    if not parent or parent in file:
        file[name] = hard if hard else h5py.SoftLink(target)


def reference_astray(file: h5py.File, rng: np.random.Generator, outside: Path) -> None:
    """References to nothing, to what was removed, or to what is something else."""
    found = [
        (n, k) for n in items(file, h5py.Dataset) for k, v in file[n].attrs.items() if isinstance(v, h5py.Reference)
    ]
    removed_one = file.create_group("gone")
    choices = [h5py.Reference(), removed_one.ref, file.ref, file[pick(rng, items(file, h5py.Dataset))].ref]
    wrong = pick(rng, choices)
    del file["gone"]
    arrays = [n for n in items(file, h5py.Dataset) if file[n].dtype == h5py.ref_dtype and file[n].shape]
    if arrays and rng.random() < 0.4:
        file[pick(rng, arrays)][0] = wrong
    elif found:
        name, key = pick(rng, found)
        file[name].attrs[key] = wrong


# -- attributes --


def attribute(file: h5py.File, rng: np.random.Generator, outside: Path) -> None:
    """An attribute removed, or of another kind."""
    name = pick(rng, ["/", *items(file, h5py.Dataset), *items(file, h5py.Group)])
    keys = sorted(file[name].attrs)
    if not keys:
        return
    key = pick(rng, keys)
    values = [
        None,
        "",
        "x",
        b"\xff\xfe",
        b"caf\xe9",
        -1,
        np.nan,
        np.inf,
        1e300,
        np.array([], "f8"),
        np.array(["a", "b"], object),
        h5py.Empty("S1"),
        h5py.Empty("f8"),
        True,
        "../..",
        "n" * 60_000,
        np.uint8(3),
        np.arange(5),
    ]
    value = pick(rng, values)
    del file[name].attrs[key]
    if isinstance(value, bytes):
        file[name].attrs.create(key, value, dtype=h5py.string_dtype())  # declared as UTF-8
    elif value is not None:
        file[name].attrs[key] = value


def version(file: h5py.File, rng: np.random.Generator, outside: Path) -> None:
    value = pick(
        rng, ["NWB-1.0.6", "1.0.5_beta", "3.0.0", "", "two", "2", "2.99.0", 2, 2.5, b"\xff", h5py.Empty("S1"), None]
    )
    del file.attrs["nwb_version"]
    if value is not None:
        file.attrs["nwb_version"] = value


TREE = [
    other_dtype,
    other_dtype,
    other_shape,
    huge_shape,
    huge_shape,
    removed,
    swapped,
    strange_name,
    strange_name,
    deep,
    link_out,
    link_out,
    link_out,
    link_inside,
    link_inside,
    reference_astray,
    attribute,
    attribute,
    attribute,
    version,
]
