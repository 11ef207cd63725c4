"""`foundation.read_nwb`: a file as a recording, or an error that says what the file holds instead."""

import numpy as np
import pytest
from pynwb import TimeSeries

import foundation
from foundation.common.errors import ConfigError, SourceError


def test_file_is_read_into_memory(write, nwb_maker):
    path = write(nwb_maker.add_trains(nwb_maker.new(), [[0.5, 1.0], [2.0]], kind=["PV", "SST"]))
    recording = foundation.read_nwb(path)
    assert isinstance(recording, foundation.Recording)
    assert recording.spikes.train(0).tolist() == [0.5, 1.0]


def test_recipe_by_name(write, nwb_maker, tmp_path):
    path = write(nwb_maker.add_trains(nwb_maker.new(), [[0.5, 1.0]], flavour=["PV"]))
    (tmp_path / "own.yaml").write_text("extends: default\nunits: {cell_type: [flavour]}\n")
    assert foundation.read_nwb(path).units.text("cell_type").tolist() == [""]
    assert foundation.read_nwb(path, str(tmp_path / "own.yaml")).units.text("cell_type").tolist() == ["PV"]
    with pytest.raises(ConfigError, match="no config 'nothing'"):
        foundation.read_nwb(path, "nothing")


def test_file_without_units_names_its_contents(write, nwb_maker):
    nwb = nwb_maker.new()
    nwb.add_acquisition(TimeSeries(name="wheel", data=np.zeros(9), unit="cm", rate=1.0))
    with pytest.raises(SourceError, match=r"a\.nwb: it holds neither spike times .*wheel.*foundation ingest --explain"):
        foundation.read_nwb(write(nwb))
