"""How encoders of bins are trained for the tables of MYOW."""

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
    """How encoders of bins are trained.

    Args:
        max_steps: steps of a whole run, to which schedules are laid out.
        every: steps between two looks at what is held out.
        steps: this many steps instead, and nothing is held out; null: found by the rule.
        batch_size: bins of a step.
        optimizer: ``adamw``, ``sgd`` or ``lars``, of MYOW and BYOL; of the supervised baseline too, but for ``lars``.
        learning_rate: of that optimizer.
        momentum: of ``sgd`` and ``lars``.
        weight_decay: of that optimizer.
        adapt_scales: ``lars`` sets a rate for the scales of norms too, and lets them decay: the released script means
            to leave them out, but looks for a name that they do not have.
        supervised_learning_rate: of AdamW, for the supervised baseline beside ``lars``.
        warmup: steps in which MYOW's and BYOL's rate rises, to fall as a cosine to 0 at ``max_steps``; null: it stays.
        swap_vae_learning_rate: of Adam, for Swap-VAE.
        myow: settings of MYOW; BYOL is the same without mining. Units are put in.
        swap_vae: settings of Swap-VAE. Units are put in.
        cebra: settings of CEBRA; seed and steps are put in.

    Raises:
        ConfigError: if a value is impossible.
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
            raise ConfigError(f"steps is {self.steps}: at most max_steps, {self.max_steps}")
        if self.warmup is not None and not 0 <= self.warmup <= self.max_steps:
            raise ConfigError(f"warmup is {self.warmup}: from 0 to max_steps, {self.max_steps}")
        if (self.optimizer == "lars") != (self.supervised_learning_rate is not None):
            raise ConfigError(
                f"optimizer is {self.optimizer} and supervised_learning_rate {self.supervised_learning_rate}: with "
                "lars, and with it alone, the supervised baseline needs a rate of its own"
            )
        if not self.myow.encoder:
            raise ConfigError("myow.encoder is empty: widths of a perceptron are needed")

    def for_labels(self) -> Training:
        """The same, with the supervised baseline's optimiser."""
        if self.supervised_learning_rate is None:
            return self
        rate = self.supervised_learning_rate
        return replace(self, optimizer="adamw", learning_rate=rate, supervised_learning_rate=None)


@dataclass(frozen=True)
class MYOWTable(Limited):
    """Which runs of a MYOW table are made.

    Args:
        subject: the animal whose recording is read.
        task: ``reach`` (directions, within pi/8) or ``sleep`` (wake, NREM, REM, weighted F1).
        models: rows: ``myow``, ``byol``, ``swap_vae``, ``cebra``, ``supervised``; ``linear`` is the floor of events
            alone, ``shuffled`` the floor with labels of other trials.
        seeds: of weights and batches; each makes a run of every row but ``linear``.
        threads: of torch.
        training: how encoders are trained.

    Raises:
        ConfigError: if a value is impossible.
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
