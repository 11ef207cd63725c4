"""Trainable weights: with each choice, all others stay equal bit for bit."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from finetune.finetune_settings import FinetuneSettings, FullSettings
from finetune.heads.fitting.adapting import adapt, stages_of
from finetune.heads.fitting.network_training import Part, Start, Tuned, adaptation_of, train_together
from finetune.heads.fitting.shared_trunk import Learned, _Training, finetune_on
from foundation.common.errors import ConfigError
from foundation.common.settings.command import build_parser, parse
from foundation.models import EIT, EITConfig
from foundation.models.parts.population_stream import population_places


def full_of(**changes):
    return FullSettings(steps=4, checks=1, tokens_per_step=512, weight_decay=0.1, **changes)


def trained(problem, model, how, settings=None, updates=3):
    """Return a model trained on labels, before merging, and its initial state."""
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    settings = settings or full_of()
    start = Start(problem, *problem.head_rows(problem.features(model)[-1].x_TF), settings, 0)
    train = np.arange(len(problem.labels.y_S))
    tuned = Tuned(adaptation_of(model, settings, how), *start.head(train, 1e-2))
    train_together([Part(problem, tuned, train)], settings, updates, 0)
    return tuned, before


def changed(tuned, before):
    """Return the names of the model's weights that changed."""
    own = {name.replace(".base_layer", ""): p for name, p in tuned.model.named_parameters() if "lora_" not in name}
    assert set(own) == set(before)
    return {name for name, p in own.items() if not torch.equal(p, before[name])}


def test_only_low_rank_weights_train_and_are_merged_at_the_end(problems, unit_model):
    tuned, before = trained(problems["velocity"], unit_model, "lora", full_of(lora_rank=2))
    assert not changed(tuned, before)
    low = {name: p for name, p in tuned.model.named_parameters() if "lora_B" in name}
    assert low
    assert all(p.abs().max() > 0 for p in low.values())  # they begin at 0
    problem, few = problems["velocity"], np.arange(20)
    expected = tuned.predict(problem, few)
    tuned.adaptation.merged()
    assert {name for name, _ in tuned.model.named_parameters()} == set(before)
    np.testing.assert_allclose(tuned.predict(problem, few), expected, atol=1e-4)
    moved = changed(tuned, before)
    assert moved
    assert all(name.endswith(".weight") and ("attention" in name or "mlp" in name) for name in moved)


def test_only_rows_of_the_recording_learn(problems, population_model):
    model = copy.deepcopy(population_model)
    model.add_populations({"another": torch.zeros(5)})
    tuned, before = trained(problems["velocity"], model, "units")
    assert changed(tuned, before) == {"population.rows.table_0"}


def test_rows_of_other_recordings_stay(problems):
    identity = problems["velocity"].recording.id
    torch.manual_seed(0)
    model = EIT(EITConfig(dim=16, heads=2, patch_length=5, population_layers=1))
    model.add_populations({"another": torch.zeros(5), identity: torch.zeros(12)})
    tuned, before = trained(problems["velocity"], model, "units")
    table, old = tuned.model.population.rows.table_0, before["population.rows.table_0"]
    places = population_places(model.config)
    others, own = (slice(places[name][0], sum(places[name])) for name in ("another", identity))
    assert torch.equal(table[others], old[others])
    assert not torch.equal(table[own], old[own])


def test_layers_unfreeze_one_by_one_from_the_top(problems, unit_model):
    n_stages = len(stages_of(unit_model))
    seen = []
    for updates in (1, 4, 40):
        settings = replace(full_of(), steps=2 * 2 * n_stages)
        tuned, before = trained(problems["velocity"], unit_model, "gradual", settings, updates)
        seen.append(changed(tuned, before))
    assert not seen[0]  # the head alone
    assert seen[1] == {"norm.weight", "norm.bias"}
    assert any(name.startswith("token_embedding") for name in seen[2])
    assert seen[1] < seen[2]


@pytest.mark.parametrize("how", ["gradual", "lora", "units"])
def test_finetuned_model_is_an_ordinary_model(how, problems, population_model, settings, monkeypatch, tmp_path):
    problem, everyone = problems["velocity"], np.arange(len(problems["velocity"].labels.y_S))
    monkeypatch.setattr(_Training, "search", lambda *_: (2, [1.0]))
    given = replace(settings, full=full_of())
    ours = problem.features(population_model)
    (found,) = finetune_on([Learned(problem, ours, everyone, everyone)], population_model, given, 0, how)
    ((tuned, _),) = found.weighted
    tuned.model.save_pretrained(tmp_path)
    again = EIT.from_pretrained(tmp_path)
    assert again.state_dict().keys() == population_model.state_dict().keys()
    assert all(p.requires_grad for p in tuned.model.parameters())


def test_unit_embeddings_need_a_population_stream(unit_model):
    with pytest.raises(ConfigError, match=r"mode is 'units' and the model has no rows of units"):
        adapt(copy.deepcopy(unit_model), full_of(), "units")


def test_results_of_earlier_versions_keep_their_keys():
    settings = FinetuneSettings("c", "s", "o", mode=["full", "lora"])
    assert not {"weights", "lora_rank"} & settings.identity("full")["full"].keys()
    assert settings.identity("lora")["full"]["lora_rank"] == 8
    assert not {"full", "mlp"} & settings.identity("probe").keys()


@pytest.mark.parametrize(
    ("given", "mode", "named"),
    [
        ({"modes": "[probe]"}, ["probe"], "modes was renamed to mode"),
        ({"full.weights": "rows"}, ["probe", "units"], "full.weights rows was renamed to mode units"),
        ({"full.weights": "all"}, ["probe", "full"], "full.weights all was renamed to mode full"),
        ({"mode": "lora"}, ["lora"], ""),
    ],
)
def test_former_settings_are_read_with_a_warning(given, mode, named, caplog):
    arguments = ["--checkpoint", "c", "--store", "s", "--output", "o"] + [f"--{k}={v}" for k, v in given.items()]
    settings = parse(build_parser("finetune", FinetuneSettings, FinetuneSettings), FinetuneSettings, arguments)
    assert (settings.modes_of_run, settings.full.weights) == (mode, None)
    assert named in caplog.text
    assert replace(settings, seed=1).modes_of_run == mode


def test_contradictory_settings_are_rejected():
    with pytest.raises(ConfigError, match=r"full.weights is 'some': expected one of all, gradual, lora, rows"):
        full_of(weights="some")
    with pytest.raises(ConfigError, match="keep is 'lora' and mode probe, full: expected a mode with lora"):
        FinetuneSettings("c", "s", "o", keep="lora")
