"""Shipped checkpoints: small, licensed, complete, and made by existing commands."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from foundation.cli import main
from foundation.cli.commands import COMMANDS, _load
from foundation.common.settings.command import build_parser, parse
from foundation.hub import load_model, resolve
from foundation.hub.model_listing import card_header
from foundation.hub.shipped_checkpoints import SHIPPED

ROOT = Path(__file__).parents[1]
FOLDERS = sorted(path for path in SHIPPED.iterdir() if path.is_dir() and path.name != "__pycache__")


@pytest.mark.parametrize("folder", FOLDERS, ids=[path.name for path in FOLDERS])
def test_shipped_checkpoint_is_small_licensed_and_described(folder, monkeypatch):
    monkeypatch.setenv("FOUNDATION_OFFLINE", "1")
    found = resolve(folder.name)
    assert (found.kind, found.folder) == ("shipped", folder)
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 4_000_000 + 200_000
    assert found.size <= 4_000_000
    assert load_model(folder.name).config.preprocessing["kinds"]
    assert (folder / "LICENSE").read_text().startswith("SPDX-License-Identifier: ")
    message = card_header(folder)["foundation"]
    assert message["data"]
    assert message["figures"]
    assert found.digest in (folder / "README.md").read_text()
    assert all(len(r["digest"]) == 64 for r in json.loads((folder / "pretraining.json").read_text())["recordings"])


def test_make_checkpoint_runs_existing_commands_with_its_inputs(tmp_path):
    given = ["CHECKPOINT=mini", "CONFIG=pretrain/demo", "DATA=my/nwb", "NETWORKS=3", f"WORK={tmp_path}", "WATTS=65"]
    given += ["PRETRAIN=--steps 7 --seed 5", "FINETUNING=--folds 5"]
    printed = subprocess.check_output(["make", "-n", "checkpoint", *given], text=True, cwd=ROOT).replace("\\\n", " ")
    lines = [line.strip() for line in printed.splitlines() if re.match(r"\S*bin/foundation ", line.strip())]
    made = {}
    for words in map(shlex.split, lines):
        name = next(name for name in COMMANDS if words[1 : 1 + len(name.split())] == name.split())
        command = COMMANDS[name]
        settings = _load(command.settings)
        rest = words[1 + len(name.split()) :]
        made[name] = parse(build_parser(name, print, settings), settings, rest, command.first)
    assert list(made) == ["simulate izhikevich", "ingest", "catalog", "pretrain", "finetune", "pack"]
    assert made["simulate izhikevich"].networks == 3
    assert made["ingest"].input == "my/nwb"
    assert (made["pretrain"].steps, made["pretrain"].seed, made["finetune"].folds) == (7, 5, 5)
    assert (made["pack"].output, made["pack"].watts) == ("foundation/checkpoints/mini", 65)
    assert made["pack"].commands[1].startswith("foundation pretrain --config pretrain/demo --steps 7 --seed 5 --store")


@pytest.mark.real_data
def test_figure_of_the_eit_tiny_card_is_reproduced(tmp_path, real_data):
    file = next((real_data / "nwb" / "reach").rglob("sub-Mihi*.nwb"))
    store, results = tmp_path / "store", tmp_path / "results"
    assert main(["ingest", "--input", str(file), "--store", str(store), "--workers", "0"]) == 0
    options = ["--mode", "[probe]", "--tasks", "[behavior]", "--control_repeats", "2", "--bootstrap", "100"]
    options += ["--tracking_uri", f"sqlite:///{tmp_path}/mlflow.db", "--output", str(results)]
    given = ["--config", "finetune/demo", "--store", str(store), "--checkpoint", "eit-tiny"]
    assert main(["finetune", *given, *options]) == 0
    figures = card_header(SHIPPED / "eit-tiny")["foundation"]["figures"]
    for target in ("velocity-Mihi-20140303", "direction-Mihi-20140303"):
        found = json.loads((results / "behavior" / target / "probe.json").read_text())["score"]["metrics"]
        _, low, high = map(float, re.findall(r"-?\d+\.\d+", figures[f"behavior {target}"]))
        assert low <= next(iter(found.values())) <= high
