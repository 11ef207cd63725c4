"""The `foundation` command: one table from words to functions, which can be called from Python as well."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import Any

from foundation.command import BAD_USAGE, DONE, FAILED, run_stage
from foundation.version import __version__


@dataclass(frozen=True)
class Command:
    """Where a command's function, its settings and the printing of its result are, as ``module:name``.

    Args:
        summary: one line for the overview.
        function, settings: what is called with what.
        first: the setting that a bare word stands for.
        show: result -> text, if its own text is not what a person wants to read.
        extra: the extra that brings what it needs.
    """

    summary: str
    function: str
    settings: str
    first: str = ""
    show: str = ""
    extra: str = ""


COMMANDS = {
    "simulate izhikevich": Command(
        "simulate labelled populations and write them as NWB",
        "ingest.simulate:simulate_izhikevich",
        "ingest.simulate:SimulateSettings",
        show="ingest.simulate:listing",
        extra="ingest",
    ),
    "ingest": Command(
        "read NWB files into a store, in parallel",
        "ingest.job:ingest",
        "ingest.job:IngestSettings",
        extra="ingest",
    ),
    "catalog": Command(
        "list the recordings of a store",
        "foundation.store.listing:list_catalog",
        "foundation.store.listing:CatalogSettings",
        first="store",
    ),
    "pretrain": Command(
        "pretrain a model on a store",
        "foundation.training:pretrain",
        "foundation.training:PretrainSettings",
        extra="train",
    ),
    "plan": Command(
        "say what a training step costs on other hardware, and what would hold it up",
        "foundation.scaling:plan",
        "foundation.scaling:PlanSettings",
        show="foundation.scaling:table",
        extra="train",
    ),
    "sweep": Command(
        "pretrain small models of several sizes on several amounts of data, and fit a power law",
        "foundation.sweep:sweep",
        "foundation.sweep:SweepSettings",
        extra="sweep",
    ),
    "runs": Command(
        "list runs with their state and figures",
        "foundation.runs:list_runs",
        "foundation.runs:RunsSettings",
        first="place",
        show="foundation.runs:table",
        extra="train",
    ),
    "embed": Command(
        "write an embedding of every unit",
        "foundation.embedding:embed",
        "foundation.embedding:EmbedSettings",
        show="foundation.embedding:listing",
    ),
    "finetune": Command(
        "fit and score heads on a pretrained model",
        "finetune.run:finetune",
        "finetune.settings:FinetuneSettings",
        show="finetune.table:table",
        extra="finetune",
    ),
    "reproduce": Command(
        "run the published experiment of a paper and print its table",
        "finetune.reproduce:reproduce",
        "finetune.reproduce:ReproduceSettings",
        extra="finetune",
    ),
    "report": Command(
        "make one page of figures and pictures",
        "finetune.report:report",
        "finetune.report:ReportSettings",
        extra="finetune",
    ),
    "doctor": Command(
        "say what is installed, which device, what is missing",
        "foundation.doctor:examine",
        "foundation.doctor:DoctorSettings",
    ),
}


def main(arguments: list[str] | None = None) -> int:
    """Run a command line and return its exit status: 0 done, 1 failed, 2 bad usage."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments[:1] == ["--version"]:
        print(f"foundation {__version__}")
        return DONE
    if not arguments or arguments[0] in ("-h", "--help"):
        print(overview())
        return DONE if arguments else BAD_USAGE
    name = next((n for n in COMMANDS if arguments[: len(n.split())] == n.split()), "")
    if not name:
        known = [n for n in COMMANDS if n.split()[0] == arguments[0]] or list(COMMANDS)
        print(f"foundation: no command {' '.join(arguments[:2])!r}: one of {', '.join(known)}", file=sys.stderr)
        return BAD_USAGE
    command, rest = COMMANDS[name], arguments[len(name.split()) :]
    try:
        function, settings = _load(command.function), _load(command.settings)
        show = _load(command.show) if command.show else None
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("foundation", "ingest", "finetune"):
            raise
        help_ = f"pip install 'neural-foundation[{command.extra or 'all'}]'"
        print(f"foundation {name}: the package {error.name!r} is not installed: {help_}", file=sys.stderr)
        return FAILED
    return run_stage(f"foundation {name}", function, settings, rest, show, command.first)


def overview() -> str:
    """The commands, a line each."""
    width = max(len(name) for name in COMMANDS)
    lines = [f"  {name.ljust(width)}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: foundation <command> [--config FILE] [--option VALUE ...]",
            "",
            "Pretrain once on the world's neural recordings, finetune anywhere.",
            "",
            *lines,
            "",
            "`foundation <command> --help` lists its options; each can stand in the YAML file of --config.",
        ]
    )


def _load(place: str) -> Any:
    module, name = place.split(":")
    return getattr(importlib.import_module(module), name)


if __name__ == "__main__":
    sys.exit(main())
