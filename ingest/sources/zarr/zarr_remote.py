"""A Zarr asset of an archive as a read-only zarr store; entries are fetched on demand."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype


class RemoteZarr(Store):
    """Reads entries of a Zarr asset by key; the most recently used stay in memory, up to a limit.

    Args:
        sizes: key -> bytes of all entries.
        fetch: returns the checked bytes of a key.
        cache: maximum bytes in memory.
        name: for messages.
    """

    supports_writes = False
    supports_deletes = False
    supports_listing = True

    def __init__(self, sizes: Mapping[str, int], fetch: Callable[[str], bytes], cache: int, name: str) -> None:
        super().__init__(read_only=True)
        self._keys = dict(sizes)
        self._fetch, self._room, self.name = fetch, cache, name
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._held = 0
        self._lock = threading.Lock()

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"RemoteZarr({self.name!r})"

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Return the bytes of a key, or None."""
        if key not in self._keys:
            return None
        data = await asyncio.to_thread(self._bytes, key)
        return prototype.buffer.from_bytes(_part(data, byte_range))

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return parts of the bytes of keys."""
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def getsize(self, key: str) -> int:
        """Return the size of an entry."""
        return self._keys[key]

    async def exists(self, key: str) -> bool:
        """Return whether a key exists."""
        return key in self._keys

    async def set(self, key: str, value: Buffer) -> None:
        """Raise: archives are read-only."""
        self._check_writable()

    async def delete(self, key: str) -> None:
        """Raise: archives are read-only."""
        self._check_writable()

    async def list(self) -> AsyncIterator[str]:
        """Return all keys."""
        for key in sorted(self._keys):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield all keys with a prefix."""
        for key in sorted(self._keys):
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names directly below a path."""
        start = prefix.rstrip("/") + "/" if prefix else ""
        names = {key[len(start) :].partition("/")[0] for key in self._keys if key.startswith(start)}
        for name in sorted(names):
            yield name

    def _bytes(self, key: str) -> bytes:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        data = self._fetch(key)
        with self._lock:
            if len(data) <= self._room and key not in self._kept:
                self._kept[key] = data
                self._held += len(data)
                while self._held > self._room:
                    self._held -= len(self._kept.popitem(last=False)[1])
        return data


def _part(data: bytes, wanted: Any) -> bytes:
    if isinstance(wanted, RangeByteRequest):
        return data[wanted.start : wanted.end]
    if isinstance(wanted, OffsetByteRequest):
        return data[wanted.offset :]
    if isinstance(wanted, SuffixByteRequest):
        return data[-wanted.suffix :] if wanted.suffix else b""
    return data
