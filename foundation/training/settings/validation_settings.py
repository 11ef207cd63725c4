"""What is measured during training on recordings that are not trained on."""

from __future__ import annotations

from dataclasses import dataclass

from foundation.common.errors import ConfigError


@dataclass(frozen=True)
class ValidationSettings:
    """Validation on held-out recordings: the objective's loss, and a linear probe on frozen embeddings.

    Args:
        every: steps between two validations; 0: none.
        held_out: which recordings are not trained on, as in `foundation catalog --where`: ``subject == 'm3'``.
        steps: steps' worth of windows over which the held-out loss is averaged.
        label: column of the units that a linear probe tells from their embeddings, for example ``cell_type``: fitted
            on units of training recordings, scored on held-out ones; empty: no probe.
        recordings: at most so many recordings on either side of the probe.
        windows: windows averaged per recording.
        bin_width: seconds of a bin for the probe.
        tokens: tokens of the probe's windows.
        patience: stop when ``saving.best`` has not got better in so many validations; 0: never.

    Raises:
        ConfigError: if a value is impossible.
    """

    every: int = 0
    held_out: str = ""
    steps: int = 4
    label: str = ""
    recordings: int = 8
    windows: int = 16
    bin_width: float = 0.005
    tokens: int = 16
    patience: int = 0

    def __post_init__(self) -> None:
        for name in ("every", "patience"):
            if getattr(self, name) < 0:
                raise ConfigError(f"validation.{name} is {getattr(self, name)}: 0 or more")
        for name in ("steps", "recordings", "windows", "tokens"):
            if getattr(self, name) < 1:
                raise ConfigError(f"validation.{name} is {getattr(self, name)}: at least 1")
        if not self.bin_width > 0:
            raise ConfigError(f"validation.bin_width is {self.bin_width}: above 0 seconds")
        if self.every and not self.held_out:
            raise ConfigError("validation.held_out is empty: it says which recordings validation is on")
