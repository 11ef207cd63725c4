"""What the EIT table can be told."""

from __future__ import annotations

from dataclasses import dataclass, field

from finetune.reproduce.eit.training_rule import NAMES, Rule
from foundation.common.errors import ConfigError
from foundation.common.setting_checks import check_whole

FLOOR, TRANSFER = "linear", "transfer"
CONTROL = "-shuffled"  # ends the name of a row for which the directions of training trials were dealt anew


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
