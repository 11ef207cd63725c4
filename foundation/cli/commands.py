"""The `foundation` command: a table from words to functions, which can also be called from Python."""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foundation.common.errors import FoundationError
from foundation.common.output.pages import text_table
from foundation.common.settings.command import BAD_USAGE, DONE, FAILED, run_stage
from foundation.version import __version__

HELP = ("-h", "--help")


@dataclass(frozen=True)
class Command:
    """Location of a command's function, its settings and the printing of its result, as ``module:name``.

    Settings are in modules that import quickly; the modules of functions are imported when the command runs, so that
    ``--help`` and invalid arguments get an immediate answer.

    Args:
        summary: one line for the overview.
        function, settings: the function and the class of its settings.
        first: the settings that positional words set, in order.
        show: result -> text, if the text differs from ``str(result)``.
        extra: the extra that installs the command's dependencies.
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
        "ingest.simulate.simulate_job:simulate_izhikevich",
        "ingest.simulate.simulate_settings:SimulateSettings",
        show="ingest.simulate.simulate_job:listing",
        extra="ingest",
    ),
    "simulate voltage": Command(
        "simulate voltage with known spikes and write it as NWB",
        "ingest.sorting.simulation.voltage_simulation:simulate_voltage",
        "ingest.sorting.simulation.simulated_voltage_settings:VoltageSettings",
        show="ingest.sorting.simulation.voltage_simulation:listing",
        extra="sorting",
    ),
    "ingest": Command(
        "read NWB files into a store, in parallel",
        "ingest.job:run_command",
        "ingest.run.ingest_settings:IngestCommand",
        extra="ingest",
    ),
    "sort": Command(
        "sort the voltage of a recording into units",
        "ingest.sorting.sort_job:sort",
        "ingest.sorting.sort_settings:SortCommand",
        extra="sorting",
    ),
    "catalog": Command(
        "list the recordings of a store",
        "foundation.catalog.catalog_listing:list_catalog",
        "foundation.catalog.catalog_settings:CatalogSettings",
        first="store",
    ),
    "pretrain": Command(
        "pretrain a model on a store",
        "foundation.training.pretrain_job:pretrain",
        "foundation.training.pretrain_settings:PretrainSettings",
        extra="train",
    ),
    "plan": Command(
        "estimate what a training step costs on other hardware, and what would limit it",
        "foundation.cost_model.cost_plan:plan",
        "foundation.cost_model.cost_settings:PlanSettings",
        show="foundation.cost_model.cost_table:table",
        extra="train",
    ),
    "sweep": Command(
        "pretrain small models of several sizes on several amounts of data, and fit a power law",
        "foundation.sweep.campaign:sweep",
        "foundation.sweep.sweep_settings:SweepSettings",
        extra="sweep",
    ),
    "models": Command(
        "list named checkpoints: shipped, in registry files, and in the cache",
        "foundation.hub.model_listing:list_models",
        "foundation.hub.hub_settings:ModelsSettings",
    ),
    "pull": Command(
        "fetch a checkpoint by name, so that it loads without a network",
        "foundation.hub.model_listing:pull",
        "foundation.hub.hub_settings:PullSettings",
        first="name",
        extra="train",
    ),
    "pack": Command(
        "write a checkpoint with its licence and a card of data and figures, to ship or push",
        "finetune.packing.pack_checkpoint:pack",
        "finetune.packing.pack_settings:PackSettings",
        extra="finetune",
    ),
    "push": Command(
        "publish a checkpoint: to a hub, a model registry, a bucket or a folder",
        "foundation.hub.publishing:push",
        "foundation.hub.hub_settings:PushSettings",
        first="checkpoint target",
        extra="train",
    ),
    "runs": Command(
        "list runs with their state and figures",
        "foundation.training.monitor.runs:list_runs",
        "foundation.training.monitor.runs:RunsSettings",
        first="place",
        show="foundation.training.monitor.runs:table",
        extra="train",
    ),
    "embed": Command(
        "write an embedding of every unit",
        "foundation.embedding.embed_job:embed",
        "foundation.embedding.embed_settings:EmbedSettings",
    ),
    "finetune": Command(
        "fit and score heads on a pretrained model",
        "finetune.finetune_job:finetune",
        "finetune.finetune_settings:FinetuneSettings",
        show="finetune.report.score_table:table",
        extra="finetune",
    ),
    "predict": Command(
        "apply a head to new recordings, or to bins as they arrive",
        "finetune.predict_job:predict",
        "finetune.predict_settings:PredictSettings",
        extra="finetune",
    ),
    "reproduce sorting": Command(
        "compare the recipes of spike sorting with other sorters, and write a page",
        "ingest.sorting.campaign.campaign_runs:reproduce_sorting",
        "ingest.sorting.campaign.campaign_settings:SortingTable",
        extra="sorting",
    ),
    "reproduce": Command(
        "run the published experiment of a paper and print its table",
        "finetune.reproduce.paper_tables:reproduce",
        "finetune.reproduce.reproduce_settings:ReproduceSettings",
        extra="finetune",
    ),
    "benchmark": Command(
        "score a checkpoint on named benchmarks, beside floors and controls",
        "finetune.benchmark.benchmark_runs:benchmark",
        "finetune.benchmark.benchmark_settings:BenchmarkSettings",
        first="names",
        extra="finetune",
    ),
    "report": Command(
        "make one page of figures and pictures, of one finetuning run or of several side by side",
        "finetune.report.html_report:report",
        "finetune.finetune_settings:ReportSettings",
        first="runs",
        extra="finetune",
    ),
    "doctor": Command(
        "say what is installed, what is wrong with it or the machine, and how to fix it",
        "foundation.cli.doctor.examination:examine",
        "foundation.cli.doctor.doctor_settings:DoctorSettings",
    ),
}


def main(arguments: list[str] | None = None) -> int:
    """Run a command line and return its exit status: 0 done, 1 failed, 2 invalid arguments."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments[:1] == ["--version"]:
        print(f"foundation {__version__}")
        return DONE
    if arguments[:1] == ["help"]:  # `help ingest` is `ingest --help`
        arguments = [*arguments[1:], "--help"]
    if not arguments or arguments[0] in HELP:
        print(overview(COMMANDS))
        return DONE if arguments else BAD_USAGE
    name = next((n for n in COMMANDS if arguments[: len(n.split())] == n.split()), "")
    if not name:
        return _no_command(arguments)
    command, rest = COMMANDS[name], arguments[len(name.split()) :]
    try:
        settings = _load(command.settings)
    except ModuleNotFoundError as error:
        print(f"foundation {name}: {_not_installed(error, command)}", file=sys.stderr)
        return FAILED

    def function(given: Any) -> Any:
        try:
            run = _load(command.function)
        except ModuleNotFoundError as error:
            raise FoundationError(_not_installed(error, command)) from error
        return run(given)

    def show(result: Any) -> str:
        text: str = _load(command.show)(result) if command.show else str(result)
        return text

    function.__doc__ = docstring(command.function)
    return run_stage(f"foundation {name}", function, settings, rest, show, command.first)


def _not_installed(error: ModuleNotFoundError, command: Command) -> str:
    if (error.name or "").split(".")[0] in ("foundation", "ingest", "finetune"):
        raise error
    return f"the package {error.name!r} is not installed: pip install 'neural-foundation[{command.extra or 'all'}]'"


def docstring(place: str) -> str:
    """Return the docstring of a function without importing its module.

    Args:
        place: ``module:name``.

    Example:
        >>> docstring("foundation.training.pretrain_job:pretrain").splitlines()[0][:28]
        'Pretrain a model on a store;'
    """
    module, name = place.split(":")
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return ""
    parts = ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body
    found = [part for part in parts if isinstance(part, ast.FunctionDef) and part.name == name]
    return (ast.get_docstring(found[0]) or "") if found else ""


def _no_command(arguments: list[str]) -> int:
    """Report an unknown command: list the commands of a group such as `simulate`, or suggest the nearest command."""
    group = {n: command for n, command in COMMANDS.items() if n.split()[0] == arguments[0] != n}
    if group and arguments[1:2] and arguments[1] in HELP:
        print(overview(group))
        return DONE
    words = [word for word in arguments[:2] if not word.startswith("-")]
    nearest = _nearest(words)
    hint = f": did you mean `foundation {nearest}`?" if nearest else f": one of {', '.join(group or COMMANDS)}"
    print(f"foundation: no command {' '.join(words or arguments[:1])!r}{hint}\nSee `foundation help`.", file=sys.stderr)
    return BAD_USAGE


def _nearest(words: list[str]) -> str:
    """Return the most similar command; empty if none is similar.

    Example:
        >>> _nearest(["pretrian", "my/store"]), _nearest(["simulate", "izhikevic"]), _nearest(["fly"])
        ('pretrain', 'simulate izhikevich', '')
    """
    lower = [word.lower() for word in words]
    tried = [" ".join(lower), *lower[:1]]
    return next((n for text in tried for n in difflib.get_close_matches(text, COMMANDS, n=1, cutoff=0.65)), "")


def overview(commands: dict[str, Command]) -> str:
    """Return the usage of commands, with a line for each."""
    listed = text_table([(name, command.summary) for name, command in commands.items()], indent=2)
    return "\n".join(
        [
            "usage: foundation <command> [--config FILE] [--option VALUE ...]",
            "",
            "Pretrain once on the world's neural recordings, finetune anywhere.",
            "",
            listed,
            "",
            "`foundation help <command>` lists its options; each can be set in the YAML file of --config.",
        ]
    )


def _load(place: str) -> Any:
    module, name = place.split(":")
    return getattr(importlib.import_module(module), name)


if __name__ == "__main__":
    sys.exit(main())
