"""Retention: which checkpoints are kept, and the removal of the others."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from foundation.training.checkpoint.checkpoint import DAMAGE, Checkpoints
from foundation.training.pretrain_settings import PretrainSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Saved:
    """The properties of a checkpoint that decide its retention.

    Args:
        name: name of its folder.
        step: steps done.
        time: seconds since 1970 when it was saved.
        metric: value of the metric that chooses the best; NaN if it was not measured.
    """

    name: str
    step: int
    time: float
    metric: float = math.nan


def to_keep(saved: list[Saved], *, newest: int, hours: float = 0.0, highest: bool = False) -> set[str]:
    """Return the names of the checkpoints to keep.

    Args:
        saved: all checkpoints, in any order.
        newest: number of newest checkpoints to keep.
        hours: also keep one for each period of this many hours, counted from the oldest; 0: none.
        highest: the best metric is the highest, not the lowest; the best is kept if any was measured.

    Example:
        >>> saved = [Saved(f"s{k}", k, 3600.0 * k, metric=abs(k - 3.0)) for k in range(9)]
        >>> sorted(to_keep(saved, newest=2, hours=4.0))
        ['s0', 's3', 's4', 's7', 's8']
    """
    in_order = sorted(saved, key=lambda s: s.step)
    kept = {s.name for s in in_order[-newest:]}
    last = -math.inf
    for s in in_order:
        if hours and s.time - last >= hours * 3600:
            kept.add(s.name)
            last = s.time
    measured = [s for s in in_order if not math.isnan(s.metric)]
    if measured:
        kept.add((max if highest else min)(measured, key=lambda s: s.metric).name)
    return kept


class Rotation:
    """Removes checkpoints that retention does not keep.

    A failed removal is logged and retried after the next checkpoint; it does not stop the run. Damaged checkpoints
    (`Checkpoints.damaged`) do not count as kept, and are removed once there is a newer checkpoint.

    Args:
        place: the run's checkpoints.
        settings: settings of the run.
    """

    def __init__(self, place: Checkpoints, settings: PretrainSettings) -> None:
        self.place, self.settings = place, settings
        self._unwanted: set[str] = set()

    def rotate(self, *left: str) -> None:
        """Remove the checkpoints that are not kept, and the files ``left`` over from saving."""
        self._unwanted |= {*left}
        self._attempt(self._look, f"choosing the checkpoints to keep in {self.place.files.name}")
        for name in sorted(self._unwanted):
            what = f"removing {self.place.where(name)}"
            if self._attempt(partial(self.place.sure, partial(self.place.remove, name), what), what):
                self._unwanted.discard(name)

    def _look(self) -> None:
        saving = self.settings.saving
        saved = []
        for name in self.place.sure(self.place.names, f"listing {self.place.files.name}"):
            if name in self.place.damaged:
                continue
            try:
                manifest = self.place.manifest(name)
            except DAMAGE as error:
                log.warning("%s is damaged and could not be removed: %s", self.place.where(name), error)
                continue
            metric = manifest["state"].get("metrics", {}).get(saving.best, math.nan) if saving.best else math.nan
            saved.append(Saved(name, manifest["step"], manifest["time"], metric))
        keep = to_keep(saved, newest=self.settings.keep_checkpoints, hours=saving.keep_hours, highest=saving.highest)
        self._unwanted |= {s.name for s in saved} - keep
        self._unwanted |= {name for name in self.place.damaged if name < max(keep, default="")}

    def _attempt(self, action: Callable[[], None], what: str) -> bool:
        try:
            action()
        except Exception as error:
            log.warning("%s failed (%s: %s): retrying after the next checkpoint", what, type(error).__name__, error)
            return False
        return True
