"""Which brain region a unit is in, predicted from its activity."""

from __future__ import annotations

from finetune.tasks.task import Found, Sources
from finetune.tasks.unit_labels import find_units


def find(sources: Sources) -> Found:
    """All units with a ``location``."""
    return find_units(sources, "location", "Brain region of units")
