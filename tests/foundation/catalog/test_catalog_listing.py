"""`foundation catalog`: its output and exit status."""

import shutil
from pathlib import Path

import pytest

from foundation.cli.commands import main


@pytest.fixture
def store(small_store, tmp_path):
    return Path(shutil.copytree(small_store, tmp_path / "store"))


def test_where_lists_matching_recordings(store, capsys):
    assert main(["catalog", str(store), "--where", "subject == 'mouse2' and n_units > 3"]) == 0
    assert "1 recording of 1 subject, 12 units" in capsys.readouterr().out


def test_wrong_expression_exits_2_and_marks_the_place(store, capsys):
    assert main(["catalog", str(store), "--where", "species == 'Mus musculus' and n_unit > 3"]) == 2
    output = capsys.readouterr().err
    assert "species == 'Mus musculus' and n_unit > 3\n                                ^^^^^^\n" in output
    assert "did you mean n_units?" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(("option", "value"), [("--where", " "), ("--page", ""), ("--limit", "-1")])
def test_invalid_settings_exit_2(store, capsys, option, value):
    assert main(["catalog", str(store), option, value]) == 2
    assert option[2:] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "output"),
    [
        (["{store}", "{store}"], "unrecognized arguments"),
        (["{store}", "--page", "{store}"], "which is a folder: expected the name of an HTML file"),
        (["{store}", "--limit", "few"], "limit is 'few': expected a whole number"),
        (["{store}", "--where", "n_units > 'a'"], "this is a text: expected a number, as n_units"),
        (["{store}", "--verfy"], "unrecognized arguments: --verfy"),
        (["{store}/nothing"], "there is no store at"),
        (["{store}/nothing", "--verify"], "there is no store at"),
        (["{store}/nothing", "--refresh"], "there is no store at"),
        (["bogus://x"], "cannot use 'bogus://x' as a store"),
    ],
)
def test_wrong_arguments_give_a_one_line_error(store, capsys, words, output):
    assert main(["catalog", *(word.format(store=store) for word in words)]) in (1, 2)
    message = capsys.readouterr().err
    assert output in message
    assert "Error" not in message
    assert len(message.splitlines()) <= 4


def test_verify_names_damage_and_exits_1(store, capsys):
    assert main(["catalog", str(store), "--verify"]) == 0
    assert "every array has its digest" in capsys.readouterr().out
    chunk = next((store / "recordings").rglob("units/cell_type/c/0"))
    chunk.write_bytes(chunk.read_bytes()[::-1])
    assert main(["catalog", str(store), "--verify"]) == 1
    assert "units/cell_type" in capsys.readouterr().out


def test_page_is_written_to_the_given_file(store, tmp_path, capsys):
    page = tmp_path / "out" / "page.html"
    where = "subject in ['mouse0', 'mouse1', 'mouse2']"
    assert main(["catalog", str(store), "--where", where, "--page", str(page), "--limit", "2"]) == 0
    assert f"page: {page}" in capsys.readouterr().out
    assert page.read_text().count("<article") == 2


def test_refresh_reads_commits_again(store, capsys):
    (store / "catalog.parquet").write_bytes(b"broken")
    assert main(["catalog", str(store)]) == 1
    assert "--refresh" in capsys.readouterr().err
    assert main(["catalog", str(store), "--refresh"]) == 0
    assert "4 recordings" in capsys.readouterr().out
    assert main(["catalog", str(store)]) == 0


def test_store_with_another_schema_is_refused(store, capsys):
    (store / "store.json").write_text('{"format": "foundation-store", "schema": 1}')
    for option in ([], ["--verify"], ["--refresh"]):
        assert main(["catalog", str(store), *option]) == 1
        assert "has schema 1, this version reads 2: ingest its files again into a new store" in capsys.readouterr().err
