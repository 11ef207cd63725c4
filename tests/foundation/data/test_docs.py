"""The examples of docs/data.md run one after another, on a store with trials and states."""

import re
from pathlib import Path

import numpy as np
import pytest

from foundation.store import Catalog, Interval, Store, write_recording

PAGE = Path(__file__).parents[3] / "docs" / "data.md"


@pytest.fixture
def store_here(tmp_path, make_recording, monkeypatch):
    """A store named ``store`` in the test's working folder."""
    store = Store(tmp_path / "store", create=True)
    for seed in range(3):
        onset = np.arange(2.0, 58.0, 4.0)
        tables = {
            "trials": Interval(onset, onset + 3.0, {"go_cue_time": onset + 0.5}),
            "states": Interval([0.0, 20.0], [20.0, 60.0], {"state": np.array(["nrem", "wake"])}),
        }
        write_recording(store, make_recording(seed, n_units=4 + seed, intervals=tables))
    Catalog.build(store).save()
    monkeypatch.chdir(tmp_path)


def test_examples_run(store_here):
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(examples) == 4
    names: dict = {}
    exec(compile(examples[0], "first example", "exec"), names)
    assert tuple(names["batch"].x_BNT.shape) == (64, 6, 100)
    exec(compile(examples[1], "second example", "exec"), names)
    assert len(names["everything"]) == 3 * 30  # a minute of each recording
    assert names["sleep"].labels == ("nrem", "wake")
    assert len(names["reach"]) == 3 * 14
    exec(compile(examples[2], "third example", "exec"), names)
    assert names["step"].step == 109
    exec(compile(examples[3], "fourth example", "exec"), names)
    assert 0 < names["aligned"].left_out < 0.1
