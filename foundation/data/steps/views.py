"""What an objective asks of the data: how many views of the same units, how long, how far apart, what beside them."""

from __future__ import annotations

from dataclasses import dataclass

from foundation.common.errors import ConfigError
from foundation.data.covariate_settings import SurroundSettings
from foundation.data.steps.segment_starts import check_condition


@dataclass(frozen=True)
class ViewSpec:
    """Views of one window: segments of the same units at different times.

    Args:
        views: how many segments.
        shortest: tokens of the shortest segment.
        longest: tokens of the longest; each view draws its own length between the two.
        max_distance: seconds between the starts of two views at most; None: anywhere in the recording.
        candidates: further segments from anywhere in the recording, that an objective may choose among.
        surround: surrounding information of each view; None: none.
        apart: views do not overlap in time, where the recording has room for that.
        condition: ``table.column`` of intervals, such as ``states.state``: later views have another label than the
            first has in its middle, where the recording has such a table and time enough; None: whatever holds.

    Raises:
        ConfigError: if a number is impossible.

    Example:
        >>> ViewSpec(views=2, shortest=8, longest=32).tokens
        64
    """

    views: int = 2
    shortest: int = 8
    longest: int = 32
    max_distance: float | None = None
    candidates: int = 0
    surround: SurroundSettings | None = None
    apart: bool = False
    condition: str | None = None

    def __post_init__(self) -> None:
        if self.views < 1:
            raise ConfigError(f"views is {self.views}: at least 1")
        if self.candidates < 0:
            raise ConfigError(f"candidates is {self.candidates}: 0 or more")
        if not 1 <= self.shortest <= self.longest:
            raise ConfigError(f"shortest={self.shortest}, longest={self.longest}: need 1 <= shortest <= longest tokens")
        if self.max_distance is not None and not self.max_distance > 0:
            raise ConfigError(f"max_distance is {self.max_distance}: above 0 seconds, or null for anywhere")
        check_condition(self.condition)

    @property
    def tokens(self) -> int:
        """Tokens of one unit over all views and candidates, at most."""
        return (self.views + self.candidates) * self.longest
