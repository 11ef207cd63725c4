"""Recipes: refusals and their messages, and matches of the default recipe."""

import pytest
import yaml

from foundation.common.errors import ConfigError
from foundation.common.settings.resources import config_folder, config_names
from foundation.store import Source
from ingest.job import recipe_of
from ingest.recipe.name_patterns import first_match, matches, search_groups, standard_name
from ingest.recipe.recipe_rules import ControlRules
from ingest.recipe.recipes import Recipe, load_recipe, recipe_for
from ingest.sources import Archive, Asset
from ingest.sources.dandi.archives import known_archives


def recipe_from(tmp_path, text):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    return load_recipe(path)


def test_shipped_recipes_load():
    assert "recipes/default" in config_names("recipes")
    for name in config_names("recipes"):
        assert isinstance(load_recipe(name), Recipe)


def test_shipped_default_comments_every_field():
    lines = (config_folder() / "recipes" / "default.yaml").read_text().splitlines()
    for i, line in enumerate(lines):
        if line.strip() and not line.strip().startswith(("#", "-")) and line.startswith("  ") and line[2] != " ":
            assert lines[i - 1].strip().startswith("#"), f"{line!r} has no comment above it"


def test_empty_recipe_is_allowed(tmp_path):
    assert recipe_from(tmp_path, "") == Recipe()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("unit: {}", ["'unit'", "units", "trials"]),
        ("units: {celltype: [a]}", ["'units.celltype'", "cell_type"]),
        ("units: {cell_type: a}", ["units.cell_type", "'a'", "list"]),
        ("units: {cell_type: [1]}", ["units.cell_type", "'1'", "a text"]),
        ("units: [a]", ["units", "['a']", "mapping"]),
        ("behavior: {max_rate: fast}", ["behavior.max_rate", "'fast'", "number"]),
        ("behavior: {max_rate: true}", ["behavior.max_rate", "True", "number"]),
        ("behavior: {max_rate: 0}", ["behavior.max_rate", "0", "more than 0"]),
        ("behavior: {names: [a]}", ["behavior.names", "['a']", "mapping"]),
        ("behavior: {names: {position: p}}", ["behavior.names.position", "'p'", "list"]),
        ("trials: {direction_unit: turns}", ["trials.direction_unit", "'turns'", "degrees"]),
        ("resolution: {seconds: nan}", ["resolution.seconds", "'nan'", "a number or null"]),
        ("resolution: {seconds: -1}", ["resolution.seconds", "-1", "0"]),
        ("resolution: {patterns: ['(bins']}", ["resolution.patterns", "(bins", "regular expression"]),
        ("resolution: {patterns: ['(\\d+) bins']}", ["resolution.patterns", "bins", "(?P<ms>"]),
        ("units: {location: ['[a']}", ["units.location", "'[a'", "regular expression"]),
        ("description: 3", ["description", "3", "text"]),
        ("- a", ["['a']", "mapping"]),
        ("units: {a: [", ["YAML"]),
    ],
)
def test_wrong_recipe_names_key_value_and_allowed_values(tmp_path, text, parts):
    with pytest.raises(ConfigError) as caught:
        recipe_from(tmp_path, text)
    for part in [*parts, "r.yaml"]:
        assert part in str(caught.value)


def test_numbers_in_every_notation(tmp_path):
    for text in ("1e-1", "1.0e-1", "0.1"):
        assert recipe_from(tmp_path, f"resolution: {{seconds: {text}}}").resolution.seconds == 0.1
    assert recipe_from(tmp_path, "behavior: {max_rate: 50}").behavior.max_rate == 50.0


def test_unknown_name_lists_the_shipped_ones():
    with pytest.raises(ConfigError, match="recipes/default"):
        load_recipe("defalt")


def test_digest_depends_on_the_rules_not_on_the_text(tmp_path):
    plain = recipe_from(tmp_path, "units:\n  cell_type: [a, b]\nresolution: {seconds: 1}\n")
    other = recipe_from(
        tmp_path, "# words\ndescription: x\nresolution:\n  seconds: 1.0\nunits: {cell_type: ['a', b]}\n"
    )
    swapped = recipe_from(tmp_path, "units:\n  cell_type: [b, a]\nresolution: {seconds: 1}\n")
    assert plain.digest == other.digest
    assert plain.digest != swapped.digest != Recipe().digest
    assert len(plain.digest) == 16


def test_digest_survives_a_yaml_round_trip_of_the_default(tmp_path):
    text = (config_folder() / "recipes" / "default.yaml").read_text()
    again = recipe_from(tmp_path, yaml.safe_dump(yaml.safe_load(text), default_flow_style=True))
    assert again.digest == load_recipe("default").digest


def test_order_of_expressions_precedes_order_of_columns():
    assert first_match(["b", "a.*"], ["a1", "a2", "B"]) == "B"
    assert first_match(["a.*", "b"], ["a1", "a2", "B"]) == "a1"
    assert first_match(["a"], ["a1"]) is None  # whole names only
    assert not matches([], "a")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("wake", "wake"), ("awake", "wake"), ("WAKE", "wake"), ("NREM", "nrem"), ("SWS", "nrem"), ("nrem", "nrem"),
        ("Non-REM", "nrem"), ("REM", "rem"), ("sleep", "sleep"), ("IS", "IS"), ("Drowsy", "Drowsy"), ("", ""),
    ],
)  # fmt: skip
def test_sleep_stages_have_standard_names(text, name):
    assert standard_name(load_recipe("default").states.names, text) == name


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("CA1", "CA1"),
        (" CA1 ", "CA1"),
        ("brain_region: ALM; brain_subregion: N/A; cortical_layer: 5", "ALM"),
        ("Primary motor area, Layer 5", "Primary motor area, Layer 5"),
    ],
)
def test_regions_are_found_in_texts(text, region):
    assert search_groups(load_recipe("default").units.location_patterns, text) == region


def test_changing_a_loaded_recipe_does_not_affect_later_loads():
    digest = load_recipe("default").digest
    load_recipe("default").units.drop.append("a column of the caller")
    assert load_recipe("default").digest == digest


def test_recipe_extends_another(tmp_path):
    default = load_recipe("default")
    own = recipe_from(
        tmp_path,
        "extends: default\nunits:\n  cell_type: [klass, '...', last]\n  quality: [grade]\n"
        "behavior: {names: {gaze: [eye]}}\n",
    )
    assert own.units.cell_type == ["klass", *default.units.cell_type, "last"]
    assert own.units.quality == ["grade"]
    assert own.units.location == default.units.location
    assert own.behavior.names == default.behavior.names | {"gaze": ["eye"]}
    assert own.description == ""  # the description is not inherited
    assert own.digest != default.digest
    assert recipe_from(tmp_path, "extends: default").digest == default.digest


def test_recipe_extends_a_file_beside_it(tmp_path):
    (tmp_path / "lab.yaml").write_text("extends: default\nunits: {drop: [secret]}")
    (tmp_path / "task.yaml").write_text("extends: lab.yaml\nunits: {drop: ['...', private]}")
    assert load_recipe(tmp_path / "task.yaml").units.drop == ["secret", "private"]


def test_recipes_that_extend_each_other_are_refused(tmp_path):
    (tmp_path / "a.yaml").write_text("extends: b.yaml")
    (tmp_path / "b.yaml").write_text("extends: a.yaml")
    with pytest.raises(ConfigError, match="which extends this recipe: expected no circle"):
        load_recipe(tmp_path / "a.yaml")
    (tmp_path / "c.yaml").write_text("extends: c.yaml")
    with pytest.raises(ConfigError, match="which extends this recipe: expected no circle"):
        load_recipe(tmp_path / "c.yaml")


@pytest.mark.parametrize("text", ["extends: nothing", "extends: [default]", "extends: 3"])
def test_invalid_extends_raises(tmp_path, text):
    with pytest.raises(ConfigError, match=r"r\.yaml"):
        recipe_from(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("units: {array_size: 1.5}", ["units.array_size", "1.5", "whole number"]),
        ("units: {array_size: -1}", ["units.array_size", "-1", "0"]),
        ("activity: {join_planes: 1}", ["activity.join_planes", "1", "true or false"]),
        ("behavior: {missing: {led: [none]}}", ["behavior.missing.led", "'none'", "numbers"]),
        ("regions: {atlas: waxholm}", ["regions.atlas", "'waxholm'", "allen_ccf"]),
        ("verified: maybe", ["verified", "'maybe'", "true or false"]),
        ("dandisets: [17]", ["dandisets", "'17'", "a text"]),
    ],
)
def test_wrong_new_settings_are_refused(tmp_path, text, parts):
    with pytest.raises(ConfigError) as caught:
        recipe_from(tmp_path, text)
    for part in parts:
        assert part in str(caught.value)


def test_recipe_for_a_dandiset():
    assert recipe_for("000140") == "dandi-000140"
    assert load_recipe(recipe_for("000140")).digest == load_recipe("dandi-000128").digest
    assert recipe_for("123456") == recipe_for("") == "default"


@pytest.mark.parametrize(
    ("archive", "recipe"),
    [
        (known_archives()["dandi"], "dandi-000003"),
        (known_archives()["dandi-sandbox"], "default"),
        (Archive("lab", "https://dandi.lab.org/api"), "default"),
        (Archive("mirror", "https://mirror.lab.org/api", mirrors="dandi"), "dandi-000003"),
    ],
)
def test_dandiset_number_counts_only_in_its_archive(archive, recipe):
    source = Source("sub-a/a.nwb", "", archive=archive.name, dandiset="000003")
    asset = Asset("https://x", "sub-a/a.nwb", 5, source, archive=archive)
    assert recipe_of([asset]) == load_recipe(recipe)


def test_recipe_with_old_names_has_the_same_digest(tmp_path, caplog):
    """Recordings of a store are identified by the digest of their recipe."""
    (tmp_path / "old.yaml").write_text("extends: default\ncontrol: {least_rate: 0.1, most_contamination: 0.2}\n")
    (tmp_path / "new.yaml").write_text("extends: default\ncontrol: {min_rate: 0.1, max_contamination: 0.2}\n")
    new = load_recipe(tmp_path / "new.yaml")
    assert not caplog.records
    old = load_recipe(tmp_path / "old.yaml")
    assert "control.least_rate was renamed to control.min_rate" in caplog.text
    assert old == new
    assert old.digest == new.digest
    assert Recipe(control=ControlRules(min_rate=0.1, max_contamination=0.2)).digest == "a634ca2414526a36"
    assert load_recipe("default").digest == "63cf75863df12c09"
