"""A file that remembers that its bytes could not be had."""

from __future__ import annotations

import io
from typing import BinaryIO

from foundation.common.errors import UnreachableError


class WatchedFile(io.RawIOBase):
    """A view of a binary file for h5py, which may hide the error with which reading failed.

    After a failure every further read fails at once, so that an outage is not waited for again and again, nor taken for
    damage of the file.

    Args:
        file: open and seekable; it is left open.

    Example:
        >>> file = WatchedFile(io.BytesIO(b"bytes"))
        >>> file.read(3), file.refuse_failure()
        (b'byt', None)
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self._failure: Exception | None = None

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._file.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte."""
        return self._file.seek(offset, whence)

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill a buffer, or as much of it as the file still holds."""
        self.refuse_failure()
        try:
            if hasattr(self._file, "readinto"):
                return int(self._file.readinto(buffer))
            data = self._file.read(len(buffer))
            buffer[: len(data)] = data
            return len(data)
        except Exception as error:  # each file system has its own errors
            self._failure = error
            raise

    def refuse_failure(self) -> None:
        """Raise if the file could not be read once.

        Raises:
            UnreachableError: with the first failure's message.
        """
        if self._failure is not None:
            raise UnreachableError(str(self._failure)) from self._failure
