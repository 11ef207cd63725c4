"""A run that fails is started again, a stated number of times."""

from __future__ import annotations

import logging
import time
from dataclasses import replace

from foundation.common.errors import ConfigError, FoundationError, RequeueError
from foundation.training.checkpoint.place_lock import held_place
from foundation.training.checkpoint.resuming import checkpoints_of, clear
from foundation.training.launch.hosts import check_here
from foundation.training.launch.launch import launch
from foundation.training.pretrain_settings import PretrainSettings
from foundation.training.run_folder import RunFolder

log = logging.getLogger(__name__)


def launch_with_restarts(settings: PretrainSettings, pause: float = 5.0) -> None:
    """Launch a run; where it fails, start it again from its newest good checkpoint, ``restarts`` times at most.

    What cannot get better is not tried again: impossible settings, and a run that was told to stop.

    What ``resume: never`` removes is removed here, once, before the first start: every start then goes on from what
    there is, however early the one before it failed.

    Args:
        settings: of the run.
        pause: seconds before the first restart; each further one waits twice as long, up to five minutes.

    Raises:
        FoundationError: the last failure; at once if another run is writing to the output or the
            place of checkpoints that is to be cleared.
    """
    if settings.resume == "never":
        settings = _cleared(settings)
    for attempt in range(settings.restarts + 1):
        try:
            return launch(settings, attempt)
        except (ConfigError, RequeueError):
            raise
        except FoundationError as error:
            if attempt == settings.restarts:
                raise
            wait = min(300.0, pause * 2**attempt)
            log.warning("%s", error)
            log.warning("restart %d of %d in %g s", attempt + 1, settings.restarts, wait)
            time.sleep(wait)


def _cleared(settings: PretrainSettings) -> PretrainSettings:
    check_here(settings)  # a run that cannot be started here costs no other one
    folder, place = RunFolder(settings.output), checkpoints_of(settings)
    with folder.held(), held_place(place, str(folder.path)):
        clear(folder, place)
    return replace(settings, resume="auto")
