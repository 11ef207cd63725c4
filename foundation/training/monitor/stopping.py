"""Stopping a run before its last step, for a reason on which all processes agree, and early stopping."""

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
    """Stop all processes before a step if any of them has a reason; all processes call it.

    Args:
        step: the next step.
        control: messages to the other processes.
        saver: the saver, whose failure is a reason to stop.
        asked: the signal that asked this process to stop, or ``''``.
        unread: the error of reading the step's windows, or None.
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
            f"the windows of step {step} cannot be read ({why}); {step} steps are saved, run the same command again "
            "to resume"
        ) from unread
    why = _first(control.of_all(asked))
    raise RequeueError(f"stopped by {why} after {step} steps, which are saved: run the same command again to resume")


def _raise_unwritten(control: Control, saver: Saver) -> None:
    why = _first(control.of_all(saver.failure))
    try:
        names = [name for name in saver.place.names() if name not in saver.place.damaged]
        last = f"the last good checkpoint is {saver.place.where(names[0])}" if names else "there is no checkpoint"
    except Exception:  # the place is unreachable
        last = "the checkpoints cannot be listed now"
    raise FoundationError(f"{why}; {last}: make the place writable, and run the same command again to resume")


def _first(reasons: list[str]) -> str:
    return next(reason for reason in reasons if reason)


class Best:
    """The best value so far of the metric that ranks checkpoints.

    Args:
        metric: name of the metric; empty: no metric.
        highest: True if the highest value is the best, False for the lowest.

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
        """Raise if the metric is unknown, once a step has metrics.

        Raises:
            ConfigError: if the metric has never been measured.
        """
        if self.value is None and self.metric not in metrics and math.isfinite(metrics.get("loss", math.nan)):
            raise ConfigError(
                f"saving.best is {self.metric!r}, which is not measured: expected one of {', '.join(sorted(metrics))}"
            )

    def better(self, metrics: dict[str, float]) -> bool:
        """Add new metrics, and return True if they are the best so far; without this metric nothing changes."""
        value = metrics.get(self.metric, math.nan)
        if math.isnan(value):
            return False
        if self.value is None or (value > self.value if self.highest else value < self.value):
            self.value, self.since = value, 0
            return True
        self.since += 1
        return False

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {"value": self.value, "since": self.since}

    def load(self, state: dict[str, Any]) -> None:
        """Set the state from a checkpoint."""
        self.value, self.since = state["value"], state["since"]
