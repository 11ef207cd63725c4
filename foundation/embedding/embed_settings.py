"""What `foundation embed` is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from foundation.common.settings.setting_checks import check_local
from foundation.common.settings.setting_limits import Count, Limited, between


@dataclass(frozen=True)
class EmbedSettings(Limited):
    """What `foundation embed` writes: one embedding per unit of every recording.

    Args:
        checkpoint: name, folder or URL of a pretrained model; docs/checkpoints.md says what names there are.
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
    bin_width: Annotated[float, between(0.0001, 3600, "seconds")] = 0.005
    tokens: Count = 32
    max_windows: Count = 64
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_local(output=self.output)
