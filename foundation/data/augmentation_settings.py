"""Settings of augmentations; `foundation.data.augmentations` implements them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

from foundation.common.errors import ConfigError
from foundation.common.settings.setting_checks import check_range
from foundation.common.settings.setting_limits import Limited, Share, one_of

# name -> (whether it needs a share, whether it needs a size)
NEEDS = {
    "neuron_dropout": (True, False),
    "unit_subsampling": (True, False),
    "noise": (False, True),
    "pepper": (True, True),
    "temporal_jitter": (False, True),
    "segment_length": (True, False),
    "time_scaling": (False, True),
}


@dataclass(frozen=True)
class Augmentation(Limited):
    """Settings of one augmentation; a list of augmentations is applied in order.

    Args:
        name: ``neuron_dropout`` sets units to 0 (chance ``share`` each; with ``random`` each window draws its chance
            from 0 to ``share``); ``unit_subsampling`` removes units from the window and keeps a share of at least
            ``share``; ``noise`` adds normal noise of standard deviation ``size``; ``pepper`` adds ``size`` to a share
            ``share`` of all bins; ``temporal_jitter`` moves a window by up to ``size`` bins; ``segment_length`` keeps a
            stretch of at least ``share`` of a window's tokens; ``time_scaling`` lets time run up to ``size`` times
            faster or slower.
        chance: share of the windows that are augmented.
        share: see above.
        size: see above.
        random: see above.
        same: use the same draw for all views of a window, so that views do not differ by the augmentation.

    Raises:
        ConfigError: if there is no such augmentation, or a value is invalid.
    """

    name: Annotated[str, one_of(*sorted(NEEDS))]
    chance: Share = 1.0
    share: float | None = None
    size: float | None = None
    random: bool = False
    same: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for key, wanted in zip(("share", "size"), NEEDS[self.name], strict=True):
            value = getattr(self, key)
            if wanted and value is None:
                raise ConfigError(f"{key} of {self.name} is missing: expected a number")
            if not wanted and value is not None:
                raise ConfigError(f"{key} of {self.name} is {value}: expected none; leave it out")
        if self.share is not None and not 0 <= self.share <= 1:
            raise ConfigError(f"share of {self.name} is {self.share}: expected 0 to 1")
        if self.random and self.name != "neuron_dropout":
            raise ConfigError(f"random of {self.name} is true: expected false; only neuron_dropout can be random")
        if self.size is not None:
            least = {"noise": 0.0, "temporal_jitter": 0.0, "time_scaling": 1.0}.get(self.name, -math.inf)
            named: dict[str, Any] = {f"size of {self.name}": self.size}
            check_range(least, **named)
