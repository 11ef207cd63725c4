"""Going on from the newest good checkpoint, in all processes alike."""

from __future__ import annotations

import logging
from typing import Any

from foundation.errors import CheckpointError, FoundationError
from foundation.training.checkpoint import Checkpoints, Content, load_checkpoint
from foundation.training.control import Control

log = logging.getLogger(__name__)


def resume(place: Checkpoints, control: Control, identity: dict[str, Any], engine: Any) -> tuple[int, dict[str, Any]]:
    """Load the newest good checkpoint; all processes call it.

    Returns:
        The number of steps done and the counters saved with them; 0 and nothing where there is no checkpoint.

    Raises:
        CheckpointError: if it belongs to a run with other settings or recordings, if all are damaged, or if what is
            there cannot be read now.
    """
    found: tuple[str, Content] | None = None
    refused: FoundationError | None = None
    if control.rank == 0:  # one process looks, and all take what it found
        try:
            found = place.resumable(identity)
        except FoundationError as error:
            refused = error
        except Exception as error:
            refused = CheckpointError(
                f"the checkpoints in {place.files.name} cannot be read ({type(error).__name__}: {error}): see to it "
                "that they can be, and the same command goes on"
            )
            refused.__cause__ = error
    if control.any(refused is not None)[0]:
        raise refused or FoundationError("the first process refused to go on: its message says why")
    chosen = control.of_first(None if found is None else (found[0], found[1][0]["step"]))
    if chosen is None:
        return 0, {}
    name, steps = chosen
    state = load_checkpoint(place, name, engine, None if found is None else found[1])
    log.info("going on from step %d (%s)", steps, place.where(name))
    return int(steps), state
