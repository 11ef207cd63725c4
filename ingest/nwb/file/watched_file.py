"""A binary file that remembers read failures, and a counter of the bytes read by a process."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import BinaryIO

from foundation.common.errors import UnreachableError


class WatchedFile(io.RawIOBase):
    """A view of a binary file that keeps read errors, which h5py may hide.

    After a failure every further read fails at once, so that an outage is neither waited for repeatedly nor mistaken
    for a damaged file.

    Args:
        file: open and seekable.
        count: called with the number of bytes of each read.
        closes: close the file with this view; otherwise it is left open.

    Example:
        >>> sizes = []
        >>> file = WatchedFile(io.BytesIO(b"bytes"), count=sizes.append)
        >>> file.read(3), sizes, file.refuse_failure()
        (b'byt', [3], None)
    """

    def __init__(self, file: BinaryIO, *, count: Callable[[int], None] | None = None, closes: bool = False) -> None:
        super().__init__()
        self._file, self._count, self._closes = file, count, closes
        self._failure: Exception | None = None

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the read position."""
        return self._file.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position."""
        return self._file.seek(offset, whence)

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill a buffer as far as the file reaches."""
        self.refuse_failure()
        try:
            n_bytes = self._read_into(buffer)
        except Exception as error:  # each file system raises its own errors
            self._failure = error
            raise
        if self._count is not None:
            self._count(n_bytes)
        return n_bytes

    def _read_into(self, buffer: bytearray | memoryview) -> int:
        if hasattr(self._file, "readinto"):
            return int(self._file.readinto(buffer))
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def refuse_failure(self) -> None:
        """Raise if any read has failed.

        Raises:
            UnreachableError: with the first failure's message.
        """
        if self._failure is not None:
            raise UnreachableError(str(self._failure)) from self._failure

    def close(self) -> None:
        """Close the view, and the file if the view owns it."""
        if self._closes:
            self._file.close()
        super().close()


class Meter:
    """Counts bytes, from any thread.

    Example:
        >>> meter = Meter()
        >>> meter.count(3), meter.count(4), meter.bytes
        (None, None, 7)
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._lock = threading.Lock()

    def reset(self) -> None:
        """Reset the counter for another asset."""
        with self._lock:
            self.bytes = 0

    def count(self, n: int) -> None:
        """Add ``n`` bytes."""
        with self._lock:
            self.bytes += n


# A process works on one asset at a time.
METER = Meter()
