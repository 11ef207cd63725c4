"""`foundation pack`: from the output of pretraining and finetuning to a folder that can ship, with a correct card."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from finetune.finetune_job import finetune
from finetune.finetune_settings import FinetuneSettings, WindowSettings
from finetune.packing.pack_checkpoint import pack
from finetune.packing.pack_settings import PackSettings, SourceRule
from foundation.cli.commands import main
from foundation.common.errors import CheckpointError, ConfigError, FoundationError
from foundation.data import DataSettings
from foundation.hub import checkpoint_digest, load_model, resolve
from foundation.hub.hub_settings import ModelsSettings, PushSettings
from foundation.hub.model_listing import card_header, list_models
from foundation.hub.publishing import push
from foundation.objectives import NeurPIRSettings, ObjectiveSettings
from foundation.training import ModelSettings, PretrainSettings, pretrain


@pytest.fixture(scope="module")
def made(small_store, tmp_path_factory, empty_runs):
    """Return the output of a short run and of its finetuning; tests only read them."""
    root = tmp_path_factory.mktemp("made")
    shutil.copy(empty_runs, root / "mlflow.db")
    pretrain(
        PretrainSettings(
            store=str(small_store),
            output=str(root / "run"),
            steps=3,
            checkpoint_every=3,
            log_every=1,
            model=ModelSettings(dim=16, heads=2, individual_layers=1, interaction_layers=0),
            data=DataSettings(bin_widths=[0.02], tokens_per_step=1152, min_windows=4, max_units=12),
            objective=ObjectiveSettings(neurpir=NeurPIRSettings(min_tokens=4, max_tokens=12, projector=[16, 16])),
        )
    )
    settings = FinetuneSettings(
        checkpoint=str(root / "run"),
        store=str(small_store),
        output=str(root / "finetune"),
        tasks=["cell_type"],
        mode="probe",
        bootstrap=100,
        control_repeats=2,
        windows=WindowSettings(unit_token=0.08, unit_tokens=8, unit_windows=8),
    )
    (result,) = finetune(settings).results
    return root, result


@pytest.fixture
def settings(made, tmp_path):
    root, _ = made
    rules = [SourceRule("mouse0", "a first source", "MIT"), SourceRule(r"mouse\d", "Poisson units", "CC0-1.0")]
    return PackSettings(
        checkpoint=str(root / "run"),
        output=str(tmp_path / "mini"),
        results=str(root / "finetune"),
        sources=rules,
        watts=36,
    )


def test_folder_is_a_checkpoint_with_licence_card_and_record(settings, made):
    packed = pack(settings)
    assert sorted(path.name for path in packed.folder.iterdir()) == [
        "LICENSE",
        "README.md",
        "config.json",
        "model.safetensors",
        "pretraining.json",
    ]
    assert packed.sha256 == checkpoint_digest(packed.folder) == checkpoint_digest(made[0] / "run")
    assert load_model(packed.folder).config.preprocessing["bin_widths"] == [0.02]
    assert (packed.folder / "LICENSE").read_text().startswith("SPDX-License-Identifier: Apache-2.0\n")


def test_card_gives_data_provenance_and_scores(settings, made):
    root, result = made
    card = (pack(settings).folder / "README.md").read_text()
    seen = json.loads((root / "run" / "model" / "pretraining.json").read_text())["recordings"]
    for recording in seen:
        assert recording["digest"][:16] in card
    assert "| Poisson units | CC0-1.0 | Mus musculus | 3 | 3 | 36 |" in card
    assert "| a first source | MIT | Mus musculus | 1 | 1 | 12 |" in card
    score = result.score
    value = f"{result.value:.2f} [{score.low:.2f}, {score.high:.2f}]"
    assert f"| cell_type all | balanced accuracy | {result.samples:,}" in card
    assert value in card
    lines = [json.loads(line) for line in (root / "run" / "metrics.jsonl").read_text().splitlines()]
    seconds = sum(line["seconds"] for line in lines)
    assert f"3 steps of up to 1,152 neuron-tokens, seed 0, fp32, in {seconds:,.0f} s of training" in card
    assert f"{36 * seconds / 3600:.1f} Wh if the machine draws 36 W" in card
    header = card_header(Path(settings.output))
    assert header["license"] == "apache-2.0"
    assert header["foundation"]["figures"] == {"cell_type all": f"{value} balanced accuracy"}
    assert header["foundation"]["data"].startswith("4 recordings of 4 subjects (Mus musculus), 48 units")


def test_packed_checkpoint_is_listed_and_pushed_unchanged(settings, monkeypatch, tmp_path):
    folder = pack(settings).folder
    monkeypatch.setenv("FOUNDATION_CHECKPOINTS", str(folder.parent))
    mini = next(m for m in list_models(ModelsSettings()).models if m.name == "mini")
    assert (mini.kind, list(mini.figures)) == ("shipped", ["cell_type all"])
    push(PushSettings("mini", f"memory://{tmp_path.name}/mini"))
    there = resolve(f"memory://{tmp_path.name}/mini").folder
    assert {path.name: path.read_bytes() for path in there.iterdir()} == {
        path.name: path.read_bytes() for path in folder.iterdir()
    }


def test_packing_replaces_a_checkpoint_but_no_other_folder(settings, tmp_path):
    (tmp_path / "mini").mkdir()
    (tmp_path / "mini" / "notes.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="has other content: expected a new folder"):
        pack(settings)
    assert (tmp_path / "mini" / "notes.txt").read_text() == "mine"
    (tmp_path / "mini" / "notes.txt").unlink()
    pack(settings)
    before = (tmp_path / "mini" / "README.md").read_text()
    pack(settings)
    assert (tmp_path / "mini" / "README.md").read_text() == before


def test_unpackable_checkpoint_is_rejected_with_the_reason(settings, made, tmp_path, capsys):
    from dataclasses import replace

    with pytest.raises(CheckpointError, match=r"bytes of config and weights: expected at most 1000 \(max_bytes\)"):
        pack(replace(settings, max_bytes=1000))
    with pytest.raises(FoundationError, match=r"there are no results in"):
        pack(replace(settings, results=str(tmp_path)))
    other = shutil.copytree(made[0] / "run" / "model", tmp_path / "other")
    (other / "config.json").write_bytes((other / "config.json").read_bytes() + b" ")
    with pytest.raises(FoundationError, match=r"none of the 1 results .* is of checkpoint"):
        pack(replace(settings, checkpoint=str(other)))
    (other / "pretraining.json").unlink()
    with pytest.raises(CheckpointError, match="it records the data of pretraining; `foundation pretrain` writes it"):
        pack(replace(settings, checkpoint=str(other), results=None))
    assert not (tmp_path / "mini").exists()
    with pytest.raises(ConfigError, match="licence is 'my own': expected an SPDX name"):
        replace(settings, licence="my own")
    with pytest.raises(ConfigError, match=r"sources\.subjects is '\(': expected a regular expression"):
        SourceRule("(", "x", "MIT")


def test_command_accepts_its_config(settings, tmp_path, capsys):
    config = tmp_path / "pack.yaml"
    config.write_text(yaml.safe_dump({"sources": [{"subjects": "mouse.*", "source": "here", "licence": "MIT"}]}))
    words = ["--checkpoint", settings.checkpoint, "--output", str(tmp_path / "out"), "--name", "my model"]
    assert main(["pack", "--config", str(config), *words]) == 0
    assert "figures of 0 targets" in capsys.readouterr().out
    card = (tmp_path / "out" / "README.md").read_text()
    assert "# my model\n" in card
    assert "None were measured." in card
    assert "| here | MIT |" in card
