"""Fitting of surrounding information before a run begins."""

from __future__ import annotations

from foundation.common.output.progress import progress
from foundation.data.covariates import Surroundings
from foundation.training.distributed.process_messages import Control, do_own_part


def fit_surroundings(surroundings: Surroundings | None, control: Control | None = None) -> None:
    """Fit surrounding information that is not in the store yet; all processes call it, and each fits its share.

    Args:
        surroundings: surrounding information of the run's recordings; None: the objective uses none.
        control: messages to the other processes; without it this process fits everything.

    Raises:
        FoundationError: if fitting fails in this or another process.
    """
    if surroundings is None:
        return
    if control is None or control.world == 1:
        _fit(surroundings, surroundings.missing(), shown=True)
        return
    missing = control.of_first(surroundings.missing() if control.rank == 0 else None)
    share = missing[control.rank :: control.world]
    do_own_part(lambda: _fit(surroundings, share, shown=control.rank == 0), control)


def _fit(surroundings: Surroundings, names: list[str], *, shown: bool) -> None:
    for name in progress(names, "surrounding information", unit="recording") if shown else names:
        surroundings.fit(name)
