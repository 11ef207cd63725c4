"""How many steps a model trains: one rule for all, on networks held out of the training networks."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Protocol

from foundation.common.errors import ConfigError
from foundation.common.settings.renamed_settings import renamed
from foundation.common.settings.setting_limits import Count, CountOrNone, Limited, at_least

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StepRule(Limited):
    """How long a model trains, the same for all.

    The model is trained on some of the training networks. After every ``every`` steps the balanced accuracy on the
    others is taken, as the mean over the last ``smooth`` times; training ends when that has not become better for
    ``patience`` times, or at ``max_steps``. Then the model is trained anew on all training networks for as many steps
    as the best had.

    Args:
        max_steps: steps at most.
        every: steps between two looks at the held-out networks.
        patience: looks without anything better.
        smooth: looks of the mean.
        steps: this many instead, and nothing is held out (as published, where there is a GPU).

    Raises:
        ConfigError: if a value is impossible.
    """

    max_steps: Annotated[int, at_least(1)] = renamed("most_steps", 200)
    every: Count = 40
    patience: Count = 2
    smooth: Count = 2
    steps: CountOrNone = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.every > self.max_steps:
            raise ConfigError(f"every is {self.every}: at most max_steps, {self.max_steps}")


class Training(Protocol):
    """A model in training."""

    def run(self, steps: int) -> None:
        """Go on for so many steps."""


def best_steps(training: Training, score: Callable[[], float], rule: StepRule) -> tuple[int, list[float]]:
    """The steps that the rule finds, and the figure of every look.

    Args:
        training: of a new model.
        score: its figure on what is held out, as it stands.
        rule: the rule.

    Example:
        >>> class Nothing:
        ...     def run(self, steps):
        ...         pass
        >>> figures = iter([0.1, 0.5, 0.7, 0.2, 0.2])
        >>> best_steps(Nothing(), lambda: next(figures), StepRule(max_steps=50, every=10, patience=2))
        (30, [0.1, 0.5, 0.7, 0.2, 0.2])
    """
    from finetune.training_loop import LengthSearch  # settings are read without PyTorch

    min_looks = min(rule.smooth, rule.max_steps // rule.every)
    search = LengthSearch(rule.every, rule.patience * rule.every, smooth=rule.smooth, min_looks=min_looks)
    for step in range(rule.every, rule.max_steps + 1, rule.every):
        training.run(rule.every)
        if search.ends(step, score()):
            break
    log.info("%d steps (%.3f held out)", search.kept, search.best)
    return search.kept, search.figures
