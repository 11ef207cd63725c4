"""Settings of training bin encoders for the MYOW tables."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated

from finetune.reproduce.cebra_settings import CEBRASettings
from foundation.common.errors import ConfigError
from foundation.common.settings.renamed_settings import renamed
from foundation.common.settings.setting_limits import Count, CountOrNone, Limited, at_least, one_of
from foundation.objectives.method_settings import MYOWSettings, SwapVAESettings

FLOOR, SHUFFLED = "linear", "shuffled"
LABELLED, CEBRA = "supervised", "cebra"
LEARNED = ("myow", "byol", "swap_vae", LABELLED, CEBRA)
TASK_NAMES = ("reach", "sleep")


@dataclass(frozen=True)
class Training(Limited):
    """Settings of training bin encoders.

    Args:
        max_steps: maximum steps; schedules span them.
        every: steps between two evaluations on held-out bins.
        steps: fixed number of steps, without held-out bins; null: found by the rule.
        batch_size: bins of a step.
        optimizer: ``adamw``, ``sgd`` or ``lars``, for MYOW and BYOL; also for the supervised baseline unless ``lars``.
        learning_rate: of that optimizer.
        momentum: of ``sgd`` and ``lars``.
        weight_decay: of that optimizer.
        adapt_scales: apply ``lars`` rates and weight decay to norm scales too, as the released script does by mistake
            (it excludes a parameter name that does not exist).
        supervised_learning_rate: of AdamW, for the supervised baseline with ``lars``.
        warmup: warm-up steps of MYOW's and BYOL's rate, followed by cosine decay to 0 at ``max_steps``; null: constant.
        swap_vae_learning_rate: of Adam, for Swap-VAE.
        myow: settings of MYOW; BYOL is the same without mining. The number of units is filled in.
        swap_vae: settings of Swap-VAE. The number of units is filled in.
        cebra: settings of CEBRA; seed and steps are filled in.

    Raises:
        ConfigError: if a value is invalid.
    """

    max_steps: Annotated[int, at_least(1)] = renamed("most_steps", 4000)
    every: Count = 200
    steps: CountOrNone = None
    batch_size: Count = 256
    optimizer: Annotated[str, one_of("adamw", "sgd", "lars")] = "adamw"
    learning_rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 1e-6
    adapt_scales: bool = False
    supervised_learning_rate: float | None = None
    warmup: int | None = None
    swap_vae_learning_rate: float = 5e-4
    myow: MYOWSettings = field(default_factory=lambda: MYOWSettings(encoder=[128, 128, 128, 128]))
    swap_vae: SwapVAESettings = field(default_factory=lambda: SwapVAESettings(hertz=True))
    cebra: CEBRASettings = field(default_factory=lambda: CEBRASettings(architecture="offset1-model"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps is not None and self.steps > self.max_steps:
            raise ConfigError(f"steps is {self.steps}: expected at most max_steps, {self.max_steps}")
        if self.warmup is not None and not 0 <= self.warmup <= self.max_steps:
            raise ConfigError(f"warmup is {self.warmup}: expected 0 to max_steps, {self.max_steps}")
        if (self.optimizer == "lars") != (self.supervised_learning_rate is not None):
            raise ConfigError(
                f"optimizer is {self.optimizer} and supervised_learning_rate {self.supervised_learning_rate}: expected "
                "a separate rate for the supervised baseline with lars, and only then"
            )
        if not self.myow.encoder:
            raise ConfigError("myow.encoder is empty: expected widths of a perceptron")

    def for_labels(self) -> Training:
        """Return the settings with the supervised baseline's optimiser."""
        if self.supervised_learning_rate is None:
            return self
        rate = self.supervised_learning_rate
        return replace(self, optimizer="adamw", learning_rate=rate, supervised_learning_rate=None)


@dataclass(frozen=True)
class MYOWTable(Limited):
    """Runs of a MYOW table to make.

    Args:
        subject: the animal whose recording is read.
        task: ``reach`` (directions, within pi/8) or ``sleep`` (wake, NREM, REM, weighted F1).
        models: rows: ``myow``, ``byol``, ``swap_vae``, ``cebra``, ``supervised``; ``linear`` is the floor from events
            only, ``shuffled`` the floor with labels of other trials.
        seeds: of weights and batches; one run of every row but ``linear`` per seed.
        threads: of torch.
        training: settings of training.

    Raises:
        ConfigError: if a value is invalid.
    """

    subject: str = "Chewie"
    task: Annotated[str, one_of(*TASK_NAMES)] = "reach"
    models: list[str] = field(default_factory=lambda: [FLOOR, SHUFFLED, *LEARNED])
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2, 3, 4])
    threads: Count = 1
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = sorted(set(self.models) - {FLOOR, SHUFFLED, *LEARNED})
        if unknown:
            raise ConfigError(f"models has {unknown[0]!r}: one of {', '.join([FLOOR, SHUFFLED, *LEARNED])}")
        if not self.seeds or min(self.seeds) < 0:
            raise ConfigError(f"seeds is {self.seeds}: one or more, each 0 or more")
