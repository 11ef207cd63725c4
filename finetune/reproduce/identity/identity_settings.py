"""Settings of the identity table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from foundation.common.errors import ConfigError
from foundation.common.settings.setting_limits import Count, CountOrNone, Limited

FIXED = ("isi", "tokens", "oracle")  # deterministic rows: one run, seed 0
# row -> the ``objective/...`` config that comes on top of the recipe
LEARNED = {"infonce": None, "vicreg": "identity-vicreg", "nuclr": "identity-nuclr"}
ROWS = (*FIXED, "random", *LEARNED, "labels")
VARIANT = "variant_"  # begins the names of rows of variants
NETWORKS = "networks"  # of a variant: the number of networks that it trains on


@dataclass(frozen=True)
class IdentityTable(Limited):
    """Runs of the identity table to make.

    Args:
        levels: difficulty -> prefix of its networks' names.
        rows: of every level: ``isi`` (26 interval features), ``tokens`` (the mean of a unit's tokens, nothing learned),
            ``oracle`` (the parameters of the simulation), ``random`` (the recipe's encoder with random weights), the
            recipe itself (``infonce``) and with other objectives (``vicreg``, ``nuclr``), and ``labels`` (the encoder
            learns from the labels of the training networks alone).
        variants: name -> settings of pretraining that differ from the recipe's, by dotted key, such as
            ``{small: {model.dim: 32}}``; a row for each. ``networks`` is the number of networks that pretraining
            reads, the first ones; by default all but the test networks.
        seeds: of weights and batches; one run of every row per seed.
        test: test networks of each level, the last ones.
        labelled: networks that readouts are fitted to, the first ones; null: all but the test networks.
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
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2, 3, 4])
    test: Count = 6
    labelled: CountOrNone = None
    recipe: str = "pretrain/identity"
    steps: CountOrNone = None
    tokens: Count = 8
    threads: Count = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = sorted(set(self.rows) - set(ROWS))
        if unknown:
            raise ConfigError(f"rows has {unknown[0]!r}: one of {', '.join(ROWS)}")
        for name, changes in self.variants.items():
            if not re.fullmatch(r"[a-z0-9_]+", name):
                raise ConfigError(f"variants has {name!r}: lower-case letters, digits and underscores")
            if not isinstance(changes.get(NETWORKS, 1), int) or changes.get(NETWORKS, 1) < 1:
                raise ConfigError(f"variants.{name}.networks is {changes[NETWORKS]!r}: a whole number, 1 or more")
        if not self.levels:
            raise ConfigError("levels is empty: expected a name and the prefix of the networks' names")
        if not self.seeds or min(self.seeds) < 0:
            raise ConfigError(f"seeds is {self.seeds}: one or more, each 0 or more")

    def all_rows(self) -> list[str]:
        """Return the names of the rows and of the variants' rows.

        Example:
            >>> IdentityTable(rows=["tokens"], variants={"small": {"model.dim": 32}}).all_rows()
            ['tokens', 'variant_small']
        """
        return [*self.rows, *(f"{VARIANT}{name}" for name in self.variants)]

    def changes(self, row: str) -> Mapping[str, Any]:
        """Return the settings of a variant's row that differ from the recipe's; none for other rows.

        Example:
            >>> IdentityTable(variants={"small": {"model.dim": 32}}).changes("variant_small")
            {'model.dim': 32}
        """
        return self.variants.get(row.removeprefix(VARIANT), {}) if row.startswith(VARIANT) else {}
