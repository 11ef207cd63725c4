"""The README's commands, in their order and in an empty folder: from simulated recordings to a report."""

import re
import shlex
from pathlib import Path

import pytest

from foundation.cli.commands import main

README = Path(__file__).parents[1] / "README.md"
COMMANDS = [shlex.split(c) for c in re.findall(r"^\| \w+ \| `foundation ([^`]+)` \|", README.read_text(), re.MULTILINE)]
# The same commands on less data, so that they take seconds.
SMALLER = {
    "simulate": "--networks 2 --neurons 20 --seconds 240 --wake 24 --nrem 16 --rem 10",
    "pretrain": "--steps 4 --model.dim 16 --model.heads 2 --data.tokens_per_step 4096 --data.max_units 16",
    "finetune": "--bootstrap 100 --full.steps 2 --control_repeats 2 --windows.max_tokens 400 --windows.sleep_tokens 2",
}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """All commands run; exit status and output of each, by name."""
    import contextlib
    import io

    folder = tmp_path_factory.mktemp("readme")
    results = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for words in COMMANDS:
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                status = main([*words, *SMALLER.get(words[0], "").split()])
            results[words[0]] = (status, printed.getvalue())
    return folder, results


def test_every_command_succeeds(done):
    _, results = done
    assert list(results) == [
        "simulate",
        "ingest",
        "catalog",
        "pretrain",
        "embed",
        "finetune",
        "predict",
        "report",
        "doctor",
    ]
    assert {name: status for name, (status, _) in results.items() if status} == {}


def test_catalog_names_the_simulated_recordings(done):
    _, results = done
    assert "2 recordings of 2 subjects, 40 units" in results["catalog"][1]
    assert "cell_type, location, position, velocity" in results["catalog"][1]


def test_every_task_has_a_score_beside_its_baselines(done):
    _, results = done
    for word in (
        "cell_type",
        "location",
        "direction",
        "velocity",
        "position",
        "sleep_state",
        "shuffled",
        "always the same",
    ):
        assert word in results["finetune"][1]


def test_report_is_one_page_with_pictures(done):
    folder, _ = done
    html = (folder / "demo" / "report.html").read_text()
    for word in ("Cell type", "Brain region", "Behaviour", "Sleep and wake", "data:image", "alt="):
        assert word in html
    assert "http://" not in re.sub(r'xmlns[^"]*"http://[^"]*"', "", html).replace("http://www.w3.org", "")


def test_python_examples_run(done, monkeypatch):
    folder, _ = done
    monkeypatch.chdir(folder)
    names = {}
    for code in re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL):
        assert len([line for line in code.splitlines() if line.strip()]) <= 5
        exec(compile(code, "README.md", "exec"), names)
    schema = str(names["table"].schema)
    for name in ("id: int64", "region: string", "rate: double", "embedding: fixed_size_list<item: float>[96]"):
        assert name in schema
    assert names["batch"].x_BNT.shape == (64, 20, 100)


def test_figures_of_the_shipped_checkpoint_equal_its_card():
    card = (README.parent / "foundation" / "checkpoints" / "eit-tiny" / "README.md").read_text()
    of_card = [_cells(line) for line in card.splitlines() if line.startswith("| ")]
    pairs = {(cells[6], cells[4]) for cells in of_card if len(cells) == 9}  # firing rates, the frozen model
    section = README.read_text().split("## What a pretrained model adds")[1].split("\n## ")[0]
    shown = [_cells(line)[2:] for line in section.splitlines() if line.startswith("| ")][1:]
    assert len(shown) == 9
    assert all((rates, frozen) in pairs for rates, frozen in shown)


def test_figures_of_decoding_equal_its_page():
    """The README copies three pairs of figures from docs/results/decoding.md."""
    page = (README.parent / "docs" / "results" / "decoding.md").read_text()
    lines = {name: section.splitlines() for name, section in _sections(page).items()}
    few = [_cells(line) for line in lines["decoding-transfer"] if line.startswith("| velocity, ") and "| 10 |" in line]
    ours, rates, scratch = ([cells[column] for cells in few] for column in (6, 2, 5))
    tracks = {_cells(line)[0]: _cells(line)[1] for line in reversed(lines["decoding-tracks"]) if line.startswith("| f")}
    names = ("firing rates, all lags (the floor)", "frozen, all activity")
    shown = re.search(
        r"rates reach (\S+) for the rat's place.* two tracks (\S+)\. .*R² of (\S+) \(Chewie\) or (\S+) \(Mihi\).*reach"
        r" (\S+) and (\S+) with these trials.*from scratch (\S+) and (\S+)\. ",
        " ".join(README.read_text().split()),
    )
    expected = [float(cell.split()[0]) for cell in (*(tracks[name] for name in names), *ours, *rates, *scratch)]
    assert [float(number) for number in shown.groups()] == pytest.approx(expected, abs=0.0051)


def _sections(page):
    return {part.split("\n", 1)[0]: part for part in page.split("\n## ")[1:]}


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]
