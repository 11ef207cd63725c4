"""Going on from the newest good checkpoint, in all processes alike."""

from __future__ import annotations

import logging
from typing import Any

from foundation.errors import FoundationError
from foundation.training.checkpoint import Checkpoints, load_checkpoint
from foundation.training.control import Control

log = logging.getLogger(__name__)


def resume(place: Checkpoints, control: Control, identity: dict[str, Any], engine: Any) -> tuple[int, dict[str, Any]]:
    """Load the newest good checkpoint; all processes call it.

    Returns:
        The number of steps done and the counters saved with them; 0 and nothing where there is no checkpoint.

    Raises:
        CheckpointError: if it belongs to a run with other settings or recordings.
    """
    found: tuple[str, int] | None = None
    refused: FoundationError | None = None
    if control.rank == 0:  # one process looks, and all take what it found
        try:
            found = place.resumable(identity)
        except FoundationError as error:
            refused = error
    if control.any(refused is not None)[0]:
        raise refused or FoundationError("the first process refused to go on: its message says why")
    chosen = control.of_first(found)
    if chosen is None:
        return 0, {}
    name, steps = chosen
    state = load_checkpoint(place, name, engine)
    log.info("going on from step %d (%s)", steps, place.where(name))
    return int(steps), state
