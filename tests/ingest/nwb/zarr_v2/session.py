"""A small session with every kind of thing that hdmf-zarr lays out in its own way.

The fixture tests/ingest/data/session.nwb.zarr.tar.xz is this session as hdmf-zarr wrote it, in an environment apart
(hdmf-zarr does not go with zarr 3):

    python -m venv hz && hz/bin/pip install hdmf-zarr==0.13.0 pynwb==4.2.0 'zarr<3'
    export NUMCODECS_ALLOW_UNSAFE_PICKLE_DECODE=1
    hz/bin/python tests/ingest/nwb/zarr_v2/session.py tests/ingest/data/session.nwb.zarr.tar.xz
"""

import sys
import tarfile
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from hdmf.common import EnumData
from hdmf.spec import NamespaceBuilder
from pynwb import NWBFile, TimeSeries, get_class, load_namespaces
from pynwb.behavior import Position
from pynwb.file import Subject
from pynwb.ophys import Fluorescence, ImageSegmentation, OpticalChannel
from pynwb.spec import NWBAttributeSpec, NWBGroupSpec

START = datetime(2022, 2, 3, 4, 5, 6, tzinfo=UTC)


def lab_metadata(folder):
    """The class of an extension's type, as a lab would define it; its specification is kept in the file."""
    namespace = NamespaceBuilder("a lab's own", "ndx-lab", version="0.1.0")
    namespace.include_type("LabMetaData", namespace="core")
    note = NWBAttributeSpec("note", "what the lab notes", "text")
    spec = NWBGroupSpec(
        "a lab's metadata", neurodata_type_def="LabNote", neurodata_type_inc="LabMetaData", attributes=[note]
    )
    namespace.add_spec("lab.extensions.yaml", spec)
    namespace.export("lab.namespace.yaml", outdir=str(folder))
    load_namespaces(str(Path(folder) / "lab.namespace.yaml"))
    return get_class("LabNote", "ndx-lab")


def session(folder=None) -> NWBFile:
    """The session in memory; with an extension's type in it if there is a folder for its specification."""
    rng = np.random.default_rng(0)
    nwb = NWBFile(
        session_description="spikes, tracking and imaging",
        identifier="zarr-1",
        session_start_time=START,
        file_create_date=START,
        session_id="z1",
        lab="a lab",
        institution="an institution",
        experimenter=["Curie, Marie", "Noether, Emmy"],
        keywords=["hippocampus", "sleep"],
        subject=Subject(subject_id="m7", species="Mus musculus", sex="M", age="P60D"),
    )
    if folder is not None:
        nwb.add_lab_meta_data(lab_metadata(folder)(name="note", note="noted"))
    device = nwb.create_device("probe")
    groups = [
        nwb.create_electrode_group(f"shank{k}", "a shank", region, device) for k, region in enumerate(["CA1", "V1"])
    ]
    for k in range(4):
        nwb.add_electrode(x=float(k), y=0.0, z=0.0, location=["CA1", "V1"][k // 2], group=groups[k // 2])
    for name, text in (("cell_type", "class"), ("good", "kept"), ("depth", "um")):
        nwb.add_unit_column(name, text)
    for n in range(6):
        nwb.add_unit(
            spike_times=np.sort(rng.uniform(0, 60, 50 + n)),
            obs_intervals=[[0.0, 30.0], [31.0, 60.0]],
            electrodes=[n % 4],
            electrode_group=groups[n % 4 // 2],
            cell_type=["PV", "SST", "äöü ☃"][n % 3],
            good=n % 2 == 0,
            depth=100.0 * n,
        )
    nwb.units.add_column("quality", "sorter's", data=[0, 1, 0, 1, 0, 1], col_cls=EnumData, enum=["good", "mua"])
    times = np.arange(200) / 10 + 0.05
    behavior = nwb.create_processing_module("behavior", "tracking")
    position = Position(name="Position")
    track = position.create_spatial_series(
        "position", data=rng.normal(size=(200, 2)), timestamps=times, reference_frame="maze", unit="cm", conversion=0.5
    )
    behavior.add(position)
    # The time stamps are those of the position: a link inside the file.
    behavior.add(TimeSeries(name="speed", data=rng.normal(size=200).astype(np.float32), unit="cm/s", timestamps=track))
    nwb.add_acquisition(
        TimeSeries(name="lick", data=np.arange(120, dtype=np.int16), unit="V", rate=2.0, starting_time=1.5)
    )
    nwb.add_trial_column("side", "where")
    for k in range(5):
        nwb.add_trial(start_time=10.0 * k, stop_time=10.0 * k + 5, side=["left", "right"][k % 2], timeseries=[track])
    _imaging(nwb, rng)
    return nwb


def _imaging(nwb, rng):
    microscope = nwb.create_device("microscope")
    channel = OpticalChannel(name="green", description="green", emission_lambda=510.0)
    plane = nwb.create_imaging_plane(
        name="plane", optical_channel=channel, description="a plane", device=microscope, excitation_lambda=920.0,
        indicator="GCaMP6", location="V1", imaging_rate=30.0,
    )  # fmt: skip
    segmentation = ImageSegmentation()
    masks = segmentation.create_plane_segmentation(name="cells", description="cells", imaging_plane=plane)
    for k in range(3):
        masks.add_roi(pixel_mask=[(k, k, 1.0), (k + 1, k, 0.5)])
    ophys = nwb.create_processing_module("ophys", "imaging")
    ophys.add(segmentation)
    rois = masks.create_roi_table_region("all", region=[0, 1, 2])
    fluorescence = Fluorescence()
    fluorescence.create_roi_response_series("raw", data=rng.normal(size=(90, 3)), rois=rois, unit="a.u.", rate=30.0)
    ophys.add(fluorescence)


def main(target: str) -> None:
    from hdmf_zarr.nwb import NWBZarrIO

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "session.nwb.zarr"
        nwb = session(folder)
        with NWBZarrIO(str(place), mode="w") as io:
            io.write(nwb)
        with tarfile.open(target, "w:xz") as archive:
            archive.add(place, arcname=".")


if __name__ == "__main__":
    main(sys.argv[1])
