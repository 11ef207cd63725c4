"""Where checkpoints are kept, which of them, and how often what fails is tried again."""

from __future__ import annotations

from dataclasses import dataclass

from foundation.common.errors import ConfigError
from foundation.common.setting_checks import check_range


@dataclass(frozen=True)
class SavingSettings:
    """How checkpoints are written and which are kept besides the newest ones (``keep_checkpoints``).

    Args:
        place: a folder or fsspec URL (``s3://...``) that all machines share; null: ``checkpoints`` in the output.
        asynchronous: a thread writes while training goes on; training waits only while the state is copied.
        keep_hours: keep one checkpoint for each so many hours; 0: none.
        best: a metric such as ``validation/loss``: the checkpoint where it was best is kept; empty: none.
        highest: the best value of that metric is the highest, not the lowest.
        patience: seconds to wait for the other processes' parts of a checkpoint.

    Raises:
        ConfigError: if a value is impossible.
    """

    place: str | None = None
    asynchronous: bool = True
    keep_hours: float = 0.0
    best: str = ""
    highest: bool = False
    patience: float = 600.0

    def __post_init__(self) -> None:
        check_range(keep_hours=self.keep_hours)
        if not self.patience > 0:
            raise ConfigError(f"patience is {self.patience}: above 0 seconds")
