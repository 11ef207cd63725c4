"""What `foundation embed` is told."""

from __future__ import annotations

from dataclasses import dataclass

from foundation.common.errors import ConfigError
from foundation.common.settings.setting_checks import check_local


@dataclass(frozen=True)
class EmbedSettings:
    """What `foundation embed` writes: one embedding per unit of every recording.

    Args:
        checkpoint: folder or URL of a pretrained model.
        store: the recordings.
        output: a local folder for one .npz per recording; null: the store itself, under derived/ (see `Derived`).
        bin_width: seconds of a bin.
        tokens: tokens of a window.
        max_windows: windows averaged per recording.
        seed: of the choice of windows.

    Raises:
        ConfigError: if a value is impossible.
    """

    checkpoint: str
    store: str
    output: str | None = None
    bin_width: float = 0.005
    tokens: int = 32
    max_windows: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1e-4 <= self.bin_width <= 3600:
            raise ConfigError(f"bin_width is {self.bin_width}: from 0.0001 to 3600 seconds")
        for name in ("tokens", "max_windows"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}: at least 1")
        check_local(output=self.output)
