"""Transposed series: decided from the file if possible, otherwise refused with the recipe line."""

import hashlib
import json
import re
from dataclasses import asdict

import h5py
import numpy as np
import pytest
from pynwb import TimeSeries
from pynwb.ophys import DfOverF, ImageSegmentation, RoiResponseSeries

from foundation.common.errors import SourceError
from foundation.common.settings.renamed_settings import former_names
from ingest.nwb.read_nwb import read_nwb
from ingest.recipe.recipes import LATER, READER_VERSION, Recipe, load_recipe
from ingest.run.explain import explain

COUNTS_TN = np.random.default_rng(0).poisson(2.0, (60, 8)).astype(np.int16)
HAND_TD = np.random.default_rng(1).normal(size=(600, 2))


def cells(nwb_maker, data, n_cells, rois=None, **changes):
    """A file with dF/F of imaged cells with a column ``depth``; 10 Hz unless there are time stamps."""
    nwb = nwb_maker.new()
    plane = nwb_maker.add_imaging_plane(nwb)
    table = ImageSegmentation().create_plane_segmentation(name="cells", description="cells", imaging_plane=plane)
    table.add_column("depth", "depth")
    for i in range(n_cells):
        table.add_roi(image_mask=np.zeros((2, 2)), depth=float(i))
    module = nwb.create_processing_module("ophys", "imaging")
    module.add(table.parent)
    region = table.create_roi_table_region(region=list(range(n_cells)) if rois is None else rois, description="cells")
    timing = {} if "timestamps" in changes else {"rate": 10.0}
    module.add(DfOverF(RoiResponseSeries(name="dff", data=data, rois=region, unit="dF/F", **timing, **changes)))
    return nwb


def counts(nwb, data, **changes):
    timing = {} if "timestamps" in changes else {"rate": 10.0}
    nwb.add_acquisition(TimeSeries(name="spike_counts", data=data, unit="count", **timing, **changes))
    return nwb


def recipe_of(tmp_path, error):
    """The recipe that a message proposes."""
    line = re.search(r"`(layout: .*?)`", str(error)).group(1)
    (tmp_path / "recipe.yaml").write_text(f"extends: default\n{line}\n", encoding="utf-8")
    return load_recipe(tmp_path / "recipe.yaml")


def test_counts_as_units_by_time_are_refused_with_the_recipe_line(write, nwb_maker, tmp_path):
    path = write(counts(nwb_maker.new(), COUNTS_TN.T))
    with pytest.raises(SourceError, match="spike_counts is 8 x 60, and neither time stamps nor a table") as refused:
        read_nwb(path)
    recording = read_nwb(path, recipe_of(tmp_path, refused.value))
    assert recording.activity.data.tolist() == COUNTS_TN.tolist()
    assert recording.quality == {"activity_transposed": 1.0}


def lay_on_its_side(path, series):
    """Transpose the samples of a series in a file; pynwb itself writes no such file."""
    with h5py.File(path, "r+") as file:
        data, attributes = file[series]["data"][:], dict(file[series]["data"].attrs)
        del file[series]["data"]
        file[series]["data"] = data.T
        file[series]["data"].attrs.update(attributes)
    return path


def test_time_stamps_determine_the_time_axis(write, nwb_maker):
    path = write(counts(nwb_maker.new(), COUNTS_TN, timestamps=np.arange(60.0)))
    recording = read_nwb(lay_on_its_side(path, "acquisition/spike_counts"))
    assert recording.activity.data.tolist() == COUNTS_TN.tolist()


def test_rows_of_the_units_table_determine_the_unit_axis(write, nwb_maker):
    nwb = counts(nwb_maker.new(), COUNTS_TN.T)
    nwb.add_unit_column("cell_type", "type")
    for k in range(8):
        nwb.add_unit(cell_type=f"type{k}")
    recording = read_nwb(write(nwb))
    assert recording.activity.data.tolist() == COUNTS_TN.tolist()
    assert recording.units["cell_type"].tolist() == [f"type{k}" for k in range(8)]


def test_fewer_samples_than_units_are_accepted_if_the_file_shows_it(write, nwb_maker):
    data = np.random.default_rng(0).normal(size=(5, 9))
    recording = read_nwb(write(cells(nwb_maker, data, 9)))
    np.testing.assert_array_equal(recording.activity.data, data)


def test_square_is_refused_until_a_recipe_names_its_axis(write, nwb_maker, tmp_path):
    data = np.random.default_rng(0).normal(size=(9, 9))
    path = write(cells(nwb_maker, data, 9))
    with pytest.raises(SourceError, match="dff is 9 x 9, and neither") as refused:
        read_nwb(path)
    np.testing.assert_array_equal(read_nwb(path, recipe_of(tmp_path, refused.value)).activity.data, data.T)
    (tmp_path / "first.yaml").write_text("extends: default\nlayout: {time_first: [dff]}\n", encoding="utf-8")
    np.testing.assert_array_equal(read_nwb(path, load_recipe(tmp_path / "first.yaml")).activity.data, data)


def test_single_cell_may_have_a_flat_trace(write, nwb_maker):
    trace = np.random.default_rng(0).normal(size=60)
    recording = read_nwb(write(cells(nwb_maker, trace, 3, rois=[1])))
    np.testing.assert_array_equal(recording.activity.data, trace[:, None])
    assert recording.units["depth"].tolist() == [1.0]


def test_columns_without_a_region_have_no_labels(write, nwb_maker):
    data = np.random.default_rng(0).normal(size=(60, 5))
    path = write(cells(nwb_maker, data, 5, rois=[4, 0, 2]))
    recording = read_nwb(path)
    np.testing.assert_array_equal(recording.activity.data, data)
    assert recording.units["id"].tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(recording.units["depth"], [4.0, 0.0, 2.0, np.nan, np.nan])
    assert recording.quality == {"rois_unnamed": 2.0}
    with pytest.raises(SourceError, match="rois_unnamed is 2: expected 0 with strict"):
        read_nwb(path, strict=True)


def test_more_rois_than_columns_are_refused(write, nwb_maker):
    data = np.random.default_rng(0).normal(size=(60, 2))
    with pytest.raises(SourceError, match="dff has 2 columns, but its region names 3 of 3 cells"):
        read_nwb(write(cells(nwb_maker, data, 3)))


@pytest.fixture
def with_hand(write, nwb_maker):
    """Write a file of a unit that was observed for 60 s, with the position of a hand."""

    def make(data, **changes):
        nwb = nwb_maker.add_trains(nwb_maker.new(), [[0.5, 1.0]], [[[0.0, 60.0]]])
        timing = {} if "timestamps" in changes else {"rate": 10.0}
        nwb.add_acquisition(TimeSeries(name="hand", data=data, unit="m", **timing, **changes))
        return write(nwb)

    return make


def test_transposed_behaviour_with_time_stamps_is_turned(with_hand):
    path = lay_on_its_side(with_hand(HAND_TD, timestamps=np.arange(600.0) / 10), "acquisition/hand")
    recording = read_nwb(path)
    np.testing.assert_array_equal(recording.behavior["hand"].data, HAND_TD)
    assert recording.quality == {"series_transposed": 1.0}
    assert "600 samples, m, turned to (time, dimension)" in str(explain(path))


@pytest.mark.parametrize("data", [HAND_TD.T, HAND_TD[:, :1].T, np.tile(HAND_TD, 17).T], ids=["2", "1", "34"])
def test_transposed_behaviour_with_a_rate_is_left_out_with_the_recipe_line(with_hand, tmp_path, data):
    path = with_hand(data)
    found = explain(path)
    assert found.quality == {"layouts_unknown": 1.0}
    assert f"{len(data)} x 600, and the time axis is unknown" in found.left[0].text
    recording = read_nwb(path, recipe_of(tmp_path, found.left[0].text))
    np.testing.assert_array_equal(recording.behavior["hand"].data, data.T)
    with pytest.raises(SourceError, match="layouts_unknown is 1"):
        read_nwb(path, strict=True)


def test_short_series_with_many_dimensions_keeps_its_layout(with_hand):
    data = np.random.default_rng(0).normal(size=(30, 50))
    np.testing.assert_array_equal(read_nwb(with_hand(data)).behavior["hand"].data, data)


def flip(path, series, shape):
    """Give the time stamps of a series another shape."""
    with h5py.File(path, "r+") as file:
        stamps = file[series]["timestamps"]
        values, attributes = stamps[:], dict(stamps.attrs)
        del file[series]["timestamps"]
        file[series]["timestamps"] = values.reshape(shape)
        file[series]["timestamps"].attrs.update(attributes)
    return path


@pytest.mark.parametrize("shape", [(-1, 1), (1, -1)])
def test_time_stamps_as_a_column_or_a_row(with_hand, write, nwb_maker, shape):
    times = np.arange(600.0) / 10
    recording = read_nwb(flip(with_hand(HAND_TD, timestamps=times), "acquisition/hand", shape), strict=True)
    hand = recording.behavior["hand"]
    np.testing.assert_array_equal(hand.timestamps, times)
    np.testing.assert_array_equal(hand.data, HAND_TD)
    path = write(counts(nwb_maker.new(), COUNTS_TN, timestamps=times[:60]), "counts.nwb")
    recording = read_nwb(flip(path, "acquisition/spike_counts", shape), strict=True)
    assert recording.activity.data.tolist() == COUNTS_TN.tolist()


def test_unused_rules_are_not_part_of_the_digest(tmp_path):
    def digest_with(line):
        (tmp_path / "recipe.yaml").write_text(f"extends: default\n{line}\n", encoding="utf-8")
        return load_recipe(tmp_path / "recipe.yaml").digest

    recipe = load_recipe("default")
    about = ("description", "verified", "dandisets")
    rules = {name: rule for name, rule in former_names(Recipe, asdict(recipe)).items() if name not in about}
    for place, _, name in (key.rpartition(".") for key in LATER):
        del (rules[place] if place else rules)[name]
    without = hashlib.sha256(json.dumps([READER_VERSION, rules], sort_keys=True).encode()).hexdigest()[:16]
    assert recipe.digest == without == digest_with("layout: {time_last: []}")
    lines = ("layout: {time_last: [hand]}", "activity: {missing: {x: ['-1']}}", "units: {events: [x]}")
    assert len({recipe.digest, *map(digest_with, lines)}) == 4
