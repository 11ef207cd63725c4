"""Every object of a file is either taken or left."""

import shutil

import h5py
import numpy as np
import pytest
from hdmf.common import DynamicTable, VectorData
from pynwb import TimeSeries
from pynwb.base import Images
from pynwb.behavior import BehavioralEvents, Position, SpatialSeries
from pynwb.ecephys import LFP, ElectricalSeries
from pynwb.image import GrayscaleImage, ImageSeries
from pynwb.ophys import Fluorescence, ImageSegmentation, OpticalChannel

from ingest.run.explain import explain

FOLDERS = ("alm", "head-direction", "optotagged", "rat-track", "reach", "sleep")


def objects_of(path):
    """Every object with a type, as h5py sees the file, but its root and the definitions of types."""
    found = []

    def visit(name, item):
        if "neurodata_type" in item.attrs:
            found.append(name.replace("general/extracellular_ephys/electrodes", "electrodes"))

    with h5py.File(path) as file:
        file.visititems(visit)
    return sorted(name for name in found if not name.startswith("specifications/"))


def unaccounted(path):
    """Objects that are not listed themselves, with their parent, or by their parts."""
    explanation = explain(path)
    assert explanation.ok, explanation.result
    noted = {note.path.partition(", ")[0] for note in (*explanation.taken, *explanation.left)}
    missing = []
    for name in objects_of(path):
        above = {name[:k] for k, char in enumerate(name) if char == "/"} | {name}
        part = name.rpartition("/")[2] == "id" or name.endswith("_index")
        if not (above & noted or part or any(one.startswith(f"{name}/") for one in noted)):
            missing.append(name)
    return missing


@pytest.fixture(scope="module")
def everything(nwb_maker, tmp_path_factory):
    """A file with every kind of object that files hold beside activity."""
    nwb = nwb_maker.new()
    device = nwb.create_device("probe")
    group = nwb.create_electrode_group("shank", "a shank", "CA1", device)
    for _ in range(3):
        nwb.add_electrode(location="CA1", group=group)
    region = nwb.create_electrode_table_region([0, 1], "two")
    nwb.add_unit_column("depth", "depth")
    for n in range(3):
        nwb.add_unit(spike_times=[n + 0.5, 4.0], depth=1.0, electrodes=[n], obs_intervals=[[0.0, 5.0]])
    nwb.add_trial(start_time=0.0, stop_time=1.0)
    nwb.add_invalid_time_interval(start_time=1.0, stop_time=1.5)
    nwb.add_acquisition(ElectricalSeries(name="raw", data=np.zeros((9, 2)), electrodes=region, rate=30000.0))
    nwb.add_acquisition(
        ImageSeries(name="video", external_file=["a.avi"], format="external", rate=30.0, num_samples=9, unit="n.a.")
    )
    nwb.add_acquisition(Images(name="pictures", images=[GrayscaleImage(name="one", data=np.zeros((2, 2)))]))
    nwb.add_stimulus_template(TimeSeries(name="grating", data=np.zeros(3), unit="V", rate=10.0))
    nwb.add_scratch(np.arange(3.0), name="thoughts", description="scratch")
    module = nwb.create_processing_module("behavior", "behavior")
    hand = SpatialSeries(name="hand", data=np.zeros((20, 2)), reference_frame="desk", rate=10.0)
    module.add(Position(spatial_series=hand))
    module.add(BehavioralEvents())
    notes = VectorData(name="note", description="a note", data=["a", "b"])
    module.add(DynamicTable(name="notes", description="no times", columns=[notes]))
    ecephys = nwb.create_processing_module("ecephys", "filtered")
    ecephys.add(LFP(ElectricalSeries(name="lfp", data=np.zeros((9, 2)), electrodes=region, rate=1000.0)))
    ophys = nwb.create_processing_module("ophys", "imaging")
    segmentation = ImageSegmentation()
    ophys.add(segmentation)
    channel = OpticalChannel(name="channel", description="green", emission_lambda=500.0)
    plane = nwb.create_imaging_plane(
        name="plane", optical_channel=channel, description="d", device=device, excitation_lambda=600.0,
        indicator="GCaMP", location="V1", imaging_rate=30.0,
    )  # fmt: skip
    table = segmentation.create_plane_segmentation("cells", plane)
    for _ in range(2):
        table.add_roi(image_mask=np.zeros((4, 4)))
    rois = table.create_roi_table_region("all", region=[0, 1])
    fluorescence = Fluorescence()
    ophys.add(fluorescence)
    fluorescence.create_roi_response_series(name="roi", data=np.zeros((9, 2)), rois=rois, unit="F", rate=30.0)
    return nwb_maker.save(nwb, tmp_path_factory.mktemp("everything") / "everything.nwb")


def test_every_object_is_taken_or_left(everything):
    assert unaccounted(everything) == []
    left = {note.path: note.text for note in explain(everything).left}
    assert left["scratch/thoughts"] == "ScratchData: scratch data, which is never read"
    assert left["processing/behavior/notes"].startswith("DynamicTable: a table without times")
    assert left["processing/behavior/BehavioralEvents"] == "BehavioralEvents: empty"
    assert left["electrodes/group"].startswith("used only for the location and group of units")


def test_untyped_groups_and_datasets_are_left_too(everything, tmp_path):
    path = shutil.copy(everything, tmp_path / "a.nwb")
    with h5py.File(path, "r+") as file:
        file["processing/behavior/mine/numbers"] = np.arange(3.0)
        file["numbers"] = np.arange(3.0)
    left = {note.path: note.text for note in explain(str(path)).left}
    assert left["processing/behavior/mine"] == left["numbers"] == "not a part of NWB"


def test_file_without_activity_lists_its_objects_too(everything, tmp_path):
    path = shutil.copy(everything, tmp_path / "a.nwb")
    with h5py.File(path, "r+") as file:
        del file["units"]
        del file["processing/ophys/Fluorescence"]
    assert unaccounted(str(path)) == []


def test_spikes_and_values_after_the_last_row_are_counted(everything, tmp_path):
    path = shutil.copy(everything, tmp_path / "a.nwb")
    with h5py.File(path, "r+") as file:
        file["units/spike_times_index"][...] = [1, 2, 3]
    found = explain(str(path))
    assert found.quality["spikes_dropped_without_unit"] == 3
    assert {"units/spike_times, its end"} <= {note.path for note in found.left}
    assert not explain(str(path), strict=True).ok


@pytest.mark.parametrize("folder", FOLDERS)
def test_real_recordings(real_data, folder):
    files = sorted((real_data / "nwb" / folder).rglob("*.nwb"), key=lambda path: path.stat().st_size)
    assert unaccounted(str(files[0])) == []
