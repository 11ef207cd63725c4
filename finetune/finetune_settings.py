"""Everything that finetuning and the report are told."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from foundation.common.errors import ConfigError
from foundation.common.settings.setting_checks import check_local

TASK_NAMES = ("behavior", "cell_type", "location", "sleep_state")
MODES = ("probe", "full")


@dataclass(frozen=True)
class WindowSettings:
    """Windows that labels are decoded from. A token is ``patch_length`` bins of the model.

    Args:
        unit_token: seconds of a token for cell_type and location.
        unit_tokens: tokens of a window for cell_type and location.
        unit_windows: windows averaged into the embedding of a unit.
        behavior_token: seconds of a token for behavior.
        behavior_tokens: tokens of a window for behavior, at most; trials may be shorter.
        sleep_token: seconds of a token for sleep_state.
        sleep_tokens: tokens of a window for sleep_state, at most.
        max_tokens: time bins of one recording that are decoded, at most; windows are spread over a longer recording.

    Raises:
        ConfigError: if a value is impossible.
    """

    unit_token: float = 0.02
    unit_tokens: int = 32
    unit_windows: int = 64
    behavior_token: float = 0.1
    behavior_tokens: int = 10
    sleep_token: float = 4.0
    sleep_tokens: int = 8
    max_tokens: int = 6000

    def __post_init__(self) -> None:
        for name in ("unit_token", "behavior_token", "sleep_token"):
            if not 1e-3 <= getattr(self, name) <= 3600:
                raise ConfigError(f"windows.{name} is {getattr(self, name)}: from 0.001 to 3600 seconds")
        for name in ("unit_tokens", "unit_windows", "behavior_tokens", "sleep_tokens"):
            if getattr(self, name) < 1:
                raise ConfigError(f"windows.{name} is {getattr(self, name)}: at least 1")
        if self.max_tokens < 100:
            raise ConfigError(f"windows.max_tokens is {self.max_tokens}: at least 100")


@dataclass(frozen=True)
class FullSettings:
    """Finetuning of the whole model, started from the probe's own head.

    Args:
        steps: updates of a fold, at most; the inner validation decides how many of them are kept.
        learning_rate: highest rate for the pretrained weights (AdamW, linear warm-up over a tenth, cosine decay).
        head_learning_rate: highest rate for the head.
        weight_decay: of weight matrices.
        tokens_per_step: units x tokens of one update, about.
        checks: how often the inner validation is scored on the way.
        patience: checks without a better score before a fold stops.

    Raises:
        ConfigError: if a value is impossible.
    """

    steps: int = 200
    learning_rate: float = 3e-4
    head_learning_rate: float = 3e-3
    weight_decay: float = 0.01
    tokens_per_step: int = 8192
    checks: int = 8
    patience: int = 3

    def __post_init__(self) -> None:
        for name in ("steps", "tokens_per_step", "checks", "patience"):
            if getattr(self, name) < 1:
                raise ConfigError(f"full.{name} is {getattr(self, name)}: at least 1")
        for name in ("learning_rate", "head_learning_rate"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(f"full.{name} is {getattr(self, name)}: above 0 and below 1")
        if self.weight_decay < 0:
            raise ConfigError(f"full.weight_decay is {self.weight_decay}: 0 or more")


@dataclass(frozen=True)
class FinetuneSettings:
    """What `foundation finetune` does.

    Args:
        checkpoint: folder or URL of a pretrained model.
        store: the recordings, with their labels.
        output: folder of the results; a run that was interrupted goes on from what is there.
        tasks: which of behavior, cell_type, location, sleep_state; null: all that the store has labels for.
        modes: probe (a linear readout of the frozen model), full (the whole model is finetuned), or both.
        folds: parts that the data are split into; each is predicted once by a model that has not seen it.
        seed: of everything drawn.
        bootstrap: resamples behind each 95 % interval.
        control_repeats: times that the probe is fitted to shuffled labels; an interval of 95 % takes 39.
        components: principal components that a readout sees, at most.
        experiment: MLflow experiment.
        tracking_uri: where MLflow keeps runs; null: $MLFLOW_TRACKING_URI, or an SQLite file beside ``output``.
        windows: windows that labels are decoded from.
        full: finetuning of the whole model.

    Raises:
        ConfigError: if a value is impossible.
    """

    checkpoint: str
    store: str
    output: str
    tasks: list[str] | None = None
    modes: list[str] = field(default_factory=lambda: list(MODES))
    folds: int = 5
    seed: int = 0
    bootstrap: int = 1000
    control_repeats: int = 39
    components: int = 256
    experiment: str = "finetune"
    tracking_uri: str | None = None
    windows: WindowSettings = field(default_factory=WindowSettings)
    full: FullSettings = field(default_factory=FullSettings)

    def __post_init__(self) -> None:
        check_local(output=self.output)
        for key, names, allowed in (("tasks", self.tasks, TASK_NAMES), ("modes", self.modes, MODES)):
            for name in names or ():
                if name not in allowed:
                    raise ConfigError(f"{key} has {name!r}: choose from {', '.join(allowed)}")
            if names is not None and not names:
                raise ConfigError(f"{key} is empty: choose from {', '.join(allowed)}")
        lowest = {"folds": 2, "seed": 0, "bootstrap": 100, "control_repeats": 2, "components": 1}
        for name, least in lowest.items():
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}: at least {least}")

    def identity(self, mode: str) -> dict[str, Any]:
        """What decides a result's numbers, beside checkpoint and recordings."""
        names = ["folds", "seed", "bootstrap", "control_repeats", "components", "windows"]
        whole = asdict(self)
        return {name: whole[name] for name in names + (["full"] if mode == "full" else [])}


@dataclass(frozen=True)
class ReportSettings:
    """What `foundation report` does.

    Args:
        store: the recordings.
        checkpoint: folder of the pretrained model; its training curves are read from the metrics.jsonl beside it.
        results: the output folder of `foundation finetune`.
        output: the HTML file to write.
        title: heading of the report.
        raster_seconds: seconds of activity that the raster shows.

    Raises:
        ConfigError: if a value is impossible.
    """

    store: str
    checkpoint: str
    results: str
    output: str = "report.html"
    title: str = "Neural population foundation model"
    raster_seconds: float = 10.0

    def __post_init__(self) -> None:
        check_local(results=self.results, output=self.output)
        if not 0.1 <= self.raster_seconds <= 3600:
            raise ConfigError(f"raster_seconds is {self.raster_seconds}: from 0.1 to 3600")
        if not self.output.endswith((".html", ".htm")):
            raise ConfigError(f"output is {self.output!r}: the name of an .html file")
