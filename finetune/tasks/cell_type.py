"""Which type a unit is of, predicted from its activity."""

from __future__ import annotations

from finetune.tasks.task import Found, Sources
from finetune.tasks.unit_labels import find_units


def find(sources: Sources) -> Found:
    """All units with a ``cell_type``."""
    return find_units(sources, "cell_type", "Cell type of units")
