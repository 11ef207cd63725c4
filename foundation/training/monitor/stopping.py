"""Why a run stops before its end, agreed on by all its processes."""

from __future__ import annotations

from collections.abc import Callable

from foundation.common.errors import FoundationError, RequeueError, StoreError
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
