"""Settings of finetuning and of the report."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any

from finetune.task_settings import TASK_NAMES, is_own_task
from foundation.common.errors import ConfigError
from foundation.common.settings.renamed_settings import renamed, warn
from foundation.common.settings.setting_checks import check_input, check_local
from foundation.common.settings.setting_limits import (
    Count,
    FilledOrNone,
    Limit,
    Limited,
    Natural,
    above,
    at_least,
    between,
    one_of,
)

FINETUNED = ("full", "gradual", "lora", "units")  # modes that change weights of the pretrained model
MODES = ("probe", "mlp", *FINETUNED, "scratch")
DEFAULT_MODES = ("probe", "full")
READOUTS = ("best", "rate", "probe", "both", *FINETUNED)
SESSIONS = ("apart", "heads", "head")
FORMER_WEIGHTS = {"all": "full", "gradual": "gradual", "lora": "lora", "rows": "units"}  # full.weights -> mode
MAX_RUNS = 8  # colours that colour-blind readers tell apart
TokenSeconds = Annotated[float, between(0.001, 3600, "seconds")]
Rate = Annotated[float, above(0, high=1)]
below_one = Limit(lambda value: 0 <= value < 1, "from 0 to below 1")


@dataclass(frozen=True)
class WindowSettings(Limited):
    """Windows that labels are decoded from. A token is ``patch_length`` bins of the model.

    Args:
        unit_token: seconds of a token for cell_type and location.
        unit_tokens: tokens of a window for cell_type and location.
        unit_windows: windows averaged into the embedding of a unit.
        behavior_token: seconds of a token for behavior.
        behavior_tokens: tokens of a window for behavior outside trials.
        max_trial_tokens: a trial of up to so many tokens is one window; a longer one is cut into equal windows.
        max_lag: tokens before and after a moment that readouts see, at most, inside its window; beyond it there is 0.
        sleep_token: seconds of a token for sleep_state.
        sleep_tokens: tokens of a window for sleep_state, at most.
        max_tokens: time bins of one recording that are decoded, at most; windows are spread over a longer recording.
        causal: labels over time are read from their own and earlier tokens alone, as a decoder in real time has to; the
            model must have a causal population stream. Labels of whole trials still read all of their trial.

    Raises:
        ConfigError: if a value is impossible.
    """

    section = "windows."
    unit_token: TokenSeconds = 0.02
    unit_tokens: Count = 32
    unit_windows: Count = 64
    behavior_token: TokenSeconds = 0.1
    behavior_tokens: Count = 10
    max_trial_tokens: Count = 64
    max_lag: Natural = 32
    sleep_token: TokenSeconds = 4.0
    sleep_tokens: Count = 8
    max_tokens: Annotated[int, at_least(100)] = 6000
    causal: bool = False


@dataclass(frozen=True)
class FullSettings(Limited):
    """Finetuning of the whole model, started from a linear head on each sample's own token.

    Args:
        steps: updates of a fold, at most; the inner validation decides how many of them are kept.
        learning_rate: highest rate for the pretrained weights (AdamW, linear warm-up over a tenth, cosine decay).
        head_learning_rate: highest rate for the head.
        weight_decay: of weight matrices.
        tokens_per_step: units x tokens of one update, about.
        checks: how often the inner validation is scored on the way.
        patience: checks without a better score before a fold stops.
        components: principal components that the head sees, at most.
        dropout: of the model's layers while it is finetuned; null: as in pretraining.
        unit_dropout: share of the population that the model does not see in an update, of labels over time.
        from_scratch: whether a model of the same architecture with random weights is trained in the same way too.
        label_curve: numbers of labelled trials of a fold; readouts and finetuning are repeated with so few of them.
        weights: former setting, for one more version: all, gradual, lora or rows; ``mode`` says it now.
        lora_rank: rank of the low-rank weights of mode lora.
        sessions: how recordings with the same label over time are finetuned: apart (a model for each), heads (one
            model learns from all of them, with a head for each) or head (one model and one head, where all have the
            same values or classes and the model has a population stream).
        ensemble: networks that are finetuned on the same samples, each from a seed of its own; the mean of their
            outputs predicts, and a head keeps all of them. Time and size grow with it; models from scratch too.

    Raises:
        ConfigError: if a value is impossible.
    """

    section = "full."
    steps: Count = 600
    learning_rate: Rate = 1e-3
    head_learning_rate: Rate = 3e-3
    weight_decay: Annotated[float, at_least(0)] = 0.05
    tokens_per_step: Count = 65_536
    checks: Count = 12
    patience: Count = 4
    components: Count = 256
    dropout: Annotated[float | None, below_one] = None
    unit_dropout: Annotated[float, below_one] = 0.3
    from_scratch: bool = True
    label_curve: list[int] = field(default_factory=list)
    weights: Annotated[str | None, one_of(*FORMER_WEIGHTS)] = None
    lora_rank: Count = 8
    sessions: Annotated[str, one_of(*SESSIONS)] = "apart"
    ensemble: Annotated[int, between(1, 100)] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.label_curve and self.sessions != "apart":
            raise ConfigError(
                f"full.label_curve is {self.label_curve} and full.sessions {self.sessions!r}: expected one of the two"
            )
        if any(n < 2 for n in self.label_curve) or sorted(set(self.label_curve)) != self.label_curve:
            raise ConfigError(f"full.label_curve is {self.label_curve}: expected rising numbers of trials, 2 or more")


@dataclass(frozen=True)
class MLPSettings(Limited):
    """A small network on the frozen model's features.

    Args:
        components: principal components of the features that the network sees, at most.
        units: of its hidden layer.
        dropout: of the hidden layer.
        learning_rate: of AdamW.
        weight_decay: of weight matrices and biases.
        batch_samples: samples of an update.
        max_epochs: passes through the training samples, at most; inner validation decides how many are made.
        patience: epochs without a better score before a search stops.

    Raises:
        ConfigError: if a value is impossible.
    """

    section = "mlp."
    components: Count = 256
    units: Count = 64
    dropout: Annotated[float, below_one] = 0.3
    learning_rate: Rate = 2e-3
    weight_decay: Annotated[float, at_least(0)] = 0.01
    batch_samples: Count = 64
    max_epochs: Count = 100
    patience: Count = 15


@dataclass(frozen=True)
class GRUSettings(Limited):
    """Recurrent decoders of firing rates, trained on labels alone: what a model without pretraining reaches.

    Args:
        run: whether velocity and position are decoded by them too, by one that sees the whole window and by a causal
            one; some minutes a target.
        units: of the hidden state.
        max_epochs: passes through the training windows, at most; inner validation decides how many are made.
        patience: epochs without a better score before a search stops.
        dropouts: of inputs and of the hidden state; inner validation chooses one.
        learning_rate: highest rate (AdamW, cosine decay).
        weight_decay: of all weights.
        batch_windows: windows of an update.

    Raises:
        ConfigError: if a value is impossible.
    """

    section = "gru."
    run: bool = True
    units: Count = 64
    max_epochs: Count = 150
    patience: Count = 30
    dropouts: list[float] = field(default_factory=lambda: [0.2, 0.4])
    learning_rate: Rate = 3e-3
    weight_decay: Annotated[float, at_least(0)] = 0.01
    batch_windows: Count = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.dropouts or not all(0 <= p < 1 for p in self.dropouts):
            raise ConfigError(f"gru.dropouts is {self.dropouts}: expected at least one number from 0 to below 1")


def names_of_modes(mode: list[str] | str) -> list[str]:
    """Return a setting ``mode``, one way or several, as a list with each way once.

    Example:
        >>> names_of_modes("lora"), names_of_modes(["probe", "full", "probe"])
        (['lora'], ['probe', 'full'])
    """
    return list(dict.fromkeys([mode] if isinstance(mode, str) else mode))


@dataclass(frozen=True)
class FinetuneSettings(Limited):
    """What `foundation finetune` does.

    Args:
        checkpoint: folder, name or URL of a pretrained model.
        store: the recordings, with their labels.
        output: folder of the results; an interrupted run continues from the results in it.
        tasks: which of behavior, cell_type, coordinates, events, location, sleep_state; tasks of one's own as a YAML
            file or a class (``file.py:Class``); null: all shipped ones that the store has labels for.
        mode: how the model is adapted, one way or several beside each other: probe (a linear readout of the frozen
            model), mlp (a small network on the same features), full (all weights are finetuned), gradual (all, one
            layer after another from the top), lora (low-rank weights beside the model's matrices), units (the
            embeddings of the units in the population stream alone), scratch (all weights, from random ones, with the
            same budget).
        folds: parts that the data are split into; each is predicted once by a model that has not seen it.
        seed: of everything drawn.
        bootstrap: resamples behind each 95 % interval.
        control_repeats: times that the probe is fitted to shuffled labels; an interval of 95 % takes 39.
        random_weights: whether a model of the same architecture with random weights is probed too.
        heads: whether a head is fitted to all labelled samples of each target and written, to be applied later.
        keep: the readout that becomes the head: best (by its score in cross-validation), rate (of firing rates), probe,
            both (rates and frozen model), or full, gradual, lora or units, if it is among the modes.
        experiment: MLflow experiment.
        register: heads become registered models of MLflow, ``<register>-<head>``; null: they are logged with the run.
        alias: that the registered version gets.
        tracking_uri: where MLflow keeps runs; null: $MLFLOW_TRACKING_URI, or an SQLite file beside ``output``.
        windows: windows that labels are decoded from.
        full: finetuning of the model's weights: modes full, gradual, lora, units and scratch.
        mlp: the network of mode mlp.
        gru: recurrent decoders of firing rates.
        cache_size: bytes of the checkpoint's features that a store on a local disk keeps for later runs, at most; the
            least recently used are removed first. 0: none are read or kept.
        input: instead of a store: an NWB file, a folder of them or ``dandi://...``, read into a store of the cache.

    Raises:
        ConfigError: if a value is impossible.
    """

    checkpoint: str
    store: str = ""
    output: str = ""
    tasks: list[str] | None = None
    mode: list[str] | str = renamed("modes", list(DEFAULT_MODES))
    folds: Annotated[int, at_least(2)] = 5
    seed: Natural = 0
    bootstrap: Annotated[int, at_least(100)] = 1000
    control_repeats: Annotated[int, at_least(2)] = 39
    random_weights: bool = True
    heads: bool = True
    keep: Annotated[str, one_of(*READOUTS)] = "best"
    experiment: str = "finetune"
    register: FilledOrNone = None
    alias: str = "latest-fit"
    tracking_uri: str | None = None
    windows: WindowSettings = field(default_factory=WindowSettings)
    full: FullSettings = field(default_factory=FullSettings)
    mlp: MLPSettings = field(default_factory=MLPSettings)
    gru: GRUSettings = field(default_factory=GRUSettings)
    cache_size: Natural = 10 << 30
    input: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.full.weights is not None:
            self._take_former_weights(FORMER_WEIGHTS[self.full.weights])
        check_local(output=self.output)
        check_input(self.store, self.input)
        if not self.output:
            raise ConfigError("output is '': expected a folder for the results")
        for key, names, allowed in (("tasks", self.tasks, TASK_NAMES), ("mode", self.modes_of_run, MODES)):
            for name in names or ():
                if name not in allowed and not (key == "tasks" and is_own_task(name)):
                    own = ", a YAML file or a class as file.py:Class" if key == "tasks" else ""
                    raise ConfigError(f"{key} has {name!r}: expected one of {', '.join(allowed)}{own}")
            if names is not None and not names:
                raise ConfigError(f"{key} is empty: expected one of {', '.join(allowed)}")
        if self.keep in FINETUNED and self.keep not in self.modes_of_run:
            raise ConfigError(
                f"keep is {self.keep!r} and mode {', '.join(self.modes_of_run)}: expected a mode with {self.keep}, or "
                "another readout"
            )

    @property
    def modes_of_run(self) -> list[str]:
        """The ways in which the model is adapted, each once."""
        return names_of_modes(self.mode)

    def _take_former_weights(self, mode: str) -> None:
        """Read ``full.weights`` as a mode, with a warning, and forget it."""
        warn(f"full.weights {self.full.weights}", f"mode {mode}")
        object.__setattr__(self, "mode", [mode if given == "full" else given for given in self.modes_of_run])
        object.__setattr__(self, "keep", mode if self.keep == "full" else self.keep)
        object.__setattr__(self, "full", replace(self.full, weights=None))

    def identity(self, mode: str) -> dict[str, Any]:
        """Return the settings that decide a result's numbers, beside checkpoint and recordings."""
        names = ["folds", "seed", "bootstrap", "control_repeats", "random_weights", "windows", "gru"]
        whole = asdict(self)
        if not self.windows.causal:  # so that results of versions before this setting keep their keys
            whole["windows"].pop("causal")
        whole["full"].pop("weights")
        if self.full.sessions == "apart":
            whole["full"].pop("sessions")
        if self.full.ensemble == 1:
            whole["full"].pop("ensemble")
        if mode != "lora":
            whole["full"].pop("lora_rank")
        own = {"probe": [], "mlp": ["mlp"]}.get(mode, ["full"])
        return {name: whole[name] for name in names + own}


@dataclass(frozen=True)
class ReportSettings(Limited):
    """What `foundation report` does.

    Bare words are the output folders of finetuning runs, which one page shows side by side. Without them the page is of
    one store, one pretrained model and its results.

    Args:
        store: the recordings; beside ``runs``, results of recordings that it does not hold any more are left out.
        checkpoint: with ``results``, folder of the pretrained model; its training curves are read from the
            metrics.jsonl beside it.
        results: with ``store`` and ``checkpoint``, the output folder of `foundation finetune`.
        output: the HTML file to write.
        picture: PNG file for the report's first picture, which shows a model and its results at a glance.
        title: heading of the report; empty: one that says what it shows.
        raster_seconds: seconds of activity that the raster shows.
        runs: output folders of `foundation finetune`, shown side by side.

    Raises:
        ConfigError: if a value is impossible.
    """

    store: str | None = None
    checkpoint: str | None = None
    results: str | None = None
    output: str = "report.html"
    picture: str | None = None
    title: str = ""
    raster_seconds: Annotated[float, between(0.1, 3600)] = 10.0
    runs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_local(results=self.results, output=self.output, picture=self.picture)
        for run in self.runs:
            check_local(runs=run)
        if self.runs and (self.results is not None or self.checkpoint is not None):
            given = "results" if self.results is not None else "checkpoint"
            raise ConfigError(f"{given} and runs are both given: expected only runs")
        if len(self.runs) > MAX_RUNS:
            raise ConfigError(f"runs holds {len(self.runs)} folders: expected at most {MAX_RUNS} side by side")
        missing = [name for name in ("store", "checkpoint", "results") if getattr(self, name) is None]
        if not self.runs and missing:
            raise ConfigError(
                f"{missing[0]} is missing: expected output folders of `foundation finetune` as bare words, or --store, "
                "--checkpoint and --results"
            )
        if self.picture is not None and (self.runs or not self.picture.endswith(".png")):
            raise ConfigError(
                f"picture is {self.picture!r}: expected the name of a .png file, and --results of one run"
            )
        if not self.output.endswith((".html", ".htm")):
            raise ConfigError(f"output is {self.output!r}: expected the name of an .html file")
