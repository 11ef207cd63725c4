"""Stops a run before its last step: its processes agree on why. Early stopping on a metric stands here too."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from foundation.common.errors import ConfigError, FoundationError, RequeueError, StoreError
from foundation.training.checkpoint.saver import Saver
from foundation.training.distributed.process_messages import Control


def stop_if_asked(
    step: int, control: Control, saver: Saver, *, asked: str, unread: Exception | None, save: Callable[[], None]
) -> None:
    """Stop in all processes before a step, if any of them has a reason; all call it.

    Args:
        step: the step that would come next.
        control: to the other processes.
        saver: whose failure is one of the reasons.
        asked: the signal that asks this process to stop, or nothing.
        unread: why this process cannot read the step's windows, if so.
        save: saves the state and waits until it is written.

    Raises:
        RequeueError: if a signal asked for it.
        StoreError: if data cannot be read.
        FoundationError: if a checkpoint cannot be written.
    """
    is_asked, is_unread, is_unwritten = control.any(bool(asked), unread is not None, bool(saver.failure))
    if is_unwritten:
        _raise_unwritten(control, saver)
    if not (is_asked or is_unread):
        return
    save()
    if control.any(bool(saver.failure))[0]:
        _raise_unwritten(control, saver)
    if is_unread:
        why = _first(control.of_all("" if unread is None else f"{type(unread).__name__}: {unread}"))
        raise StoreError(
            f"the windows of step {step} cannot be read ({why}); {step} steps are saved, and the same command goes on "
            "from there"
        ) from unread
    why = _first(control.of_all(asked))
    raise RequeueError(f"stopped by {why} after {step} steps, which are saved: the same command goes on from there")


def _raise_unwritten(control: Control, saver: Saver) -> None:
    why = _first(control.of_all(saver.failure))
    try:
        names = [name for name in saver.place.names() if name not in saver.place.damaged]
        last = f"the last good checkpoint is {saver.place.where(names[0])}" if names else "there is no checkpoint"
    except Exception:  # the place is away
        last = "which checkpoints are there cannot be told now"
    raise FoundationError(f"{why}; {last}: see to it that it can be written, and the same command goes on")


def _first(reasons: list[str]) -> str:
    return next(reason for reason in reasons if reason)


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
                f"saving.best is {self.metric!r}, which is not measured: expected one of {', '.join(sorted(metrics))}"
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
