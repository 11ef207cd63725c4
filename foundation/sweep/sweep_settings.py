"""Settings of `foundation sweep`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from foundation.common.errors import ConfigError
from foundation.common.settings.setting_checks import check_local
from foundation.common.settings.setting_limits import Count, Limited, above, at_least
from foundation.data.steps.data_settings import DataSettings
from foundation.objectives.objective_settings import ObjectiveSettings
from foundation.training.model_settings import ModelSettings
from foundation.training.pretrain_settings import OptimizerSettings


@dataclass(frozen=True)
class SweepSettings(Limited):
    """Settings of `foundation sweep`: a short pretraining run for every width, number of recordings and seed.

    Args:
        store: the recordings, a folder or URL created by `foundation ingest`.
        output: folder of the results: a JSON Lines file with a line for each trial, and a page with a picture. The same
            command resumes.
        held_out: query for the recordings to measure the loss on, as in `foundation catalog --where`; never trained on.
        widths: ``model.dim`` of the trials.
        recordings: number of training recordings of a trial: the first ones that are not held out.
        seeds: of weights and data order; one trial for each.
        passes: number of passes of a trial over its recordings, which sets its steps.
        validation_steps: number of steps whose held-out windows the loss is averaged over.
        resamples: number of bootstrap draws.
        page: file of the page; empty: ``scaling.md`` in the output.
        runs: folder of the runs while they train, removed at their end; empty: ``runs`` in the output.
        tracking_uri: where MLflow keeps the runs; null: $MLFLOW_TRACKING_URI, or an SQLite file beside ``runs``.
        workers: number of concurrent trials; each has one CPU core.
        gpus: share of a GPU that a trial needs; 0: none.
        address: a Ray cluster's address, ``auto`` (the one on this machine) or ``local`` (a new one); null: the one
            that this machine belongs to, or else a new one.
        precision: ``fp32`` or ``bf16``, of every trial.
        model: shape of the models, except ``dim``.
        data: windows of a step; with a single bin width, so that all tokens have the same length.
        objective: the objective; its loss must be above 0.
        optimizer: settings of AdamW. The warm-up is a tenth of a trial's steps.

    Raises:
        ConfigError: if a value is invalid.
    """

    store: str
    output: str
    held_out: str
    widths: list[int] = field(default_factory=lambda: [8, 16, 32, 64])
    recordings: list[int] = field(default_factory=lambda: [1, 2, 4, 8])
    seeds: list[int] = field(default_factory=lambda: [0])
    passes: Annotated[float, above(0)] = 1.0
    validation_steps: Count = 16
    resamples: Annotated[int, at_least(100, "for an interval of 95 %")] = 500
    page: str = ""
    runs: str = ""
    tracking_uri: str | None = None
    workers: Count = 1
    gpus: Annotated[float, at_least(0)] = 0.0
    address: str | None = None
    precision: str = "fp32"
    model: ModelSettings = field(default_factory=ModelSettings)
    data: DataSettings = field(default_factory=lambda: DataSettings(bin_widths=[0.005]))
    objective: ObjectiveSettings = field(default_factory=lambda: ObjectiveSettings("ndt"))
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_local(output=self.output, page=self.page, runs=self.runs)
        for name, least in (("widths", 1), ("recordings", 1), ("seeds", 0)):
            values = getattr(self, name)
            if not values or min(values) < least or len(set(values)) < len(values):
                raise ConfigError(f"{name} is {values}: expected one or more, each at least {least} and given once")
        if not self.held_out.strip():
            raise ConfigError(
                "held_out is empty: expected a condition that chooses the recordings to measure the loss on"
            )
        if self.objective.own_config() is not None:
            raise ConfigError(
                f"objective is {self.objective.title}: expected an objective without its own encoder, because trials "
                "set the encoder's width"
            )
        if len(self.data.bin_widths) != 1:
            raise ConfigError(
                f"data.bin_widths is {self.data.bin_widths}: expected one value, so that all tokens have the same "
                "length"
            )
