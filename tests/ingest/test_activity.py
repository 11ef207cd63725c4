"""Sampled activity: binned counts and dF/F."""

import numpy as np
import pytest
from pynwb import TimeSeries
from pynwb.ophys import DfOverF, Fluorescence, ImageSegmentation, OpticalChannel, RoiResponseSeries

from foundation.errors import SourceError
from foundation.store import COUNTS, VALUES
from ingest.nwb import read_nwb

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


def imaged(nwb, n_cells=4, rois=None):
    """Adds fluorescence and dF/F of imaged cells; returns the dF/F samples."""
    plane = nwb.create_imaging_plane(
        name="plane",
        optical_channel=OpticalChannel(name="c", description="c", emission_lambda=500.0),
        description="a plane",
        device=nwb.create_device("scope"),
        excitation_lambda=600.0,
        indicator="GCaMP6",
        location="VISp",
    )
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
def test_counts_are_told_from_values(write, nwb_maker, name, unit, kind):
    assert read_nwb(write(with_series(nwb_maker.new(), counts(name, unit=unit)))).activity_kind == kind


def test_units_table_without_spikes_labels_the_columns(write, nwb_maker):
    nwb = with_series(nwb_maker.new(), counts())
    nwb.add_unit_column("cell_type", "type")
    for name in ("PV", "SST", "VIP"):
        nwb.add_unit(cell_type=name)
    assert read_nwb(write(nwb)).units["cell_type"].tolist() == ["PV", "SST", "VIP"]


def test_df_over_f_is_preferred_to_raw_fluorescence(write, nwb_maker):
    nwb = nwb_maker.new()
    values = imaged(nwb, rois=[2, 0, 3])
    recording = read_nwb(write(nwb))
    np.testing.assert_array_equal(recording.activity.data, values)
    assert recording.activity_kind == VALUES
    assert recording.units["cell_type"].tolist() == ["type2", "type0", "type3"]
    assert recording.units["location"].tolist() == ["VISp"] * 3
    assert recording.quality["activity_series_left_out"] == 1


def test_spikes_win_over_sampled_activity(write, nwb_maker):
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


def test_a_slow_drift_of_the_clock_is_not_a_gap(write, nwb_maker):
    times = np.cumsum(np.full(20, 0.1) * (1 + np.linspace(-1e-3, 1e-3, 20)))
    recording = read_nwb(write(with_series(nwb_maker.new(), counts(timestamps=times))))
    assert recording.activity.data.tolist() == COUNTS_TN.tolist()


IRREGULAR = {
    "random": np.sort(np.random.default_rng(0).uniform(0, 1, 20)),
    "constant": np.zeros(20),
    "not finite": np.r_[np.arange(19.0), np.nan],
    "falling": np.arange(20.0)[::-1],
}


@pytest.mark.parametrize("times", IRREGULAR)
def test_irregular_sampling_is_refused(write, nwb_maker, times):
    path = write(with_series(nwb_maker.new(), counts(timestamps=IRREGULAR[times])))
    with pytest.raises(SourceError, match="binned_spike_counts"):
        read_nwb(path)
