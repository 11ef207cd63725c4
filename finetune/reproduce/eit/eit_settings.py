"""Settings of the EIT table: its rows, and how long a decoder trains. Light to import."""

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
CONTROL = "-shuffled"  # ends the name of a row for which the directions of training trials were dealt anew
BY_TRIAL, BY_START = "trial", "start"
Seeds = Annotated[list[int], Limit(lambda seeds: len(seeds) > 0 and min(seeds) >= 0, "one or more, each 0 or more")]
NAMES = ("mlp", "gru", "ndt", "ndt-sup", "eit-t", "eit")


@dataclass(frozen=True)
class Rule(Limited):
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
        shuffle: windows come in another order each epoch; else in ``order``.
        order: of windows that are not shuffled. ``trial``: trial by trial, the windows of a trial one after another.
            ``start``: all trials' first window, then all trials' second, and so on, so that a batch holds windows of
            as many trials; this is what the released EIT does at T = 6.

    Raises:
        ConfigError: if a value is impossible.
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
        """Return the rule as a run's configuration holds it: without shuffle and order where they are the default.

        Example:
            >>> "shuffle" in Rule().config(), Rule(shuffle=False, order="start").config()["order"]
            (False, 'start')
        """
        said = former_names(Rule, asdict(self))
        if said["shuffle"]:
            del said["shuffle"]
        if said["order"] == BY_TRIAL:
            del said["order"]
        return said


@dataclass(frozen=True)
class EITTable(Limited):
    """Which runs of the EIT table are made.

    Args:
        subject: the animal whose recording is decoded.
        bins: T, the bins of a window: 2 or 6 in the paper.
        models: rows: ``mlp``, ``gru``, ``ndt``, ``ndt-sup``, ``eit-t``, ``eit``; ``linear`` is the floor.
        seeds: of weights, batches and dropout; each makes a run of every row.
        transfer_from: another animal: its individual module is trained, frozen, and only a head trained on ``subject``;
            null: no such row.
        threads: of torch.
        weights: folder in which trained EITs are kept for transfers; null: ``foundation/weights`` in the user's cache
            folder.
        rule: how long a model trains.
        trace: the test figure after every fifth epoch, which the released script logs, is kept beside the row's own,
            the last; for models with labels. It shows what choosing an epoch on test trials would give.
        controls: of this many of the seeds, the first ones, every row is made once more with the directions of the
            training trials dealt anew: what it tells then, it does not have from them.

    Raises:
        ConfigError: if a value is impossible.
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
            raise ConfigError("bins is 1 and models has 'ndt': it masks one bin of a window and reads the others")
        if self.transfer_from == self.subject:
            raise ConfigError(f"transfer_from is {self.transfer_from!r}: another animal than subject, or null")
