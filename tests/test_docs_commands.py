"""Every `foundation` command of the documentation is one that the command line takes, with those options and values."""

import re
import shlex
from pathlib import Path

import pytest

from foundation.cli import COMMANDS, _load
from foundation.command import build_parser, parse

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OWN = {
    "my-ingest.yaml": "input: nwb\nstore: store\n",
    "my-recipe.yaml": "extends: default\n",
    "my-lab.yaml": "extends: default\n",
}


def commands(page):
    """Lines of blocks of bash, and what stands in backticks in the text."""
    text = page.read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"```bash\n(.*?)```", text, re.DOTALL)).replace("\\\n", " ")
    inline = re.findall(r"`(foundation [^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    lines = [line.strip() for line in [*blocks.splitlines(), *inline]]
    found = [shlex.split(line, comments=True) for line in lines if line.startswith("foundation ")]
    return [words[1:] for words in found if "..." not in words and "<command>" not in words]


CASES = [(page.name, words) for page in PAGES for words in commands(page)]


def name_of(words):
    return next((name for name in COMMANDS if words[: len(name.split())] == name.split()), None)


@pytest.mark.parametrize(("page", "words"), CASES, ids=[f"{page}-{' '.join(words)}"[:90] for page, words in CASES])
def test_the_command_is_one_that_there_is(page, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, content in OWN.items():
        Path(name).write_text(content)
    name = name_of(words)
    assert name is not None or words == ["--version"], f"{page}: no command {words[0]}"
    if name is None:
        return
    rest = words[len(name.split()) :]
    if not rest or "--help" in rest:  # the command as such is spoken of
        return
    if name == "catalog" and rest[0].startswith("--"):
        rest = ["STORE", *rest]
    command = COMMANDS[name]
    settings = _load(command.settings)
    parse(build_parser(name, _load(command.function), settings), settings, rest, command.first)


def test_there_are_commands_to_look_at():
    assert len(CASES) > 40
    assert {name_of(words) for _, words in CASES} >= {"ingest", "catalog", "pretrain", "finetune"}
