"""Work and memory of EIT's forward and backward pass, from its configuration and the shape of its input.

R is rows (tokens of units), D features of a row, F features inside a feed-forward layer. Products are counted like
torch's FLOP counter does. For other operations, the features of a row that are read or written are counted one by one;
tests compare both counts, and the bytes held for the backward pass, with torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from foundation.common.work import Work, total
from foundation.cost_model.step_shapes import Part
from foundation.models.config import EITConfig
from foundation.models.parts.interval_tokens import FEATURES
from foundation.models.parts.tokens import FREQUENCIES
from foundation.models.parts.transformer_blocks import TOKENS_PER_PART

TENSORS = 12  # of a block
FULL = 4  # bytes of a float32
# Operations of one block with work (views not counted), forward and backward; attention over time has more.
CALLS, TURN_CALLS, CAST_CALLS = (10, 24), (12, 14), (10, 12)


@dataclass(frozen=True)
class EncoderCost:
    """Cost of an EIT.

    Args:
        config: its shape.
        precision: ``fp32``, or ``bf16`` for products in bf16 (autocast; weights stay fp32).
        checkpointing: blocks are recomputed in the backward pass.

    Example:
        >>> cost = EncoderCost(EITConfig(dim=64, heads=2))
        >>> part = (4, 64, 20)
        >>> cost.backward(part).flops / cost.forward(part).flops > 1.9
        True
    """

    config: EITConfig
    precision: str = "fp32"
    checkpointing: bool = False

    @property
    def inner(self) -> int:
        """Return the features inside a feed-forward layer."""
        return int(self.config.dim * self.config.mlp_ratio)

    @property
    def low(self) -> int:
        """Return the bytes of a number in matrix products."""
        return 2 if self.precision == "bf16" else FULL

    @property
    def over_time(self) -> int:
        """Return the blocks over the time of one unit."""
        return self.config.individual_layers + self.config.interaction_layers * self.config.time_layers

    @property
    def tensors(self) -> int:
        """Return the approximate number of weight tensors."""
        return TENSORS * (self.over_time + self.config.interaction_layers) + 10

    @property
    def parameters(self) -> int:
        """Number of weights."""
        d, f, c = self.config.dim, self.inner, self.config
        up = f * (2 if c.gated_mlp else 1)
        attention, mlp = 4 * d * d + 4 * d, d * up + up + f * d + d
        block = attention + mlp + 4 * d
        across = block + (4 * d * d + 4 * d + 6 * d + c.inducing_points * d if c.inducing_points else 0)
        embed = (c.patch_length + 1) * d
        if c.tokens == "intervals":
            inner = int(d * c.mlp_ratio)
            embed = (FEATURES + 1) * inner + (inner + 1) * d
        embed += 2 * d + (2 * FREQUENCIES + 1) * d
        return self.over_time * block + c.interaction_layers * across + embed + 2 * d

    def forward(self, part: Part) -> Work:
        """Return the cost of one forward pass."""
        return self._whole(part, backward=False)

    def backward(self, part: Part) -> Work:
        """Return the cost of the backward pass, without recomputation."""
        return self._whole(part, backward=True)

    def recomputed(self, part: Part) -> Work:
        """Return the cost of recomputation by checkpointing: blocks, each up to the last input of its backward pass."""
        if not self.checkpointing:
            return Work()
        rows, d = part[0] * part[1] * part[2], self.config.dim
        spared = Work(2.0 * rows * self.inner * d, rows * d * (2 * self.low + FULL), 2)
        blocks = self.over_time + self.config.interaction_layers
        return total([self._blocks(part, backward=False), spared * -blocks])

    def held(self, part: Part) -> float:
        """Return the bytes kept from forward to backward pass, without weights but with their bf16 copies."""
        rows, d = part[0] * part[1] * part[2], self.config.dim
        ends = rows * (d * FULL + self._held_read_in)
        turned, plain = rows * self._held_row(True), rows * self._held_row(False)
        if not self.checkpointing:
            return self.over_time * turned + self.config.interaction_layers * plain + ends + self._cast_weights
        return rows * (self.over_time + self.config.interaction_layers) * d * FULL + ends

    def held_again(self, part: Part) -> float:
        """Return the bytes of the block (or its part, see `in_parts`) that checkpointing recomputes at a time."""
        rows = part[0] * part[1] * part[2]
        if not self.checkpointing:
            return 0.0
        blocks = self.over_time + self.config.interaction_layers
        return min(rows, TOKENS_PER_PART) * self._held_row(True) + self._cast_weights / blocks

    @property
    def _held_read_in(self) -> float:
        """Return the bytes that the read-in keeps per row."""
        if self.config.tokens == "intervals":
            return FEATURES * FULL + 2 * int(self.config.dim * self.config.mlp_ratio) * self.low
        return self.config.patch_length * FULL

    @property
    def _cast_weights(self) -> float:
        return 0.0 if self.low == FULL else float(self.low * self.parameters)

    def _held_row(self, turned: bool) -> float:
        """Return the bytes that a block keeps per row: inputs of norms, products, attention and GELU."""
        d, f = self.config.dim, self.inner
        norms = 2 * d * FULL + 2 * d * self.low
        # Values are a view of the first product's output, which is therefore kept whole.
        attention = (3 + (0 if not turned else 1 if self.config.rotate_values else 2) + 1) * d * self.low
        dropped = 2 * d * FULL * (self.config.dropout > 0)  # masks, as a CPU keeps them
        return norms + dropped + attention + (4 if self.config.gated_mlp else 2) * f * self.low

    def _whole(self, part: Part, backward: bool) -> Work:
        batch, units, tokens = part
        rows, d, patch = batch * units * tokens, self.config.dim, self.config.patch_length
        width = 2 * FREQUENCIES
        # The input takes no gradient, so the read-in has one product in each direction.
        read_in = Work(2.0 * rows * patch * d + 2.0 * batch * width * d, rows * FULL * (2 * d + 8 * patch), 30)
        if self.config.tokens == "intervals":
            inner = int(d * self.config.mlp_ratio)
            products = 2.0 * rows * inner * (FEATURES + (2 if backward else 1) * d)
            # Bins are read a few times in the forward pass only; data gathered for events are negligible beside them.
            moved = rows * FULL * (2 * d + 5 * inner + (0 if backward else 4 * patch + 12 * FEATURES))
            read_in = Work(products + 2.0 * batch * width * d, moved, 30 if backward else 150)
        ends = Work(0.0, rows * d * FULL * (9 if backward else 6) + 3 * self._cast_weights, 20)
        return total([read_in, self._blocks(part, backward), ends])

    def _blocks(self, part: Part, backward: bool) -> Work:
        config = self.config
        parts = [self._block(part, backward, over_time=True)] * self.over_time
        across = (
            self._induced(part, backward) if config.inducing_points else self._block(part, backward, over_time=False)
        )
        return total([*parts, *[across] * config.interaction_layers])

    def _linear(self, rows: float, into: int, out: int, backward: bool) -> Work:
        # Backward: gradients of the input and the weight, and that of the bias as a sum over rows.
        flops = 2.0 * rows * into * out
        return Work(2 * flops, rows * out * self.low, 0) if backward else Work(flops)

    def _attention(self, rows: float, seen: float, backward: bool) -> Work:
        flops = 4.0 * rows * seen * self.config.dim
        return Work(flops * (2.5 if backward else 1.0), rows * self.config.dim * self.low * (8 if backward else 4))

    def _feed_forward(self, rows: float, backward: bool) -> Work:
        d, f, gated = self.config.dim, self.inner, self.config.gated_mlp
        gelu = f * self.low * ((3 if backward else 2) + (8 if backward else 3) * gated)
        return total(
            [
                self._linear(rows, d, f * (2 if gated else 1), backward),
                Work(0.0, rows * gelu),
                self._linear(rows, f, d, backward),
                self._branch(rows, backward),
            ]
        )

    def _branch(self, rows: float, backward: bool) -> Work:
        """Return the work of norm, dropout and sum around a layer."""
        d = self.config.dim
        norm, added = (3 * FULL, 3 * FULL) if backward else (2 * FULL, 2 * FULL + self.low)
        cast = 0 if self.low == FULL else (FULL + self.low)
        dropped = (3 if backward else 6) * FULL * (self.config.dropout > 0)
        return Work(0.0, rows * d * (norm + added + cast + dropped))

    def _block(self, part: Part, backward: bool, over_time: bool) -> Work:
        batch, units, tokens = part
        rows, d = batch * units * tokens, self.config.dim
        pieces = -(-rows // TOKENS_PER_PART) if self.checkpointing and over_time else 1
        calls = CALLS[backward] + CAST_CALLS[backward] * (self.low < FULL) + TURN_CALLS[backward] * over_time
        parts = [
            self._linear(rows, d, 3 * d, backward),
            self._attention(rows, tokens if over_time else units, backward),
            self._linear(rows, d, d, backward),
            self._branch(rows, backward),
            self._feed_forward(rows, backward),
            Work(0.0, 0.0, calls * pieces),
        ]
        if backward:
            parts.append(Work(0.0, rows * 12 * d * self.low))  # gradients of q, k and v concatenated
        if over_time:
            parts.append(self._turn(rows, backward))
        else:
            parts.append(Work(0.0, rows * 4 * d * FULL, 2 * backward))  # transposes of units and time
        return total(parts)

    def _turn(self, rows: float, backward: bool) -> Work:
        d, share = self.config.dim, self.config.rotary_share
        moved = (26 if backward else 4 + 10 * share) * (2 if self.config.rotate_values else 1)
        cast = 0 if self.low == FULL else 2 * d * (FULL + self.low)
        return Work(0.0, rows * (moved * d * FULL + cast))

    def _induced(self, part: Part, backward: bool) -> Work:
        """Return the cost of attention from points to units and from units to points."""
        batch, units, tokens = part
        d, points = self.config.dim, self.config.inducing_points
        rows, point_rows = batch * units * tokens, batch * tokens * points
        return total(
            [
                self._linear(point_rows, d, d, backward),
                self._linear(rows, d, 2 * d, backward),
                self._attention(point_rows, units, backward),
                self._linear(point_rows, d, d, backward),
                self._linear(rows, d, d, backward),
                self._linear(point_rows, d, 2 * d, backward),
                self._attention(rows, points, backward),
                self._linear(rows, d, d, backward),
                self._branch(point_rows, backward) * 2,
                self._branch(rows, backward) * 2,
                self._feed_forward(rows, backward),
                Work(0.0, rows * 10 * d * self.low * backward, 2.0 * CALLS[backward]),
            ]
        )
