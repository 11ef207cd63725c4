"""Log of what reading a file took and left, with reasons."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hdmf.build.errors import ConstructError

from foundation.common.errors import SourceError, StoreError, UnreachableError
from foundation.common.output.printable import replace_unprintable
from ingest.nwb.file.plain_errors import FILTER, filter_is_missing
from ingest.quality.read_counts import Quality


@dataclass(frozen=True)
class Note:
    """One line about one object of a file.

    Args:
        path: its place in the file, for example ``processing/behavior/Position/hand``.
        text: what it was read as, or why it was left.
    """

    path: str
    text: str


@dataclass(frozen=True)
class Damage:
    """An unreadable part of a file.

    Args:
        path: its place in the file.
        neurodata_type: its type, ``''`` if it has none.
    """

    path: str
    neurodata_type: str


class Notes(Quality):
    """A `Quality` that also lists every object taken or left.

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
        self.damaged: list[Damage] = []

    def take(self, path: str, text: str) -> None:
        """Note what an object of the file is read as."""
        self.taken.append(Note(path, text))

    def leave(self, path: str, why: str, counter: str = "") -> None:
        """Note why an object of the file was left, and count it under ``counter``."""
        self.left.append(Note(path, why))
        if counter:
            self[counter] += 1

    def lose(self, path: str, why: str, neurodata_type: str = "") -> None:
        """Note why a part of the file cannot be read, and count it under ``parts_left_out``."""
        self.leave(path, why.removeprefix(f"{path}: "), "parts_left_out")
        self.damaged.append(Damage(path, neurodata_type))

    def part(self, path: str, neurodata_type: str = "", *, strict: bool = False) -> Part:
        """Note a part of the file as left out if reading it fails inside the ``with`` block, and continue after it.

        Errors that are not the file's fault are raised: out of memory or disk, failed downloads. With ``strict``, so is
        a `SourceError`, as it names what strict refuses.

        Example:
            >>> notes = Notes()
            >>> with notes.part("units/depth"):
            ...     raise ValueError("7 values for 8 rows")
            >>> notes.left, notes.found()
            ([Note(path='units/depth', text='ValueError: 7 values for 8 rows')], {'parts_left_out': 1.0})
        """
        return Part(self, path, neurodata_type, strict)


@dataclass(frozen=True)
class Part:
    """Context of reading one part of a file, see `Notes.part`."""

    notes: Notes
    path: str
    neurodata_type: str
    strict: bool

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        """Note an error of the part and return True; return False for other errors."""
        if error is None or not is_damage(error) or (self.strict and isinstance(error, SourceError)):
            return False
        self.notes.lose(self.path, reason(error), self.neurodata_type)
        return True


def is_damage(error: BaseException) -> bool:
    """Return whether an error is due to a file's content, not to the machine or the connection."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError | StoreError | UnreachableError) or not isinstance(cause, Exception):
            return False
        cause = cause.__cause__ or cause.__context__
    return True


def reason(error: BaseException) -> str:
    """Return a one-line reason for an error in a part of a file.

    Example:
        >>> reason(SourceError("no time stamps")), reason(KeyError("x"))
        ('no time stamps', "KeyError: 'x'")
    """
    if isinstance(error, ConstructError) and len(error.args) == 2:  # its text would list the whole object
        error = SourceError(
            re.sub(r"^Could not construct \w+ object due to: (\w+\.__init__: )?", "", str(error.args[1]))
        )
    text = " ".join(replace_unprintable(str(error), " ").split())[:400]
    if filter_is_missing(error):
        return FILTER
    if isinstance(error, UnicodeDecodeError):
        return f"a text that is not {error.encoding.upper()}"
    return text if isinstance(error, SourceError) else f"{type(error).__name__}: {text}"
