"""The table of firing modes on tiny simulated networks: split, features, rule, models, resuming, and its page."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from finetune.reproduce import NeurPIRTable, ReproduceSettings, reproduce
from finetune.reproduce.common.run_results import RunResult, read_all
from finetune.reproduce.neurpir.firing_training import (
    EncoderTraining,
    FiringEncoder,
    LOLCATTraining,
    embed,
    find_recipe,
)
from finetune.reproduce.neurpir.mode_scores import gain_over, macro_f1, read_out
from finetune.reproduce.neurpir.neurpir_page import _against
from finetune.reproduce.neurpir.neurpir_runs import Cut, _recipe_facts
from finetune.reproduce.neurpir.simulated_networks import (
    MODES,
    component_features,
    find_networks,
    interval_features,
    parameter_features,
    right_by_network,
)
from finetune.reproduce.neurpir.step_rule import StepRule, best_steps
from foundation.common.errors import ConfigError, FoundationError
from foundation.common.settings.command import build_parser, parse
from foundation.store import Catalog, Store
from ingest.simulate import SimulateSettings

QUICK = StepRule(max_steps=4, every=2, patience=1, smooth=1)
SMALL = FiringEncoder(
    dim=16,
    heads=2,
    individual_layers=1,
    patch_length=25,
    bin_width=0.02,
    max_units=10,
    tokens=8,
    projector=[16, 16],
    cebra_iterations=5,
    looks=2,
)


@pytest.fixture(scope="module")
def catalog(networks_store):
    return Catalog.open(Store(networks_store))


def small_table(**changes):
    table = NeurPIRTable(
        levels={"plain": "plainnet"}, rows=["isi"], seeds=[0], ablations=[], test=2, held=1, rule=QUICK, encoder=SMALL
    )
    return replace(table, **changes)


def settings_for(networks_store, tmp_path, **changes):
    return ReproduceSettings(
        store=str(networks_store),
        output=str(tmp_path / "runs"),
        name="t",
        page=str(tmp_path / "page.md"),
        experiment="neurpir",
        neurpir=small_table(**changes),
    )


def test_networks_are_not_split_and_every_mode_is_present(catalog):
    cut = Cut.of(catalog, "plain", small_table())
    names = {part: {r.subject.id for r in getattr(cut, part).recordings} for part in ("learn", "held", "train", "test")}
    assert names["learn"] == {"plainnet01", "plainnet02", "plainnet03"}
    assert names["held"] == {"plainnet04"}
    assert names["train"] == names["learn"] | names["held"]
    assert names["test"] == {"plainnet05", "plainnet06"}
    assert np.bincount(cut.test.y_S).tolist() == [8] * 5
    assert [MODES[y] for y in cut.test.y_S[:20:4]] == list(MODES)
    assert len({cut.train.digest, cut.test.digest, cut.learn.digest}) == 3
    with pytest.raises(ConfigError, match="6 networks named 'plainnet' and a number: expected at least 9"):
        Cut.of(catalog, "plain", small_table(test=5, held=2))
    with pytest.raises(ConfigError, match="0 networks named 'plain'"):
        find_networks(catalog, "plain", 1)


def test_accuracy_by_network_weights_modes_equally(catalog):
    test = Cut.of(catalog, "plain", small_table()).test
    predicted = test.y_S.copy()
    predicted[(test.network_S == 1) & (test.y_S == 2)] = 0
    assert right_by_network(predicted, test).tolist() == [1.0, 0.8]


def test_intervals_separate_presets_and_parameters_do_better(catalog):
    cut = Cut.of(catalog, "plain", small_table())
    scores = {}
    for name, features in (("isi", interval_features), ("oracle", parameter_features)):
        predicted, _ = read_out(features(cut.train), cut.train.y_S, cut.train, features(cut.test), 0)
        scores[name] = right_by_network(predicted, cut.test).mean()
    assert interval_features(cut.test).shape == (40, 26)
    assert scores["isi"] > 0.75
    assert scores["oracle"] == 1.0


def test_components_come_from_training_networks_and_ignore_time(catalog):
    cut = Cut.of(catalog, "plain", small_table())
    shape = {"bin_width": 0.02, "patch_length": 25, "components": 5, "seed": 0}
    train_SF, test_SF = component_features(cut.train, cut.test, **shape)
    assert train_SF.shape == (80, 10)
    again_SF, _ = component_features(cut.train, cut.held, **shape)
    np.testing.assert_array_equal(train_SF, again_SF)
    predicted, _ = read_out(train_SF, cut.train.y_S, cut.train, test_SF, 0)
    assert right_by_network(predicted, cut.test).mean() > 0.35


def test_rule_stops_and_keeps_the_best_evaluation():
    ran = []

    class Counted:
        def run(self, steps):
            ran.append(steps)

    figures = iter([0.2, 0.4, 0.6, 0.3, 0.5, 0.9])
    rule = StepRule(max_steps=60, every=10, patience=2, smooth=2)
    assert best_steps(Counted(), lambda: next(figures), rule) == (30, [0.2, 0.4, 0.6, 0.3, 0.5])
    assert ran == [10] * 5
    with pytest.raises(ConfigError, match="every is 40: expected at most max_steps, 30"):
        StepRule(max_steps=30, every=40)


def test_lolcat_learns_and_is_deterministic(catalog):
    cut = Cut.of(catalog, "plain", small_table())
    predicted = []
    for _ in range(2):
        training = LOLCATTraining(cut.train, cut.train.y_S, seed=1)
        training.run(60)
        predicted.append(training.say(cut.test))
    np.testing.assert_array_equal(*predicted)
    assert right_by_network(predicted[0], cut.test).mean() > 0.6


def test_encoder_training_follows_its_recipe_and_is_deterministic(catalog):
    cut = Cut.of(catalog, "plain", small_table())
    recipe = find_recipe("neurpir-no-surround", SMALL)
    assert recipe.objective.neurpir.projector == [16, 16]
    assert recipe.optimizer.learning_rate == 3e-3
    assert find_recipe("nuclr", SMALL).objective.nuclr.max_tokens == 8
    assert find_recipe("nuclr", replace(SMALL, learning_rate=None)).optimizer.learning_rate == 5e-4
    z = []
    for steps in (2, 2, 0):
        training = EncoderTraining(cut.learn, recipe, SMALL, seed=3)
        training.run(steps)
        z.append(embed(training.model, cut.test, SMALL))
    assert z[0].shape == (40, 16)
    np.testing.assert_array_equal(z[0], z[1])
    assert np.abs(z[0] - z[2]).max() > 1e-3


@pytest.mark.parametrize("row", ["nuclr", "neurpir-no-cebra", "neurpir-no-surround"])
def test_every_encoder_row_runs_and_saves_its_result(networks_store, tmp_path, row):
    folder = reproduce(settings_for(networks_store, tmp_path, rows=[row]))
    [result] = read_all(folder)[f"plain-{row}"]
    detail = result.detail
    assert detail["steps"] in (2, 4)
    assert len(result.right_R) == 2
    assert len(detail["predicted"]) == len(detail["true"]) == 40
    predicted, true = (np.array(list(map(int, detail[key]))) for key in ("predicted", "true"))
    assert result.accuracy == pytest.approx((predicted == true).mean())  # as many of each mode
    assert -1 <= detail["similarity_between"] <= detail["similarity_within"] <= 1
    assert result.config["recipe"]["objective"]["name"] == row.split("-")[0]


def test_neurpir_uses_covariates_through_cebra(networks_store, tmp_path):
    pytest.importorskip("cebra")
    folder = reproduce(settings_for(networks_store, tmp_path, rows=["neurpir"], rule=StepRule(steps=1)))
    [result] = read_all(folder)["plain-neurpir"]
    assert result.config["recipe"]["objective"]["neurpir"]["surround"]["kind"] == "cebra"
    assert result.config["recipe"]["objective"]["neurpir"]["surround"]["iterations"] == 5
    assert result.detail["steps"] == 1
    assert result.detail["validation"] == []


def test_table_resumes_and_never_mixes_settings(networks_store, tmp_path, forget):
    settings = settings_for(
        networks_store, tmp_path, rows=["isi", "lolcat"], seeds=[0, 1], ablations=["pca"], ablation_level="plain"
    )
    folder = reproduce(settings)
    first = read_all(folder)
    assert {name: [result.seed for result in rows] for name, rows in first.items()} == {
        "plain-isi": [0],
        "plain-lolcat": [0, 1],
        "plain-pca": [0],
    }
    forget(folder, "plain-lolcat", 1)
    kept, again = read_all(reproduce(settings))["plain-lolcat"]
    assert kept.detail["seconds"] == 987.5 != again.detail["seconds"]
    assert again.detail["predicted"] == first["plain-lolcat"][1].detail["predicted"]
    whole = folder.read_bytes()
    with pytest.raises(FoundationError, match="was made with other settings or data"):
        reproduce(settings_for(networks_store, tmp_path, rows=["lolcat"], rule=replace(QUICK, max_steps=6)))
    assert folder.read_bytes() == whole


def test_shipped_recipes_are_those_of_the_stored_results():
    """Later settings change no key: the shipped table resumes from its results."""
    kept = read_all(Path(__file__).parents[4] / "results" / "neurpir" / "neurpir-izhikevich.jsonl")
    for row in ("neurpir", "nuclr", "neurpir-no-surround"):
        assert _recipe_facts(find_recipe(row, FiringEncoder())) == kept[f"jitter10-{row}"][0].config["recipe"]


def test_page_lists_finished_and_missing_rows(networks_store, tmp_path):
    levels = {"plain": "plainnet", "hard": "hardnet"}
    rows = ["isi", "pca", "oracle", "lolcat"]
    folder = reproduce(settings_for(networks_store, tmp_path, levels=levels, rows=rows))
    page = (tmp_path / "page.md").read_text()
    assert "## t: plain" in page
    assert "## t: hard" in page
    assert "40 neurons of 2 networks" in page
    assert "4 training and 2 test networks" in page
    assert "computed every 2 steps as the mean of 1 evaluations" in page
    assert page.count("| LOLCAT (learns from labels) |") == 2
    assert "Not above the 26 interval features: " in page
    assert "Not run at this level: NuCLR, NeurPIR, without CEBRA" in page
    assert page.endswith("\nNot run: `neurpir-first-rule`, `neurpir-longer`.\n")
    assert str(tmp_path) not in page
    found = read_all(folder)
    [oracle], [isi] = found["plain-oracle"], found["plain-isi"]
    assert macro_f1(oracle) == 1.0
    gain, (low, high) = gain_over([oracle], [isi])
    assert gain == pytest.approx(oracle.accuracy - isi.accuracy)
    assert low <= gain <= high
    # Random labels give chance level; whole modes may be swapped by chance, so this holds only on average.
    results = [result for rows in found.values() for result in rows]
    assert np.mean([r.detail["shuffled"] for r in results]) < 0.4 < np.mean([r.accuracy for r in results])


def test_row_is_ahead_only_if_the_interval_of_the_difference_excludes_zero():
    def row(name, right_R):
        return [RunResult(name, 0, "", {}, {}, float(np.mean(right_R)), right_R, {})]

    ours = row("neurpir", [0.9, 0.8, 0.9, 0.8])
    rivals = {
        "pca": row("pca", [0.7, 0.6, 0.7, 0.7]),
        "lolcat": row("lolcat", [0.95, 0.9, 0.99, 0.9]),
        "nuclr": row("nuclr", [0.8, 0.9, 0.8, 0.89]),
    }
    text = _against(ours, rivals)
    assert "ahead of principal components of binned activity (+17.5, +12.5 to +20.0)." in text
    assert "behind LOLCAT (learns from labels) (-8.5, " in text
    assert "not distinguishable from NuCLR (+0.3, " in text


def test_invalid_settings_are_named():
    with pytest.raises(ConfigError, match="rows has 'resnet'"):
        NeurPIRTable(rows=["resnet"])
    with pytest.raises(ConfigError, match="ablation_level is 'x'"):
        NeurPIRTable(ablation_level="x")
    with pytest.raises(ConfigError, match="looks is 0"):
        FiringEncoder(looks=0)
    with pytest.raises(ConfigError, match="experiment is 'x': expected one of eit, neurpir"):
        ReproduceSettings(store="s", output="o", name="n", experiment="x")


def test_shipped_table_is_valid_and_its_networks_are_shipped():
    from foundation.common.settings.resources import find_config

    given = ["--config", "reproduce/neurpir-izhikevich", "--store", "s"]
    settings = parse(build_parser("reproduce", reproduce, ReproduceSettings), ReproduceSettings, given)
    assert settings.neurpir == NeurPIRTable()
    given[1] = "reproduce/neurpir-first-rule"
    first = parse(build_parser("reproduce", reproduce, ReproduceSettings), ReproduceSettings, given)
    assert replace(first.neurpir, rows=settings.neurpir.rows, ablations=settings.neurpir.ablations) == replace(
        settings.neurpir, rule=first.neurpir.rule
    )
    for level, name in settings.neurpir.levels.items():
        arguments = ["--config", f"simulate/neurpir-{level}"]
        simulated = parse(build_parser("simulate", simulated_of, SimulateSettings), SimulateSettings, arguments)
        assert simulated.name == name
        assert simulated.networks > settings.neurpir.test + settings.neurpir.held
        assert simulated.jitter == int(level.removeprefix("jitter").removeprefix("shift")) / 100
        assert (simulated.drive_shift > 0) == level.startswith("shift")
        assert find_config(f"simulate/neurpir-{level}").is_file()


def simulated_of(settings):
    """Nothing."""
