"""Settings of the identity table."""

from __future__ import annotations

from dataclasses import dataclass, field

from foundation.common.errors import ConfigError
from foundation.common.settings.setting_limits import Count, CountOrNone, Limited

FIXED = ("isi", "tokens", "oracle")  # deterministic rows: one run, seed 0
# row -> the ``objective/...`` config that comes on top of the recipe
LEARNED = {"infonce": None, "vicreg": "identity-vicreg", "nuclr": "identity-nuclr"}
ROWS = (*FIXED, "random", *LEARNED, "labels")


@dataclass(frozen=True)
class IdentityTable(Limited):
    """Runs of the identity table to make.

    Args:
        levels: difficulty -> prefix of its networks' names.
        rows: of every level: ``isi`` (26 interval features), ``tokens`` (the mean of a unit's tokens, nothing learned),
            ``oracle`` (the parameters of the simulation), ``random`` (the recipe's encoder with random weights), the
            recipe itself (``infonce``) and with other objectives (``vicreg``, ``nuclr``), and ``labels`` (the encoder
            learns from the labels of the training networks alone).
        seeds: of weights and batches; one run of every row per seed.
        test: test networks of each level, the last ones.
        recipe: a config of `foundation pretrain`: model, data, objective and optimiser.
        steps: training steps instead of the recipe's; null: the recipe's.
        tokens: of the windows that are embedded.
        threads: of torch.

    Raises:
        ConfigError: if a value is invalid.
    """

    levels: dict[str, str] = field(
        default_factory=lambda: {name: f"{name}net" for name in ("jitter10", "jitter20", "shift20")}
    )
    rows: list[str] = field(default_factory=lambda: list(ROWS))
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2, 3, 4])
    test: Count = 6
    recipe: str = "pretrain/identity"
    steps: CountOrNone = None
    tokens: Count = 8
    threads: Count = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = sorted(set(self.rows) - set(ROWS))
        if unknown:
            raise ConfigError(f"rows has {unknown[0]!r}: one of {', '.join(ROWS)}")
        if not self.levels:
            raise ConfigError("levels is empty: expected a name and the prefix of the networks' names")
        if not self.seeds or min(self.seeds) < 0:
            raise ConfigError(f"seeds is {self.seeds}: one or more, each 0 or more")
