"""What reading a file took, as what; what it left, and why."""

from __future__ import annotations

from dataclasses import dataclass

from ingest.quality import Quality


@dataclass(frozen=True)
class Note:
    """One line about one object of a file.

    Args:
        path: where it lies in the file, for example ``processing/behavior/Position/hand``.
        text: what it became, or why it was left.
    """

    path: str
    text: str


class Notes(Quality):
    """A `Quality` that also knows every object that was taken or left.

    Example:
        >>> notes = Notes()
        >>> notes.take("units/area", "location")
        >>> notes.leave("units/waveforms", "a list in each row", "unit_columns_left_out")
        >>> notes.taken
        [Note(path='units/area', text='location')]
        >>> notes.left[0].text, notes.found()
        ('a list in each row', {'unit_columns_left_out': 1.0})
    """

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[Note] = []
        self.left: list[Note] = []

    def take(self, path: str, text: str) -> None:
        """Say what an object of the file became."""
        self.taken.append(Note(path, text))

    def leave(self, path: str, why: str, counter: str = "") -> None:
        """Say why an object of the file was left, and count it under ``counter``."""
        self.left.append(Note(path, why))
        if counter:
            self[counter] += 1
