"""How many bytes of the asset that this process works on have come so far."""

from __future__ import annotations

import io
import threading
from typing import BinaryIO, cast


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
        """Begin anew, with another asset."""
        with self._lock:
            self.bytes = 0

    def count(self, n: int) -> None:
        """Count ``n`` bytes more."""
        with self._lock:
            self.bytes += n


# A process works on one asset at a time.
METER = Meter()


class MeteredFile(io.RawIOBase):
    """A file of this machine whose bytes are counted as they are read.

    Args:
        file: open for reading; it is closed with this one.

    Example:
        >>> METER.reset()
        >>> MeteredFile(io.BytesIO(b"some bytes")).read(4), METER.bytes
        (b'some', 4)
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = cast(io.BufferedReader, file)

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
        count = self._file.readinto(buffer)
        METER.count(count)
        return count

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
