"""Several plans in one run, for objectives with their own windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from foundation.common.errors import ConfigError
from foundation.data.covariate_settings import SurroundSettings
from foundation.data.steps.step import Plan, StepWindows
from foundation.store.catalog_row import CatalogRows


class PlansInTurn:
    """P plans of the same recordings in one loader: batch ``step * P + k`` belongs to plan k.

    Windows keep the number of their training step, and their own number of bins in a token.

    Args:
        plans: at least one.

    Raises:
        ConfigError: if there is no plan, or several need surrounding information.

    Example:
        >>> from foundation.data.samplers import FixedSampler
        >>> from foundation.store import Interval
        >>> def sampler(seconds):
        ...     return FixedSampler(intervals={"a": Interval([0.0], [10.0])}, duration=seconds, bin_width=0.5)
        >>> plans = PlansInTurn([sampler(1.0).plan(2), sampler(2.0).plan(2)])
        >>> [(plans.windows(k).step, plans.windows(k).tables[0].n_bins_B.tolist()) for k in range(3)]
        [(0, [2, 2]), (0, [4, 4]), (1, [2, 2])]
    """

    def __init__(self, plans: Sequence[Plan]) -> None:
        if not plans:
            raise ConfigError("plans is empty: expected at least one")
        self.plans = list(plans)
        self.recordings, self.seed = plans[0].recordings, plans[0].seed
        self.bins_per_token = plans[0].bins_per_token
        asked = [plan.surround for plan in plans if plan.surround is not None]
        if len(asked) > 1:
            raise ConfigError("surround is set for several objectives with separate windows: expected one")
        self.surround: SurroundSettings | None = asked[0] if asked else None
        self.steps_together: int | None = None

    def plan(self, batch_size: int | None = None) -> PlansInTurn:
        """Return itself.

        Raises:
            ConfigError: if a batch size is given: each plan has its own.
        """
        if batch_size is not None:
            raise ConfigError(f"batch_size is {batch_size}: expected None, because each plan fills its own steps")
        return self

    def check(self, records: CatalogRows, rank: int, world: int) -> None:
        """Raise ConfigError if ``world`` processes cannot share a step of one of the plans."""
        for plan in self.plans:
            plan.check(records, rank, world)

    def epoch(self) -> None:
        """Return None: steps continue endlessly."""

    def windows(self, step: int, rank: int = 0, world: int = 1) -> StepWindows:
        """Draw one process's windows of a batch, of ``world`` processes."""
        number, place = divmod(step, len(self.plans))
        plan = self.plans[place]
        return replace(plan.windows(number, rank, world), bins_per_token=plan.bins_per_token)
