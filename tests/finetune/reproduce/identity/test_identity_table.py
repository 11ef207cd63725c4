"""The identity table on tiny simulated networks: its rows, resuming, and its page."""

from dataclasses import replace

import numpy as np
import pytest
import yaml

from finetune.reproduce import IdentityTable, ReproduceSettings, reproduce
from finetune.reproduce.common.run_results import RunResult, read_all
from finetune.reproduce.identity.identity_page import _verdict
from finetune.reproduce.identity.identity_settings import ROWS
from finetune.reproduce.identity.identity_training import find_settings
from foundation.common.errors import ConfigError, FoundationError
from foundation.common.settings.command import build_parser, parse

RECIPE = {
    "steps": 2,
    "model": {"dim": 16, "heads": 2, "individual_layers": 1, "interaction_layers": 0, "patch_length": 1000,
              "tokens": "intervals", "rotary_shortest": 2.0},
    "data": {"bin_widths": [0.001], "tokens_per_step": 1000, "min_windows": 2, "max_units": 20},
    "objective": {"neurpir": {"min_tokens": 3, "max_tokens": 6, "loss": "infonce", "projector": [16]}},
}  # fmt: skip

PROJECTOR = "objective.neurpir.projector"


@pytest.fixture
def settings_for(networks_store, tmp_path):
    """Settings of a table of one level."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE))

    def build(**changes) -> ReproduceSettings:
        table = IdentityTable(levels={"plain": "plainnet"}, rows=["isi"], seeds=[0], test=2, recipe=str(recipe))
        return ReproduceSettings(
            store=str(networks_store),
            output=str(tmp_path / "runs"),
            name="t",
            page=str(tmp_path / "page.md"),
            experiment="identity",
            identity=replace(table, **changes),
        )

    return build


def test_every_row_runs_and_appears_on_the_page(settings_for, tmp_path):
    found = read_all(reproduce(settings_for(rows=list(ROWS))))
    assert set(found) == {f"plain-{row}" for row in ROWS}
    for [result] in found.values():
        assert len(result.right_R) == 2
        predicted, true = (np.array(list(map(int, result.detail[key]))) for key in ("predicted", "true"))
        assert result.accuracy == pytest.approx((predicted == true).mean())  # as many of each mode
    losses = {row: found[f"plain-{row}"][0].config["recipe"]["objective"] for row in ("infonce", "vicreg", "nuclr")}
    assert losses["infonce"]["neurpir"]["loss"] == "infonce"
    assert "loss" not in losses["vicreg"]["neurpir"]
    assert losses["nuclr"]["name"] == "nuclr"
    assert found["plain-tokens"][0].accuracy > 0.6
    page = (tmp_path / "page.md").read_text()
    assert "## t: plain" in page
    assert "| tokens of intervals, nothing learned |" in page
    assert "4 training and 2 test networks" in page
    assert "tokens of 1 s from bins of 1 ms, 2 steps" in page
    assert "NeurPIR with InfoNCE is " in page
    assert "Not run" not in page
    assert str(tmp_path) not in page


def test_table_resumes_and_never_mixes_settings(settings_for, forget):
    settings = settings_for(rows=["isi", "infonce"], seeds=[0, 1])
    folder = reproduce(settings)
    first = read_all(folder)
    assert [len(first[f"plain-{row}"]) for row in ("isi", "infonce")] == [1, 2]
    forget(folder, "plain-infonce", 1)
    kept, again = read_all(reproduce(settings))["plain-infonce"]
    assert kept.detail["seconds"] == 987.5 != again.detail["seconds"]
    assert again.detail["predicted"] == first["plain-infonce"][1].detail["predicted"]
    with pytest.raises(FoundationError, match="was made with other settings or data"):
        reproduce(settings_for(rows=["infonce"], steps=3))


def test_variants_change_the_recipe_and_its_networks(settings_for, tmp_path):
    variants = {"recipe": {}, "one_network": {"networks": 1, "model.dim": 8}, "narrow_projector": {PROJECTOR: [8]}}
    folder = reproduce(settings_for(rows=["tokens"], variants=variants, labelled=3))
    found = read_all(folder)
    recipe, small, plain = (found[f"plain-variant_{name}"][0] for name in variants)
    assert [run.config["networks"] for run in (recipe, small, plain)] == [4, 1, 4]
    assert [run.config["train"] for run in (found["plain-tokens"][0], recipe, small)] == [3, 3, 3]
    assert [run.config["recipe"]["model"]["dim"] for run in (recipe, small)] == [16, 8]
    assert plain.config["recipe"]["objective"]["neurpir"]["projector"] == [8]
    assert recipe.detail["predicted"] != small.detail["predicted"]
    page = (tmp_path / "page.md").read_text()
    assert "| one network | 1 | 8 | 2 | " in page
    assert "![Balanced accuracy against the number of networks" in page
    assert "(page/t/networks.svg)" in page
    assert (tmp_path / "page" / "t" / "networks.svg").read_text().startswith("<?xml")
    with pytest.raises(ConfigError, match="networks of variant_many is 5: the store has 4 networks beside the 2 test"):
        reproduce(settings_for(rows=["tokens"], variants={"many": {"networks": 5}}, labelled=3))
    with pytest.raises(ConfigError, match="labelled is 2: expected at least 3"):
        reproduce(settings_for(labelled=2))


def test_verdict_depends_on_the_interval_of_the_difference():
    def row(name, right_R):
        return [RunResult(name, 0, "", {}, {}, float(np.mean(right_R)), right_R, {})]

    ours = row("infonce", [0.96, 0.94, 0.95, 0.93])
    floors = {"isi": row("isi", [0.9, 0.9, 0.9, 0.9]), "tokens": row("tokens", [0.99, 0.9, 0.97, 0.9])}
    text = " ".join(_verdict("jitter20", {"infonce": ours, **floors}))
    assert "InfoNCE is above 26 interval features (+4.5, " in text
    assert "InfoNCE is not distinguishable from tokens of intervals, nothing learned (+0.5, " in text
    assert "The target of 94 is reached: 94.5, the mean of 1 of the 5 planned seeds." in text
    assert "The target of 94 is missed: 90.0, the mean of 1 of" in " ".join(
        _verdict("jitter20", {"infonce": floors["isi"]})
    )


def test_invalid_settings_are_named():
    with pytest.raises(ConfigError, match="rows has 'resnet'"):
        IdentityTable(rows=["resnet"])
    with pytest.raises(ConfigError, match="variants has 'no tokens': lower-case letters"):
        IdentityTable(variants={"no tokens": {}})
    with pytest.raises(ConfigError, match=r"variants\.none\.networks is 0: a whole number, 1 or more"):
        IdentityTable(variants={"none": {"networks": 0}})
    with pytest.raises(ConfigError, match="levels is empty"):
        IdentityTable(levels={})


def test_shipped_table_is_valid_and_its_recipe_is_shipped():
    given = ["--config", "reproduce/identity", "--store", "s"]
    settings = parse(build_parser("reproduce", reproduce, ReproduceSettings), ReproduceSettings, given)
    assert settings.identity == IdentityTable()
    assert settings.experiment == "identity"
    recipe = find_settings(settings.identity, "vicreg", 3)
    assert (recipe.seed, recipe.model.tokens, recipe.objective.neurpir.loss) == (3, "intervals", "vicreg")


@pytest.mark.parametrize("name", ["identity-variants", "identity-networks"])
def test_variants_of_a_shipped_table_are_valid_pretraining_settings(name):
    given = ["--config", f"reproduce/{name}", "--store", "s"]
    table = parse(build_parser("reproduce", reproduce, ReproduceSettings), ReproduceSettings, given).identity
    recipes = [find_settings(table, row, 0).identity() for row in table.all_rows() if row.startswith("variant")]
    networks = [changes.get("networks") for changes in table.variants.values()]
    assert len({str(each) for each in zip(recipes, networks, strict=True)}) == len(table.variants)
