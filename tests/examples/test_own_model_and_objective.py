"""The example of examples/own_model_and_objective, with each command of its script in a separate process."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from foundation.cli.commands import main
from foundation.store import Catalog, Store

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_model_and_objective"
# Seven commands, each of which imports torch: a minute of one quiet core, and much longer on a machine that is busy.
pytestmark = pytest.mark.timeout(1800)
COMMAND = [sys.executable, "-P", "-m", "foundation"]


def run(folder, words, **changes):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **changes}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=900, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def lab(tmp_path_factory, empty_runs):
    """A copy of the example after its script has run, and the output of each command."""
    folder = tmp_path_factory.mktemp("lab") / "lab"
    shutil.copytree(EXAMPLE, folder)
    shutil.copy(empty_runs, folder / "runs.db")
    text = (EXAMPLE / "run.sh").read_text()
    assert "FOUNDATION_TRUST=mylab" in text
    printed = {}
    for line in re.findall(r"^foundation (.*)$", text, re.MULTILINE):
        tracking = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/runs.db"}
        status, out, err = run(folder, [*COMMAND, *shlex.split(line)], FOUNDATION_TRUST="mylab", **tracking)
        assert status == 0, f"{line}\n{out}\n{err}"
        printed[line.split()[0]] = out
    return folder, printed


def test_two_processes_train_the_model_with_objective_and_sampler(lab):
    folder, _ = lab
    config = json.loads((folder / "run" / "model" / "config.json").read_text())
    assert (config["foundation_class"], config["dim"]) == ("mylab:Recurrent", 16)
    assert config["preprocessing"]["bin_widths"] == [0.05]
    last = json.loads((folder / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["step"] == 20
    assert {"loss", "same"} <= last.keys()
    about = json.loads((folder / "run" / "model" / "pretraining.json").read_text())
    assert about["hardware"]["processes"] == 2
    assert about["settings"]["data"]["sampler"] == {"name": "mylab:FirstMinutes", "settings": {"seconds": 40.0}}
    card = (folder / "run" / "model" / "README.md").read_text()
    assert 'load_model("path/to/this/folder", "mylab:Recurrent")' in card


def test_recipe_adds_its_column(lab):
    folder, _ = lab
    units = next(iter(Catalog.open(Store(folder / "store")))).units
    assert units["half"][:2].tolist() == ["even", "odd"]


def test_plan_names_unknown_costs(lab):
    plan = lab[1]["plan"]
    assert "model mylab:Recurrent and objective mylab:Redundancy without a cost model" in plan
    assert re.search(r"time of a step +not known", plan)
    assert re.search(r"weights +[\d.]+ kB", plan)


def test_embeddings_scores_and_predictions_are_written(lab):
    folder, printed = lab
    embedded = sorted((folder / "embeddings").glob("*.npz"))
    assert len(embedded) == 2
    with np.load(embedded[0]) as file:
        assert file["z_ND"].shape == (20, 16)
    assert "busy" in printed["finetune"]
    assert pq.read_table(folder / "busy.parquet").num_rows == 40


def test_untrusted_checkpoint_class_is_refused(lab, capsys, tmp_path, monkeypatch):
    folder, _ = lab
    monkeypatch.chdir(tmp_path)
    command = ["embed", "--checkpoint", str(folder / "run"), "--store", str(folder / "store"), "--output", "out"]
    assert main(command) == 1
    output = capsys.readouterr().err
    assert "holds a model of class 'mylab:Recurrent'" in output
    assert "no module 'mylab' in installed packages" in output
    assert "--trust mylab:Recurrent" in output
    assert main([*command, "--trust", "mylab"]) == 1
    assert "which cannot be imported; there is no module 'mylab'" in capsys.readouterr().err


def test_checkpoint_is_published_and_listed_without_its_class(lab, capsys, tmp_path):
    folder, _ = lab
    assert main(["push", str(folder / "run"), str(tmp_path / "published")]) == 0
    assert main(["pull", str(tmp_path / "published")]) == 0
    capsys.readouterr()
    assert json.loads((tmp_path / "published" / "config.json").read_text())["foundation_class"] == "mylab:Recurrent"


def test_python_and_transformers_load_the_model_in_a_new_process(lab):
    folder, _ = lab
    code = """
import foundation, sys
sys.path.append(".")
recording = next(iter(foundation.Catalog.open(foundation.Store("store"))))
model = foundation.load_model("run", "mylab:Recurrent")
print(type(model).__name__, model.embed(recording).num_rows)
print(type(foundation.load_model("run")).__name__)  # the call above has named it
from transformers import AutoModel
print(type(AutoModel.from_pretrained("run/model")).__name__)
"""
    status, out, err = run(folder, [sys.executable, "-P", "-c", code], FOUNDATION_TRUST="")
    assert status == 0, err
    assert out.split() == ["Recurrent", "20", "Recurrent", "Recurrent"]
