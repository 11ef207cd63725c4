"""EIT, the embedded interaction transformer: first each unit's dynamics, then the population.

Liu et al. 2022 (arXiv 2206.06131) embed every neuron's activity over time with a module that all neurons share, then
let neurons interact at each time. Here the interaction module has no table of neurons: it is equivariant to their
order and independent of their number, so one checkpoint serves every population. Context tokens and embeddings of known
units can join the interaction. A second, optional stream has one token per time for the whole population
(`foundation.models.parts.population_stream`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers.utils import ModelOutput

from foundation.common.errors import ConfigError
from foundation.common.lazy import named
from foundation.models.config import EITConfig
from foundation.models.parts.attention import BranchEnd, Phases, phases, rotary_angles
from foundation.models.parts.interval_tokens import IntervalTokens
from foundation.models.parts.made_rows import INNER, MadeOut
from foundation.models.parts.population_stream import (
    PopulationRows,
    PopulationStream,
    joined_identities,
    new_table,
)
from foundation.models.parts.tokens import ContextEmbedding, ContextIn, ReadIn, TokenEmbedding, blank
from foundation.models.parts.transformer_blocks import Block, Gather, InducedBlock, in_parts
from foundation.models.parts.unit_embeddings import UnitEmbedding
from foundation.models.parts.window_checks import check_events, check_ids, check_windows
from foundation.models.saved.checkpoint_check import older_weights

if TYPE_CHECKING:
    import pyarrow as pa

    from foundation.store.recording import Recording
    from foundation.store.stored import StoredRecording


@dataclass
class EITOutput(ModelOutput):
    """Output of EIT for B windows of N units and T tokens.

    Args:
        h_BNTD: every unit at every token; 0 where padded.
        z_BND: every unit, the mean over its tokens.
        p_BTD: the population at every token: from the population stream if it runs, otherwise the mean over units.
        expected_BNT: from the population stream: the log of each known unit's expected events in a token, or for
            sampled values the expected value after ``value_transform``.
        usual_BN: the same from each unit's measured rate alone, the baseline for predictions.
    """

    h_BNTD: torch.Tensor | None = None
    z_BND: torch.Tensor | None = None
    p_BTD: torch.Tensor | None = None
    expected_BNT: torch.Tensor | None = None
    usual_BN: torch.Tensor | None = None


class Interaction(nn.Module):
    """Attention across units at each time, then over the time of each unit."""

    def __init__(self, config: EITConfig) -> None:
        super().__init__()
        self.across_units: Block | InducedBlock = InducedBlock(config) if config.inducing_points else Block(config)
        self.across_time = nn.ModuleList(Block(config) for _ in range(config.time_layers))

    def forward(
        self, h_BNTD: torch.Tensor, mask_BN: torch.Tensor | None, mask_BT: torch.Tensor | None, turn: Phases
    ) -> torch.Tensor:
        """Return a tensor of the same shape."""
        h_BTND = self.across_units(h_BNTD.transpose(1, 2), _each(mask_BN, h_BNTD.shape[2]))
        h_BNTD = h_BTND.transpose(1, 2)
        for block in self.across_time:
            h_BNTD = over_time(block, h_BNTD, mask_BT, turn)
        return h_BNTD


def over_time(block: nn.Module, h_BNTD: torch.Tensor, mask_BT: torch.Tensor | None, turn: Phases) -> torch.Tensor:
    """Run a block over the time of every unit separately; ``turn`` holds ``(B, 1, T, pairs)``."""
    return in_parts(block, lambda part_BNTD: block(part_BNTD, _each(mask_BT, part_BNTD.shape[1]), turn), h_BNTD, dim=1)


def _each(mask_BL: torch.Tensor | None, times: int) -> torch.Tensor | None:
    return None if mask_BL is None else mask_BL.repeat_interleave(times, dim=0)


def whole_tokens(mask_BT: torch.Tensor | None, patch: int) -> torch.Tensor | None:
    """Return ``(B, T)``, whether all bins of a token are valid; None: all are.

    Example:
        >>> whole_tokens(torch.tensor([[True, True, True, False]]), 2).tolist()
        [[True, False]]
    """
    return None if mask_BT is None else mask_BT.unflatten(-1, (-1, patch)).all(-1)


def _all(like: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(like, dtype=torch.bool)


class EIT(PreTrainedModel):
    """The foundation model; `from_pretrained`, `save_pretrained` and AutoModel work as for any transformers model.

    Args:
        config: its shape.

    Example:
        >>> model = EIT(EITConfig(dim=16, heads=2))
        >>> out = model(torch.ones(1, 3, 8), torch.ones(1, 3, dtype=bool), torch.ones(1, 8, dtype=bool),
        ...             torch.tensor([0.02]), torch.tensor([0]))
        >>> tuple(out.h_BNTD.shape), tuple(out.z_BND.shape), tuple(out.p_BTD.shape)
        ((1, 3, 2, 16), (1, 3, 16), (1, 2, 16))
    """

    config_class = EITConfig
    base_model_prefix = "eit"
    main_input_name = "x_BNT"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _no_split_modules = ("Block", "Gather", "Give")

    def __init__(self, config: EITConfig) -> None:
        super().__init__(config)
        self.token_embedding = IntervalTokens(config) if config.tokens == "intervals" else TokenEmbedding(config)
        self.individual = nn.ModuleList(Block(config) for _ in range(config.individual_layers))
        self.interaction = nn.ModuleList(Interaction(config) for _ in range(config.interaction_layers))
        self.norm = nn.LayerNorm(config.dim)
        self.context = ContextEmbedding(config) if config.context_channels else None
        self.units = UnitEmbedding(config.unit_tables, config.dim)
        self.population = PopulationStream(config) if config.population_layers else None
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            # Residual branches are scaled down, so that the size of their sum does not depend on the depth.
            scale = self.config.branches**-0.5 if isinstance(module, BranchEnd) else 1.0
            std = scale * module.in_features**-0.5
            if isinstance(module, ReadIn):
                std = 1.0  # most bins hold no event, so the input is far smaller than the number of bins suggests
            elif isinstance(module, ContextIn):
                std *= 0.1
            elif isinstance(module, MadeOut):
                std = 0.2 * INNER**-0.5
            nn.init.normal_(module.weight, std=std)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.1)
        elif isinstance(module, Gather):
            nn.init.normal_(module.points)
        elif isinstance(module, UnitEmbedding):
            for table_ND in module.tables:
                nn.init.normal_(table_ND, std=0.1)
        elif isinstance(module, PopulationRows):
            for k, sizes in enumerate(self.config.population_tables):
                module.start(module.get_parameter(f"table_{k}"), list(sizes.values()))
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)

    @classmethod
    def from_pretrained(cls, name: str | Path, *args: Any, **options: Any) -> Any:
        """Return a pretrained model, as for any transformers model or by a name that `load_model` takes.

        Args:
            name: a local folder, ``org/name`` of a hub, or a name described in docs/checkpoints.md.
            args, options: as for `transformers.PreTrainedModel.from_pretrained`.

        Raises:
            CheckpointError: if a named checkpoint cannot be fetched or fails a check.
        """
        if not Path(str(name)).is_dir() and named("foundation.hub.checkpoint_resolver:is_known_name")(str(name)):
            name = named("foundation.hub.checkpoint_resolver:resolve")(str(name)).folder
        older = older_weights(Path(str(name))) if "state_dict" not in options else None
        if older is None:
            return super().from_pretrained(name, *args, **options)
        options.setdefault("config", cls.config_class.from_pretrained(name))
        return super().from_pretrained(None, *args, **options, state_dict=older)

    def embed(self, recording: Recording | StoredRecording, **options: Any) -> pa.Table:
        """Return an embedding of every unit of a recording, as a table with a row for each unit.

        Args:
            recording: in memory (`foundation.read_nwb`) or from a store.
            options: of `foundation.embedding.unit_table`; by default the windows of pretraining.

        Returns:
            ``recording``, ``unit``, ``id``, ``location``, ``region``, ``cell_type``, ``rate`` and ``embedding``.

        Raises:
            CheckpointError: if the model does not read recordings of this kind, or its unit stream was not trained.
            NoWindowError: if no window fits the recording's observed time.
        """
        return named("foundation.embedding.embedding_table:unit_table")(self, recording, **options)

    def add_units(self, names: Sequence[str], *, freeze_rest: bool = True) -> torch.Tensor:
        """Add embeddings for the units of another session; earlier embeddings do not change.

        Args:
            names: of the new units, for example ``<recording>/<unit>``.
            freeze_rest: from now on only the new embeddings are trained.

        Returns:
            ``(M,)`` their ids, for ``unit_id_BN``.

        Raises:
            ConfigError: if a name is already known, no name is given, or ``names`` is a string.

        Example:
            >>> model = EIT(EITConfig(dim=16, heads=2))
            >>> model.add_units(["a/0", "a/1"]).tolist(), model.add_units(["b/0"]).tolist()
            ([0, 1], [2])
        """
        if isinstance(names, str) or not len(names):
            raise ConfigError(f"names is {names!r}: expected a list of at least one name of a unit")
        first = len(self.config.unit_names)
        known = EITConfig(unit_tables=[first, len(names)], unit_names=[*self.config.unit_names, *names])  # checks names
        if freeze_rest:
            self.requires_grad_(False)
        self.units.add(len(names), like=self.norm.weight)
        self.config.unit_tables = [*self.config.unit_tables, len(names)]
        self.config.unit_names = known.unit_names
        return torch.arange(first, first + len(names))

    def add_populations(
        self,
        log_rates: Mapping[str, torch.Tensor],
        identities: Mapping[str, torch.Tensor] | None = None,
        *,
        freeze_rest: bool = False,
        blank: bool = False,
    ) -> None:
        """Add rows in the population stream for the units of more recordings; earlier rows do not change.

        Args:
            log_rates: recording id -> ``(N,)`` log of each unit's events a second (see
                `foundation.models.parts.population_stream.log_rates`).
            identities: recording id -> ``(N, F)`` identities of its units (see `foundation.embedding.unit_identity`);
                for a model with ``made_rows``.
            freeze_rest: from now on only the new rows are trained.
            blank: the new rows are 0, so that in a model with ``made_rows`` these units have made rows alone.

        Raises:
            ConfigError: if the model has no population stream, a recording is already known, none is given, or
                identities are missing or are given to a model without ``made_rows``.

        Example:
            >>> model = EIT(EITConfig(dim=16, heads=2, population_layers=1))
            >>> model.add_populations({"a": torch.zeros(3)})
            >>> model.config.population_tables
            [{'a': 3}]
        """
        if self.population is None:
            raise ConfigError("population_layers is 0: expected at least 1 for a model that keeps rows of populations")
        table, log_rate_N = new_table(self.config, log_rates)
        identity_NF = joined_identities(self.config, table, identities)
        if freeze_rest:
            self.requires_grad_(False)
        self.population.rows.add(log_rate_N, identity_NF, self.norm.weight, list(table.values()), blank)
        self.config.population_tables = [*self.config.population_tables, table]

    def forward(
        self,
        x_BNT: torch.Tensor,
        mask_BN: torch.Tensor | None,
        mask_BT: torch.Tensor | None,
        dt_B: torch.Tensor,
        modality_B: torch.Tensor,
        unit_id_BN: torch.Tensor | None = None,
        context_BCT: torch.Tensor | None = None,
        context_id_BC: torch.Tensor | None = None,
        mask_BC: torch.Tensor | None = None,
        population_row_BN: torch.Tensor | None = None,
        hidden_BN: torch.Tensor | None = None,
        hidden_BT: torch.Tensor | None = None,
        made_B: torch.Tensor | None = None,
        units: bool = True,
    ) -> EITOutput:
        """Embed windows.

        Args:
            x_BNT: ``(B, N, T * patch_length)`` activity in bins; masked bins may hold anything. Without the unit
                stream, whole tokens of the population suffice.
            mask_BN: ``(B, N)`` bool, valid units; the output of a window without units is 0. None: all units, without a
                mask, as flash attention on a GPU requires.
            mask_BT: ``(B, T * patch_length)`` bool, valid bins; a token is valid if all its bins are. None: all bins,
                without a mask.
            dt_B: ``(B,)`` seconds, the width of a bin.
            modality_B: ``(B,)`` 0 for counts, 1 for values.
            unit_id_BN: ``(B, N)`` ids of known units (`add_units`), -1 for unknown ones.
            context_BCT: ``(B, C, T * patch_length)`` channels of stimulus, behaviour and session in the same bins.
            context_id_BC: ``(B, C)`` places of the channels in ``config.context_channels``.
            mask_BC: ``(B, C)`` bool, valid channels; by default all.
            population_row_BN: ``(B, N)`` places of units among the rows of the population stream, -1 for unknown units,
                which are not read. If None, the population stream does not run.
            hidden_BN, hidden_BT: ``(B, N)`` and ``(B, P)`` bool, units and tokens that are hidden from the population
                stream and that it predicts; P tokens of ``config.population_patch`` bins.
            made_B: ``(B,)`` bool, windows in which the population stream uses only the rows made from the units'
                identities, without the units' own rows; for a model with ``made_rows``.
            units: whether the unit stream runs; if not, ``h_BNTD`` and ``z_BND`` are None.

        Raises:
            ValueError: if there are no bins, no units without ``mask_BN``, or partial tokens; if neither stream runs;
                if context or rows are given to a model without them; and, on the CPU, if a width, modality or channel
                is invalid, or sampled values are given to a model with tokens of intervals.
            TypeError: if an argument is unknown.
        """
        if population_row_BN is not None and self.population is None:
            raise ValueError(
                "population_row_BN is given, and the model has no population stream: expected None (population_layers "
                "is 0)"
            )
        if population_row_BN is None and not units:
            raise ValueError("units is False and population_row_BN None: expected at least one of the two streams")
        patch = self.config.patch_length if units else self.config.population_patch
        check_windows(x_BNT, mask_BN, patch, dt_B, modality_B)
        found = EITOutput()
        if units:
            if self.config.tokens == "intervals":
                check_events(modality_B)
            tokens_BT = whole_tokens(mask_BT, patch)
            found = self._units(
                x_BNT, mask_BN, mask_BT, tokens_BT, dt_B, modality_B, unit_id_BN, context_BCT, context_id_BC, mask_BC
            )
        if self.population is None or population_row_BN is None:
            return found
        seen_BN = _all(x_BNT[:, :, 0]) if mask_BN is None else mask_BN
        seen_BN = seen_BN if hidden_BN is None else seen_BN & ~hidden_BN
        patch = self.config.population_patch
        turn = self._turn(x_BNT.shape[2] // patch, patch, dt_B, torch.float32)
        turn_BT = Phases(*(part[:, 0] for part in turn))
        p_BTD, expected_BNT, usual_BN = self.population(
            blank(x_BNT, mask_BN, mask_BT),
            seen_BN,
            whole_tokens(mask_BT, patch),
            dt_B,
            modality_B,
            population_row_BN,
            hidden_BT,
            turn_BT,
            made_B,
        )
        return EITOutput(found.h_BNTD, found.z_BND, p_BTD, expected_BNT, usual_BN)

    def _units(
        self,
        x_BNT: torch.Tensor,
        mask_BN: torch.Tensor | None,
        mask_BT: torch.Tensor | None,
        tokens_BT: torch.Tensor | None,
        dt_B: torch.Tensor,
        modality_B: torch.Tensor,
        unit_id_BN: torch.Tensor | None,
        context_BCT: torch.Tensor | None,
        context_id_BC: torch.Tensor | None,
        mask_BC: torch.Tensor | None,
    ) -> EITOutput:
        """Run the unit stream; arguments are those of `forward`."""
        h_BNTD = self.token_embedding(x_BNT, dt_B, modality_B, mask_BN, mask_BT)
        turn = self._turn(
            h_BNTD.shape[2], self.config.patch_length, dt_B, torch.promote_types(h_BNTD.dtype, torch.float32)
        )
        for block in self.individual:
            h_BNTD = over_time(block, h_BNTD, tokens_BT, turn)
        if unit_id_BN is not None:
            h_BNTD = h_BNTD + self.units(unit_id_BN, h_BNTD.dtype)[:, :, None]
        n_units, seen_BN = h_BNTD.shape[1], mask_BN
        if context_BCT is not None:
            if self.context is None or context_id_BC is None:
                raise ValueError("context_BCT needs config.context_channels and context_id_BC, the channel of each row")
            channels = len(self.config.context_channels)
            check_ids("context_id_BC", context_id_BC, channels, f"0 to {channels - 1}, places in context_channels")
            context_BCT = blank(context_BCT, mask_BC, mask_BT)
            h_BNTD = torch.cat([h_BNTD, self.context(context_BCT, context_id_BC)], dim=1)
            if mask_BN is not None or mask_BC is not None:
                parts = [(mask_BN, h_BNTD[:, :n_units, 0, 0]), (mask_BC, h_BNTD[:, n_units:, 0, 0])]
                seen_BN = torch.cat([_all(like) if mask is None else mask for mask, like in parts], dim=1)
        for interaction in self.interaction:
            h_BNTD = interaction(h_BNTD, seen_BN, tokens_BT, turn)
        h_BNTD = self.norm(h_BNTD[:, :n_units])
        there_BN = _all(h_BNTD[:, :, 0, 0]) if mask_BN is None else mask_BN
        if tokens_BT is None:
            tokens_BT = h_BNTD.new_ones(len(h_BNTD), h_BNTD.shape[2], dtype=torch.bool)
        h_BNTD = h_BNTD * (there_BN[:, :, None] & tokens_BT[:, None, :])[..., None]
        z_BND = h_BNTD.sum(2) / tokens_BT.sum(1).clamp(min=1)[:, None, None]
        p_BTD = h_BNTD.sum(1) / there_BN.sum(1).clamp(min=1)[:, None, None]
        return EITOutput(h_BNTD=h_BNTD, z_BND=z_BND, p_BTD=p_BTD)

    def _turn(self, n_tokens: int, patch: int, dt_B: torch.Tensor, dtype: torch.dtype) -> Phases:
        config = self.config
        seconds_BT = torch.arange(n_tokens, device=dt_B.device) * dt_B.float()[:, None] * patch
        pairs = int(config.dim // config.heads * config.rotary_share) // 2
        angles = rotary_angles(seconds_BT[:, None], pairs, config.rotary_shortest, config.rotary_longest)
        return phases(angles, dtype)


AutoConfig.register("eit", EITConfig, exist_ok=True)
AutoModel.register(EITConfig, EIT, exist_ok=True)
