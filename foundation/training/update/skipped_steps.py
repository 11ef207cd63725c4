"""Skipped steps, whose loss or gradient is not finite or which have too few active units, and their windows."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch

from foundation.common.errors import FoundationError
from foundation.data.batch import WindowBatch
from foundation.data.steps.step import StepWindows
from foundation.objectives.parts.rows import population_embeddings, unit_embeddings
from foundation.training.distributed.process_messages import Control
from foundation.training.output.run_folder import RunFolder

log = logging.getLogger(__name__)
LISTED = 8
KINDS = {"input": "input not finite", "embedding": "embedding not finite", "batch": "all of the step"}


class Skips:
    """Counts skipped steps, and stops the run when there are too many in a row.

    Args:
        max_in_row: most steps that may be skipped in a row.
    """

    def __init__(self, max_in_row: int) -> None:
        self.max_in_row, self.total, self.in_row = max_in_row, 0, 0
        self.last = "it was skipped before the run was resumed"

    def add(
        self, step: int, metrics: dict[str, float], kind: str, windows: list[str], folder: RunFolder | None, quiet: str
    ) -> None:
        """Count a skipped step and report its bad windows; see `find_suspects`.

        Args:
            step: number of the step, from 0.
            metrics: metrics of the step.
            kind, windows: the problem, and the bad windows.
            folder: folder in which the first process records the step.
            quiet: why the step had too little to compare; empty: it was not finite.

        Raises:
            FoundationError: if too many steps in a row were skipped.
        """
        self.total += 1
        self.in_row += 1
        text = self.last = quiet or f"loss {metrics['loss']}, gradient norm {metrics['gradient_norm']}"
        if folder is not None:
            log.warning("step %d is skipped (%s). Windows (%s): %s", step, text, KINDS[kind], listed(windows))
            report = {name: str(metrics[name]) for name in ("loss", "gradient_norm")}
            why = quiet or "loss or gradient not finite"
            folder.add_skipped(step + 1, {"why": why, **report, "suspects": kind, "windows": windows})
        if self.in_row > self.max_in_row:
            what, mend = "were not finite", "lower optimizer.learning_rate, or look for bad values with "
            mend += "`foundation catalog --verify`; "
            if quiet:  # the text says what to do
                what, mend = "had too little to compare", ""
            raise FoundationError(
                f"{self.in_row} steps in a row up to step {step} {what} ({text}; windows, {KINDS[kind]}: "
                f"{listed(windows)}): {mend}all are listed in skipped.jsonl"
            )

    def check_end(self, steps: int) -> None:
        """Raise if all steps of a run were skipped, since its weights are the initial ones.

        Args:
            steps: number of steps, including those before the run was resumed.

        Raises:
            FoundationError: if all steps were skipped.
        """
        if self.total >= steps:
            raise FoundationError(
                f"none of {steps} steps counted, so nothing was learned and no model is written; of the last one: "
                f"{self.last}. All are listed in skipped.jsonl: fix the causes, and start again with --resume never"
            )


@torch.no_grad()
def find_suspects(
    module: Any,
    views: Sequence[list[WindowBatch]],
    windows: Sequence[StepWindows],
    paths: Sequence[str],
    control: Control,
) -> tuple[str, list[str]]:
    """Return the windows with input or embeddings that are not finite; if all are finite, all windows of the step.

    Args:
        module: encoder and objective.
        views: this process's share of the step for each set of objectives that share windows, on the device.
        windows: the windows of the views.
        paths: paths of the plan's recordings.
        control: messages to the other processes; all must call this.

    Returns:
        ``input``, ``embedding`` or ``batch``, and the windows in words.
    """
    # Embeddings first, so that every process runs the model equally often.
    bad_embedding, bad_input, lines = list[bool](), list[bool](), list[str]()
    for (_, objective), some, read in zip(module.objective.sharing, views, windows, strict=True):
        bad_embedding += _each(_embeddings(module, view, objective.stream) for view in some)
        bad_input += _each(view.x_BNT for view in some)
        lines += in_words(read, paths)
    for kind, bad_B in (("input", bad_input), ("embedding", bad_embedding)):
        found = _of_all(control, [line for line, bad in zip(lines, bad_B, strict=True) if bad])
        if found:
            return kind, found
    return all_of(windows, paths, control)


def all_of(windows: Sequence[StepWindows], paths: Sequence[str], control: Control) -> tuple[str, list[str]]:
    """Return ``batch``, and all windows of the step in words. All processes call it with their shares."""
    return "batch", _of_all(control, [line for read in windows for line in in_words(read, paths)])


def in_words(windows: StepWindows, paths: Sequence[str]) -> list[str]:
    """Return a line for each window: recording, start and length of its first view."""
    first = zip(windows.recordings, windows.start_VB[0], windows.seconds_VB[0], strict=True)
    return [f"{paths[recording]} at {start:.3f} s for {seconds:.3f} s" for recording, start, seconds in first]


def listed(names: list[str]) -> str:
    """Return the first few names, and how many more there are."""
    rest = len(names) - LISTED
    return "; ".join(names[:LISTED]) + (f"; and {rest} more" if rest > 0 else "")


def _of_all(control: Control, names: list[str]) -> list[str]:
    return [name for part in control.of_all(names) for name in part]


def _embeddings(module: Any, view: WindowBatch, stream: str) -> torch.Tensor:
    training = module.training
    module.eval()
    try:
        if stream == "population" and view.population_row_BN is not None:
            return population_embeddings(module.model, view)
        return unit_embeddings(module.model, view)
    except (AttributeError, TypeError):  # an encoder without unit embeddings
        return torch.zeros(len(view), 1)
    finally:
        module.train(training)


def _each(values: Any) -> list[bool]:
    """Return for each window True if any of its values in any view is not finite."""
    bad = [~value.flatten(1).isfinite().all(1).cpu() for value in values]
    return torch.stack(bad).any(0).tolist()
