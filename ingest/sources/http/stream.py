"""A remote file as a seekable file: only what is read is fetched, and little of it is kept."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict

from ingest.sources.http.remote_file import RemoteBytes

# Bytes that one request asks for at most, and how many of them may be a guess: blocks that nobody has asked for yet.
LONGEST = 16 << 20
MOST_AHEAD = 4 << 20


class RangeReader(io.RawIOBase):
    """Reads ranges of a remote file, in blocks; the last used blocks stay in memory.

    Blocks that are read together come in one request of up to 16 MiB, or a quarter of the cache. Where reads follow
    each other, a request also brings the next blocks: twice as many each time, up to 4 MiB.

    Args:
        remote: gives the bytes.
        block: bytes of a block.
        cache: bytes that are kept at most.

    Example:
        >>> class Letters:
        ...     name, size, validator = "letters", 26, ""
        ...     def read(self, start, stop):
        ...         return bytes(range(97 + start, 97 + stop))
        >>> file = RangeReader(Letters(), block=4, cache=8)
        >>> file.seek(-3, 2), file.read(), file.seek(2), file.read(5)
        (23, b'xyz', 2, b'cdefg')
    """

    def __init__(self, remote: RemoteBytes, block: int, cache: int) -> None:
        super().__init__()
        self._remote, self._block = remote, block
        self._room = max(1, cache // block)
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._at = 0
        self._most = max(1, min(LONGEST // block, self._room // 4))
        self._most_ahead = max(1, min(MOST_AHEAD // block, self._most))
        self._next, self._ahead = -1, 1
        self._lock = threading.RLock()

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return self._remote.size

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}.get(whence)
        if base is None or base + offset < 0:
            raise ValueError(f"cannot seek to {offset} from {whence}")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill a buffer, or as much of it as the file still holds."""
        with self._lock, memoryview(buffer).cast("B") as view:
            count = max(0, min(len(view), self.size - self._at))
            done = 0
            while done < count:
                index, offset = divmod(self._at + done, self._block)
                last = (self._at + count - 1) // self._block
                piece = self._fetched(index, last)[offset : offset + count - done]
                view[done : done + len(piece)] = piece
                done += len(piece)
            self._at += done
            return done

    def _fetched(self, index: int, last: int) -> bytes:
        """A block; those up to ``last`` are wanted too, and are fetched with it as far as there is room."""
        if index in self._blocks:
            self._blocks.move_to_end(index)
            return self._blocks[index]
        self._ahead = min(2 * self._ahead, self._most_ahead) if index == self._next else 1
        count = min(max(last - index + 1, self._ahead), self._most, -(-self.size // self._block) - index)
        for k in range(1, count):
            if index + k in self._blocks:
                count = k
                break
        start = index * self._block
        data = self._remote.read(start, min(start + count * self._block, self.size))
        self._next = index + count
        for k in range(count):
            self._blocks[index + k] = data[k * self._block : (k + 1) * self._block]
        self._blocks.move_to_end(index)
        while len(self._blocks) > self._room:
            self._blocks.popitem(last=False)
        return data[: self._block]
