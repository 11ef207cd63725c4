"""Whether a run still gets better."""

from __future__ import annotations

import math
from typing import Any

from foundation.common.errors import ConfigError


class Best:
    """The best value so far of the metric by which checkpoints are judged.

    Args:
        metric: its name; empty: there is none.
        highest: whether the highest is the best, not the lowest.

    Example:
        >>> best = Best("validation/loss")
        >>> [best.better({"validation/loss": value}) for value in (3.0, 2.0, 2.5, 2.6)], best.since
        ([True, True, False, False], 2)
    """

    def __init__(self, metric: str, highest: bool = False) -> None:
        self.metric, self.highest = metric, highest
        self.value: float | None = None
        self.since = 0

    def check(self, metrics: dict[str, float]) -> None:
        """Refuse a metric that there is not, once there are figures of a step that counted.

        Raises:
            ConfigError: if it has never been there.
        """
        if self.value is None and self.metric not in metrics and math.isfinite(metrics.get("loss", math.nan)):
            raise ConfigError(
                f"saving.best is {self.metric!r}, which is not measured: one of {', '.join(sorted(metrics))}"
            )

    def better(self, metrics: dict[str, float]) -> bool:
        """Take new figures; whether they are the best so far. Figures without the metric change nothing."""
        value = metrics.get(self.metric, math.nan)
        if math.isnan(value):
            return False
        if self.value is None or (value > self.value if self.highest else value < self.value):
            self.value, self.since = value, 0
            return True
        self.since += 1
        return False

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"value": self.value, "since": self.since}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.value, self.since = state["value"], state["since"]
