"""Settings of `foundation benchmark`, and the definition of a benchmark as its YAML file holds it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import yaml

from finetune.finetune_settings import MODES, WindowSettings, names_of_modes
from finetune.task_settings import TASK_NAMES, is_own_task
from foundation.common.errors import ConfigError
from foundation.common.settings.command import parse_mapping
from foundation.common.settings.renamed_settings import renamed
from foundation.common.settings.resources import config_names, find_config
from foundation.common.settings.setting_checks import check_local
from foundation.common.settings.setting_limits import Count, Limited, at_least

FOLDER = "benchmark"
EXPORTED = "brainwidebench"
PLAIN = re.compile(r"[A-Za-z0-9][\w.-]*")
SEEDS = (43, 44, 45, 46, 47)


@dataclass(frozen=True)
class Benchmark(Limited):
    """A benchmark: which recordings, which tasks, how they are split and read.

    Args:
        title: for people.
        protocol: what a reader has to know of data and split.
        tasks: of `foundation finetune`: names, or classes of one's own by dotted path.
        files: the recordings, a file, a folder or a glob inside the folder of ``--data``.
        simulate: instead of files: the shipped config of a simulation, such as simulate/demo.
        recipe: of the ingest.
        source: where the files come from.
        dandiset: identifier of the dandiset that holds the files; empty if none does.
        download: whether the files have to be fetched first.
        folds: parts that the data are split into; 1000 leaves one animal out.
        lolcat: whether LOLCAT, trained on the same folds, is a row.
        seconds: of the beginning of each recording; the frozen model and the floors are also scored on each of these
            lengths alone, for tasks of units.
        windows: windows that labels are decoded from.

    Raises:
        ConfigError: if a value is impossible.
    """

    title: str
    protocol: str
    tasks: list[str]
    files: str = ""
    simulate: str = ""
    recipe: str = "auto"
    source: str = ""
    dandiset: str = ""
    download: bool = False
    folds: Annotated[int, at_least(2)] = 5
    lolcat: bool = False
    seconds: list[float] = field(default_factory=list)
    windows: WindowSettings = field(default_factory=WindowSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.files) == bool(self.simulate):
            raise ConfigError(f"files is {self.files!r} and simulate {self.simulate!r}: expected one of the two")
        if any(seconds <= 0 for seconds in self.seconds) or sorted(set(self.seconds)) != self.seconds:
            raise ConfigError(f"seconds is {self.seconds}: expected rising numbers above 0")
        wrong = [name for name in self.tasks if name not in TASK_NAMES and not is_own_task(name)]
        if wrong or not self.tasks:
            raise ConfigError(f"tasks is {self.tasks}: expected some of {', '.join(TASK_NAMES)}, or file.py:Class")


def benchmark_names() -> list[str]:
    """Return the names of all benchmarks, sorted.

    Example:
        >>> "reach-chewie" in benchmark_names()
        True
    """
    return [name.partition("/")[2] for name in config_names(FOLDER)]


def read_benchmark(name: str) -> Benchmark:
    """Return the benchmark of a name.

    Raises:
        ConfigError: for an unknown name; the message lists the known ones.

    Example:
        >>> read_benchmark("sleep-mouse").tasks
        ['sleep_state']
    """
    if name not in benchmark_names():
        raise ConfigError(f"no benchmark {name!r}: expected one of {', '.join(benchmark_names())}")
    content = yaml.safe_load(find_config(f"{FOLDER}/{name}").read_text(encoding="utf-8"))
    try:
        benchmark: Benchmark = parse_mapping(Benchmark, content)
    except ConfigError as error:
        raise ConfigError(f"{FOLDER}/{name}: {error}") from error
    return benchmark


@dataclass(frozen=True)
class BenchmarkSettings(Limited):
    """What `foundation benchmark` does. Bare words are names of benchmarks.

    Args:
        names: of benchmarks.
        all: run all benchmarks whose recordings are in ``data``; the others are listed as not run.
        data: folder of the recordings. Each benchmark says where in the folder its files are.
        checkpoint: folder, name or URL of a pretrained model.
        mode: how the model is adapted, one way or several, as in `foundation finetune`: probe (a linear readout of the
            frozen model), mlp, full, gradual, lora, units or scratch. Finetuned ones bring scratch as a reference.
        seeds: of everything drawn; each is a run of its own.
        output: folder of the results: a JSON Lines file for each benchmark, a line for each run. Runs in these files
            are not made again.
        page: the page that is written from all results in ``output``; null: none.
        gru: also train recurrent decoders of firing rates: minutes for each target and seed.
        bootstrap: resamples behind each 95 % interval of a single run.
        control_repeats: times that the probe is fitted to shuffled labels.
        full_steps: updates of a fold at most, where weights of the model learn.
        work: folder of predictions and other files in between; null: in the cache.
        export: with the name brainwidebench alone: folder of the submission that is written for IBL BrainWideBench,
            from ``heads`` of Cosmos regions and the evaluation recordings in ``data``; nothing is scored here.
        heads: with export: folders of heads of `foundation finetune`, one for each seed.
        label: with export: name of the submission.

    Raises:
        ConfigError: if a value is impossible, or no benchmark is named.
    """

    names: list[str] = field(default_factory=list)
    all: bool = False
    data: str = ""
    checkpoint: str = "eit-tiny"
    mode: list[str] | str = renamed("modes", ["probe"])
    seeds: list[int] = field(default_factory=lambda: list(SEEDS))
    output: str = "results/benchmarks"
    page: str | None = None
    gru: bool = False
    bootstrap: Annotated[int, at_least(100)] = 1000
    control_repeats: Annotated[int, at_least(2)] = 39
    full_steps: Count = 600
    work: str | None = None
    export: str | None = None
    heads: list[str] = field(default_factory=list)
    label: str = "foundation"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_local(data=self.data, output=self.output, page=self.page, work=self.work, export=self.export)
        known = benchmark_names()
        if self.export is not None or EXPORTED in self.names:
            self._check_export()
            return
        if bool(self.names) == self.all:
            both = "names and all are both given" if self.all else "no benchmark is named"
            raise ConfigError(f"{both}: expected --all, or one or more of {', '.join(known)}")
        for name in self.names:
            if name not in known:
                raise ConfigError(f"names has {name!r}: expected one of {', '.join(known)}")
        for mode in self.modes_of_run:
            if mode not in MODES:
                raise ConfigError(f"mode has {mode!r}: expected one of {', '.join(MODES)}")
        if not self.modes_of_run or not self.seeds:
            raise ConfigError(f"mode is {self.mode} and seeds {self.seeds}: expected at least one of each")
        if len(set(self.seeds)) < len(self.seeds):
            raise ConfigError(f"seeds is {self.seeds}: expected each seed once")

    @property
    def modes_of_run(self) -> list[str]:
        """The ways in which the model is adapted, each once."""
        return names_of_modes(self.mode)

    def _check_export(self) -> None:
        if self.export is None or self.names != [EXPORTED] or self.all:
            raise ConfigError(
                f"names is {self.names} and export {self.export!r}: expected {EXPORTED} alone with --export FOLDER"
            )
        if len(self.heads) != len(self.seeds):
            raise ConfigError(f"heads is {self.heads} and seeds {self.seeds}: expected a head for each seed")
        if not PLAIN.fullmatch(self.label):
            raise ConfigError(f"label is {self.label!r}: expected letters, digits, '.', '_' and '-'")

    @property
    def chosen(self) -> list[str]:
        """The benchmarks that are asked for."""
        return benchmark_names() if self.all else list(self.names)

    @property
    def results(self) -> Path:
        """The folder of the results."""
        return Path(self.output)
