"""The population stream of EIT: one token per time for the whole population, and a trunk over time.

Each unit has its own row of weights. A token is the sum over units of a unit's row times the unit's activity (the
linear read-in of LFADS and NDT, separate for each population), so that a window costs units x features + time x trunk
and not units x time x trunk. A read-out with a second row per unit predicts the activity of every unit, seen or hidden:
the objective ``masked`` trains this prediction, and users read it as denoised rates.

With ``made_rows`` a unit's row is the sum of its own row and a row that a network makes from the unit's identity (see
`foundation.models.parts.made_rows`); the rows of a new population are then not blank.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from foundation.common.errors import ConfigError
from foundation.data.batch import WindowBatch
from foundation.models.config import EITConfig
from foundation.models.parts.attention import Hidden, Phases
from foundation.models.parts.made_rows import IDENTITY, MadeRows
from foundation.models.parts.tokens import WindowContext, scaled
from foundation.models.parts.transformer_blocks import Block

MIN_RATE = 1e-2  # events a second that are assumed for a unit that was silent when its rate was measured


class PopulationRows(nn.Module):
    """Rows of known units, table after table; every `add` creates separate tables, so that frozen rows do not change.

    A row has D features for the read-in, D for the read-out, and an offset of the log rate, which is added to the
    unit's measured rate. The measured rate is not trained.

    Args:
        sizes: units of each table.
        dim: features D.
        made: add rows made from the units' identities to their own rows.

    Example:
        >>> rows = PopulationRows([3, 2], dim=4)
        >>> found = rows(torch.tensor([[0, 4, -1]]))
        >>> found.read_in_BND.shape, found.known_BN.tolist()
        (torch.Size([1, 3, 4]), [[True, True, False]])
    """

    def __init__(self, sizes: list[int], dim: int, made: bool = False) -> None:
        super().__init__()
        self.dim, self.tables = dim, 0
        self.made = MadeRows(2 * dim + 1) if made else None
        for size in sizes:
            self.add(torch.zeros(size), torch.zeros(size, IDENTITY) if made else None)

    def add(
        self,
        log_rate_N: torch.Tensor,
        identity_NF: torch.Tensor | None = None,
        like: torch.Tensor | None = None,
        sizes: Sequence[int] | None = None,
        blank: bool = False,
    ) -> None:
        """Add a table with newly drawn rows.

        Args:
            log_rate_N: ``(N,)`` log of each unit's events a second; 0 for units of sampled values.
            identity_NF: ``(N, F)`` identities of the units, from which rows are made.
            like: a tensor whose dtype and device the table gets.
            sizes: units of each population in the table, one after another; by default one population.
            blank: rows are 0 instead, so that a unit has only its made row.
        """
        like = log_rate_N.float() if like is None else like
        table_NX = torch.empty(len(log_rate_N), 2 * self.dim + 1, dtype=like.dtype, device=like.device)
        if blank:
            table_NX.zero_()
        else:
            self.start(table_NX, sizes)
        self.register_parameter(f"table_{self.tables}", nn.Parameter(table_NX))
        self.register_buffer(f"log_rate_{self.tables}", log_rate_N.to(like))
        if self.made is not None:
            assert identity_NF is not None
            self.register_buffer(f"identity_{self.tables}", identity_NF.to(like))
        self.tables += 1

    def start(self, table_NX: torch.Tensor, sizes: Sequence[int] | None = None) -> None:
        """Draw new rows of a table; offsets are 0.

        Rows of the read-in are orthogonal within a population, as far as there are enough features: the activity of
        single units then stays apart in a token; independent rows would mix it beyond what a readout can undo.
        """
        if table_NX.is_meta:
            return
        with torch.no_grad():
            nn.init.normal_(table_NX, std=0.1)
            table_NX[:, -1] = 0
            for rows_ND in table_NX[:, : self.dim].split(list(sizes or [len(table_NX)])):
                if len(rows_ND):
                    drawn_ND = torch.empty(rows_ND.shape)  # QR does not support half precision
                    nn.init.orthogonal_(drawn_ND, gain=0.1 * math.sqrt(max(rows_ND.shape)))
                    rows_ND.copy_(drawn_ND)

    @property
    def sizes(self) -> list[int]:
        """Number of units in each table."""
        return [len(self.get_parameter(f"table_{k}")) for k in range(self.tables)]

    def forward(self, row_BN: torch.Tensor, made_B: torch.Tensor | None = None) -> UnitRows:
        """Return the rows of units.

        Args:
            row_BN: ``(B, N)`` places of units among all rows, -1 for unknown units.
            made_B: ``(B,)`` bool, windows whose units have only their made rows; None: no window.

        Raises:
            ValueError: if a place is beyond the last row, or ``made_B`` is given to a model without made rows.
        """
        if made_B is not None and self.made is None:
            raise ValueError("made_B is given and made_rows is false: expected None")
        known_BN = row_BN >= 0
        sizes = self.sizes
        if not torch.compiler.is_compiling() and row_BN.numel() and int(row_BN.max()) >= sum(sizes):
            raise ValueError(
                f"population_row_BN holds {int(row_BN.max())}: this model has {sum(sizes)} rows of units "
                "(add_populations)"
            )
        if not self.tables:
            none_BND = torch.zeros(*row_BN.shape, self.dim, device=row_BN.device)
            return UnitRows(none_BND, none_BND, none_BND[..., 0], none_BND[..., 0], known_BN)
        tables: list[torch.Tensor] = [self.get_parameter(f"table_{k}") for k in range(self.tables)]
        rates = [self.get_buffer(f"log_rate_{k}") for k in range(self.tables)]
        place_BN = row_BN.clamp(min=0)
        row_BNX = F.embedding(place_BN, tables[0] if len(tables) == 1 else torch.cat(tables)) * known_BN[..., None]
        if self.made is not None:
            own_BNX = row_BNX if made_B is None else row_BNX * ~made_B[:, None, None]
            row_BNX = own_BNX + self._made(place_BN) * known_BN[..., None]
        read_in_BND, read_out_BND, offset_BN1 = row_BNX.split([self.dim, self.dim, 1], dim=-1)
        log_rate_BN = (rates[0] if len(rates) == 1 else torch.cat(rates))[place_BN] * known_BN
        return UnitRows(read_in_BND, read_out_BND, offset_BN1[..., 0], log_rate_BN, known_BN)

    def _made(self, place_BN: torch.Tensor) -> torch.Tensor:
        """Return the ``(B, N, X)`` made rows of units; each unit of the windows is computed once."""
        assert self.made is not None
        tables = [self.get_buffer(f"identity_{k}") for k in range(self.tables)]
        identities = tables[0] if len(tables) == 1 else torch.cat(tables)
        if torch.compiler.is_compiling():  # the number of different units is not known in advance
            made_BNX: torch.Tensor = self.made(identities[place_BN])
            return made_BNX
        places, of_place_BN = torch.unique(place_BN, return_inverse=True)
        made_BNX = self.made(identities[places])[of_place_BN]
        return made_BNX


class UnitRows(NamedTuple):
    """Rows of the units of B windows; 0 for unknown units.

    Args:
        read_in_BND: weights of the read-in.
        read_out_BND: weights of the read-out.
        offset_BN: added to the log rate.
        log_rate_BN: measured log rate; 0 for sampled values.
        known_BN: bool, which units have a row.
    """

    read_in_BND: torch.Tensor
    read_out_BND: torch.Tensor
    offset_BN: torch.Tensor
    log_rate_BN: torch.Tensor
    known_BN: torch.Tensor


class PopulationStream(nn.Module):
    """Tokens of whole populations over time.

    Args:
        config: of the model; ``population_layers`` blocks over the tokens' time.
    """

    def __init__(self, config: EITConfig) -> None:
        super().__init__()
        self.dim, self.patch_length = config.dim, config.population_patch
        self.count_transform, self.value_transform = config.count_transform, config.value_transform
        self.rows = PopulationRows(config.population_sizes, config.dim, config.made_rows)
        self.about = WindowContext(config.dim)
        self.hidden = nn.Embedding(1, config.dim)
        self.dropout = nn.Dropout(config.dropout)
        self.trunk = nn.ModuleList(Block(config, causal=config.causal) for _ in range(config.population_layers))
        self.norm = nn.LayerNorm(config.dim)
        self.read_out = Hidden(config.dim, config.dim)

    def forward(
        self,
        x_BNT: torch.Tensor,
        seen_BN: torch.Tensor,
        tokens_BT: torch.Tensor | None,
        dt_B: torch.Tensor,
        modality_B: torch.Tensor,
        row_BN: torch.Tensor,
        hidden_BT: torch.Tensor | None,
        turn: Phases,
        made_B: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Embed the population over time, and predict every known unit.

        Args:
            x_BNT: ``(B, N, T * patch_length)`` activity, 0 where masked.
            seen_BN: ``(B, N)`` bool, visible units.
            tokens_BT: ``(B, T)`` bool, valid tokens; None: all.
            dt_B: ``(B,)`` seconds, width of a bin.
            modality_B: ``(B,)`` 0 for counts, 1 for values.
            row_BN: ``(B, N)`` places of units among the rows, -1 for unknown ones, which are not read.
            hidden_BT: ``(B, T)`` bool, tokens whose activity is hidden from the stream; None: none.
            turn: ``(B, T, pairs)`` phases of the tokens' times.
            made_B: ``(B,)`` bool, windows whose units have only their made rows; None: no window.

        Returns:
            ``(B, T, D)`` the population; ``(B, N, T)`` the log of each unit's expected events in a token, or for
            sampled values the expected value after ``value_transform``; and ``(B, N)`` the same from the unit's
            measured rate alone, the baseline for predictions (0 for sampled values).
        """
        unit = self.rows(row_BN, made_B)
        a_BNT = self.activity(x_BNT, modality_B)
        seen_BN = seen_BN & unit.known_BN
        a_BNT = a_BNT * seen_BN[:, :, None]
        if hidden_BT is not None:
            a_BNT = a_BNT * ~hidden_BT[:, None, :]
        # Rows start with features of 0.1. Their sum is scaled to the same size for any number of units.
        gain_B = math.sqrt(self.dim) / seen_BN.sum(1).clamp(min=1).to(a_BNT.dtype).sqrt()
        p_BTD = a_BNT.to(unit.read_in_BND.dtype).transpose(1, 2) @ (unit.read_in_BND * gain_B[:, None, None])
        p_BTD = p_BTD + self.about(dt_B * self.patch_length, modality_B)[:, None, :]
        if hidden_BT is not None:
            p_BTD = p_BTD + hidden_BT[..., None] * self.hidden.weight[0]
        p_BTD = self.dropout(p_BTD)
        for block in self.trunk:
            p_BTD = block(p_BTD, tokens_BT, turn)
        p_BTD = self.norm(p_BTD)
        log_seconds_B = torch.log(dt_B * self.patch_length).to(unit.log_rate_BN.dtype)
        usual_BN = (unit.log_rate_BN + log_seconds_B[:, None]) * (modality_B == 0)[:, None]
        expected_BNT = unit.read_out_BND @ self.read_out(p_BTD).transpose(1, 2) + unit.offset_BN[:, :, None]
        if tokens_BT is not None:
            p_BTD = p_BTD * tokens_BT[..., None]
        return p_BTD, expected_BNT + usual_BN[:, :, None], usual_BN

    def activity(self, x_BNT: torch.Tensor, modality_B: torch.Tensor) -> torch.Tensor:
        """Return ``(B, N, T)`` scaled activity of tokens for the read-in."""
        sums_BNT = token_sums(x_BNT, modality_B, self.patch_length)
        return scaled(sums_BNT, modality_B, self.count_transform, self.value_transform)


def token_sums(x_BNT: torch.Tensor, modality_B: torch.Tensor, patch_length: int) -> torch.Tensor:
    """Return ``(B, N, T)`` events in each token, or the mean of sampled values.

    Example:
        >>> token_sums(torch.tensor([[[1.0, 2.0, 0.0, 4.0]]]), torch.tensor([0]), 2).tolist()
        [[[3.0, 4.0]]]
        >>> token_sums(torch.tensor([[[1.0, 2.0, 0.0, 4.0]]]), torch.tensor([1]), 2).tolist()
        [[[1.5, 2.0]]]
    """
    patches = x_BNT.unflatten(-1, (-1, patch_length))
    return torch.where((modality_B == 1)[:, None, None], patches.mean(-1), patches.sum(-1))


def log_rates(rate_N: np.ndarray, counts: bool) -> torch.Tensor:
    """Return the log rates for a table of rows.

    Args:
        rate_N: ``(N,)`` events a second.
        counts: whether the activity is events; sampled values have no rate.

    Example:
        >>> log_rates(np.array([1.0, 0.0]), counts=True).exp().tolist()
        [1.0, 0.009999999776482582]
    """
    if not counts:
        return torch.zeros(len(rate_N))
    return torch.from_numpy(np.maximum(np.nan_to_num(rate_N), MIN_RATE)).float().log()


def population_places(config: EITConfig) -> dict[str, tuple[int, int]]:
    """Return, by recording id, the place of its first unit among all rows and its number of units.

    Example:
        >>> population_places(EITConfig(population_layers=1, population_tables=[{"a": 3, "b": 2}, {"c": 4}]))
        {'a': (0, 3), 'b': (3, 2), 'c': (5, 4)}
    """
    places, first = {}, 0
    for table in config.population_tables:
        for name, size in table.items():
            places[name] = (first, size)
            first += size
    return places


class PopulationPlaces:
    """Lookup of the rows of units in a model's population stream.

    Args:
        config: of the model; only `EITConfig` has a population stream.
        recordings: ids of the recordings that batches count.

    Example:
        >>> from foundation.data import pad_windows
        >>> config = EITConfig(population_layers=1, population_tables=[{"a": 3, "b": 2}])
        >>> batch = pad_windows([np.ones((2, 4))], bin_widths=[0.1], starts=[0.0], modalities=[0], bins_per_token=4)
        >>> batch.recording_B, batch.unit_BN = torch.tensor([0]), torch.tensor([[0, 1]])
        >>> PopulationPlaces(config, ["b"]).placed(batch).population_row_BN.tolist()
        [[3, 4]]
    """

    def __init__(self, config: Any, recordings: Sequence[str]) -> None:
        self.runs = bool(getattr(config, "population_layers", 0))
        places = population_places(config) if self.runs else {}
        self.first_R = torch.tensor([places.get(name, (-1, 0))[0] for name in recordings], dtype=torch.int64)

    def placed(self, batch: WindowBatch) -> WindowBatch:
        """Return the batch with ``population_row_BN``; unchanged if the model has no population stream.

        Raises:
            ValueError: if the batch does not identify its units and recordings.
        """
        if not self.runs:
            return batch
        if batch.recording_B is None or batch.unit_BN is None:
            raise ValueError("recording_B or unit_BN is None: expected a batch that identifies its units")
        first_B1 = self.first_R.to(batch.recording_B.device)[batch.recording_B][:, None]
        known_BN = (first_B1 >= 0) & (batch.unit_BN >= 0)
        return replace(batch, population_row_BN=torch.where(known_BN, first_B1 + batch.unit_BN, -1))


def new_table(config: EITConfig, log_rates: Mapping[str, torch.Tensor]) -> tuple[dict[str, int], torch.Tensor]:
    """Return the contents of another table.

    Args:
        config: of the model.
        log_rates: recording id -> ``(N,)`` log rates of its units.

    Returns:
        Recording id -> units, and the log rates of all units one after another, sorted by recording id as config.json
        keeps them.

    Raises:
        ConfigError: if a recording is already known, or none is given.
    """
    known = sorted(set(log_rates) & set(population_places(config)))
    if known or not log_rates:
        what = f"names {known[0]!r}, which has rows already" if known else "is empty"
        raise ConfigError(f"populations {what}: expected each recording once, with the log rates of its units")
    names = sorted(log_rates)
    return {name: len(log_rates[name]) for name in names}, torch.cat([log_rates[name] for name in names])


def joined_identities(
    config: EITConfig, table: Mapping[str, int], identities: Mapping[str, torch.Tensor] | None
) -> torch.Tensor | None:
    """Return ``(N, F)`` identities of the units of a table, one recording after another; None without ``made_rows``.

    Args:
        config: of the model.
        table: recording id -> its number of units.
        identities: recording id -> ``(N, F)`` identities of its units.

    Raises:
        ConfigError: if identities are missing, have another shape, or are given to a model without ``made_rows``.
    """
    if not config.made_rows:
        if identities:
            raise ConfigError("identities are given and made_rows is false: expected none, or a model with made_rows")
        return None
    for name, size in table.items():
        found = tuple(identities[name].shape) if identities and name in identities else "missing"
        if found != (size, IDENTITY):
            raise ConfigError(
                f"identities of {name!r} are {found}: expected {(size, IDENTITY)} for a model of made_rows"
            )
    assert identities is not None
    return torch.cat([identities[name] for name in table])
