"""Every objective in the trainer: it learns, saves its target networks, and resumes exactly."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel

from foundation.common.errors import ConfigError
from foundation.data.augmentations import Augmentation
from foundation.data.covariate_settings import SurroundSettings
from foundation.objectives import (
    MaskedSettings,
    MYOWSettings,
    NDTSettings,
    NeurPIRSettings,
    NuCLRSettings,
    ObjectiveSettings,
    SwapVAESettings,
    VICRegSettings,
)
from foundation.store import Catalog, Store
from foundation.training import ModelSettings, pretrain
from foundation.training.checkpoint.checkpoint import list_checkpoints
from foundation.training.pretrain_settings import ValidationSettings

DROPOUT = [Augmentation("neuron_dropout", share=0.3, random=True)]
MYOW = MYOWSettings(
    min_tokens=4, max_tokens=6, augmentations=DROPOUT, projector=[16, 8], predictor=16, mined_projector=[8, 8],
    mined_predictor=8, mined_weight=0.5, mined_until=0.3, candidates=1,
)  # fmt: skip
OBJECTIVES = {
    "neurpir": ObjectiveSettings(
        neurpir=NeurPIRSettings(4, 8, projector=[32, 32], surround=SurroundSettings(kind="raw", dim=2, pool=2))
    ),
    "vicreg": ObjectiveSettings(
        "vicreg",
        vicreg=VICRegSettings(level="population", min_tokens=4, max_tokens=8, expander=[32], augmentations=DROPOUT),
    ),
    "myow": ObjectiveSettings("myow", myow=MYOW),
    "myow_mlp": ObjectiveSettings(
        "myow", myow=MYOWSettings(encoder=[16, 16], units=12, mined_until=0.3, projector=[8], mined_projector=[8])
    ),
    "byol": ObjectiveSettings("byol", myow=MYOW),
    "swap_vae": ObjectiveSettings("swap_vae", swap_vae=SwapVAESettings(units=12, content=4, style=4, hidden=16)),
    "ndt": ObjectiveSettings("ndt", ndt=NDTSettings(4, 8)),
    "nuclr": ObjectiveSettings(
        "nuclr",
        nuclr=NuCLRSettings(4, 6, hidden=16, out=16, augmentations=[Augmentation("unit_subsampling", share=0.5)]),
    ),
    "masked": ObjectiveSettings("masked", masked=MaskedSettings(4, 8)),
    "both_streams": ObjectiveSettings(
        weights={"neurpir": 1.0, "masked": 0.5},
        neurpir=NeurPIRSettings(4, 8, projector=[32]),
        masked=MaskedSettings(4, 8),
    ),
    "sum": ObjectiveSettings(
        weights={"neurpir": 1.0, "ndt": 0.5}, neurpir=NeurPIRSettings(4, 8, projector=[32]), ndt=NDTSettings(4, 8)
    ),
}


def metrics(output) -> list[dict]:
    return [json.loads(line) for line in (Path(output) / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def of(tiny, small_store, tmp_path):
    """Settings of a short run with an objective, on a separate store, where surrounding information is written."""
    shutil.copytree(small_store, tmp_path / "store")

    def build(name, **changes):
        places = {"store": str(tmp_path / "store"), "output": str(tmp_path / f"run-{name}")}
        if OBJECTIVES[name].own_units():  # one population
            places["validation"] = ValidationSettings(held_out="session != 'session0'")
        if "masked" in OBJECTIVES[name].title:
            places["model"] = ModelSettings(dim=16, heads=2, interaction_layers=0, population_layers=1)
        return tiny(objective=OBJECTIVES[name], **places, **changes)

    return build


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_trains_and_logs_collapse(of, name):
    settings = of(name, steps=24, checkpoint_every=24)
    folder = pretrain(settings)
    lines = metrics(settings.output)
    if name != "masked":  # it starts with each unit's rate, and other units do not help to predict independent ones
        assert sum(m["loss"] for m in lines[-8:]) < sum(m["loss"] for m in lines[:8])
    assert {"rankme", "std", "similarity", "rows"} <= set(lines[-1])
    model = AutoModel.from_pretrained(folder)
    assert type(model).__name__ == {"swap_vae": "SwapVAEModel", "myow_mlp": "PopulationMLP"}.get(name, "EIT")
    card = (folder / "README.md").read_text()
    assert f"# {type(model).__name__} pretrained with {settings.objective.title}" in card
    assert ("The unit stream was not trained" in card) == (name == "masked")
    assert ("reads no others until they have rows" in card) == ("masked" in settings.objective.title)
    # The loading instructions in the card work.
    exec(re.search(r"```python\n(.*?)```", card, re.S)[1].replace("path/to/this/folder", str(folder)), message := {})
    assert type(message["model"]) is type(model)


@pytest.mark.parametrize(
    ("name", "stage"), [("myow", 0), ("myow", 3), ("swap_vae", 0), ("neurpir", 2), ("both_streams", 1)]
)
def test_resumed_run_ends_with_the_same_weights_and_targets(of, name, stage):
    settings = of(name, zero_stage=stage, keep_checkpoints=9)
    pretrain(settings)
    folder = Path(settings.output)
    last = list_checkpoints(folder / "checkpoints")[0]
    kept = {p.name: p.read_bytes() for p in [last / "objective.safetensors", last / "model" / "model.safetensors"]}
    losses = [m["loss"] for m in metrics(settings.output)]
    if name == "myow":
        tensors = load_file(last / "objective.safetensors")
        model = load_file(last / "model" / "model.safetensors")
        targets = {k.removeprefix("target_model."): t for k, t in tensors.items() if k.startswith("target_model.")}
        assert set(targets) == set(model)
        assert all(not torch.equal(targets[k], model[k]) for k in model if model[k].ndim > 1)
    shutil.rmtree(last)
    shutil.rmtree(folder / "model")
    pretrain(settings)
    assert [m["loss"] for m in metrics(settings.output)] == losses
    assert {
        p.name: p.read_bytes() for p in [last / "objective.safetensors", last / "model" / "model.safetensors"]
    } == kept


def test_swap_vae_running_statistics_are_in_its_model(of):
    settings = of("swap_vae", steps=4)
    tensors = load_file(pretrain(settings) / "model.safetensors")
    running = [t for name, t in tensors.items() if name.endswith("running_mean_D")]
    assert len(running) == 4
    assert all(t.abs().sum() > 0 for t in running)


def test_invalid_sums_are_refused():
    with pytest.raises(ConfigError, match=r"weights names 'neurpire': expected one of byol"):
        ObjectiveSettings(weights={"neurpire": 1.0})
    with pytest.raises(ConfigError, match=r"weights\.ndt is 0\.0: expected a finite number above 0"):
        ObjectiveSettings(weights={"ndt": 0.0})
    with pytest.raises(ConfigError, match="brings its own encoder"):
        ObjectiveSettings(weights={"swap_vae": 1.0, "ndt": 1.0})


def test_objectives_with_different_views_are_refused_before_any_work(of, tmp_path):
    settings = of("sum")
    other = ObjectiveSettings(
        weights={"neurpir": 1.0, "ndt": 1.0}, neurpir=NeurPIRSettings(4, 8), ndt=NDTSettings(4, 9)
    )
    with pytest.raises(ConfigError, match=r"neurpir\.max_tokens=8, ndt\.max_tokens=9"):
        pretrain(type(settings)(**{**settings.__dict__, "objective": other}))


def test_every_training_unit_has_a_row_that_starts_from_its_rate(of, small_store):
    settings = of("masked", steps=2, validation=ValidationSettings(held_out="session == 'session0'"))
    model = AutoModel.from_pretrained(pretrain(settings))
    recordings = {r.id: r for r in Catalog.open(Store(small_store)) if r.record.session != "session0"}
    (table,) = model.config.population_tables
    assert table == {name: recording.n_units for name, recording in recordings.items()}
    rates = np.concatenate([recordings[name].firing_rates() for name in table])
    assert model.population.rows.log_rate_0.exp().numpy() == pytest.approx(np.maximum(rates, 0.01), rel=1e-5)


def test_validation_of_units_without_rows_is_refused_or_leaves_them_out(of):
    validation = ValidationSettings(every=1, held_out="session == 'session0'", steps=1)
    with pytest.raises(ConfigError, match=r"validation\.every is 1: expected 0 with objective masked"):
        pretrain(of("masked", steps=2, validation=validation))
    settings = of("both_streams", steps=2, validation=validation)
    pretrain(settings)
    assert metrics(settings.output)[-1]["validation/loss"] > 0


def test_earlier_run_resumes(of):
    """Settings that were added later are not part of a run that does not use them."""
    identity = of("ndt").identity()
    assert "masked" not in identity["objective"]
    assert not {"population_layers", "causal", "tokens"} & set(identity["model"])
    assert not {"loss", "temperature"} & set(identity["objective"]["neurpir"])
    assert {"population_layers", "causal"} <= set(of("masked").identity()["model"])
    assert "masked" in of("both_streams").identity()["objective"]
