"""Stores that are damaged, or made to do harm: refused by name, with nothing outside read and little memory taken."""

import json
import os
import pickle

import numcodecs
import numpy as np
import pytest

from ingest.nwb.read_nwb import read_nwb

TIMES = "units/spike_times"
GROUPS = "general/extracellular_ephys/electrodes/group"
CANARY = b"canary-7f3a"


class Runs:
    def __reduce__(self):
        return os.system, ("touch ran",)


def test_a_pickle_that_runs_something(copy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    array = np.array([Runs()] * 6, dtype=object)
    copy.objects("units/cell_type", pickle.dumps(array))
    copy.change("units/cell_type/.zarray", filters=[{"id": "pickle", "protocol": 5}])
    copy.left_out("units/cell_type", r"a pickle names (posix|nt)\.system")
    assert not (tmp_path / "ran").exists()


def test_a_pickle_in_the_fill_value(copy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hostile = numcodecs.get_codec({"id": "base64"}).encode(pickle.dumps(Runs())).decode()
    copy.change("intervals/trials/timeseries/.zarray", fill_value=hostile)
    assert read_nwb(str(copy)).n_units == 6
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("codec", ["msgpack2", "categorize", "vlen-array", "n5_wrapper", "nonsense"])
def test_object_codecs_that_are_not_read(copy, codec):
    copy.change("units/cell_type/.zarray", filters=[{"id": codec}])
    copy.left_out("units/cell_type", f"objects kept by the codec '{codec}' cannot be read")


@pytest.mark.parametrize(
    ("where", "codec"), [("compressor", "wavpack"), ("filters", "pickle"), ("compressor", "pickle")]
)
def test_codecs_of_numbers_that_are_not_read(copy, where, codec):
    copy.change(f"{TIMES}/.zarray", **{where: [{"id": codec}] if where == "filters" else {"id": codec}})
    copy.refused(f"{TIMES}: the (codec|filter) '{codec}' cannot be read")


def test_an_array_that_nobody_reads_may_be_kept_in_any_way(copy):
    copy.change("processing/ophys/Fluorescence/raw/data/.zarray", compressor={"id": "wavpack"})
    assert read_nwb(str(copy)).n_spikes == 315


# -- names and links --


@pytest.mark.parametrize(
    "key", ["../outside/.zarray", "a/../../b/.zgroup", "/etc/.zgroup", "a//b/.zattrs", "a\\b/.zgroup"]
)
def test_names_that_lead_out(copy, key):
    whole = json.loads((copy.place / ".zmetadata").read_text())
    whole["metadata"][key] = {"zarr_format": 2}
    (copy.place / ".zmetadata").write_text(json.dumps(whole))
    copy.refused("leads out of the store")


@pytest.mark.parametrize("source", ["../other.zarr", "/data/other.nwb.zarr", "s3://bucket/a.zarr", "file:///etc"])
def test_links_to_other_stores(copy, source):
    path = "processing/behavior/speed"
    copy.change(f"{path}/.zattrs", zarr_link=[{"name": "timestamps", "path": "/x", "source": source}])
    copy.left_out(path, f"timestamps: a link to '/x' in another store, {source!r}: it is not followed")


def test_references_to_other_stores_and_to_nowhere(copy):
    table = copy.attributes("units/electrodes/.zattrs")["table"]
    for change, message in (
        ({"source": "../b.zarr", "source_object_id": "x"}, "another store"),
        ({"path": "/no"}, "not hold"),
    ):
        copy.change("units/electrodes/.zattrs", table={**table, "value": {**table["value"], **change}})
        copy.left_out("units/electrodes", f"table: a link to .*{message}")


def test_a_reference_by_the_place_where_the_store_was_made(copy):
    """Some versions wrote a path; the store's id shows that it means this store."""
    table = copy.attributes("units/electrodes/.zattrs")["table"]
    table["value"]["source"] = "../made/here.nwb.zarr"
    copy.change("units/electrodes/.zattrs", table=table)
    assert read_nwb(str(copy)).units["location"].tolist()[2] == "V1"


def test_links_in_a_circle(copy):
    links = [{"name": "device", "path": "/general/extracellular_ephys/shank0", "source": "."}]
    copy.change("general/extracellular_ephys/shank0/.zattrs", zarr_link=links)
    copy.left_out("general/extracellular_ephys/shank0/device", "which contains it")


@pytest.mark.parametrize("what", [f"{TIMES}/0", "units/depth", ".zmetadata"])
def test_symbolic_links_out_of_the_folder(copy, tmp_path, what):
    outside = tmp_path / "outside"
    if what.endswith("depth"):
        (copy.place / what).rename(outside)
    else:
        outside.write_bytes(CANARY * 1000)
        (copy.place / what).unlink()
    (copy.place / what).symlink_to(outside)
    message = "is a link that leads out of the store: it is not followed"
    if what == "units/depth":
        copy.left_out(what, message)
    else:
        assert CANARY.decode() not in copy.refused(message)


def test_names_and_texts_with_half_characters(copy):
    """JSON can say half a character; it would break every table of text that it came into."""
    whole = (copy.place / ".zmetadata").read_text()
    (copy.place / ".zmetadata").write_text(whole.replace("processing/behavior/speed", "processing/behavior/sp\\udcff"))
    copy.refused("zmetadata is damaged: .*surrogates")
    (copy.place / ".zmetadata").unlink()
    (copy.place / "processing/behavior/speed").rename(copy.place / "processing/behavior/sp\udcff")
    copy.refused("is a name that is not text")


def test_pickled_and_json_texts_with_half_characters(copy):
    array = np.array(["a\ud800"] * 6, dtype=object)
    copy.change("units/cell_type/.zarray", filters=[{"id": "pickle"}])
    copy.objects("units/cell_type", pickle.dumps(array))
    copy.left_out("units/cell_type", "a pickle is damaged: it holds something that is not text")
    copy.change("units/cell_type/.zarray", filters=[{"id": "json2"}])
    copy.objects("units/cell_type", json.dumps([*array, "|O", [6]]).encode())
    copy.left_out("units/cell_type", "a chunk is damaged")


def test_an_attribute_that_is_null_is_none_at_all(copy):
    copy.change("processing/behavior/speed/.zattrs", comments=None)
    assert "speed" in read_nwb(str(copy)).behavior
