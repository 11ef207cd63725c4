"""Files that are not NWB, or lack something: messages say what they are and what to do."""

import gzip
import io
import tarfile
import zipfile

import h5py
import numpy as np
import pytest

from foundation.common.errors import SourceError
from ingest.nwb.file.file_kind import HDF5, refuse_other_kinds
from ingest.nwb.file.plain_errors import in_plain_words, missing_filters
from ingest.nwb.nwb_arrays import load, load_slowly
from ingest.nwb.read_nwb import read_nwb

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def zipped():
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("a.nwb", "text")
    return held.getvalue()


def tarred():
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.nwb"))
    return held.getvalue()


KINDS = {
    "empty": (b"", "is empty: fetch or copy it again"),
    "web page": (b"\n<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>", "is a web page"),
    "error of a bucket": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "is XML, such as"),
    "error of a server": (b'{"detail": "Not found"}', "is JSON, such as a server's message"),
    "git-lfs": (LFS, "is a git-lfs pointer, and not the file: fetch it with `git lfs pull`"),
    "git-annex": (b"/annex/objects/MD5E-s12--ab.nwb\n", "is a git-annex pointer"),
    "gzip": (gzip.compress(HDF5 + bytes(100)), "is compressed by gzip: unpack it first"),
    "zip": (zipped(), "is a zip archive: unpack it first"),
    "tar": (tarred(), "is a tar archive: unpack it first"),
    "zeros": (bytes(5000), "begins with zeros where HDF5 begins: it was copied or fetched in part"),
    "MATLAB": (b"MATLAB 5.0 MAT-file, Platform: GLNXA64" + bytes(200), "is a MATLAB file"),
    "text": (b"subject,rate\nm1,\x1b[2J5\n", r"is text that begins with 'subject,rate m1,\\x1b\[2J5', not HDF5"),
    "noise": (bytes(range(200, 256)) * 20, "is not HDF5: it begins with the bytes c8 c9"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_file_of_another_kind_is_named(tmp_path, kind):
    content, message = KINDS[kind]
    (tmp_path / "a.nwb").write_bytes(content)
    with pytest.raises(SourceError, match=rf"a\.nwb: not a readable NWB file: it {message}"):
        read_nwb(str(tmp_path / "a.nwb"))


def test_hdf5_with_a_user_block(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=1024):
        pass
    with (tmp_path / "a.h5").open("rb") as file:
        refuse_other_kinds(file)
        assert file.tell() == 0


def test_truncated_file_states_its_size(tmp_path, write, nwb_maker):
    path = write(nwb_maker.add_trains(nwb_maker.new(), [[0.5, 1.0]]))
    with open(path, "r+b") as file:
        size = file.seek(0, 2)
        file.truncate(size // 2)
    with pytest.raises(SourceError, match=rf"truncated: it has {size // 2:,} of {size:,} bytes; fetch or copy"):
        read_nwb(path)


@pytest.fixture
def unreadable(tmp_path):
    """Make a dataset whose chunk claims a filter that is not installed."""
    files = []

    def make(number):
        if h5py.h5z.filter_avail(number):
            pytest.skip(f"HDF5 filter {number} is installed here")
        files.append(h5py.File(tmp_path / f"{number}.h5", "w"))
        settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        settings.set_chunk((4,))
        settings.set_filter(number, h5py.h5z.FLAG_OPTIONAL, (1,))
        space = h5py.h5s.create_simple((4,))
        dataset = h5py.h5d.create(files[-1].id, b"x", h5py.h5t.NATIVE_DOUBLE, space, dcpl=settings)
        dataset.write_direct_chunk((0,), np.arange(4.0).tobytes(), filter_mask=0)
        return h5py.Dataset(dataset)

    yield make
    for file in files:
        file.close()


@pytest.mark.parametrize("read", [load, load_slowly])
@pytest.mark.parametrize(
    ("number", "message"),
    [
        (32015, r"units/spike_times is compressed by HDF5 filter 32015 \(zstd\), .*: pip install hdf5plugin"),
        (301, r"HDF5 filter 301 \(.*\), which is not installed: ask who wrote the file which package has it"),
    ],
)
def test_missing_filter_is_named(unreadable, read, number, message):
    with pytest.raises(SourceError, match=message):
        read(unreadable(number), "units/spike_times")


def test_installed_filter_is_not_reported(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        packed = file.create_dataset("x", data=np.arange(100.0), chunks=(10,), compression="gzip", shuffle=True)
        assert missing_filters(packed) == {}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyError("'ndx-mine' not a namespace"), "it uses the extension ndx-mine, whose definition is not in it"),
        (
            AttributeError("'VectorData' object has no attribute 'target'"),
            "a VectorData in it has no target",
        ),
        (OSError("Can't read data (can't open directory: /usr/local/hdf5/lib/plugin)"), "pip install hdf5plugin"),
        (ValueError("odd\n\n  thing"), "ValueError: odd thing"),
    ],
)
def test_library_errors_in_plain_words(error, words):
    assert words in in_plain_words(error)
