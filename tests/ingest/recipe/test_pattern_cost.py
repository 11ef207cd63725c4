"""Slow expressions in recipes are refused; accepted ones are quick."""

import re
import time

import pytest
import yaml

from foundation.common.errors import ConfigError
from foundation.common.settings.resources import config_names, find_config
from ingest.recipe.name_patterns import search_groups
from ingest.recipe.pattern_cost import LONGEST_NAME, LONGEST_TEXT, takes_long
from ingest.recipe.recipes import load_recipe

BLANKS = " " * LONGEST_TEXT
HOSTILE = (f"a{BLANKS};", f"{BLANKS};", "a " * (LONGEST_TEXT // 2) + ";", "location:" * 500)


@pytest.mark.parametrize(
    "pattern",
    [
        r"^\s*([^;]+?)\s*$",  # the third power of the blanks
        r"(\w+\s*)+;",
        r"(a+)+$",
        r"(a|aa)*b",
        r"(a|)*b",
        r"(.*)(.*)(.*)x",
        r"(x+x+)+y",
        r"(a{1,50}){1,50}b",
        r"(\w+\s*){1,9};",
        r"(?:a?){30}a{30}",
        r"(ab|[ac])*d",
        r"(a)\1*\1*b",
        r"(?=(\w+\s*)+;)x",
    ],
)
def test_recipe_with_a_slow_pattern_is_refused(tmp_path, pattern):
    recipe = tmp_path / "r.yaml"
    recipe.write_text(yaml.safe_dump({"units": {"location_patterns": [pattern]}}))
    began = time.monotonic()
    with pytest.raises(ConfigError, match=re.escape(f"units.location_patterns: {pattern!r} is slow on some texts")):
        load_recipe(recipe)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "pattern",
    [r"(\w+\s+)*x", r"(,\s*\w+)*;", r"(foo|bar)*", r"(ab?)*c", r"\d+(?:\.\d+)?", r"(?:\w|\s)*", r"[^;]*;\s*(\w+)"],
)
def test_fast_pattern_is_accepted(pattern):
    assert not takes_long(pattern, searched=True)
    for text in HOSTILE:
        began = time.thread_time()
        re.search(pattern, text)
        assert time.thread_time() - began < 1


def test_every_shipped_pattern_is_quick_on_hostile_texts():
    for name in config_names("recipes"):
        recipe = load_recipe(find_config(name))
        began = time.thread_time()
        for text in HOSTILE:
            search_groups(recipe.units.location_patterns, text)
            search_groups(recipe.activity.location_patterns, text)
        assert time.thread_time() - began < 0.5, name


def test_shipped_location_pattern_matches_as_before():
    patterns = load_recipe("default").units.location_patterns
    before = r"^\s*([^;]+?)\s*$"
    texts = ("CA1", "  CA1 ", "Anterior  nucleus", "a; b", ";", "a", " \n CA1\n", "x" * 600, "brain_region: ALM; 5")
    for text in texts:
        found = re.search(before, text)
        expected = "ALM" if "ALM" in text else found[1].strip() if found else None
        assert search_groups(patterns, text) == (expected or None)


def test_names_are_cut_at_the_longest_allowed_length():
    assert LONGEST_NAME < LONGEST_TEXT
    began = time.thread_time()
    search_groups([r"x\s*\s*y"], "x" + " " * 1_000_000)
    assert time.thread_time() - began < 2
