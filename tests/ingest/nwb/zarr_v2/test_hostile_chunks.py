"""Metadata that claim what cannot be, and chunks that hold something else: refused before memory is set aside."""

import gzip
import struct
import zlib

import numcodecs
import numpy as np
import pytest
from zarr.storage import LocalStore

from foundation.common.errors import SourceError
from ingest.nwb.read_nwb import read_nwb
from ingest.nwb.zarr_v2.zarr_v2_arrays import LazyArray
from ingest.nwb.zarr_v2.zarr_v2_layout import array_layout

TIMES = "units/spike_times"
GROUPS = "general/extracellular_ephys/electrodes/group"


# -- what metadata claim --


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"shape": [10**12]}, "units/spike_times declares 1000000000000 values"),
        ({"shape": [10**12], "chunks": [10**12]}, "a chunk of .* is larger than 1 GiB"),
        ({"shape": [10**30]}, "is not a shape"),
        ({"shape": [-1]}, "is not a shape"),
        ({"shape": [1.5]}, "is not a shape"),
        ({"shape": "many"}, "is not a shape"),
        ({"shape": [315, 1]}, "differ in their dimensions"),
        ({"chunks": [0]}, "is not a shape"),
        ({"chunks": [10]}, "is missing in the store"),
        ({"chunks": [400]}, "holds 2520 bytes where 3200 belong"),
        ({"dtype": "O"}, "is not a readable dtype"),
        ({"dtype": "<f8,<f8"}, "is not a readable dtype"),
        ({"dtype": "V1000000000"}, "not a readable dtype|larger than"),
        ({"dtype": [["a"]]}, "damaged|not a readable"),
        ({"dtype": "<f4"}, "expands to more than the 1260 bytes"),
        ({"order": "X"}, "order"),
        ({"dimension_separator": "../"}, "dimension_separator"),
        ({"zarr_format": 3}, "zarr_format is 3"),
        ({"filters": ["pickle"]}, "a codec has no id"),
        ({"compressor": 7}, "a codec has no id"),
    ],
)
def test_impossible_metadata(copy, values, message):
    copy.change(f"{TIMES}/.zarray", **values)
    copy.refused(message)
    assert copy.peak_of_reading_times() < 20e6


@pytest.mark.parametrize(
    "content", [b"", b"[", b"[]", b"7", b'{"metadata": 3}', b"[" * 10**6, b"\xff\xfe", b'{"metadata": {}}']
)
def test_invalid_consolidated_metadata(copy, content):
    copy.chunk(".zmetadata", content)
    copy.refused("damaged|neither an array nor a group|not a readable NWB file")


def test_an_empty_folder_and_zarr_v3(tmp_path):
    (tmp_path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
    with pytest.raises(SourceError, match="this is Zarr v3: NWB assets are read in the Zarr v2 layout"):
        read_nwb(str(tmp_path))


def test_other_versions_of_nwb(copy):
    for version in ("NWB-1.0.6", None, 2, "3.0.0"):
        copy.change(".zattrs", nwb_version=version)
        copy.refused("version")


# -- chunks --


def test_a_chunk_that_is_missing_is_not_made_up(copy):
    (copy.place / TIMES / "0").unlink()
    copy.refused(f"{TIMES}: chunk 0 is missing in the store: its values are unknown")


def test_a_chunk_in_the_middle_that_is_missing(copy):
    path = "processing/behavior/Position/position/timestamps"
    copy.change(f"{path}/.zarray", chunks=[50], compressor=None, filters=None)
    for k in (0, 1, 3):
        copy.chunk(f"{path}/{k}", np.arange(50.0 * k, 50.0 * (k + 1)).tobytes())
    copy.left_out("processing/behavior/Position/position", "timestamps: chunk 2 is missing in the store")


def blosc_claiming(size):
    good = bytearray(numcodecs.Blosc().encode(bytes(2520)))
    good[4:8] = struct.pack("<I", size)
    return bytes(good)


@pytest.mark.parametrize(
    ("codec", "content"),
    [
        ("gzip", gzip.compress(bytes(10**9), 1)),
        ("zlib", zlib.compress(bytes(10**8), 1)),
        ("zstd", bytes(numcodecs.Zstd().encode(bytes(10**8)))),
        ("lz4", bytes(numcodecs.LZ4().encode(bytes(10**8)))),
        ("blosc", bytes(numcodecs.Blosc().encode(bytes(10**8)))),
        ("blosc", blosc_claiming(2**32 - 1)),
        ("zstd", b"\x28\xb5\x2f\xfd\xe0" + (2**63).to_bytes(8, "little") + b"x"),
        ("zstd", b"\x28\xb5\x2f\xfd\x00\x58" + b"\x01\x00\x00"),
        ("lz4", b"\xff\xff\xff\xff"),
        ("zstd", b"\x28\xb5\x2f\xfd"),
        ("blosc", b""),
        ("gzip", b"\x1f\x8b"),
        ("zlib", b"x"),
    ],
    ids=[
        *("gzip bomb", "zlib bomb", "zstd bomb", "lz4 bomb", "blosc bomb", "blosc claim", "zstd claim", "zstd silent"),
        *("lz4 claim", "zstd cut", "blosc empty", "gzip cut", "zlib cut"),
    ],
)
def test_chunks_that_would_fill_the_memory(copy, codec, content):
    copy.change(f"{TIMES}/.zarray", compressor={"id": codec})
    copy.chunk(f"{TIMES}/0", content)
    copy.refused(f"{TIMES}: a chunk (expands|is damaged|does not state)")
    assert copy.peak_of_reading_times() < 20e6


def test_text_with_a_false_size(copy):
    copy.objects("units/cell_type", struct.pack("<I", 2**32 - 1) + b"\x01\x00\x00\x00a")
    copy.left_out("units/cell_type", "a chunk is damaged: it does not hold 6 texts")
    copy.objects("units/cell_type", struct.pack("<II", 6, 2**31 - 1))
    copy.left_out("units/cell_type", "a chunk is damaged: its texts cannot be read")
    copy.objects("units/cell_type", struct.pack("<I", 6) + (struct.pack("<I", 1) + b"\xff") * 6)
    copy.left_out("units/cell_type", "a chunk is damaged: its texts cannot be read")


@pytest.mark.parametrize(
    "content", [b"[]", b"{}", b'["a", "|O", [6]]', b"[" * 10**6, b'[1, "|O", [[[2]]]]', b'["|O", 3]']
)
def test_json_without_a_list_of_values(copy, content):
    copy.change("units/cell_type/.zarray", filters=[{"id": "json2"}])
    copy.objects("units/cell_type", content)
    copy.left_out("units/cell_type", "a chunk is damaged")


def test_invalid_references(copy):
    copy.change(f"{GROUPS}/.zarray", filters=[{"id": "vlen-utf8"}])
    copy.objects(GROUPS, bytes(numcodecs.VLenUTF8().encode(np.array(["a"] * 4, dtype=object))))
    copy.change("units/electrode_group/.zarray", filters=[{"id": "vlen-utf8"}])
    copy.objects("units/electrode_group", bytes(numcodecs.VLenUTF8().encode(np.array(["a"] * 6, dtype=object))))
    copy.left_out("electrodes, groups of", "electrode_group: 'a' is not a reference")


@pytest.mark.parametrize("read", ["whole", "part"])
def test_a_small_store_that_declares_gigabytes_of_zeros(tmp_path, read):
    chunk, count = 1 << 23, 256  # 64 MiB a chunk
    blosc = numcodecs.Blosc("zstd", clevel=9)
    packed = blosc.encode(np.zeros(chunk))
    layout = {"zarr_format": 2, "shape": [chunk * count], "chunks": [chunk], "dtype": "<f8", "order": "C"}
    layout |= {"fill_value": None, "filters": None, "compressor": blosc.get_config()}
    (tmp_path / "times").mkdir()
    for n in range(count):
        (tmp_path / "times" / str(n)).write_bytes(packed)
    assert len(packed) * count < 2e6
    array = LazyArray(LocalStore(tmp_path, read_only=True), "times", array_layout("times", layout))
    with pytest.raises(SourceError, match=r"declares 2147483648 values \(17.2 GB\), but the file holds"):
        array[:] if read == "whole" else array[:10]
