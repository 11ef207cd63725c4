"""Sampled activity: binned counts and dF/F."""

import h5py
import numpy as np
import pytest
from pynwb import TimeSeries
from pynwb.ophys import DfOverF, Fluorescence, ImageSegmentation, RoiResponseSeries

from foundation.common.errors import SourceError
from foundation.store import COUNTS, VALUES
from ingest.nwb.read_nwb import read_nwb
from ingest.recipe.recipes import load_recipe

COUNTS_TN = np.random.default_rng(0).poisson(2.0, (20, 3)).astype(np.int16)


def with_series(nwb, *series):
    module = nwb.create_processing_module("ecephys", "activity")
    for one in series:
        module.add(one)
    return nwb


def counts(name="binned_spike_counts", **changes):
    timing = {} if "timestamps" in changes else {"rate": 0.25, "starting_time": 100.0}
    parts = {"data": COUNTS_TN, "unit": "count"} | timing | changes
    return TimeSeries(name=name, **parts)


def imaged(nwb_maker, nwb, n_cells=4, rois=None):
    """Add fluorescence and dF/F of imaged cells; return the dF/F samples."""
    plane = nwb_maker.add_imaging_plane(nwb)
    cells = ImageSegmentation().create_plane_segmentation(name="cells", description="cells", imaging_plane=plane)
    cells.add_column("cell_type", "type")
    for i in range(n_cells):
        cells.add_roi(image_mask=np.zeros((2, 2)), cell_type=f"type{i}")
    segmentation = cells.parent
    module = nwb.create_processing_module("ophys", "imaging")
    module.add(segmentation)
    rois = list(range(n_cells)) if rois is None else rois
    region = cells.create_roi_table_region(region=rois, description="cells")
    values = np.random.default_rng(1).normal(size=(30, len(rois)))
    raw = RoiResponseSeries(name="RoiResponseSeries", data=values + 100, rois=region, unit="a.u.", rate=10.0)
    module.add(Fluorescence(roi_response_series=raw))
    region2 = cells.create_roi_table_region(region=rois, description="cells")
    dff = RoiResponseSeries(name="RoiResponseSeries", data=values, rois=region2, unit="dF/F", rate=10.0)
    module.add(DfOverF(roi_response_series=dff))
    return values


def test_binned_counts(write, nwb_maker):
    recording = read_nwb(write(with_series(nwb_maker.new(), counts(comments="location: CA1"))))
    assert recording.spikes is None
    assert recording.activity.data.tolist() == COUNTS_TN.tolist()
    assert (recording.activity.rate, recording.activity.start, recording.activity.unit) == (0.25, 100.0, "count")
    assert recording.activity_kind == COUNTS
    assert recording.units["location"].tolist() == ["CA1"] * 3
    assert recording.n_spikes == int(COUNTS_TN.sum())
    assert recording.resolution == 4.0
    assert [*recording.domain.start, *recording.domain.end] == [100.0, 180.0]
    assert recording.behavior == {}


@pytest.mark.parametrize(
    ("name", "unit", "kind"),
    [("binned_spikes", "x", COUNTS), ("firing_rates", "count", COUNTS), ("firing_rates", "Hz", VALUES)],
)
def test_counts_and_values_are_distinguished(write, nwb_maker, name, unit, kind):
    assert read_nwb(write(with_series(nwb_maker.new(), counts(name, unit=unit)))).activity_kind == kind


def test_units_table_without_spikes_labels_the_columns(write, nwb_maker):
    nwb = with_series(nwb_maker.new(), counts())
    nwb.add_unit_column("cell_type", "type")
    for name in ("PV", "SST", "VIP"):
        nwb.add_unit(cell_type=name)
    assert read_nwb(write(nwb)).units["cell_type"].tolist() == ["PV", "SST", "VIP"]


def test_df_over_f_is_preferred_to_raw_fluorescence(write, nwb_maker):
    nwb = nwb_maker.new()
    values = imaged(nwb_maker, nwb, rois=[2, 0, 3])
    recording = read_nwb(write(nwb))
    np.testing.assert_array_equal(recording.activity.data, values)
    assert recording.activity_kind == VALUES
    assert recording.units["cell_type"].tolist() == ["type2", "type0", "type3"]
    assert recording.units["location"].tolist() == ["VISp"] * 3
    assert recording.quality["activity_series_left_out"] == 1


def test_spikes_take_precedence_over_sampled_activity(write, nwb_maker):
    nwb = nwb_maker.add_trains(with_series(nwb_maker.new(), counts()), [[101.0]])
    recording = read_nwb(write(nwb))
    assert recording.activity is None
    assert recording.n_spikes == 1
    assert recording.quality == {"activity_series_left_out": 1.0}


def test_regular_time_stamps_with_jitter_and_a_gap(write, nwb_maker):
    slots = np.r_[0:8, 11:23]  # three samples are missing
    times = 5.0 + slots * 0.1 + np.random.default_rng(2).uniform(-1e-3, 1e-3, 20)
    recording = read_nwb(write(with_series(nwb_maker.new(), counts(timestamps=times))))
    data = recording.activity.data
    assert data.shape == (23, 3)
    assert np.isnan(data[8:11]).all()
    np.testing.assert_array_equal(data[slots], COUNTS_TN)
    assert recording.activity.rate == pytest.approx(10.0, rel=1e-3)
    assert recording.quality == {"samples_missing": 3.0}
    np.testing.assert_allclose(recording.domain.start, [5.0, 6.1], atol=0.02)
    np.testing.assert_allclose(recording.domain.end, [5.8, 7.3], atol=0.02)


def test_slow_clock_drift_is_not_a_gap(write, nwb_maker):
    times = np.cumsum(np.full(20, 0.1) * (1 + np.linspace(-1e-3, 1e-3, 20)))
    recording = read_nwb(write(with_series(nwb_maker.new(), counts(timestamps=times))))
    assert recording.activity.data.tolist() == COUNTS_TN.tolist()


IRREGULAR = {
    "random": np.sort(np.random.default_rng(0).uniform(0, 1, 20)),
    "constant": np.zeros(20),
    "not finite": np.r_[0.0, np.full(19, np.nan)],
    "falling": np.arange(20.0)[::-1],
}


@pytest.mark.parametrize("times", IRREGULAR)
def test_irregular_sampling_is_refused(write, nwb_maker, times):
    path = write(with_series(nwb_maker.new(), counts(timestamps=IRREGULAR[times])))
    with pytest.raises(SourceError, match="binned_spike_counts"):
        read_nwb(path)


def plane(nwb_maker, nwb, number, n_cells, rate=10.0, start=0.0, samples=30, unit="dF/F", location="VISp"):
    """An imaging plane with its own cells and dF/F; returns the samples."""
    imaging = nwb_maker.add_imaging_plane(nwb, name=f"plane{number}", location=location)
    if "ophys" not in nwb.processing:
        module = nwb.create_processing_module("ophys", "imaging")
        module.add(ImageSegmentation())
        module.add(DfOverF())
    module = nwb.processing["ophys"]
    cells = module["ImageSegmentation"].create_plane_segmentation(
        name=f"cells{number}", description="cells", imaging_plane=imaging
    )
    cells.add_column("depth" if number else "kind", "one that the other planes lack")
    for k in range(n_cells):
        cells.add_roi(image_mask=np.zeros((2, 2)), **({"depth": float(number)} if number else {"kind": f"k{k}"}))
    values = np.random.default_rng(number).normal(size=(samples, n_cells)).astype(np.float32)
    region = cells.create_roi_table_region(region=list(range(n_cells)), description="cells")
    module["DfOverF"].add_roi_response_series(
        RoiResponseSeries(name=f"dff{number}", data=values, rois=region, unit=unit, rate=rate, starting_time=start)
    )
    return values


def test_alternating_imaging_planes_become_one_population(write, nwb_maker):
    nwb = nwb_maker.new()
    first = plane(nwb_maker, nwb, 0, 3, start=5.0)
    second = plane(nwb_maker, nwb, 1, 2, start=5.05, samples=29, location="VISl")
    recording = read_nwb(write(nwb))
    assert recording.activity.data.dtype == np.float32
    np.testing.assert_array_equal(recording.activity.data, np.concatenate([first[:29], second], axis=1))
    assert (recording.activity.rate, recording.activity.start) == (10.0, 5.0)
    units = recording.units
    assert units["plane"].tolist() == ["plane0"] * 3 + ["plane1"] * 2
    assert units["location"].tolist() == ["VISp"] * 3 + ["VISl"] * 2
    assert units["region"].tolist() == units["location"].tolist()
    assert units["id"].tolist() == [0, 1, 2, 3, 4]
    assert units["source_id"].tolist() == [0, 1, 2, 0, 1]
    np.testing.assert_allclose(units["time_offset"], [0, 0, 0, 0.05, 0.05])
    assert units["kind"].tolist() == ["k0", "k1", "k2", "", ""]
    np.testing.assert_array_equal(units["depth"], [np.nan] * 3 + [1.0] * 2)
    assert recording.quality == {"activity_planes_joined": 2.0, "activity_samples_cut": 1.0}


@pytest.mark.parametrize(
    "changes",
    [{"rate": 30.0}, {"start": 100.0}, {"rate": 10.05, "samples": 300}, {"unit": "a.u."}],
)
def test_planes_not_sampled_together_are_left_out_and_counted(write, nwb_maker, changes):
    nwb = nwb_maker.new()
    first = plane(nwb_maker, nwb, 0, 3, samples=changes.get("samples", 30))
    plane(nwb_maker, nwb, 1, 2, **changes)
    recording = read_nwb(write(nwb))
    np.testing.assert_array_equal(recording.activity.data, first)
    assert "time_offset" not in recording.units
    assert recording.quality == {"activity_series_left_out": 1.0}


def test_damaged_second_plane_is_counted_and_refused_with_strict(write, nwb_maker):
    nwb = nwb_maker.new()
    first = plane(nwb_maker, nwb, 0, 3)
    plane(nwb_maker, nwb, 1, 2)
    path = write(nwb)
    with h5py.File(path, "r+") as file:
        file["processing/ophys/DfOverF/dff1/data"].attrs["conversion"] = 0.0
    recording = read_nwb(path)
    np.testing.assert_array_equal(recording.activity.data, first)
    assert recording.quality == {"parts_left_out": 1.0}
    with pytest.raises(SourceError, match="parts_left_out is 1"):
        read_nwb(path, strict=True)


def test_recipe_can_keep_planes_apart(write, nwb_maker, tmp_path):
    (tmp_path / "r.yaml").write_text("extends: default\nactivity: {join_planes: false, prefer: ['.*dff1', '...']}")
    nwb = nwb_maker.new()
    plane(nwb_maker, nwb, 0, 3)
    second = plane(nwb_maker, nwb, 1, 2)
    recording = read_nwb(write(nwb), load_recipe(tmp_path / "r.yaml"))
    np.testing.assert_array_equal(recording.activity.data, second)
    assert recording.quality == {"activity_series_left_out": 1.0}


def test_transposed_activity_is_turned(write, nwb_maker):
    nwb = nwb_maker.new()
    values = plane(nwb_maker, nwb, 0, 3)
    path = write(nwb)
    with h5py.File(path, "r+") as file:
        group = file["processing/ophys/DfOverF/dff0"]
        attributes = dict(group["data"].attrs)
        del group["data"]
        group["data"] = values.T
        group["data"].attrs.update(attributes)
    recording = read_nwb(path)
    np.testing.assert_array_equal(recording.activity.data, values)
    assert recording.quality == {"activity_transposed": 1.0}


@pytest.mark.parametrize(
    ("absurd", "why"),
    [
        (1e30, r"holds counts that sum to 2e\+31"),
        (-1.0, r"holds counts, but 20 of its samples are below 0 \(the least is -1\)"),
        (np.inf, "holds no number: each of its 20 samples is missing or not finite"),
        (1e300, "holds no number"),
    ],
)
def test_impossible_counts(write, nwb_maker, absurd, why):
    nwb = nwb_maker.new()
    data = np.full((10, 2), absurd)
    nwb.add_acquisition(TimeSeries(name="binned_spike_counts", data=data, unit="counts", rate=1.0))
    with pytest.raises(SourceError, match=f"binned_spike_counts {why}"):
        read_nwb(write(nwb))
