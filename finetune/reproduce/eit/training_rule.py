"""How long a decoder of directions trains, and which decoders there are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from foundation.common.errors import ConfigError
from foundation.common.renamed_settings import former_names, renamed
from foundation.common.setting_checks import check_range

NAMES = ("mlp", "gru", "ndt", "ndt-sup", "eit-t", "eit")


@dataclass(frozen=True)
class Rule:
    """How long a model trains, the same for all.

    The last fifth of the training trials is held out, the model is trained on the rest, and after every epoch its
    figure on what is held out is taken (accuracy; for a model without labels the loss of masked bins), as the mean over
    the last ``smooth`` epochs. Training ends when that has not become better for ``patience`` epochs, or at
    ``max_epochs``. Then the model is trained anew on all training trials for as many epochs as the best had.

    Args:
        max_epochs: epochs at most.
        patience: epochs without anything better.
        smooth: epochs of the mean.
        epochs: this many instead, and nothing is held out (the published 400, where there is a GPU).
        learning_rate: of Adam.
        batch_size: windows of a step.
        shuffle: windows come in another order each epoch; else trial by trial.
            The released EIT does not shuffle at T = 6 either, but its windows come start by start: all trials' first
            window, then all trials' second, and so on.

    Raises:
        ConfigError: if a value is impossible.
    """

    max_epochs: int = renamed("most_epochs", 400)
    patience: int = 40
    smooth: int = 5
    epochs: int | None = None
    learning_rate: float = 1e-4
    batch_size: int = 16
    shuffle: bool = True

    def __post_init__(self) -> None:
        for name in ("max_epochs", "patience", "smooth", "epochs", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}: at least 1")
        check_range(low_too=False, learning_rate=self.learning_rate)

    def config(self) -> dict[str, Any]:
        """What a run's configuration says of it; shuffling, which is the rule, is not said."""
        said = former_names(Rule, asdict(self))
        if said["shuffle"]:
            del said["shuffle"]
        return said
