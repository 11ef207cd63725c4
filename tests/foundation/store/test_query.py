"""Choosing recordings by an expression: meaning, refusals and their messages, and that nothing is executed."""

import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.common.errors import ConfigError, FoundationError, StoreError
from foundation.store import Catalog, Store
from foundation.store.catalog_row import CatalogRows
from foundation.store.query import matching

RECORDS = [
    {
        "id": "a",
        "subject": "dandi/000001/m1",
        "species": "Mus musculus",
        "session": "s1",
        "path": "sub-m1/a.nwb",
        "n_units": 60,
        "duration": 7200.0,
        "labels": ["cell_type", "position"],
        "source": {"path": "sub-m1/a.nwb", "dandiset": "000001", "licence": "CC-BY-4.0"},
        "quality": {"units_sorted": 2.0},
        "control": {"units_dropped": 3},
    },
    {
        "id": "b",
        "subject": "rat",
        "species": "Rattus norvegicus",
        "session": "s2",
        "path": "b.nwb",
        "n_units": 50,
        "duration": 600.0,
        "labels": [],
        "source": {"path": "b.nwb", "dandiset": "", "licence": ""},
        "quality": {},
    },
    {
        "id": "c",
        "subject": "m2",
        "species": "Mus musculus",
        "session": "é",
        "path": "c.nwb",
        "n_units": 5,
        "duration": 60.0,
        "labels": ["position"],
        "source": {"path": "c.nwb", "dandiset": "000001", "licence": "CC-BY-4.0"},
        "quality": {},
        "control": {"units_dropped": 0},
    },
]


ROWS = CatalogRows.of_records(RECORDS)


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("species == 'Mus musculus' and n_units > 50", "a"),
        ("species == 'Mus musculus' or n_units >= 50", "abc"),
        ("not species == 'Mus musculus'", "b"),
        ("n_units in [5, 50]", "bc"),
        ("subject not in ('rat', 'm2')", "a"),
        ("'cell_type' in labels", "a"),
        ("'position' in labels and not ('cell_type' in labels)", "c"),
        ("'cell_type' not in labels", "bc"),
        ("'musculus' in species", "ac"),
        ("5 < n_units <= 60", "ab"),
        ("hours == 2", "a"),
        ("duration < 1e3", "bc"),
        ("dandiset == '000001' and path != 'c.nwb'", "a"),
        ("quality.units_sorted > 0", "a"),
        ("quality.units_sorted == 0", "bc"),
        ("units_dropped == 0", "c"),  # unknown for b
        ("units_dropped != 0", "ab"),
        ("units_dropped < 5", "ac"),
        ("n_units > -1", "abc"),
        ("labels == []", "b"),
        ("session == 'é'", "c"),
        (" species=='Mus musculus'\nand n_units<10", "c"),
        ("True", "abc"),
        ("subject < 'm9'", "ac"),
    ],
)
def test_meaning_of_expressions(expression, found):
    assert "".join(ROWS.select(matching(ROWS, expression)).ids) == found


@pytest.mark.parametrize(
    ("expression", "place", "problem"),
    [
        ("n_unit > 5", "n_unit", "no column n_unit, did you mean n_units?"),
        (
            "session == 'é' and xyzzy == 1",
            "xyzzy",
            "no column xyzzy; columns are dandiset, duration, embargo, hours, id",
        ),
        ("n_units > 'many'", "'many'", "this is a text: expected a number, as n_units"),
        ("labels > ['a']", "['a']", "cannot be ordered: expected == or !="),
        ("n_units", "n_units", "this is a number: expected a comparison"),
        ("n_units and True", "n_units", "this is a number"),
        ("n_units + 1 > 5", "n_units + 1", "expected comparisons"),
        ("5 in n_units", "n_units", "expected a list after `in`"),
        ("5 in species", "species", "expected a list after `in`, or a text"),
        ("species is 'x'", "'x'", "expected one of ==, !=, <"),
        ("species == None", "None", "None: expected a text or a number"),
        ("subject in ['a', 3]", "['a', 3]", "expected a list of texts alone"),
        ("subject in [species]", "[species]", "expected a text, a number or a list"),
        ("__import__('os').system('touch /tmp/pwned')", "__import__('os').system('touch /tmp/pwned')", "expected comp"),
        ("(lambda: True)()", "(lambda: True)()", "expected comparisons"),
        ("species.__class__ == 'x'", "species.__class__", "no column species.__class__"),
        ("[x for x in labels]", "[x for x in labels]", "expected comparisons"),
        ("f'{n_units}' == '5'", "f'{n_units}'", "expected comparisons"),
        ("labels[0] == 'a'", "labels[0]", "expected comparisons"),
        ("(x := 5) > 3", "x := 5", "expected comparisons"),
        ("n_units = 5", None, "invalid syntax: == compares"),
        ("n_units > ", None, "invalid syntax"),
        ("species == 'Mus", None, "unterminated string"),
    ],
)
def test_refusals_mark_their_place(expression, place, problem):
    with pytest.raises(ConfigError) as caught:
        matching(ROWS, expression)
    first, text, carets, *rest = str(caught.value).split("\n")
    assert first == "where cannot be read here:"
    assert problem in " ".join(rest)
    if place is not None:
        start = carets.index("^")
        assert text[start : start + carets.count("^")] == place


@pytest.mark.parametrize("expression", ["", "   ", "(" * 900, "n_units == " + "1" * 5000, "\0"])
def test_absurd_expressions_give_a_one_line_error(expression):
    with pytest.raises(ConfigError, match="where"):
        matching(ROWS, expression)


def test_long_chain_is_accepted():
    assert matching(ROWS, "not " * 400 + "True").all()


WORDS = ["n_units", "species", "==", "<", "in", "(", ")", "[", "]", "'a'", "3", "and", "or", "not", ".", ",", "-"]


@settings(deadline=None)
@given(st.text(max_size=60) | st.lists(st.sampled_from(WORDS)).map(" ".join))
def test_any_text_gives_recordings_or_a_plain_error(expression):
    try:
        found = matching(ROWS, expression)
    except FoundationError:
        return
    assert found.dtype == bool
    assert found.shape == (3,)


def test_query_over_a_hundred_thousand_rows_is_fast():
    rows = CatalogRows.of_records([{**RECORDS[k % 3], "id": str(k), "n_units": k} for k in range(100_000)])
    began = time.process_time()
    found = matching(rows, "species == 'Mus musculus' and n_units > 50 and 'position' in labels and hours < 10")
    assert time.process_time() - began < 0.5  # 0.02 s on a quiet machine
    assert found.sum() == sum(k % 3 != 1 and k > 50 for k in range(100_000))


def test_selection_cannot_be_saved_as_the_whole_catalog(small_store):
    catalog = Catalog.open(Store(small_store))
    part = catalog.where("subject in ['mouse1', 'mouse3']")
    assert [recording.session for recording in part] == ["session1", "session3"]
    assert len(part.where("n_units > 50")) == 0
    with pytest.raises(StoreError, match="a selection of 2 recordings"):
        part.save()
    assert len(Catalog.open(Store(small_store))) == 4


def test_expressions_of_the_documentation_are_valid():
    text = (Path(__file__).parents[3] / "docs" / "quality.md").read_text()
    shown = re.findall(r'--where "([^"]+)"', text)
    assert len(shown) >= 4
    known = {"clock_jumps": 0, "units_dropped": 0}
    for expression in shown:
        matching(CatalogRows.of_records([{**record, "control": known} for record in RECORDS]), expression)
