"""Which windows of a skipped step are to blame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from foundation.data.batch import WindowBatch
from foundation.data.steps.step import StepWindows
from foundation.objectives.parts.rows import unit_embeddings
from foundation.training.distributed.process_messages import Control

LISTED = 8


@torch.no_grad()
def find_suspects(
    module: Any, views: list[WindowBatch], windows: StepWindows, paths: Sequence[str], control: Control
) -> tuple[str, list[str]]:
    """Windows whose input or embedding is not finite; where there are none, all windows of the step.

    Args:
        module: encoder and objective.
        views: this process's share of the step, on the device.
        windows: what the views were read from.
        paths: of the plan's recordings.
        control: to the other processes; all must call this.

    Returns:
        ``input``, ``embedding`` or ``batch``, and the windows in words.
    """
    # Embeddings first: every process must run the model equally often, whatever the others found.
    bad_embedding = _each(_embeddings(module, view) for view in views)
    bad_input = _each(view.x_BNT for view in views)
    lines = in_words(windows, paths)
    for kind, bad_B in (("input", bad_input), ("embedding", bad_embedding)):
        found = _of_all(control, [line for line, bad in zip(lines, bad_B, strict=True) if bad])
        if found:
            return kind, found
    return all_of(windows, paths, control)


def all_of(windows: StepWindows, paths: Sequence[str], control: Control) -> tuple[str, list[str]]:
    """Return ``batch``, and all windows of the step in words. All processes call it with their shares."""
    return "batch", _of_all(control, in_words(windows, paths))


def in_words(windows: StepWindows, paths: Sequence[str]) -> list[str]:
    """Return a line for each window: which recording, from which second and how long its first view is."""
    first = zip(windows.recordings, windows.start_VB[0], windows.seconds_VB[0], strict=True)
    return [f"{paths[recording]} at {start:.3f} s for {seconds:.3f} s" for recording, start, seconds in first]


def listed(names: list[str]) -> str:
    """The first few, and how many more there are."""
    rest = len(names) - LISTED
    return "; ".join(names[:LISTED]) + (f"; and {rest} more" if rest > 0 else "")


def _of_all(control: Control, names: list[str]) -> list[str]:
    return [name for part in control.of_all(names) for name in part]


def _embeddings(module: Any, view: WindowBatch) -> torch.Tensor:
    training = module.training
    module.eval()
    try:
        return unit_embeddings(module.model, view)
    except (AttributeError, TypeError):  # an encoder that has no embedding of units
        return torch.zeros(len(view), 1)
    finally:
        module.train(training)


def _each(values: Any) -> list[bool]:
    """For each window, whether any of its values in any view is not finite."""
    bad = [~value.flatten(1).isfinite().all(1).cpu() for value in values]
    return torch.stack(bad).any(0).tolist()
