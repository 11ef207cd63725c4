"""What hdmf-zarr wrote, against the same session written to HDF5 and read by pynwb."""

import asyncio
import shutil

import numpy as np
import pytest
from pynwb.base import TimeSeriesReference
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import LocalStore, MemoryStore, WrapperStore

from foundation.common.errors import SourceError
from foundation.store import Source
from foundation.store.format.encode import encode
from ingest.nwb.read_log import Notes
from ingest.nwb.read_nwb import digest_of, opened_nwb, read_nwb
from ingest.sources import find_assets, open_asset

UNITS = "units"


@pytest.fixture(scope="module")
def hdf5(session, nwb_maker, tmp_path_factory):
    return nwb_maker.save(session(), tmp_path_factory.mktemp("hdf5") / "session.nwb")


def test_the_same_recording_as_from_hdf5(whole, hdf5):
    source = Source(path="session.nwb", digest="d")
    expected, found = (encode(read_nwb(path, source=source)) for path in (hdf5, str(whole)))
    assert found.attributes == expected.attributes
    assert sorted(found.arrays) == sorted(expected.arrays)
    for name, array in expected.arrays.items():
        assert found.arrays[name].data.dtype == array.data.dtype, name
        assert found.arrays[name].data.tobytes() == array.data.tobytes(), name
        assert found.arrays[name].attributes == array.attributes, name
    assert found.digest == expected.digest
    assert len(expected.arrays) > 20


def test_labels_from_every_kind_of_column(whole):
    recording = read_nwb(str(whole))
    assert recording.units["cell_type"].tolist() == ["PV", "SST", "äöü ☃"] * 2
    assert recording.units["quality"].tolist() == ["good", "mua"] * 3
    assert recording.units["location"].tolist() == ["CA1", "CA1", "V1", "V1", "CA1", "CA1"]
    assert recording.units["group"].tolist() == ["shank0", "shank0", "shank1", "shank1", "shank0", "shank0"]
    assert recording.units["good"].tolist() == [True, False] * 3
    assert recording.intervals["trials"].columns["side"].tolist() == ["left", "right", "left", "right", "left"]


def test_references_links_and_extensions(whole):
    with opened_nwb(str(whole)) as nwb:
        assert nwb.lab_meta_data["note"].note == "noted"
        assert list(nwb.keywords) == ["hippocampus", "sleep"]
        assert nwb.session_start_time.isoformat() == "2022-02-03T04:05:06+00:00"
        position = nwb.processing["behavior"]["Position"]["position"]
        assert nwb.processing["behavior"]["speed"].timestamps is position.timestamps
        assert nwb.electrodes["group"].data[3] is nwb.electrode_groups["shank1"]
        (reference,) = nwb.trials["timeseries"][1]
        assert reference == TimeSeriesReference(100, 50, position)
        cells = nwb.processing["ophys"]["ImageSegmentation"]["cells"]
        assert cells.imaging_plane.device is nwb.devices["microscope"]
        assert cells["pixel_mask"][2].tolist() == [(2, 2, 1.0), (3, 2, 0.5)]


class Counting(WrapperStore):
    """A store that remembers which chunks were asked for."""

    def __init__(self, store):
        super().__init__(store)
        self.asked = []

    async def get(self, key, prototype, byte_range=None):
        self.asked.append(key)
        return await self._store.get(key, prototype, byte_range)

    async def getsize(self, key):
        return await self._store.getsize(key)  # WrapperStore would read the chunk to learn its size


def test_large_arrays_are_read_where_they_are_asked_for(copy):
    path, size = "processing/behavior/Position/position/data", 100_000
    values = np.arange(2 * size, dtype="<f8").reshape(size, 2)
    copy.change(f"{path}/.zarray", shape=[size, 2], chunks=[1000, 2], compressor=None, filters=None)
    for k in range(100):
        copy.chunk(f"{path}/{k}.0", values[1000 * k : 1000 * (k + 1)].tobytes())
    store = Counting(LocalStore(copy.place, read_only=True))
    with opened_nwb("a.nwb.zarr", store) as nwb:
        data = nwb.processing["behavior"]["Position"]["position"].data
        assert data.shape == (size, 2)
        assert not [key for key in store.asked if key.startswith((path, "units/spike_times/"))]
        store.asked.clear()
        assert data[41_999:42_001].tolist() == values[41_999:42_001].tolist()
        assert data[-1].tolist() == values[-1].tolist()
        assert {key.rpartition("/")[2] for key in store.asked} == {"41.0", "42.0", "99.0"}


@pytest.mark.parametrize("kind", ["without consolidated metadata", "in memory"])
def test_the_same_from_other_stores(whole, tmp_path, kind):
    expected = encode(read_nwb(str(whole), source=Source("a", "d"))).digest
    if kind == "in memory":
        store = MemoryStore()
        for path in whole.rglob("*"):
            if path.is_file():
                content = default_buffer_prototype().buffer.from_bytes(path.read_bytes())
                asyncio.run(store.set(path.relative_to(whole).as_posix(), content))
    else:
        shutil.copytree(whole, tmp_path / "a.zarr")
        (tmp_path / "a.zarr" / ".zmetadata").unlink()
        store = LocalStore(tmp_path / "a.zarr")
    assert encode(read_nwb("a.nwb.zarr", content=store, source=Source("a", "d"))).digest == expected


def test_a_folder_is_found_among_others_and_opened(whole):
    (asset,) = find_assets(str(whole.parent))
    assert (asset.format, asset.path) == ("zarr", "session.nwb.zarr")
    with open_asset(asset) as content:
        assert read_nwb(asset.url, content=content).n_units == 6


def test_the_digest_is_that_of_all_bytes(light, copy):
    assert digest_of(str(light)) == digest_of(str(copy)) == read_nwb(str(copy)).source.digest
    copy.chunk("units/depth/1", b"x")
    assert digest_of(str(light)) != digest_of(str(copy))


def test_names_of_subject_and_session_come_from_the_folder(copy):
    shutil.rmtree(copy.place / "general" / "session_id")
    (copy.place / ".zmetadata").unlink()
    place = copy.place.rename(copy.place.with_name("sub-x_ses-day3_ecephys.nwb.zarr"))
    assert read_nwb(str(place)).session == "day3"
    place = place.rename(place.with_name("sub-x_ses-day4.nwb.zarr"))
    assert read_nwb(str(place)).session == "day4"


def test_texts_as_arrays_of_one_and_a_resolution(copy):
    copy.change(".zattrs", nwb_version=["2.9.0"])
    copy.change("units/spike_times/.zattrs", resolution=0.05)
    copy.change("general/session_id/.zattrs", zarr_dtype=None)  # an array of one text
    recording = read_nwb(str(copy))
    assert recording.resolution == 0.05
    assert recording.session == "z1"


def test_one_damaged_part_costs_that_part_alone(copy):
    """The same behaviour as with HDF5 (tests/ingest/nwb/file/test_builder_parts.py)."""
    copy.change("processing/behavior/speed/.zattrs", namespace="ndx-mine", neurodata_type="MySeries")
    copy.change("units/depth/.zarray", compressor={"id": "wavpack"})
    copy.change("units/.zattrs", colnames=[*copy.attributes("units/.zattrs")["colnames"], "nowhere"])
    copy.change("general/subject/age/.zarray", shape="many")
    notes = Notes()
    recording = read_nwb(str(copy), notes=notes)
    assert recording.n_spikes == 315
    assert "speed" not in recording.behavior
    left = {note.path: note.text for note in notes.left}
    assert "ndx-mine, whose definition is not in the file" in left["processing/behavior/speed"]
    assert "wavpack" in left["units/depth"]
    assert left["units/nowhere"] == "named as a column, but not in the file"
    assert "is not a shape" in left["general/subject/age"]
    assert recording.quality["parts_left_out"] == 4
    with pytest.raises(SourceError, match="parts_left_out is 4: expected 0 with strict"):
        read_nwb(str(copy), strict=True)


SPEED = "processing/behavior/speed"


def without_whole(copy, key, content):
    """Let a store of a key for each object have other metadata under one key, or none."""
    (copy.place / ".zmetadata").unlink()
    if content is None:
        (copy.place / key).unlink()
    else:
        (copy.place / key).write_text(content)


@pytest.mark.parametrize(
    ("key", "content", "message"),
    [
        (f"{SPEED}/.zattrs", "[1, 2]", "zattrs is damaged: it holds no JSON object"),
        (f"{SPEED}/data/.zarray", "{cut", "zarray is damaged"),
        (f"{SPEED}/.zgroup", None, "neither an array nor a group in a group"),
        (f"{SPEED}/.zarray", '{"zarr_format": 2}', "zarray is damaged"),
    ],
)
def test_damaged_metadata_of_one_object_cost_that_object_alone(copy, key, content, message):
    without_whole(copy, key, content)
    notes = Notes()
    recording = read_nwb(str(copy), notes=notes)
    assert recording.n_spikes == 315
    assert "speed" not in recording.behavior
    left = {note.path: note.text for note in notes.left}
    assert message in left[SPEED]


def test_a_group_without_any_metadata_costs_what_it_holds(copy):
    without_whole(copy, "processing/behavior/.zgroup", None)
    (copy.place / "processing/behavior/.zattrs").unlink()
    notes = Notes()
    recording = read_nwb(str(copy), notes=notes)
    assert recording.n_spikes == 315
    assert "speed" not in recording.behavior
    assert "neither an array" in {note.path: note.text for note in notes.left}["processing/behavior"]
    assert SPEED in {part.path for part in notes.damaged}


@pytest.mark.parametrize(("key", "content"), [(".zattrs", "[]"), (".zgroup", "7"), ("units/.zattrs", "[]")])
def test_damaged_metadata_of_the_whole_or_of_the_units_are_refused(copy, key, content):
    without_whole(copy, key, content)
    with pytest.raises(SourceError, match="is damaged: it holds no JSON object"):
        read_nwb(str(copy))
