"""A run that fails is started again, a stated number of times."""

from __future__ import annotations

import logging
import time
from dataclasses import replace

from foundation.errors import ConfigError, FoundationError, RequeueError
from foundation.training.launch import launch
from foundation.training.settings import PretrainSettings

log = logging.getLogger(__name__)


def launch_with_restarts(settings: PretrainSettings, pause: float = 5.0) -> None:
    """Launch a run; where it fails, start it again from its newest good checkpoint, ``restarts`` times at most.

    What cannot get better is not tried again: impossible settings, and a run that was told to stop.

    Args:
        settings: of the run. ``resume: never`` holds for the first start only.
        pause: seconds before the first restart; each further one waits twice as long, up to five minutes.

    Raises:
        FoundationError: the last failure.
    """
    for attempt in range(settings.restarts + 1):
        try:
            return launch(settings if attempt == 0 else replace(settings, resume="auto"), attempt)
        except (ConfigError, RequeueError):
            raise
        except FoundationError as error:
            if attempt == settings.restarts:
                raise
            wait = min(300.0, pause * 2**attempt)
            log.warning("%s", error)
            log.warning("restart %d of %d in %g s", attempt + 1, settings.restarts, wait)
            time.sleep(wait)
