"""The batches of a run, one after another; a store that does not answer is asked again."""

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
        loader: reads them, ahead of time.
        first, last: steps.
        safety: how often reading is tried again.
        together: batches of the loader that make one step.
    """

    def __init__(self, loader: Loader, first: int, last: int, safety: SafetySettings, together: int = 1) -> None:
        self.loader, self.step, self.last, self.safety, self.together = loader, first, last, safety, together
        self.failure: Exception | None = None
        self._ahead: Iterator[StepBatch] | None = None

    def next(self) -> list[StepBatch] | None:
        """The next step's batches; None at the end, or where it cannot be read (``failure`` says why).

        Raises:
            ConfigError: if what is asked for can never be read.
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
            self._ahead = None  # an iterator that raised is at its end
            raise
