"""NWB 2 of every version, and files that are not NWB 2."""

import h5py
import pytest

from foundation.common.errors import SourceError
from ingest.nwb.read_nwb import read_nwb


@pytest.fixture
def good(write, nwb_maker):
    return write(nwb_maker.add_trains(nwb_maker.new(), [[0.5, 1.0], [2.0]], area=["CA1", "CA3"]))


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize(
    "version", ["2.0b", "2.0.2", "2.1.0", "2.2.5", "2.3.0", "2.4.0", "2.5.0", "2.6.0", "2.7.0", "2.8.0", "2.9.0"]
)
def test_every_version_of_nwb_2(good, version, cached):
    """A file that says it is of another version, with its namespaces under that version, or without any."""
    with h5py.File(good, "r+") as file:
        file.attrs["nwb_version"] = version
        core = file["specifications/core"]
        (written,) = core
        if cached:
            core.move(written, version)
        else:
            del file["specifications"]
            del file.attrs[".specloc"]
    recording = read_nwb(good)
    assert recording.spikes.times.tolist() == [0.5, 1.0, 2.0]
    assert recording.units["location"].tolist() == ["CA1", "CA3"]


@pytest.mark.parametrize("version", ["NWB-1.0.6", "1.0.5_beta", b"NWB-1.0.2"])
def test_nwb_1_is_refused(tmp_path, version):
    path = tmp_path / "old.nwb"
    with h5py.File(path, "w") as file:
        file["nwb_version"] = version
        file.create_group("processing")
    text = version.decode() if isinstance(version, bytes) else version
    with pytest.raises(SourceError, match=rf"old\.nwb: nwb_version is '{text}': expected 2.*converted"):
        read_nwb(str(path))


def test_unknown_future_version(good):
    with h5py.File(good, "r+") as file:
        file.attrs["nwb_version"] = "3.0.0"
    with pytest.raises(SourceError, match=r"'3\.0\.0': expected 2"):
        read_nwb(good)


def test_hdf5_that_is_not_nwb(tmp_path):
    path = tmp_path / "other.nwb"
    with h5py.File(path, "w") as file:
        file["numbers"] = [1, 2]
    with pytest.raises(SourceError, match="is not an NWB file"):
        read_nwb(str(path))
