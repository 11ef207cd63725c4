"""Command lines from settings dataclasses: parsing, logging and exit status."""

from __future__ import annotations

import dataclasses
import json
import logging
import logging.handlers
import os
import re
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import (  # type: ignore[attr-defined]
    ActionConfigFile,
    ArgumentError,
    ArgumentParser,
    Namespace,
)

from foundation.common.credentials import without_secrets
from foundation.common.errors import ConfigError, FoundationError
from foundation.common.extensions.search_folders import searching
from foundation.common.output.printable import printable_lines
from foundation.common.processes.environment import safe_path
from foundation.common.processes.interrupts import StopRequests
from foundation.common.settings.renamed_settings import current_key, current_names, kind_of
from foundation.common.settings.resources import config_folder, find_config

log = logging.getLogger("foundation")
BAD_USAGE, FAILED, DONE = 2, 1, 0
# The types that jsonargparse expects, in users' words.
KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "list": "a list in brackets, such as [a, b]",
    "dict": "a mapping",
    "NoneType": "null",
}
OURS = "foundation"
TRUST_HELP = (
    "classes of models, as mylab.models:Model, or modules, as mylab, that a checkpoint may import (docs/extend.md)"
)


class _Discreet(logging.Formatter):
    """Removes secrets in URLs and control characters, also from other packages' messages and tracebacks."""

    def format(self, record: logging.LogRecord) -> str:
        return presentable(super().format(record))


def presentable(text: str) -> str:
    r"""Return a text for a terminal or a log, without secrets in URLs and with control characters escaped.

    Example:
        >>> presentable("session a\x1b[2J of http://me:password@host")
        'session a\\x1b[2J of http://host'
    """
    return printable_lines(without_secrets(text))


class _Short(_Discreet):
    """Removes tracebacks as well, which go to the log file."""

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return ""

    def format(self, record: logging.LogRecord) -> str:
        cached, record.exc_text = record.exc_text, None
        text = super().format(record)
        record.exc_text = cached
        return text.rstrip("\n")


def build_parser(program: str, function: Callable[..., Any], settings: type) -> ArgumentParser:
    """Return a parser whose options are the fields of a settings dataclass, with help from its docstring."""
    summary = (function.__doc__ or "").strip().split("\n\n")[0]
    parser = ArgumentParser(prog=program, description=summary, exit_on_error=False)
    parser.add_argument("--config", action=ActionConfigFile, help="YAML file, or the name of a shipped config")
    parser.add_argument("--trust", type=str | list[str], default=[], help=TRUST_HELP)
    parser.add_class_arguments(settings)
    return parser


def parse(parser: ArgumentParser, settings: type, arguments: list[str], first: str = "") -> Any:
    """Return settings from a command line.

    Args:
        parser: made by `build_parser` for these settings.
        settings: the dataclass.
        arguments: the words after the command.
        first: the settings that positional words set, in order.

    Raises:
        ConfigError: for an unknown key, a wrong type or an invalid value.
        SystemExit: after ``--help`` and ``--print_config``.
    """
    return parse_command(parser, settings, arguments, first)[0]


def parse_command(
    parser: ArgumentParser, settings: type, arguments: list[str], first: str = ""
) -> tuple[Any, list[Path], list[str]]:
    """Return settings, the folders to search for custom classes, and the trusted names.

    Arguments and errors are as in `parse`.

    Returns:
        The settings; the working folder and those of the YAML files that were given; the names of ``--trust``.
    """
    try:
        spelled = resolve_configs(spell_out(arguments, settings, first))
        folders = [Path.cwd(), *_folders_of_configs(spelled)]
        with searching(folders):
            given: Namespace = parser.parse_args(with_current_names(spelled, settings))
            fields = parser.instantiate(given).as_dict()
    except (ArgumentError, TypeError, ValueError) as error:
        raise ConfigError(_one_line(error)) from error
    fields.pop("config", None)
    trust = fields.pop("trust", None) or []
    names = trust.split(",") if isinstance(trust, str) else list(trust)
    with searching(folders):
        made = settings(**fields)
    return made, folders, [name.strip() for name in names]


def _folders_of_configs(words: list[str]) -> list[Path]:
    """Return the folders of the user's own YAML files among the words of a command."""
    files = [following for word, following in pairwise(words) if word == "--config"]
    files += [word.removeprefix("--config=") for word in words if word.startswith("--config=")]
    folders = [Path(file).resolve().parent for file in files]
    return [folder for folder in folders if not folder.is_relative_to(config_folder().resolve())]


def parse_mapping(settings: type, content: dict[str, Any]) -> Any:
    """Return settings from a mapping, such as a YAML file's, with the types and messages of a command line.

    Raises:
        ConfigError: for an unknown key, a wrong type or an invalid value.

    Example:
        >>> from foundation.catalog.catalog_settings import CatalogSettings
        >>> parse_mapping(CatalogSettings, {"store": "my/store"}).store
        'my/store'
    """
    parser = _mapping_parser(settings)
    try:
        return settings(**parser.instantiate(parser.parse_object(current_names(settings, content))).as_dict())
    except (ArgumentError, TypeError, ValueError) as error:
        raise ConfigError(_one_line(error)) from error


@cache
def _mapping_parser(settings: type) -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(settings)
    return parser


def spell_out(arguments: list[str], settings: type, first: str = "") -> list[str]:
    """Return the arguments with every value named: ``--flag`` as ``--flag true``, a bare word as ``--<first> word``.

    ``--dry-run`` becomes ``--dry_run``. ``first`` names a setting for each bare word; a single setting that is a list
    takes all bare words.

    Example:
        >>> from foundation.catalog.catalog_settings import CatalogSettings
        >>> spell_out(["--verify", "my/store"], CatalogSettings, first="store")
        ['--verify', 'true', '--store', 'my/store']
        >>> spell_out(["a", "b", "--store", "c"], dataclasses.make_dataclass("Runs", [("runs", list)]), first="runs")
        ['--store', 'c', '--runs=["a", "b"]']
    """
    arguments = [_underscored(word) for word in arguments]
    flags = {f"--{field.name}" for field in dataclasses.fields(settings) if field.type in (bool, "bool")}
    kinds = {field.name: str(getattr(field.type, "__name__", field.type)) for field in dataclasses.fields(settings)}
    several = kinds.get(first, "").startswith("list")
    spelled: list[str] = []
    firsts = first.split()
    listed: list[str] = []
    words = iter(enumerate(arguments))
    for i, word in words:
        following = arguments[i + 1] if i + 1 < len(arguments) else ""
        if word in flags and following.lower() not in ("true", "false"):
            spelled += [word, "true"]
        elif word.startswith("-"):
            spelled.append(word)
            if word.startswith("--") and "=" not in word and following and not following.startswith("--"):
                spelled.append(next(words)[1])
        elif several:
            listed.append(word)
        else:
            spelled += [f"--{firsts.pop(0)}", word] if firsts else [word]  # the parser rejects a word too many
    return [*spelled, f"--{first}={json.dumps(listed)}"] if listed else spelled


def resolve_configs(arguments: list[str]) -> list[str]:
    """Return the arguments with configs first, and with names of shipped configs replaced by their files.

    Options thus override every config, wherever they stand; a later config still overrides an earlier one.

    Example:
        >>> words = resolve_configs(["--steps", "3", "--config", "pretrain/demo"])
        >>> words[0].startswith("--config="), words[1:]
        (True, ['--steps', '3'])
    """
    configs: list[str] = []
    others: list[str] = []
    words = iter(arguments)
    for word in words:
        name = next(words, None) if word == "--config" else None
        if word.startswith("--config="):
            name = word.removeprefix("--config=")
        if name is None:
            others.append(word)
        else:
            configs.append(f"--config={find_config(name)}")
    return [*configs, *others]


def with_current_names(arguments: list[str], settings: type) -> list[str]:
    """Return the arguments with current names in place of old ones, in options and in YAML; see `renamed_settings`.

    A YAML file with an old name is replaced by its content, which jsonargparse also accepts.

    Raises:
        ConfigError: if a setting is given under both names.
    """
    renamed: list[str] = []
    key = ""  # the option that the next value belongs to
    for word in arguments:
        if word.startswith("--"):
            name, equals, value = word.removeprefix("--").partition("=")
            key = current_key(settings, name)
            renamed.append(f"--{key}{equals}{_current_value(settings, key, value) if equals else ''}")
            key = "" if equals else key
        else:
            renamed.append(_current_value(settings, key, word) if key else word)
            key = ""
    return renamed


def _current_value(settings: type, key: str, text: str) -> str:
    kind = settings if key == "config" else kind_of(settings, key)
    if kind is None:
        return text
    try:
        content = yaml.safe_load(Path(text).read_text(encoding="utf-8") if key == "config" else text)
    except (OSError, ValueError, yaml.YAMLError):  # jsonargparse reports the error
        return text
    current = current_names(kind, content, "" if key == "config" else f"{key}.")
    return text if current == content else yaml.safe_dump(current, sort_keys=False)


def run_stage(
    program: str,
    function: Callable[[Any], Any],
    settings: type,
    arguments: list[str],
    show: Callable[[Any], str] | None = None,
    first: str = "",
) -> int:
    """Parse the arguments, run the stage, print its result, and return the exit status.

    Returns:
        0 after success, 1 after a failure, 2 for invalid arguments, 75 if a run was asked to stop and should be
        started again, 130 after Ctrl-C, 143 after SIGTERM and 129 after SIGHUP (128 and the signal's number).
    """
    path = start_logging()
    try:
        parser = build_parser(program, function, settings)
        parsed, folders, trust = parse_command(parser, settings, arguments, first)
    except SystemExit as stop:  # --help, --print_config
        return int(stop.code or 0) if not isinstance(stop.code, str) else BAD_USAGE
    except FoundationError as error:
        print(f"{program}: {presentable(str(error))}\nSee `{program} --help`.", file=sys.stderr)
        return BAD_USAGE
    requests = StopRequests()
    try:
        with requests, safe_path(), searching(folders, trust):
            result = function(parsed)
    except KeyboardInterrupt as stop:
        done = getattr(stop, "result", None)
        if done is not None:
            print(presentable(show(done) if show else str(done)), flush=True)
        by = f" by {requests.asked}" if requests.asked else ""
        print(f"{program}: stopped{by}; run the same command again to continue", file=sys.stderr)
        return requests.status
    except ConfigError as error:
        log.debug("bad usage", exc_info=True)
        print(f"{program}: {presentable(str(error))}", file=sys.stderr)
        return BAD_USAGE
    except Exception as error:  # one line for the user, the traceback for the log
        log.debug("failed", exc_info=True)
        text = str(error) if isinstance(error, FoundationError) else f"{type(error).__name__}: {error}"
        print(f"{program}: {presentable(text)}\nThe traceback is in {path}", file=sys.stderr)
        return int(getattr(error, "status", FAILED))
    if result is not None:
        print(presentable(show(result) if show else str(result)))
    return DONE if getattr(result, "ok", True) else FAILED


def start_logging() -> Path:
    """Log messages to the terminal and everything to a file, $FOUNDATION_LOG or one in the state folder; return it."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        if handler.name == OURS:
            root.removeHandler(handler)
            handler.close()
    path = _log_file()
    file = logging.handlers.RotatingFileHandler(path, maxBytes=5_000_000, backupCount=2, delay=True)
    file.setFormatter(_Discreet("%(asctime)s %(process)d %(name)s %(levelname)s %(message)s"))
    file.setLevel(logging.DEBUG)
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setFormatter(_Short("%(message)s"))
    terminal.setLevel(logging.INFO if os.environ.get("RANK", "0") == "0" else logging.WARNING)
    handlers: tuple[logging.Handler, ...] = (file, terminal)
    for handler in handlers:
        handler.name = OURS
        root.addHandler(handler)
    root.setLevel(logging.WARNING)
    for name in ("foundation", "ingest", "finetune"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    return path


def _underscored(word: str) -> str:
    name, equals, value = word.partition("=")
    return f"--{name[2:].replace('-', '_')}{equals}{value}" if name.startswith("--") else word


def _log_file() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    for path in (os.environ.get("FOUNDATION_LOG"), Path(state) / "foundation" / "foundation.log"):
        if path is None:
            continue
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            with open(path, "a"):
                return Path(path)
        except OSError:
            continue
    return Path(tempfile.gettempdir()) / f"foundation-{os.getpid()}.log"


def _one_line(error: Exception) -> str:
    line = " ".join(part.strip() for part in str(error).splitlines() if part.strip())
    found = re.match(r'Parser key "([^"]+)":', line)
    wanted = [kind for kind in re.findall(r"Expected an? <class '(\w+)'>", line) if kind in KINDS]
    value = re.findall(r"(?:Got|Given) value: (.*?)(?=$| Expected| - |(?<=\S) Given)", line)
    if not (found and wanted and value):
        return line
    return f"{found[1]} is {value[-1]!r}: expected {' or '.join(KINDS[kind] for kind in dict.fromkeys(wanted))}"
