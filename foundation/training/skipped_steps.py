"""Steps that did not count: a loss or gradient was not finite, or there was too little to compare."""

from __future__ import annotations

import logging

from foundation.common.errors import FoundationError
from foundation.training.bad_windows import listed
from foundation.training.run_folder import RunFolder

log = logging.getLogger(__name__)
SAID = {"input": "input not finite", "embedding": "embedding not finite", "batch": "all of the step"}


class Skips:
    """Counts them, and stops the run when there are too many in a row.

    Args:
        most: in a row.
    """

    def __init__(self, most: int) -> None:
        self.most, self.total, self.in_row = most, 0, 0
        self.last = "it was before the run went on"

    def add(
        self, step: int, metrics: dict[str, float], kind: str, windows: list[str], folder: RunFolder | None, quiet: str
    ) -> None:
        """Count a skipped step and say which windows are to blame; see `find_suspects`.

        Args:
            step: from 0.
            metrics: of the step.
            kind, windows: what is wrong with which windows.
            folder: where the first process writes it down.
            quiet: why the step could not be compared; empty: it was not finite.

        Raises:
            FoundationError: if it is one too many.
        """
        self.total += 1
        self.in_row += 1
        text = self.last = quiet or f"loss {metrics['loss']}, gradient norm {metrics['gradient_norm']}"
        if folder is not None:
            log.warning("step %d is skipped (%s). Windows (%s): %s", step, text, SAID[kind], listed(windows))
            report = {name: str(metrics[name]) for name in ("loss", "gradient_norm")}
            why = quiet or "loss or gradient not finite"
            folder.add_skipped(step + 1, {"why": why, **report, "suspects": kind, "windows": windows})
        if self.in_row > self.most:
            what, mend = "were not finite", "lower optimizer.learning_rate, or look for bad values with "
            mend += "`foundation catalog --verify`; "
            if quiet:  # which says what to do
                what, mend = "had too little to compare", ""
            raise FoundationError(
                f"{self.in_row} steps in a row up to step {step} {what} ({text}; windows, {SAID[kind]}: "
                f"{listed(windows)}): {mend}all are listed in skipped.jsonl"
            )

    def check_end(self, steps: int) -> None:
        """Refuse the end of a run in which no step counted: its weights are those of its start.

        Args:
            steps: that were done, those before the run went on included.

        Raises:
            FoundationError: if all of them were skipped.
        """
        if self.total >= steps:
            raise FoundationError(
                f"none of {steps} steps counted, so nothing was learned and no model is written; of the last one: "
                f"{self.last}. All are listed in skipped.jsonl: mend what they say, and begin anew with --resume never"
            )
