"""What a run does when something goes wrong around it."""

from __future__ import annotations

from dataclasses import dataclass

from foundation.common.errors import ConfigError
from foundation.common.setting_checks import check_range


@dataclass(frozen=True)
class SafetySettings:
    """When a run tries again, when it calls for help, and when it stops.

    Args:
        max_skipped: steps in a row that may be skipped for a loss or gradient that is not finite, or because too
            little was active to compare; one more stops the run.
        retries: how often reading data, and reading or writing a checkpoint, is tried again.
        pause: seconds before the first repetition; each further pause is twice as long.
        watchdog_factor: a step that takes so many times the median writes what every process is doing to the folder
            ``stacks``; 0: never.
        watchdog_seconds: but no step that takes less than this.
        timeout: seconds after which processes give up waiting for one that does not answer.
        joining: seconds after which a process ends at the start of a run if the others are not all there.

    Raises:
        ConfigError: if a value is impossible.
    """

    max_skipped: int = 10
    retries: int = 3
    pause: float = 1.0
    watchdog_factor: float = 20.0
    watchdog_seconds: float = 60.0
    timeout: float = 1800.0
    joining: float = 300.0

    def __post_init__(self) -> None:
        check_range(
            max_skipped=self.max_skipped, retries=self.retries, pause=self.pause, watchdog_factor=self.watchdog_factor
        )
        for name in ("watchdog_seconds", "timeout", "joining"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}: above 0 seconds")
