"""Settings of the EIT table: its rows, and how long a decoder trains. Light to import."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from foundation.common.errors import ConfigError
from foundation.common.settings.renamed_settings import former_names, renamed
from foundation.common.settings.setting_checks import check_range, check_whole

FLOOR, TRANSFER = "linear", "transfer"
CONTROL = "-shuffled"  # ends the name of a row for which the directions of training trials were dealt anew
BY_TRIAL, BY_START = "trial", "start"
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
        shuffle: windows come in another order each epoch; else in ``order``.
        order: of windows that are not shuffled. ``trial``: trial by trial, the windows of a trial one after another.
            ``start``: all trials' first window, then all trials' second, and so on, so that a batch holds windows of
            as many trials; this is what the released EIT does at T = 6.

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
    order: str = BY_TRIAL

    def __post_init__(self) -> None:
        for name in ("max_epochs", "patience", "smooth", "epochs", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}: at least 1")
        check_range(low_too=False, learning_rate=self.learning_rate)
        if self.order not in (BY_TRIAL, BY_START):
            raise ConfigError(f"order is {self.order!r}: expected {BY_TRIAL!r} or {BY_START!r}")
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
class EITTable:
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
    bins: int = 2
    models: list[str] = field(default_factory=lambda: [FLOOR, *NAMES])
    seeds: list[int] = field(default_factory=lambda: [15, 16, 17, 18, 19])
    transfer_from: str | None = None
    threads: int = 1
    weights: str | None = None
    rule: Rule = field(default_factory=Rule)
    trace: bool = False
    controls: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.bins <= 8:
            raise ConfigError(f"bins is {self.bins}: from 1 to 8")
        unknown = sorted(set(self.models) - {FLOOR, *NAMES})
        if unknown:
            raise ConfigError(f"models has {unknown[0]!r}: one of {', '.join([FLOOR, *NAMES])}")
        if not self.seeds or min(self.seeds) < 0:
            raise ConfigError(f"seeds is {self.seeds}: one or more, each 0 or more")
        check_whole(1, threads=self.threads)
        check_whole(0, controls=self.controls)
        if self.bins == 1 and "ndt" in self.models:
            raise ConfigError("bins is 1 and models has 'ndt': it masks one bin of a window and reads the others")
        if self.transfer_from == self.subject:
            raise ConfigError(f"transfer_from is {self.transfer_from!r}: another animal than subject, or null")
