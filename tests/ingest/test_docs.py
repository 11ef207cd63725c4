"""The commands and examples of docs/ingest.md, run in order in a folder with two files."""

import re
import shlex
from pathlib import Path

import pytest

from foundation.cli.commands import main

PAGE = Path(__file__).parents[2] / "docs" / "ingest.md"
TEXT = PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def done(tmp_path_factory, ray_session, nwb_maker):
    """Status and output of each command of the page's only command block, and the folder."""
    import contextlib
    import io

    folder = tmp_path_factory.mktemp("ingest-page")
    for k, name in enumerate("ab"):
        nwb = nwb_maker.add_trains(nwb_maker.new(session_id=f"s{k}"), [[0.5 + k, 1.5], [2.0]])
        nwb_maker.save(nwb, folder / "nwb" / f"sub-{name}" / f"sub-{name}_ses-1.nwb")
    (block,) = re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
    results = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for line in block.splitlines():
            words, printed = shlex.split(line, comments=True), io.StringIO()
            assert words[0] == "foundation"
            with contextlib.redirect_stdout(printed):
                status = main(words[1:])
            results.append((status, printed.getvalue()))
    return folder, results


def test_every_command_does_what_its_comment_says(done):
    folder, results = done
    assert [status for status, _ in results] == [0] * 8
    listed, explained, first, again, third, strict, table, verified = [text for _, text in results]
    assert "2 assets" in listed
    assert "units/spike_times" in explained
    assert "2 files: 2 ingested, 0 skipped" in first
    assert "2 files: 0 ingested, 2 skipped" in again
    assert "2 files: 0 ingested, 2 skipped" in third
    assert "1 file: 1 ingested" in strict
    assert "2 recordings" in table
    assert "every array has its digest: 2 recordings" in verified
    assert (folder / "report.json").is_file()


def test_python_examples_run(done, monkeypatch, capsys):
    folder, _ = done
    monkeypatch.chdir(folder)
    names: dict = {}
    examples = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        exec(compile(example, "docs/ingest.md", "exec"), names)
    assert "'skipped': 2" in capsys.readouterr().out
    assert (names["report"].ok, len(names["report"].skipped)) == (True, 2)


def test_every_link_of_the_documentation_resolves():
    missing = []
    for page in PAGE.parent.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)]*))?\)", text):
            file = (page.parent / target).resolve() if target else page
            if not file.exists():
                missing.append(f"{page.name}: {target}")
            elif anchor and anchor not in anchors(file):
                missing.append(f"{page.name}: {target}#{anchor}")
    assert missing == []


def anchors(page):
    """Anchors made of the pages' headings, including those of included pages."""
    text = page.read_text(encoding="utf-8")
    for included in re.findall(r"^```\{include\} (\S+)$", text, re.MULTILINE):
        text += (page.parent / included).read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("status", ["ingested", "skipped", "left out", "needs sorting", "failed"])
def test_every_status_is_explained(status):
    from ingest.run.ingest_report import STATUSES

    assert status in STATUSES
    assert f"| {status} |" in TEXT
