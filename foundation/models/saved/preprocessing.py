"""The activity that a model expects; stored in config.json with the weights.

The scaling of counts and values (``count_transform``, ``value_transform``) and the bins of a token (``patch_length``)
are fields of the configuration itself. `Preprocessing` describes the windows of pretraining, so that a user can embed a
recording without knowing them.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from foundation.common.errors import ConfigError

KINDS = ("spikes", "counts", "values")
LONGEST = 1 << 16  # tokens of a window


@dataclass(frozen=True)
class Preprocessing:
    """The windows of pretraining.

    Args:
        bin_widths: seconds of a bin.
        tokens: of the longest window.
        kinds: of the recordings: ``spikes``, ``counts``, ``values``; empty: unknown, and every kind is accepted.
        min_tokens: of the shortest window.
        units_trained: whether pretraining trained the unit stream; False for masked modelling of the population alone.

    Raises:
        ConfigError: if a value is invalid.

    Example:
        >>> own = Preprocessing((0.005, 0.2), tokens=32, kinds=("spikes",))
        >>> own.bin_width(resolution=0.0, patch_length=20), own.bin_width(resolution=4.0, patch_length=20)
        (0.005, 0.2)
        >>> own.bin_width(resolution=8.0, patch_length=20)
        0.4
    """

    bin_widths: tuple[float, ...] = (0.005,)
    tokens: int = 32
    kinds: tuple[str, ...] = ()
    min_tokens: int = 1
    units_trained: bool = True

    def __post_init__(self) -> None:
        widths = self.bin_widths
        if not widths or not all(_is_number(w) and 1e-4 <= w <= 3600 for w in widths):
            raise ConfigError(
                f"preprocessing.bin_widths is {list(widths)}: expected one or more, each from 0.0001 to 3600 seconds"
            )
        for name, high, words in (
            ("tokens", LONGEST, f"{LONGEST}"),
            ("min_tokens", self.tokens, "preprocessing.tokens"),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= high:
                raise ConfigError(f"preprocessing.{name} is {value!r}: expected a whole number from 1 to {words}")
        if not isinstance(self.units_trained, bool):
            raise ConfigError(f"preprocessing.units_trained is {self.units_trained!r}: expected true or false")
        for kind in self.kinds:
            if kind not in KINDS:
                raise ConfigError(f"preprocessing.kinds has {kind!r}: expected one of {', '.join(KINDS)}")

    @classmethod
    def read(cls, given: Any) -> Preprocessing:
        """Return the preprocessing from a mapping of config.json.

        Raises:
            ConfigError: if the mapping is invalid.
        """
        if not isinstance(given, dict) or given.keys() - set(cls.__dataclass_fields__):
            names = ", ".join(cls.__dataclass_fields__)
            raise ConfigError(f"preprocessing is {given!r}: expected a mapping with {names}")
        widths, kinds = given.get("bin_widths", [0.005]), given.get("kinds", [])
        if not isinstance(widths, list | tuple) or not isinstance(kinds, list | tuple):
            raise ConfigError(f"preprocessing is {given!r}: expected lists for bin_widths and kinds")
        lengths = given.get("tokens", 32), tuple(kinds), given.get("min_tokens", 1)
        return cls(tuple(widths), *lengths, given.get("units_trained", True))

    @classmethod
    def of(cls, config: Any) -> Preprocessing:
        """Return the preprocessing of a model's configuration; defaults if the configuration has none."""
        given = getattr(config, "preprocessing", None)
        if given is not None:
            return cls.read(given)
        return cls((0.001,), tokens=8) if getattr(config, "tokens", "bins") == "intervals" else cls()

    def to_dict(self) -> dict[str, Any]:
        """Return the mapping for config.json; it has ``units_trained`` only if that is false."""
        found = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return {name: value for name, value in found.items() if name != "units_trained" or not value}

    def bin_width(self, resolution: float, patch_length: int) -> float:
        """Return the bin width in seconds for a recording: the shortest whose token is no shorter than its resolution.

        Args:
            resolution: seconds; the recording has no finer detail.
            patch_length: bins that make a token.
        """
        fitting = [width for width in sorted(self.bin_widths) if width * patch_length >= resolution]
        return fitting[0] if fitting else resolution / patch_length

    def tokens_of(self, longest: float, token: float) -> int:
        """Return the tokens of a window for a recording: as many as fit, within the range of pretraining.

        Args:
            longest: seconds of the longest observed stretch.
            token: seconds of a token.

        Example:
            >>> own = Preprocessing((0.001,), tokens=10, min_tokens=3)
            >>> own.tokens_of(600.0, 5.0), own.tokens_of(22.0, 5.0), own.tokens_of(7.0, 5.0)
            (10, 4, 3)
        """
        return min(self.tokens, max(self.min_tokens, math.floor((longest + 1e-6) / token)))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
