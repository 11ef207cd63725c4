"""Rule for the number of training steps, on held-out training networks."""

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
    """Rule for the number of steps, the same for all models.

    The model is trained on some of the training networks and evaluated on the others every ``every`` steps: the
    balanced accuracy is averaged over the last ``smooth`` evaluations. Training ends when it has not improved for
    ``patience`` evaluations, or at ``max_steps``. Then the model is trained again on all training networks for the best
    number of steps.

    Args:
        max_steps: maximum steps.
        every: steps between two evaluations.
        patience: evaluations without improvement.
        smooth: evaluations to average over.
        steps: fixed number of steps without held-out networks (as published, for a GPU).

    Raises:
        ConfigError: if a value is invalid.
    """

    max_steps: Annotated[int, at_least(1)] = renamed("most_steps", 200)
    every: Count = 40
    patience: Count = 2
    smooth: Count = 2
    steps: CountOrNone = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.every > self.max_steps:
            raise ConfigError(f"every is {self.every}: expected at most max_steps, {self.max_steps}")


class Training(Protocol):
    """A model in training."""

    def run(self, steps: int) -> None:
        """Train for this many further steps."""


def best_steps(training: Training, score: Callable[[], float], rule: StepRule) -> tuple[int, list[float]]:
    """Return the number of steps found by the rule, and the score of every evaluation.

    Args:
        training: of a new model.
        score: the current score on held-out networks.
        rule: the rule.

    Example:
        >>> class Nothing:
        ...     def run(self, steps):
        ...         pass
        >>> figures = iter([0.1, 0.5, 0.7, 0.2, 0.2])
        >>> best_steps(Nothing(), lambda: next(figures), StepRule(max_steps=50, every=10, patience=2))
        (30, [0.1, 0.5, 0.7, 0.2, 0.2])
    """
    from finetune.training_loop import LengthSearch  # settings do not need PyTorch

    min_looks = min(rule.smooth, rule.max_steps // rule.every)
    search = LengthSearch(rule.every, rule.patience * rule.every, smooth=rule.smooth, min_looks=min_looks)
    for step in range(rule.every, rule.max_steps + 1, rule.every):
        training.run(rule.every)
        if search.ends(step, score()):
            break
    log.info("%d steps (%.3f held out)", search.kept, search.best)
    return search.kept, search.figures
