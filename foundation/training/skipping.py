"""Steps that did not count, because a loss or gradient was not finite."""

from __future__ import annotations

import logging

from foundation.errors import FoundationError
from foundation.training.run_folder import RunFolder
from foundation.training.suspects import listed

log = logging.getLogger(__name__)
SAID = {"input": "input not finite", "embedding": "embedding not finite", "batch": "all of the step"}


class Skips:
    """Counts them, and stops the run when there are too many in a row.

    Args:
        most: in a row.
    """

    def __init__(self, most: int) -> None:
        self.most, self.total, self.in_row = most, 0, 0

    def add(
        self, step: int, metrics: dict[str, float], kind: str, windows: list[str], folder: RunFolder | None
    ) -> None:
        """Count a skipped step and say which windows are to blame; see `find_suspects`.

        Args:
            step: from 0.
            metrics: of the step.
            kind, windows: what is wrong with which windows.
            folder: where the first process writes it down.

        Raises:
            FoundationError: if it is one too many.
        """
        self.total += 1
        self.in_row += 1
        text = f"loss {metrics['loss']}, gradient norm {metrics['gradient_norm']}"
        if folder is not None:
            log.warning("step %d is skipped (%s). Windows (%s): %s", step, text, SAID[kind], listed(windows))
            report = {"loss": str(metrics["loss"]), "gradient_norm": str(metrics["gradient_norm"])}
            folder.add_skipped(step + 1, {**report, "suspects": kind, "windows": windows})
        if self.in_row > self.most:
            raise FoundationError(
                f"{self.in_row} steps in a row up to step {step} were not finite ({text}; windows, {SAID[kind]}: "
                f"{listed(windows)}): lower optimizer.learning_rate, or look for bad values with "
                "`foundation catalog --verify`; all are listed in skipped.jsonl"
            )
