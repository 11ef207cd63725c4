"""Files that refer to other files, and files that declare more than they hold."""

import io

import h5py
import numpy as np
import pytest

from foundation.common.errors import SourceError
from ingest.nwb.file.hdf5_safety import refuse_outside_links
from ingest.nwb.nwb_arrays import load
from ingest.nwb.read_log import Notes
from ingest.nwb.read_nwb import read_nwb


@pytest.fixture
def good(write, nwb_maker):
    return write(nwb_maker.add_trains(nwb_maker.new(), [[0.5, 1.0], [2.0]]))


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret.h5"
    with h5py.File(path, "w") as file:
        file["numbers"] = np.arange(5.0)
    return path


def external_link(file, secret):
    file["processing/stolen"] = h5py.ExternalLink(str(secret), "/numbers")


def raw_bytes_elsewhere(file, secret):
    file["processing"].create_dataset("stolen", (5,), "f8", external=[(str(secret), 0, 40)])


def virtual_elsewhere(file, secret):
    layout = h5py.VirtualLayout((5,), "f8")
    layout[:] = h5py.VirtualSource(str(secret), "numbers", (5,))
    file["processing"].create_virtual_dataset("stolen", layout)


@pytest.mark.parametrize("plant", [external_link, raw_bytes_elsewhere, virtual_elsewhere])
def test_nothing_outside_the_file_is_opened(good, secret, plant):
    with h5py.File(good, "r+") as file:
        plant(file, secret)
    notes = Notes()
    recording = read_nwb(good, notes=notes)
    assert recording.spikes.times.tolist() == [0.5, 1.0, 2.0]
    assert recording.quality == {"parts_left_out": 1.0}
    (left,) = notes.left
    assert left.path == "processing/stolen"
    assert "outside the file, in" in left.text
    assert "secret.h5" in left.text
    with pytest.raises(SourceError, match="parts_left_out is 1: expected 0 with strict"):
        read_nwb(good, strict=True)


@pytest.mark.parametrize("name", ["spike_times", "spike_times_index"])
def test_spike_times_outside_the_file_are_refused(good, secret, name):
    with h5py.File(good, "r+") as file:
        del file[f"units/{name}"]
        file[f"units/{name}"] = h5py.ExternalLink(str(secret), "/numbers")
    with pytest.raises(SourceError, match=rf"units/{name} cannot be read: a link outside the file, in .*secret\.h5"):
        read_nwb(good)


def test_link_hidden_behind_a_group_that_is_linked_twice(good, secret):
    with h5py.File(good, "r+") as file:
        file.create_group("processing/a/b")
        file["processing/again"] = file["processing/a"]
        file["processing/a/self"] = file["processing/a"]  # a circle of hard links ends all the same
        refuse_outside_links(file)
        file["processing/a/b/c"] = h5py.ExternalLink("../x.h5", "/")
        with pytest.raises(SourceError, match=r"x\.h5"):
            refuse_outside_links(file)


def test_links_inside_the_file_are_allowed(good):
    with h5py.File(good, "r+") as file:
        file["scratch_target"] = 1.0
        file["soft"] = h5py.SoftLink("/scratch_target")
        layout = h5py.VirtualLayout((2,), "f8")
        file["numbers"] = np.arange(2.0)
        layout[:] = h5py.VirtualSource(file["numbers"])
        file.create_virtual_dataset("view", layout)
        refuse_outside_links(file)


@pytest.mark.parametrize("layout", [{}, {"chunks": (1 << 20,)}, {"chunks": (1 << 20,), "compression": "gzip"}])
def test_small_file_that_declares_terabytes_of_spikes(good, layout):
    with h5py.File(good, "r+") as file:
        attributes = dict(file["units/spike_times"].attrs)
        del file["units/spike_times"]
        made = file["units"].create_dataset("spike_times", (10**12,), "f8", **layout)
        made.attrs.update(attributes)
    with pytest.raises(SourceError, match=r"units/spike_times declares 1000000000000 values \(8 TB\)"):
        read_nwb(good)


@pytest.mark.parametrize("name", ["file_create_date", "general/keywords"])
def test_terabytes_of_texts_read_while_a_file_is_opened(good, name):
    with h5py.File(good, "r+") as file:
        if name in file:
            del file[name]
        file.require_group("general")
        file.create_dataset(name, (10**12,), h5py.string_dtype(), chunks=(1 << 20,))
    notes = Notes()
    read_nwb(good, notes=notes)
    assert "declares 1000000000000 values" in {note.path: note.text for note in notes.left}[name]


def test_bomb_of_well_compressed_zeros(tmp_path):
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        packed = file.create_dataset("zeros", (1 << 27,), "f8", chunks=(1 << 26,))
        # Chunks of half a gigabyte that claim to be packed to ten bytes.
        packed.id.write_direct_chunk((0,), b"0123456789")
        packed.id.write_direct_chunk((1 << 26,), b"0123456789")
        with pytest.raises(SourceError, match="zeros declares 134217728 values"):
            load(packed, "zeros")


def test_existing_content_is_read(tmp_path):
    numbers = np.random.default_rng(0).normal(size=300_000)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        plain = file.create_dataset("plain", data=numbers)
        packed = file.create_dataset("packed", data=np.zeros(3_000_000), compression="gzip", shuffle=True)
        assert load(plain, "plain").tobytes() == numbers.tobytes()
        assert not load(packed, "packed").any()


def test_single_value_of_absurd_size(good):
    with h5py.File(good, "r+") as file:
        kind = h5py.h5t.array_create(h5py.h5t.NATIVE_DOUBLE, (1 << 24,))
        h5py.h5d.create(file["processing"].id, b"huge", kind, h5py.h5s.create(h5py.h5s.SCALAR))
        with pytest.raises(SourceError, match="/processing/huge is a single value of 134217728 bytes"):
            refuse_outside_links(file)


def test_links_are_checked_without_reading_the_chunk_index(tmp_path):
    class Counted(io.FileIO):
        count = 0

        def readinto(self, buffer):
            Counted.count += len(buffer)
            return super().readinto(buffer)

    path = tmp_path / "chunks.h5"
    with h5py.File(path, "w") as file:
        voltage = file.create_dataset("acquisition/voltage", (20_000,), "i2", chunks=(1,))
        for n in range(len(voltage)):
            voltage.id.write_direct_chunk((n,), b"\0\1")
    with Counted(path) as raw, h5py.File(raw, "r") as file:
        Counted.count = 0
        refuse_outside_links(file)
        assert Counted.count < 10_000
        assert file["acquisition/voltage"].id.get_num_chunks() == 20_000
        assert Counted.count > 500_000  # the index alone
