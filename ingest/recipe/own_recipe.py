"""Recipes in Python, for data that YAML rules cannot describe and that must be computed from a file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from foundation.store import Recording


class OwnRecipe(ABC):
    """Base class of a recipe in Python: rules for columns, tables and series, and a method for everything else.

    The rules read the file first; `amend` then gets the recording and the open file, and returns the recording that is
    stored. ``--recipe mylab.recipes:Class`` (or ``recipes.py:Class``, or an entry point of ``foundation.recipes``)
    ingests with it, in every worker. A file is read again when the Python file of the class changes.

    Attributes:
        extends: the rules: a shipped recipe's name, or a YAML file.

    Example:
        >>> from dataclasses import replace
        >>> import numpy as np
        >>> from foundation.store import Interval, Source, Spikes, Subject, Units
        >>> class Waveforms(OwnRecipe):
        ...     def amend(self, recording, nwb):
        ...         width_N = np.array([0.2, 0.6])  # or from nwb.units["waveform_duration"]
        ...         kind_N = np.where(width_N < 0.4, "narrow", "broad")
        ...         units = Units(recording.n_units, {**recording.units, "cell_type": kind_N})
        ...         return replace(recording, units=units)
        >>> read = Recording(Source("a.nwb", "00"), Subject("m"), "s", Units(2), Interval([0.0], [60.0]),
        ...                  spikes=Spikes.from_trains([[0.1], [0.2]]))
        >>> Waveforms().amend(read, None).units["cell_type"].tolist()
        ['narrow', 'broad']
    """

    extends: str = "default"

    @abstractmethod
    def amend(self, recording: Recording, nwb: Any) -> Recording | None:
        """Return the recording to store, or None to leave the file out.

        Args:
            recording: the recording made by the rules.
            nwb: the open file, a `pynwb.NWBFile`; its data are read on demand.
        """
