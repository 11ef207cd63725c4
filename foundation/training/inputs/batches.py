"""The batches of a run, with retries while the store does not answer."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from foundation.common.errors import ConfigError
from foundation.common.retry import retried
from foundation.data import Loader, StepBatch
from foundation.training.pretrain_settings import SafetySettings

log = logging.getLogger(__name__)


class Batches:
    """This process's share of the steps ``first`` to ``last - 1``.

    Args:
        loader: loads the batches ahead of time.
        first, last: first step, and the step after the last.
        safety: number of retries.
        together: number of the loader's batches per step.
    """

    def __init__(self, loader: Loader, first: int, last: int, safety: SafetySettings, together: int = 1) -> None:
        self.loader, self.step, self.last, self.safety, self.together = loader, first, last, safety, together
        self.failure: Exception | None = None
        self._ahead: Iterator[StepBatch] | None = None

    def next(self) -> list[StepBatch] | None:
        """Return the next step's batches; None at the end, or if they cannot be read (``failure`` gives the reason).

        Raises:
            ConfigError: if the settings make reading impossible.
        """
        if self.step >= self.last:
            return None
        try:
            batch = retried(
                self._read,
                f"reading the windows of step {self.step}",
                retries=self.safety.retries,
                pause=self.safety.pause,
            )
        except ConfigError:
            raise
        except Exception as error:
            self.failure = error
            return None
        self.step += 1
        return batch

    def close(self) -> None:
        """Stop reading ahead."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and hasattr(ahead, "close"):
            ahead.close()

    def _read(self) -> list[StepBatch]:
        if self._ahead is None:
            self._ahead = self.loader.steps(self.step * self.together, self.last * self.together)
        try:
            return [next(self._ahead) for _ in range(self.together)]
        except Exception:
            self._ahead = None  # an iterator that raised is exhausted
            raise
