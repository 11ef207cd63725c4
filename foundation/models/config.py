"""The configuration of EIT, stored in config.json."""

from __future__ import annotations

from typing import Any

import yaml
from transformers import PretrainedConfig

from foundation.common.errors import ConfigError
from foundation.common.settings.resources import config_names, find_config
from foundation.common.settings.setting_checks import (
    check_shape,
    check_whole,
    listed,
    listed_names,
    listed_wholes,
)
from foundation.models.saved.preprocessing import Preprocessing
from foundation.models.saved.weight_names import OLDEST, SCHEMA, check_schema


class EITConfig(PretrainedConfig):
    """Configuration of an EIT.

    Args:
        dim: features of a token.
        heads: attention heads; ``dim / heads`` must be even.
        individual_layers: layers that see one unit alone, over time.
        interaction_layers: layers in which units see each other, each followed by ``time_layers`` over time.
        time_layers: layers over time after each layer across units.
        mlp_ratio: width of feed-forward layers over ``dim``.
        gated_mlp: feed-forward layers are GEGLU instead of GELU.
        patch_length: bins that make one token.
        population_patch_length: bins that make one token of the population stream, a divisor of ``patch_length``; 0:
            the same number as for a unit's token.
        tokens: content of the unit stream's tokens: ``bins``, one by one; ``intervals`` between events (see
            `foundation.models.parts.interval_tokens`), for tokens of seconds and bins of about 1 ms.
        dropout: share of each branch's output dropped in training.
        rotary_shortest, rotary_longest: seconds, the range of rotary periods.
        rotary_share: share of a head's features that turn with time.
        rotate_values: also rotate values, not only queries and keys.
        count_transform: of counts before the read-in: ``log1p``, ``sqrt`` or ``none``.
        value_transform: of sampled activity such as dF/F: ``asinh`` or ``none``.
        inducing_points: units attend to each other through this many learned points, so that cost grows linearly with
            units; 0: every unit attends to every unit.
        population_layers: layers over time of the population stream, which has one token per time for the whole
            population (see `foundation.models.parts.population_stream`); 0: without this stream, the population is the
            mean over its units.
        causal: tokens of the population stream do not see later tokens.
        made_rows: add to each unit's own row in the population stream a row that a small network makes from the unit's
            identity (see `foundation.embedding.unit_identity`), so that the model can read a population that is new to
            it.
        context_channels: names of context channels that may join the interaction, for example
            ``[stimulus/contrast, behavior/wheel, session/a]``; a channel's id is its place in this list.
        unit_tables: number of known units in each session's table; `EIT.add_units` extends it.
        unit_names: the known units, table after table.
        population_tables: recordings whose units have rows in the population stream, with their numbers of units, table
            after table; within a table in the order of the recordings' ids, because config.json keeps no other order;
            `EIT.add_populations` extends it.
        preprocessing: the windows of pretraining (see `foundation.models.saved.preprocessing`); None: unknown.
        foundation_schema: schema of the weights' names; new files get the current one.

    Raises:
        ConfigError: if a value is invalid.

    Example:
        >>> EITConfig(dim=32, heads=4).patch_length
        4
    """

    model_type = "eit"

    def __init__(
        self,
        dim: int = 64,
        heads: int = 4,
        individual_layers: int = 2,
        interaction_layers: int = 1,
        time_layers: int = 1,
        mlp_ratio: float = 4.0,
        gated_mlp: bool = False,
        patch_length: int = 4,
        population_patch_length: int = 0,
        tokens: str = "bins",
        dropout: float = 0.0,
        rotary_shortest: float = 0.04,
        rotary_longest: float = 256.0,
        rotary_share: float = 1.0,
        rotate_values: bool = False,
        count_transform: str = "log1p",
        value_transform: str = "asinh",
        inducing_points: int = 0,
        population_layers: int = 0,
        causal: bool = False,
        made_rows: bool = False,
        context_channels: list[str] | None = None,
        unit_tables: list[int] | None = None,
        unit_names: list[str] | None = None,
        population_tables: list[dict[str, int]] | None = None,
        preprocessing: dict[str, Any] | None = None,
        foundation_schema: int = OLDEST,
        **kwargs: Any,
    ) -> None:
        check_shape(
            dim=dim,
            heads=heads,
            individual_layers=individual_layers,
            interaction_layers=interaction_layers,
            time_layers=time_layers,
            mlp_ratio=mlp_ratio,
            gated_mlp=gated_mlp,
            patch_length=patch_length,
            population_patch_length=population_patch_length,
            tokens=tokens,
            dropout=dropout,
            rotary_shortest=rotary_shortest,
            rotary_longest=rotary_longest,
            rotary_share=rotary_share,
            rotate_values=rotate_values,
            count_transform=count_transform,
            value_transform=value_transform,
            inducing_points=inducing_points,
            population_layers=population_layers,
            causal=causal,
            made_rows=made_rows,
        )
        channels = listed_names("context_channels", context_channels or [])
        tables = listed_wholes(0, "unit_tables", unit_tables or [])
        names = listed_names("unit_names", unit_names or [])
        if len(set(channels)) < len(channels):
            raise ConfigError(f"context_channels is {channels}: expected different names")
        if sum(tables) != len(names) or len(set(names)) < len(names):
            raise ConfigError(
                f"unit_tables holds {sum(tables)} units and unit_names {len(set(names))} names: expected a distinct "
                "name per unit"
            )
        populations = _listed_tables(population_tables or [])
        if populations and not population_layers:
            raise ConfigError(
                "population_tables hold units and population_layers is 0: expected at least 1, or no tables"
            )
        self.dim = dim
        self.heads = heads
        self.individual_layers = individual_layers
        self.interaction_layers = interaction_layers
        self.time_layers = time_layers
        self.mlp_ratio = mlp_ratio
        self.gated_mlp = gated_mlp
        self.patch_length = patch_length
        self.population_patch_length = population_patch_length
        self.tokens = tokens
        self.dropout = dropout
        self.rotary_shortest = rotary_shortest
        self.rotary_longest = rotary_longest
        self.rotary_share = rotary_share
        self.rotate_values = rotate_values
        self.count_transform = count_transform
        self.value_transform = value_transform
        self.inducing_points = inducing_points
        self.population_layers = population_layers
        self.causal = causal
        self.made_rows = made_rows
        self.context_channels = channels
        self.unit_tables = tables
        self.unit_names = names
        self.population_tables = populations
        check_schema(foundation_schema)
        self.preprocessing = None if preprocessing is None else Preprocessing.read(preprocessing).to_dict()
        self.foundation_schema = SCHEMA
        super().__init__(**kwargs)

    @classmethod
    def named(cls, name: str, **changes: Any) -> EITConfig:
        """Return the configuration of a shipped config, ``configs/model/<name>.yaml``, with changes.

        Raises:
            ConfigError: if there is no model of that name, or a change is invalid.

        Example:
            >>> EITConfig.named("eit-tiny", patch_length=20).dim
            64
        """
        if f"model/{name}" not in config_names("model"):
            allowed = ", ".join(n.removeprefix("model/") for n in config_names("model"))
            raise ConfigError(f"no model {name!r}: expected one of {allowed}")
        return cls(**(yaml.safe_load(find_config(f"model/{name}").read_text())["model"] | changes))

    @property
    def branches(self) -> int:
        """Number of residual branches that a token passes."""
        return 2 * (self.individual_layers + (1 + self.time_layers) * self.interaction_layers)

    @property
    def population_patch(self) -> int:
        """Bins that make one token of the population over time."""
        own = self.population_patch_length if self.population_layers else 0
        return own or self.patch_length

    @property
    def population_sizes(self) -> list[int]:
        """Units in each of the population stream's tables."""
        return [sum(table.values()) for table in self.population_tables]


def _listed_tables(tables: Any) -> list[dict[str, int]]:
    """Return the population stream's tables, each sorted by recording id.

    Raises:
        ConfigError: if a table is not a mapping to whole numbers, or a recording is named twice.
    """
    found = [
        dict(sorted(table.items())) if isinstance(table, dict) else table
        for table in listed("population_tables", tables)
    ]
    names: set[str] = set()
    for place, table in enumerate(found):
        if not isinstance(table, dict):
            raise ConfigError(
                f"population_tables[{place}] is {table!r}: expected a mapping of recordings to numbers of units"
            )
        for name, size in table.items():
            check_whole(0, **{f"population_tables[{place}][{name!r}]": size})
            if name in names:
                raise ConfigError(f"population_tables name {name!r} twice: expected different recordings")
            names.add(name)
    return found
