"""Every command of the documentation is one that its program takes, with those options and values.

Of `foundation`, and of the launchers that start the processes of a run.
"""

import re
import shlex
from pathlib import Path

import pytest

from foundation.cli.commands import COMMANDS, _load
from foundation.common.settings.command import build_parser, parse, spell_out
from foundation.training import PretrainSettings

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "infra" / "README.md"]
LAUNCHERS = ("deepspeed", "torchrun", "sbatch")
OWN = {
    "my-ingest.yaml": "input: nwb\nstore: store\n",
    "my-recipe.yaml": "extends: default\n",
    "my-lab.yaml": "extends: default\n",
    "run.yaml": "store: store\noutput: run\n",
    "my-run.yaml": "store: store\noutput: run\ndata:\n  min_windows: 16\n",
}


def commands(page, *programs):
    """Lines of shell blocks, and text in backticks; without preceding variables."""
    text = page.read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"```(?:bash|sh)\n(.*?)```", text, re.DOTALL)).replace("\\\n", " ")
    inline = re.findall(r"`([^`\n]+ [^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    lines = [re.sub(r"^(?:[A-Z_]+=\S* )+", "", line.strip()) for line in [*blocks.splitlines(), *inline]]
    lines = [line for line in lines if line.startswith(tuple(f"{program} " for program in ("sbatch", *programs)))]
    found = [shlex.split(line, comments=True) for line in lines]
    found = [wrapped(words) if "--wrap" in words else words for words in found]
    found = [words for words in found if words[0] in programs]
    return [words for words in found if "..." not in words and "<command>" not in words]


def wrapped(words):
    """The command that `sbatch --wrap` runs, without its program's folder."""
    program, *rest = shlex.split(words[words.index("--wrap") + 1])
    return [Path(program).name, *rest]


def cases(*programs):
    return [(str(page.relative_to(ROOT)), words) for page in PAGES for words in commands(page, *programs)]


CASES = [(page, words[1:]) for page, words in cases("foundation")]
LAUNCHED = [(page, words) for page, words in cases(*LAUNCHERS) if len(words) > 2]  # two words: it is spoken of


def names(found):
    return [f"{page}-{' '.join(words)}"[:90] for page, words in found]


@pytest.fixture
def own_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, content in OWN.items():
        Path(name).write_text(content)


def name_of(words):
    return next((name for name in COMMANDS if words[: len(name.split())] == name.split()), None)


@pytest.mark.parametrize(("page", "words"), CASES, ids=names(CASES))
@pytest.mark.usefixtures("own_files")
def test_command_parses(page, words):
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
    parser = build_parser(name, _load(command.function), settings)
    if len(rest) == 1 and rest[0].startswith("--") and spell_out(rest, settings) == rest:
        assert rest[0] in parser.format_help().split()  # an option is spoken of, without its value
        return
    parse(parser, settings, rest, command.first)


def started(words):
    """The module that a launcher starts, and its arguments."""
    if words[0] == "deepspeed":
        from deepspeed.launcher.runner import parse_args

        read = parse_args(words[1:])
        return (read.user_script, read.user_args) if read.module else (None, [])
    if words[0] == "torchrun":
        from torch.distributed.run import get_args_parser

        read = get_args_parser().parse_args(words[1:])
        return (read.training_script, read.training_script_args) if read.module else (None, [])
    script = "infra/slurm/pretrain.sbatch"
    assert (ROOT / script).is_file()
    return "foundation.training", words[words.index(script) + 1 :]


@pytest.mark.parametrize(("page", "words"), LAUNCHED, ids=names(LAUNCHED))
@pytest.mark.usefixtures("own_files")
def test_launched_command_is_accepted_by_training(page, words):
    module, arguments = started(words)
    assert module == "foundation.training", page
    settings = parse(build_parser(module, print, PretrainSettings), PretrainSettings, arguments)
    assert settings.store


def test_commands_are_found():
    assert len(CASES) > 40
    assert {page for page, _ in CASES} >= {"README.md", "infra/README.md"}
    assert {words[0] for _, words in LAUNCHED} == set(LAUNCHERS)
    assert [name_of(words) for page, words in CASES if page == "infra/README.md"].count("finetune") == 1  # of --wrap
    assert {name_of(words) for _, words in CASES} >= {"ingest", "catalog", "pretrain", "finetune"}
