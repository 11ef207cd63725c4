"""Resuming all processes from the newest intact checkpoint."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from foundation.common.errors import CheckpointError, FoundationError
from foundation.training.checkpoint.checkpoint import Checkpoints, Content, load_checkpoint
from foundation.training.distributed.process_messages import Control
from foundation.training.output.run_folder import RunFolder
from foundation.training.pretrain_settings import PretrainSettings

log = logging.getLogger(__name__)
RESTART_COUNTS = ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")  # of torchrun and of Slurm


def checkpoints_of(settings: PretrainSettings) -> Checkpoints:
    """Return the checkpoints of a run."""
    place = settings.saving.place or RunFolder(settings.output).path / "checkpoints"
    return Checkpoints(place, settings.safety.retries, settings.safety.pause)


def hold(stack: ExitStack, folder: RunFolder, place: Checkpoints, control: Control) -> None:
    """Lock a run's folder and the place of its checkpoints until the stack closes; all processes call it.

    Raises:
        FoundationError: in all processes, if another run writes to either.
    """
    refused: FoundationError | None = None
    if control.rank == 0:
        try:
            stack.enter_context(folder.held())
            stack.enter_context(place.held(str(folder.path)))
        except FoundationError as error:
            refused = error
        except Exception as error:
            refused = _unreadable(place, error)
    if control.any(refused is not None)[0]:
        raise refused or FoundationError("the first process could not start: see its message")


def clear(folder: RunFolder, place: Checkpoints) -> None:
    """Remove the files of earlier runs, so that the next one starts from step 0. The folder must be locked."""
    for name in [*place.names(), *place.unfinished()]:
        place.remove(name)
    folder.clear()


def never_once(settings: PretrainSettings) -> PretrainSettings:
    """Return the settings for this start: ``resume: never`` does not apply to restarts by torchrun or Slurm.

    Example:
        >>> settings = PretrainSettings(store="s", output="o", resume="never")
        >>> never_once(settings).resume
        'never'
    """
    again = next((name for name in RESTART_COUNTS if os.environ.get(name, "").strip() not in ("", "0")), "")
    if settings.resume != "never" or not again:
        return settings
    log.info("resume is never, but %s is %s: resuming, as this is a restart", again, os.environ[again])
    return replace(settings, resume="auto")


def resume(place: Checkpoints, control: Control, identity: dict[str, Any], engine: Any) -> tuple[int, dict[str, Any]]:
    """Load the newest intact checkpoint; all processes call it.

    Returns:
        The number of steps done and the counters saved with them; 0 and no counters without a checkpoint.

    Raises:
        CheckpointError: if the checkpoint belongs to a run with other settings or recordings, all are damaged, or the
    place is unreadable.
    """
    found: tuple[str, Content] | None = None
    refused: FoundationError | None = None
    if control.rank == 0:  # one process chooses the checkpoint for all
        try:
            found = place.resumable(identity)
        except FoundationError as error:
            refused = error
        except Exception as error:
            refused = _unreadable(place, error)
    if control.any(refused is not None)[0]:
        raise refused or FoundationError("the first process could not resume: see its message")
    chosen = control.of_first(None if found is None else (found[0], found[1][0]["step"]))
    if chosen is None:
        return 0, {}
    name, steps = chosen
    state = load_checkpoint(place, name, engine, None if found is None else found[1])
    log.info("resuming from step %d (%s)", steps, place.where(name))
    return int(steps), state


def _unreadable(place: Checkpoints, error: Exception) -> CheckpointError:
    refused = CheckpointError(
        f"the checkpoints in {place.files.name} cannot be read ({type(error).__name__}: {error}): make "
        "them readable, and run the same command again to resume"
    )
    refused.__cause__ = error
    return refused
