"""`foundation predict`: a head applied to files and stores, and its output."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pynwb
import pytest

from finetune.heads.decode import decode
from finetune.heads.head import Head, HeadBlock, HeadError, HeadWindows, Kept
from finetune.heads.head_files import load_head
from finetune.heads.head_models import head_models
from finetune.heads.write_decoded import write_nwb
from finetune.predict_job import predict
from finetune.predict_settings import PredictSettings
from foundation.cli.commands import main
from foundation.common.errors import ConfigError, SourceError
from foundation.store import Derived, Store


@pytest.fixture(scope="module")
def out(tmp_path_factory, problems, population_model, fitted):
    folder = tmp_path_factory.mktemp("out")
    fitted(problems["velocity"], population_model, "both", folder / "velocity-m-s")
    fitted(problems["direction"], population_model, "rate", folder / "direction-m-s")
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_file_is_decoded_into_a_copy(out, another_day, tmp_path, capsys):
    source, target = another_day[0] / "day2.nwb", tmp_path / "decoded.nwb"
    before = source.read_bytes()
    assert main(["predict", "--head", f"{out}/velocity", "--input", str(source), "--output", str(target)]) == 0
    assert "Velocity, m-s: 860 samples of 1 recording in" in capsys.readouterr().out
    head = load_head(out / "velocity")
    expected = decode(head, another_day[1], head_models(head))
    with pynwb.NWBHDF5IO(target, "r") as io:
        nwb = io.read()
        module = nwb.processing["decoded"]
        velocity, spread = module["velocity"], module["velocity_uncertainty"]
        assert (velocity.unit, spread.unit) == ("cm/s", "cm/s")
        np.testing.assert_allclose(velocity.data[:], expected.out_SK, atol=1e-9)
        np.testing.assert_allclose(velocity.timestamps[:], expected.times, atol=1e-9)
        np.testing.assert_allclose(spread.data[:], np.tile(head.spread_K, (860, 1)))
        assert head.kept.key[:12] in velocity.comments
        assert len(nwb.units) == 12  # and everything else in the file
    assert source.read_bytes() == before
    with pytest.raises(SourceError, match="has decoded/velocity already"):
        predict(PredictSettings(f"{out}/velocity", str(target), str(tmp_path / "twice.nwb")))
    assert not (tmp_path / "twice.nwb").exists()
    assert not list(tmp_path.glob("*.part"))


def test_table_and_store_give_the_same_results(out, another_day, tmp_path):
    store, head = another_day[0] / "store", load_head(out / "velocity")
    predict(PredictSettings(f"{out}/velocity", str(store), str(tmp_path / "d.parquet")))
    table = pq.read_table(tmp_path / "d.parquet")
    assert table.column_names[4:] == [
        "start", "end", "velocity x (cm/s)", "velocity x (cm/s) uncertainty",
        "velocity y (cm/s)", "velocity y (cm/s) uncertainty",
    ]  # fmt: skip
    facts = json.loads(table.schema.metadata[b"foundation-head"])
    assert facts["key"] == head.kept.key
    done = predict(PredictSettings(f"{out}/velocity", str(store)))
    (derived,) = Derived.find(Store(store), "decoded-1")
    assert done.written == [derived.folder]
    out_SK = derived.read("out_SK")
    np.testing.assert_allclose(out_SK[:, 1], table["velocity y (cm/s)"].to_numpy(), atol=1e-6)
    np.testing.assert_allclose(derived.read("start_S"), table["start"].to_numpy())


def test_features_of_the_checkpoint_are_computed_once(
    problems, population_model, fitted, another_day, tmp_path, monkeypatch
):
    fitted(problems["velocity"], population_model, "probe", tmp_path / "velocity-m-s")
    store = tmp_path / "store"
    shutil.copytree(another_day[0] / "store", store)
    settings = PredictSettings(str(tmp_path / "velocity"), str(store), str(tmp_path / "d.parquet"))
    first = predict(settings)
    assert list(store.glob("derived/cache-*"))

    def refuse(*_, **__):
        raise AssertionError("the model was run again")

    monkeypatch.setattr("finetune.heads.decode.token_parts", refuse)
    again = predict(replace(settings, output=str(tmp_path / "again.parquet")))
    np.testing.assert_array_equal(again.decoded[0].out_SK, first.decoded[0].out_SK)
    with pytest.raises(AssertionError, match="the model was run again"):
        predict(replace(settings, cache_size=0))


def test_trials_become_a_table_of_directions(out, problems, tmp_path):
    store = problems["velocity"].recording.store.root
    target = tmp_path / "d.nwb"
    predict(PredictSettings(f"{out}/direction", str(store), str(target)))
    with pynwb.NWBHDF5IO(target, "r") as io:
        table = io.read().processing["decoded"]["direction"].to_dataframe()
    y_S, classes = problems["direction"].labels.y_S, problems["direction"].labels.classes
    assert len(table) == len(y_S)
    assert (table["direction"] == np.array(classes)[y_S]).mean() > 0.9  # the head was fitted to these labels
    np.testing.assert_allclose(table[[f"p({c})" for c in classes]].sum(axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(table["stop_time"] - table["start_time"], 0.8)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"output": "x.csv"}, "output is 'x.csv': expected a file that ends in .nwb or .parquet"),
        ({"output": "s3://a/x.nwb"}, "expected a local path"),
        ({"input": None}, "input is None: expected an NWB file"),
        ({"stream": True}, "stream is true and input is given"),
        ({"calibrated": "x"}, "calibrated is given and calibrate is not"),
        ({"calibrate": 0.0}, "calibrate is 0.0: expected more than 0 minutes"),
    ],
)
def test_invalid_settings_are_rejected(change, what):
    with pytest.raises(ConfigError, match=what):
        PredictSettings(**({"head": "h", "input": "i"} | change))


def test_undecodable_input_is_named_and_writes_nothing(out, another_day, small_store, tmp_path):
    target = tmp_path / "d.parquet"
    with pytest.raises(HeadError, match=r"of 'mouse0', .* --calibrate .* \(and 3 more\)"):
        predict(PredictSettings(f"{out}/velocity", str(small_store), str(target)))
    with pytest.raises(HeadError, match="the input has 4 recordings: expected one for an NWB file"):
        predict(PredictSettings(f"{out}/velocity", str(small_store), str(tmp_path / "d.nwb")))
    with pytest.raises(HeadError, match="has no trials"):
        predict(PredictSettings(f"{out}/direction", str(another_day[0] / "store"), str(target)))
    with pytest.raises(SourceError, match=r"nothing"):
        predict(PredictSettings(f"{out}/velocity", str(tmp_path / "nothing.nwb"), str(target)))
    (tmp_path / "broken.nwb").write_bytes(b"\x89HDF\r\n\x1a\nbroken")
    with pytest.raises(SourceError, match=r"none of its files can be read; broken.nwb"):
        predict(PredictSettings(f"{out}/velocity", str(tmp_path / "broken.nwb"), str(target)))
    with pytest.raises(ConfigError, match="output is null and input"):
        predict(PredictSettings(f"{out}/velocity", str(another_day[0] / "day2.nwb")))
    assert not target.exists()


def test_units_become_a_table_of_classes_or_values(another_day, tmp_path, head_of_units):
    for kind, columns in (
        ("classes", ["unit", "cell_type", "p(a)", "p(b)"]),
        ("values", ["unit", "x", "x uncertainty"]),
    ):
        target = tmp_path / f"{kind}.nwb"
        decoded = decode(head_of_units(kind), another_day[1])
        write_nwb(decoded, target, another_day[0] / "day2.nwb")
        with pynwb.NWBHDF5IO(target, "r") as io:
            table = io.read().processing["decoded"]["cell_type"].to_dataframe()
        assert list(table.columns) == columns
        assert table["unit"].tolist() == list(range(12))
        np.testing.assert_allclose(table[columns[-2] if kind == "classes" else "x"], decoded.out_SK[:, 0])


@pytest.fixture
def head_of_units():
    """Return a function that makes heads reading a unit's rate."""

    def make(kind):
        weight_LFK = np.zeros((1, 13, 2 if kind == "classes" else 1), np.float32)
        weight_LFK[0, 0, 0] = 0.1
        features = "rate and inter-spike intervals"
        block = HeadBlock(
            "rates", features, "unit", (), None, np.zeros(13, np.float32), np.ones(13, np.float32), weight_LFK
        )
        kept = Kept("rate", "by hand", {}, 0, {}, "", "", {}, None, None, 4, "0", "key")
        names = (["a", "b"], []) if kind == "classes" else ([], ["x"])
        windows = HeadWindows("units", 0.1, 5, 16, "spikes", max_windows=4)
        bias_K, spread = np.zeros(weight_LFK.shape[2]), [] if kind == "classes" else [0.5]
        return Head("cell_type", "all", "By hand", kind, *names, "", (block,), bias_K, windows, None, kept, spread)

    return make


def test_python_examples_of_the_documentation_run(out, another_day, tmp_path, monkeypatch):
    (tmp_path / "out").symlink_to(out)
    (tmp_path / "tomorrow").symlink_to(another_day[0] / "store")
    monkeypatch.chdir(tmp_path)
    page = Path(__file__).parents[3] / "docs" / "heads.md"
    code = re.search(r"## From Python\n\n```python\n(.*?)```", page.read_text(), re.DOTALL).group(1)
    names = {}
    exec(compile(code, "docs/heads.md", "exec"), names)
    assert len(names["decoded"].times) == len(names["decoded"].out_SK) == 860
