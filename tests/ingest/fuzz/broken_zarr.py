"""Ways to break a Zarr NWB store: its metadata, its chunks, its links and its names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from broken_hdf5 import pick


def files(place: Path, *ends: str) -> list[Path]:
    found = sorted(path for path in place.rglob("*") if path.is_file())
    return [path for path in found if "specifications" not in path.parts and (not ends or path.name.endswith(ends))]


def _chunks(place: Path) -> list[Path]:
    return [path for path in files(place) if path.name[0].isdigit()]


def change(place: Path, key: str, content: dict) -> None:
    """Change metadata in their file and in the consolidated ones."""
    (place / key).write_text(json.dumps(content))
    whole = place / ".zmetadata"
    if whole.exists():
        metadata = json.loads(whole.read_text())
        metadata["metadata"][key] = content
        whole.write_text(json.dumps(metadata))


def array_field(place: Path, rng: np.random.Generator, outside: Path) -> None:
    path = pick(rng, files(place, ".zarray"))
    meta = json.loads(path.read_text())
    values = [
        None,
        0,
        -1,
        [],
        [0],
        [-1],
        [10**12],
        [2**70],
        [1, 2, 3],
        "x",
        "<f8",
        "|O",
        "|V1000000000",
        ">i4",
        "<U1000",
        True,
        1.5,
        {},
        {"id": "pickle"},
        {"id": "gzip"},
        {"id": "zlib", "level": 1},
        [{"id": "pickle", "protocol": 5}],
        [{"id": "vlen-utf8"}],
        [{"id": "json2"}],
        [{"id": "shuffle", "elementsize": 0}],
        [{"id": "astype", "encode_dtype": "<f4", "decode_dtype": "O"}],
        [{"id": "delta", "dtype": "<i8"}],
        [{"id": "packbits"}],
        [{"id": "zlib"}] * 50,
        [["a", "<f8"], ["b", "|O"]],
        "nan",
    ]
    key = pick(rng, ["shape", "chunks", "dtype", "filters", "compressor", "order", "fill_value", "zarr_format"])
    if rng.random() < 0.15:
        meta.pop(key, None)
    else:
        meta[key] = pick(rng, values)
    change(place, path.relative_to(place).as_posix(), meta)


def attribute(place: Path, rng: np.random.Generator, outside: Path) -> None:
    path = pick(rng, files(place, ".zattrs"))
    attributes = json.loads(path.read_text())
    if not attributes:
        return
    key = pick(rng, sorted(attributes))
    values = [
        None,
        "",
        7,
        float("nan"),
        [],
        {},
        "x" * 60_000,
        "../..",
        {"zarr_dtype": "object"},
        {"zarr_dtype": "object", "value": 7},
        {"zarr_dtype": "object", "value": {"source": ".", "path": "/nowhere"}},
        {"zarr_dtype": "object", "value": {"source": ".", "path": "/"}},
        "scalar",
        "object",
        ["a"] * 3,
    ]
    if rng.random() < 0.3:
        del attributes[key]
    else:
        attributes[key] = pick(rng, values)
    change(place, path.relative_to(place).as_posix(), attributes)


def link(place: Path, rng: np.random.Generator, outside: Path) -> None:
    """Links to other stores, to nowhere, and in circles."""
    path = pick(rng, files(place, ".zattrs"))
    attributes = json.loads(path.read_text())
    source = pick(
        rng, [".", ".", "..", str(outside.parent), f"file://{outside}", "s3://bucket/x", "http://localhost/x", 7]
    )
    target = pick(
        rng, ["/", "/units", "/nowhere", "", "../x", "/units/spike_times", 7, "/general/extracellular_ephys/electrodes"]
    )
    name = pick(rng, ["timestamps", "device", "..", "units", "x"])
    attributes["zarr_link"] = [{"name": name, "path": target, "source": source}] * int(pick(rng, [1, 2]))
    change(place, path.relative_to(place).as_posix(), attributes)


def chunk(place: Path, rng: np.random.Generator, outside: Path) -> None:
    """A chunk that is damaged, cut, empty, missing, another's, or a link out of the store."""
    path = pick(rng, _chunks(place))
    content = bytearray(path.read_bytes())
    way = int(rng.integers(7))
    if way == 0 and content:
        for spot in rng.integers(0, len(content), int(pick(rng, [1, 3, 30]))):
            content[spot] ^= int(rng.integers(1, 256))
    elif way == 1:
        content = content[: int(rng.integers(0, len(content) + 1))]
    elif way == 2:
        content = bytearray(rng.bytes(int(pick(rng, [0, 1, 16, 5000]))))
    elif way == 3:
        content = bytearray(pick(rng, _chunks(place)).read_bytes())
    elif way == 4 and len(content) >= 16:
        content[4:8] = b"\xff\xff\xff\xff"  # blosc's size after expansion
    path.unlink()
    if way == 5:
        path.symlink_to(outside)
    elif way != 6:
        path.write_bytes(content)


def names(place: Path, rng: np.random.Generator, outside: Path) -> None:
    """Names in the consolidated metadata that lead out of the store, or have no parents."""
    path = place / ".zmetadata"
    whole = json.loads(path.read_text())
    prefix = pick(
        rng,
        [
            "..",
            "../..",
            "/etc",
            f"{outside.parent}",
            "a/../..",
            "units/..",
            "units/../../x",
            "a//b",
            "\u202e",
            "units\\x",
        ],
    )
    some = pick(rng, sorted(whole["metadata"]))
    whole["metadata"][f"{prefix}/{some}" if rng.random() < 0.7 else prefix] = whole["metadata"][some]
    path.write_text(json.dumps(whole))


def metadata_file(place: Path, rng: np.random.Generator, outside: Path) -> None:
    """A file of metadata that is cut, garbage, not UTF-8, far too deep, or gone."""
    path = pick(rng, [place / ".zmetadata", place / ".zmetadata", *files(place, ".zarray", ".zattrs", ".zgroup")])
    content = path.read_bytes()
    ways = [
        content[: len(content) // 2],
        b"",
        b"[" * 100_000,
        b"\xff\xfe",
        b"null",
        b"[]",
        b'{"metadata": {}}',
        content * 2,
        None,
    ]
    way = pick(rng, ways)
    path.unlink()
    if way is not None:
        path.write_bytes(way)
    if path.name != ".zmetadata" and rng.random() < 0.7:
        (place / ".zmetadata").unlink(missing_ok=True)


def unconsolidated(place: Path, rng: np.random.Generator, outside: Path) -> None:
    """Without consolidated metadata, and with one file less."""
    (place / ".zmetadata").unlink(missing_ok=True)
    pick(rng, files(place)).unlink()


ZARR = [
    array_field,
    array_field,
    array_field,
    attribute,
    attribute,
    link,
    chunk,
    chunk,
    chunk,
    names,
    metadata_file,
    unconsolidated,
]
