"""The commands of docs/sorting.md, in its order and in an empty folder."""

import re
import shlex
from pathlib import Path

import numpy as np
from known_voltage import recall

from foundation.cli.commands import main
from foundation.store import Catalog, Store
from ingest.nwb.read_nwb import read_nwb

PAGE = Path(__file__).parents[3] / "docs" / "sorting.md"
BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
COMMANDS = [shlex.split(line) for block in BLOCKS for line in block.splitlines()]
SMALLER = {"simulate": ["--session.seconds", "20"]}


def test_tutorial_finds_the_largest_simulated_unit_and_stores_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert [words[1] for words in COMMANDS] == ["simulate", "sort", "catalog", "ingest"]
    for program, *words in COMMANDS[:3]:
        assert program == "foundation"
        assert main([*words, *SMALLER.get(words[0], [])]) == 0, words
    assert "sorted/report.html" in capsys.readouterr().out
    assert {"units.nwb", "phy", "report.html"} <= {path.name for path in Path("sorted").iterdir()}
    truth = read_nwb(next(Path("simulated").rglob("*.nwb")))
    (record,) = Catalog.open(Store("store"))
    found = record.load().spikes
    largest = int(np.argmax(truth.units["snr"] * (truth.spikes.counts > 40)))
    best = max(recall(found.train(unit), truth.spikes.train(largest), 0.0005) for unit in range(found.n_units))
    assert best > 0.9
