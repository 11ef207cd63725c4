"""Below how many seconds the times of spikes mean nothing."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from pynwb import NWBFile

from foundation.store import Spikes
from ingest.nwb.nwb_texts import plain_text
from ingest.nwb.read_log import Notes
from ingest.recipe.pattern_cost import LONGEST_TEXT
from ingest.recipe.recipe_rules import ResolutionRules

# A resolution of so many seconds or more is believed only if no two spikes of a unit lie closer together.
DOUBTFUL = 1.0


def resolution_of(
    nwb: NWBFile, rules: ResolutionRules, notes: Notes, table: Any = None, spikes: Spikes | None = None
) -> float:
    """Return the resolution of a file's spike times in seconds; 0 where it says nothing.

    The recipe's number counts; without one, the coarser of what the session's description and the ``resolution`` of
    ``spike_times`` say. A sampling rate that was written there (30000) is no resolution: numbers of 1 s and more are
    passed over, and counted as ``resolution_ignored``, where spikes of one unit lie closer together.

    Args:
        nwb: the open file.
        rules: the recipe's number and expressions.
        notes: gets what was said of the resolution.
        table, spikes: the units table and its trains, if there is one.
    """
    if rules.seconds is not None:
        return rules.seconds
    stated = getattr(table, "resolution", None)
    stated = float(stated) if isinstance(stated, int | float | np.number) and np.isfinite(stated) else 0.0
    if stated >= DOUBTFUL and spikes is not None and _shortest_interval(spikes) < stated * (1 - 1e-6):
        notes["resolution_ignored"] += 1
        notes.leave("units/spike_times/resolution", f"{stated:g} s: units have spikes that lie closer together")
        stated = 0.0
    return max(_described(plain_text(nwb.session_description), rules), stated)


def _described(text: str, rules: ResolutionRules) -> float:
    for pattern in rules.patterns:
        if found := re.search(pattern, text[:LONGEST_TEXT], re.IGNORECASE):
            groups = found.groupdict()
            return float(groups["s"]) if groups.get("s") else float(groups["ms"]) / 1000.0
    return 0.0


def _shortest_interval(spikes: Spikes) -> float:
    """Seconds between the two nearest spikes of one unit, those at one time set aside; infinity without any."""
    shortest = np.inf
    for unit in range(spikes.n_units):
        steps = np.diff(spikes.train(unit))
        shortest = min(shortest, float(steps[steps > 0].min(initial=np.inf)))
    return shortest
