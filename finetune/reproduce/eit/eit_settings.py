"""Settings of the EIT table: its rows, and the rule for the number of epochs. Quick to import."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from foundation.common.errors import ConfigError
from foundation.common.settings.renamed_settings import former_names, renamed
from foundation.common.settings.setting_limits import (
    Count,
    CountOrNone,
    Limit,
    Limited,
    between,
    finite,
    one_of,
    whole,
)

FLOOR, TRANSFER = "linear", "transfer"
CONTROL = "-shuffled"  # suffix of rows with shuffled directions of the training trials
BY_TRIAL, BY_START = "trial", "start"
Seeds = Annotated[list[int], Limit(lambda seeds: len(seeds) > 0 and min(seeds) >= 0, "one or more, each 0 or more")]
NAMES = ("mlp", "gru", "ndt", "ndt-sup", "eit-t", "eit")


@dataclass(frozen=True)
class Rule(Limited):
    """Rule for the number of epochs, the same for all models.

    The last fifth of the training trials is held out, the model is trained on the rest, and after every epoch its
    held-out figure is computed (accuracy; for a model without labels the loss of masked bins), as the mean over the
    last ``smooth`` epochs. Training ends when it has not improved for ``patience`` epochs, or at ``max_epochs``. Then
    the model is trained again on all training trials for the best number of epochs.

    Args:
        max_epochs: maximum epochs.
        patience: epochs without improvement.
        smooth: epochs to average over.
        epochs: fixed number of epochs, without held-out trials (the published 400, if there is a GPU).
        learning_rate: of Adam.
        batch_size: windows of a step.
        shuffle: shuffle windows each epoch; else use ``order``.
        order: of windows that are not shuffled. ``trial``: trial by trial, the windows of a trial one after another.
            ``start``: all trials' first window, then all trials' second, and so on, so that a batch holds windows of
            as many trials, as in the released EIT at T = 6.

    Raises:
        ConfigError: if a value is invalid.
    """

    max_epochs: Count = renamed("most_epochs", 400)
    patience: Count = 40
    smooth: Count = 5
    epochs: CountOrNone = None
    learning_rate: Annotated[float, finite(low_too=False)] = 1e-4
    batch_size: Count = 16
    shuffle: bool = True
    order: Annotated[str, one_of(BY_TRIAL, BY_START)] = BY_TRIAL

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shuffle and self.order != BY_TRIAL:
            raise ConfigError(f"order is {self.order!r} and shuffle is true: set shuffle to false")

    def config(self) -> dict[str, Any]:
        """Return the rule for a run's configuration, without default values of shuffle and order.

        Example:
            >>> "shuffle" in Rule().config(), Rule(shuffle=False, order="start").config()["order"]
            (False, 'start')
        """
        values = former_names(Rule, asdict(self))
        if values["shuffle"]:
            del values["shuffle"]
        if values["order"] == BY_TRIAL:
            del values["order"]
        return values


@dataclass(frozen=True)
class EITTable(Limited):
    """Runs of the EIT table to make.

    Args:
        subject: the animal whose recording is decoded.
        bins: T, the bins of a window: 2 or 6 in the paper.
        models: rows: ``mlp``, ``gru``, ``ndt``, ``ndt-sup``, ``eit-t``, ``eit``; ``linear`` is the floor.
        seeds: of weights, batches and dropout; one run of every row per seed.
        transfer_from: another animal: train its individual module, freeze it, and train only a head on ``subject``;
            null: no such row.
        threads: of torch.
        weights: folder in which trained EITs are kept for transfers; null: ``foundation/weights`` in the user's cache
            folder.
        rule: the rule for the number of epochs.
        trace: also keep the test figure after every fifth epoch, as logged by the released script; for models with
            labels. It shows the effect of choosing an epoch on test trials.
        controls: number of seeds for which every row is also run with shuffled directions of the training trials, as a
            control.

    Raises:
        ConfigError: if a value is invalid.
    """

    subject: str = "Chewie"
    bins: Annotated[int, between(1, 8)] = 2
    models: list[str] = field(default_factory=lambda: [FLOOR, *NAMES])
    seeds: Seeds = field(default_factory=lambda: [15, 16, 17, 18, 19])
    transfer_from: str | None = None
    threads: Annotated[int, whole(1)] = 1
    weights: str | None = None
    rule: Rule = field(default_factory=Rule)
    trace: bool = False
    controls: Annotated[int, whole(0)] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = sorted(set(self.models) - {FLOOR, *NAMES})
        if unknown:
            raise ConfigError(f"models has {unknown[0]!r}: one of {', '.join([FLOOR, *NAMES])}")
        if self.bins == 1 and "ndt" in self.models:
            raise ConfigError("bins is 1 and models has 'ndt': ndt needs at least 2, one to mask and one to read")
        if self.transfer_from == self.subject:
            raise ConfigError(f"transfer_from is {self.transfer_from!r}: expected another animal than subject, or null")
