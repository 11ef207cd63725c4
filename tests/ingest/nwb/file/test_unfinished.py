"""Files that are still being written or fetched are refused, and finished ones are not."""

import os

import h5py
import numpy as np
import pytest
from pynwb import TimeSeries

from foundation.common.errors import SourceError
from ingest.nwb.file.unfinished import SIBLINGS, fill_run, refuse_unfinished_trains
from ingest.nwb.read_nwb import read_nwb
from ingest.run.explain import explain


@pytest.fixture
def good(write, nwb_maker):
    """A file of 20 units with 50 spikes each, and behaviour with time stamps."""
    rng = np.random.default_rng(0)
    trains = [np.sort(rng.uniform(0.1, 60, 50)) for _ in range(20)]
    nwb = nwb_maker.add_trains(nwb_maker.new(), trains)
    nwb.add_acquisition(TimeSeries(name="speed", data=np.ones(100), unit="m/s", timestamps=np.arange(100.0) + 1))
    return write(nwb)


def rewrite(path, name, change, **settings):
    """Replace a dataset by other values or another layout."""
    with h5py.File(path, "r+") as file:
        values, attributes = file[name][:], dict(file[name].attrs)
        del file[name]
        made = file.create_dataset(name, values.shape, values.dtype, **settings)
        made.attrs.update(attributes)
        if made.chunks is None:  # HDF5 gives it the room of the old one, values and all
            made[...] = 0
        change(made, values)
    return path


def half(made, values):
    made[: len(values) // 2] = values[: len(values) // 2]


def test_finished_file_is_read(good):
    assert read_nwb(good, strict=True).n_spikes == 1000


@pytest.mark.parametrize("settings", [{}, {"chunks": (100,)}, {"chunks": (1000,)}, {"chunks": (64,), "compression": 4}])
def test_half_written_spike_times(good, settings):
    with pytest.raises(SourceError, match=r"units/spike_times: .*: the file is being written, or its writer ended"):
        read_nwb(rewrite(good, "units/spike_times", half, **settings))


def test_chunk_in_the_middle_that_was_never_written(good):
    def all_but_one(made, values):
        made[:300], made[400:] = values[:300], values[400:]

    path = rewrite(good, "units/spike_times", all_but_one, chunks=(100,))
    with pytest.raises(SourceError, match=r"units/spike_times: 1 of its 10 chunks were never written"):
        read_nwb(path)


def test_half_written_index(good):
    with pytest.raises(SourceError, match=r"spike_times_index: the last 10 of 20 are 0: the file is being written"):
        read_nwb(rewrite(good, "units/spike_times_index", half))


def test_spike_at_the_session_start_is_not_a_sign_of_damage(good):
    times = np.array([1.0, 2.0, 0.0, 0.0])
    refuse_unfinished_trains(times, times, np.array([0, 2, 3, 4]), "spike_times")  # two units, each with a spike at 0
    with pytest.raises(SourceError, match="the last 2 of 4 are 0"):
        refuse_unfinished_trains(times, times, np.array([0, 3, 4]), "spike_times")
    assert fill_run(np.array([0.0, 0.0])) == fill_run(np.array([1.0, np.nan])) == fill_run(np.empty(0)) == 0


@pytest.mark.parametrize(("name", "why"), [("timestamps", "the last 50"), ("data", "1 of its 2 chunks")])
def test_unfinished_behaviour_is_left_out_and_named(good, name, why):
    path = rewrite(good, f"acquisition/speed/{name}", half, **({"chunks": (50,)} if name == "data" else {}))
    found = explain(path)
    left = {note.path: note.text for note in found.left}["acquisition/speed"]
    assert left.startswith(why)
    assert left.endswith("the file is being written, or its writer ended before it was done")
    assert found.quality == {"series_unfinished": 1.0}
    with pytest.raises(SourceError, match="series_unfinished is 1"):
        read_nwb(path, strict=True)


def all_but_the_middle(made, values):
    made[:25], made[50:] = values[:25], values[50:]


def test_sparse_behaviour_with_missing_chunks(good):
    path = rewrite(good, "acquisition/speed/data", all_but_the_middle, chunks=(25,), fillvalue=np.nan)
    recording = read_nwb(path, strict=True)
    assert np.flatnonzero(np.isnan(recording.behavior["speed"].data[:, 0])).tolist() == list(range(25, 50))
    assert recording.quality == {"samples_missing": 25.0}


def test_sparse_activity_with_missing_chunks(write, nwb_maker):
    nwb = nwb_maker.new()
    data = np.random.default_rng(0).normal(size=(100, 3))
    nwb.add_acquisition(TimeSeries(name="dff", data=data, unit="dF/F", rate=10.0))
    path = rewrite(write(nwb), "acquisition/dff/data", all_but_the_middle, chunks=(25, 3), fillvalue=np.nan)
    recording = read_nwb(path, strict=True)
    assert recording.domain.duration == pytest.approx(7.5)
    assert recording.quality == {"samples_missing": 25.0}


def test_times_that_were_never_written_are_unfinished_for_any_fill_value(good):
    path = rewrite(good, "acquisition/speed/timestamps", all_but_the_middle, chunks=(25,), fillvalue=np.nan)
    assert read_nwb(path).quality == {"series_unfinished": 1.0}
    path = rewrite(good, "units/spike_times", half, chunks=(500,), fillvalue=np.nan)
    with pytest.raises(SourceError, match="units/spike_times: 1 of its 2 chunks were never written"):
        read_nwb(path)


def test_unfinished_activity(write, nwb_maker):
    nwb = nwb_maker.new()
    data, times = np.random.default_rng(0).normal(size=(100, 3)), np.arange(100.0) + 1
    nwb.add_acquisition(TimeSeries(name="dff", data=data, unit="dF/F", timestamps=times))
    path = write(nwb)
    with pytest.raises(SourceError, match="dff/timestamps: the last 50 of 100 are 0: the file is being written"):
        read_nwb(rewrite(path, "acquisition/dff/timestamps", half))
    with pytest.raises(SourceError, match="dff/data: 1 of its 2 chunks were never written"):
        read_nwb(rewrite(path, "acquisition/dff/data", half, chunks=(50, 3)))


def test_file_that_is_open_for_writing(tmp_path):
    """The mark is that of HDF5 itself, taken from a file while it is open, as of a writer that died."""
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        file.attrs["nwb_version"] = "2.6.0"
        file.flush()
        (tmp_path / "a.nwb").write_bytes((tmp_path / "a.h5").read_bytes())
    with pytest.raises(SourceError, match=r"a\.nwb: is being written: it is marked as open for writing"):
        read_nwb(str(tmp_path / "a.nwb"))
    with pytest.raises(SourceError, match=r"a\.h5: (?!is being written)"):
        read_nwb(str(tmp_path / "a.h5"))


@pytest.mark.parametrize("suffix", SIBLINGS)
def test_file_that_is_being_fetched(good, suffix):
    with open(good + suffix, "wb"):
        pass
    with pytest.raises(SourceError, match=rf"is being fetched: a\.nwb\{suffix} exists beside it"):
        read_nwb(good)
    os.remove(good + suffix)
    read_nwb(good)


def test_file_that_changes_during_reading(good, monkeypatch):
    import ingest.nwb.read_nwb

    real = ingest.nwb.session_info.read_subject

    def touched(*args):
        os.utime(good, ns=(1, 1))
        return real(*args)

    monkeypatch.setattr(ingest.nwb.read_nwb, "read_subject", touched)
    with pytest.raises(SourceError, match="changed while being read"):
        read_nwb(good)
