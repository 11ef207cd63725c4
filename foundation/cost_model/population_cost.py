"""Work and memory of EIT's population stream: a read-in and a read-out of units, and a trunk over tokens of time."""

from __future__ import annotations

from dataclasses import dataclass

from foundation.common.work import Work, total
from foundation.cost_model.encoder_cost import FULL, EncoderCost
from foundation.cost_model.step_shapes import Part
from foundation.models.config import EITConfig
from foundation.models.parts.made_rows import IDENTITY, INNER


@dataclass(frozen=True)
class PopulationCost:
    """Cost of a population stream: units x features x time at its two ends, and a trunk of one token per time.

    Rows of units are not counted as weights, because their number depends on the store and not on the model. Rows that
    are made from identities are counted for the units of every window, although units that windows share are made once.

    Args:
        config: of the model.
        precision: ``fp32`` or ``bf16``.
        checkpointing: blocks are recomputed in the backward pass.

    Example:
        >>> cost = PopulationCost(EITConfig(dim=64, heads=4, population_layers=2))
        >>> part = (4, 200, 20)
        >>> cost.forward(part).flops < 0.1 * EncoderCost(cost.config).forward(part).flops
        True
    """

    config: EITConfig
    precision: str = "fp32"
    checkpointing: bool = False

    @property
    def trunk(self) -> EncoderCost:
        """Return the blocks over time, as the blocks of a single unit."""
        config = self.config
        shape = {name: getattr(config, name) for name in ("dim", "heads", "mlp_ratio", "gated_mlp", "dropout")}
        shape |= {name: getattr(config, name) for name in ("rotary_share", "rotate_values")}
        blocks = EITConfig(**shape, individual_layers=config.population_layers, interaction_layers=0, patch_length=1)
        return EncoderCost(blocks, self.precision, self.checkpointing)

    @property
    def parameters(self) -> int:
        """Number of weights, without rows of units."""
        if not self.config.population_layers:
            return 0
        d = self.config.dim
        read_in_of_a_unit = 2 * d  # the trunk's own read-in of one bin, which does not exist here
        made = IDENTITY * INNER + INNER + INNER * self._row + self._row if self.config.made_rows else 0
        return self.trunk.parameters - read_in_of_a_unit + d + d * d + d + made

    @property
    def _row(self) -> int:
        """Return the numbers of a unit's row."""
        return 2 * self.config.dim + 1

    def forward(self, part: Part) -> Work:
        """Return the cost of one forward pass of the stream."""
        return self._whole(part, backward=False)

    def backward(self, part: Part) -> Work:
        """Return the cost of the backward pass, without recomputation."""
        return self._whole(part, backward=True)

    def recomputed(self, part: Part) -> Work:
        """Return the cost of recomputation by checkpointing."""
        return self.trunk.recomputed((part[0], 1, part[2]))

    def held(self, part: Part) -> float:
        """Return the bytes kept from forward to backward pass."""
        batch, units, tokens = part
        return self.trunk.held((batch, 1, tokens)) + FULL * batch * units * (4 * self.config.dim + 3 * tokens)

    def held_again(self, part: Part) -> float:
        """Return the bytes of the block that checkpointing recomputes at a time."""
        return self.trunk.held_again((part[0], 1, part[2]))

    def _whole(self, part: Part, backward: bool) -> Work:
        batch, units, tokens = part
        trunk, d, times = self.trunk, self.config.dim, 2 if backward else 1
        blocks = trunk.backward((batch, 1, tokens)) if backward else trunk.forward((batch, 1, tokens))
        spared = Work(-2.0 * batch * tokens * d)  # the trunk's own read-in of one bin
        rows, cells = batch * units, batch * units * tokens
        # Counts take no gradient: in the backward pass the read-in has one product, the read-out two.
        ends = Work(2.0 * cells * d * (3 if backward else 2), FULL * (rows * 6 * d + cells * 8) * times, 40.0 * times)
        out = Work(2.0 * batch * tokens * d * d * times)
        return total([blocks, spared, ends, out, *([self._made_rows(rows, backward)] if self.config.made_rows else [])])

    def _made_rows(self, rows: int, backward: bool) -> Work:
        """Return the cost of making rows from identities. Identities take no gradient."""
        products = IDENTITY * INNER * rows, INNER * self._row * rows
        flops = 2.0 * (products[0] + 2 * products[1] if backward else sum(products))
        return Work(flops, FULL * rows * (IDENTITY + 4 * INNER + 2 * self._row) * (2 if backward else 1), 12.0)
