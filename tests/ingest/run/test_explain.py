"""Explanations of what a recipe takes from a file and leaves."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from pynwb import TimeSeries

from foundation.cli.commands import main
from foundation.common.errors import SourceError
from ingest.nwb.read_nwb import read_nwb
from ingest.recipe.recipes import load_recipe
from ingest.run.explain import explain


@pytest.fixture
def path(write, nwb_maker):
    nwb = nwb_maker.new()
    nwb.add_unit_column("amplitudes", "a value a spike", index=True)
    for name in ("area", "depth"):
        nwb.add_unit_column(name, name)
    for n, area in enumerate(["CA1", "atlantis", "VISp5"]):
        nwb.add_unit(spike_times=[0.5 + n, 9.0], area=area, depth=1.5 * n, amplitudes=[1.0] * (2000 + n))
    nwb.add_acquisition(TimeSeries(name="wheel", data=[1.0, 2.0], unit="cm", rate=10.0))
    nwb.add_acquisition(TimeSeries(name="raw", data=np.zeros(30), unit="V", rate=30000.0))
    nwb.add_trial(start_time=0.0, stop_time=1.0)
    return write(nwb)


def test_everything_taken_and_left_is_listed(path):
    found = explain(path)
    taken = {note.path: note.text for note in found.taken}
    left = {note.path: note.text for note in found.left}
    assert taken == {
        "general/subject": "subject m1",
        "units/spike_times": "6 spikes of 3 units",
        "units/area": "location, known of 3 of 3",
        "units/depth": "column depth",
        "acquisition/wheel": "behaviour wheel, 2 samples, cm",
        "intervals/trials": "intervals trials, 1 of them",
        "location 'CA1'": "region CA1 (382, Field CA1)",
        "location 'VISp5'": "region VISp (385, Primary visual area)",
    }
    assert left == {
        "units/amplitudes": "a list in each row, of up to 2002 values: more than the 1024 that are kept",
        "acquisition/raw": "sampled at 30000 Hz, above the recipe's behavior.max_rate of 2000: a raw signal",
        "location 'atlantis'": "no such name in the atlas: region stays unknown",
    }
    assert found.quality == {"regions_unknown": 1.0, "series_left_out": 1.0, "unit_columns_left_out": 1.0}


def test_explanation_agrees_with_the_reader(path):
    recording, found = read_nwb(path), explain(path)
    counted = sum(number for name, number in recording.quality.items() if name.endswith("_left_out"))
    assert counted == len([note for note in found.left if not note.path.startswith("location ")])
    assert f"{recording.n_units} units" in found.result


def test_as_text(path):
    text = str(explain(path))
    lines = text.splitlines()
    assert lines[0] == path
    assert "taken" in lines
    assert "left" in lines
    assert any(line.split() == ["units/area", "location,", "known", "of", "3", "of", "3"] for line in lines)
    assert "  regions_unknown 1" in lines


def test_refused_file(tmp_path):
    (tmp_path / "text.nwb").write_text("no NWB")
    found = explain(str(tmp_path / "text.nwb"))
    assert found.result.startswith("refused: not a readable NWB file")
    assert found.taken == found.left == []


def test_voltage_alone(write, nwb_maker):
    from pynwb.ecephys import ElectricalSeries

    nwb = nwb_maker.new()
    group = nwb.create_electrode_group("g", "g", "CA1", nwb.create_device("probe"))
    nwb.add_electrode(location="CA1", group=group)
    region = nwb.create_electrode_table_region([0], "all")
    nwb.add_acquisition(ElectricalSeries(name="raw", data=np.zeros((100, 1)), electrodes=region, rate=20000.0))
    found = explain(write(nwb))
    assert found.result == "voltage alone, which needs sorting first: 1 channels at 20000 Hz for 0.0 s"


def test_asset_of_an_archive(archive_server, lab, quick, path):
    contents = archive_server.contents
    contents.add_dandiset("000003")
    for name in ("sub-a/a.nwb", "sub-b/b.nwb"):
        contents.add("000003", name, Path(path).read_bytes())
    contents.add("000003", "sub-b/text.nwb", b"no NWB")
    address = "dandi://lab/000003/sub-a"
    for mode in ("stream", "download"):
        found = explain(address, archives=[lab], access=quick(mode=mode))
        assert (found.path, found.ok) == (address, True)
        assert found.result == explain(path, load_recipe("dandi-000003")).result.replace(" of m1", " of lab/000003/m1")
    with pytest.raises(SourceError, match="holds 3 assets: expected one, such as dandi://lab/000003@draft/sub-a/a"):
        explain("dandi://lab/000003", archives=[lab], access=quick())
    found = explain("dandi://lab/000003/sub-b/text.nwb", archives=[lab], access=quick())
    assert not found.ok
    assert found.result.startswith("refused: not a readable NWB file")


def test_exit_status_shows_whether_an_ingest_would_fail(path, tmp_path, capsys):
    assert main(["ingest", "--explain", path]) == 0
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "text.nwb").write_text("no NWB")
    assert main(["ingest", "--explain", str(tmp_path / "folder" / "text.nwb")]) == 1
    assert "refused: not a readable NWB file" in capsys.readouterr().out
    shutil.copy(path, tmp_path / "folder" / "good.nwb")
    for source, message in (
        (tmp_path / "nothing.nwb", "there is nothing at"),
        (tmp_path / "folder", "holds 2 assets: expected one, such as "),
        ("dandi://nowhere/000003", "archive 'nowhere'"),
    ):
        assert main(["ingest", "--explain", str(source)]) in (1, 2)
        assert message in capsys.readouterr().err
