"""One remote file: ranges of its bytes over HTTP or through fsspec, and a seekable view that fetches them on demand."""

from __future__ import annotations

import io
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Protocol
from urllib.parse import urljoin

import fsspec
import requests
import urllib3

from foundation.common.errors import SourceError
from ingest.nwb.file.watched_file import METER
from ingest.sources.http.http_session import PatientSession
from ingest.sources.source_retry import PassingError, cause_of, persistently

PIECE = 1 << 20
REDIRECTS = 5
# The entity tag of S3 for a multipart upload.
_MULTIPART = re.compile(r'"[0-9a-fA-F]{32}-\d+"')
# Maximum bytes of one request, and of read-ahead in it.
LONGEST = 16 << 20
MOST_AHEAD = 4 << 20


class RefusedError(SourceError):
    """The server refuses access to a file."""


class RemoteBytes(Protocol):
    """A file of known size whose bytes can be read in ranges."""

    name: str
    size: int

    @property
    def validator(self) -> str:
        """A value that changes with the content: an ETag or a modification time; ``''`` if the server states none."""

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` to ``stop``, with retries; raise `SourceError` when they are used up."""

    def pieces(self, start: int) -> tuple[int, Iterator[bytes]]:
        """Return the bytes from ``start`` on over one connection, and their offset (0 if ranges are ignored).

        Both the call and the iteration raise `PassingError` when the connection breaks.
        """


class HttpFile:
    """A file at a URL, or at the target of an archive's redirect.

    The redirect is followed once and its target kept; when the target expires (presigned URLs do), it is resolved
    again.

    Args:
        url: the file or the redirect.
        session: sends the archive's token to that archive only.
        name: for messages.
        size: bytes, if known; otherwise requested by a range, as presigned URLs refuse HEAD.
        etag: the archive's ``dandi-etag``, empty if unknown. S3 sends the same value as the ETag of every answer, so
            the first answer already shows whether the content differs.
    """

    def __init__(self, url: str, session: PatientSession, name: str, size: int | None = None, etag: str = "") -> None:
        self.url, self.session, self.name, self.etag = url, session, name, etag.lower()
        self.tag = self.changed = ""
        self._place: str | None = None
        self.size = self._ask_size() if size is None else size

    @property
    def validator(self) -> str:
        """A value that changes with the content."""
        return self.tag or self.changed

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` to ``stop``."""

        def once() -> bytes:
            with self._get(f"bytes={start}-{stop - 1}") as response:
                if response.status_code == 200 and self.size > stop - start:
                    raise SourceError(f"{self.name}: the server does not support ranges; set access.mode to download")
                self._check(response, start)
                data = b"".join(_body(response, stop - start))
            if len(data) != stop - start:
                raise PassingError(f"the connection ended after {len(data)} of {stop - start} bytes")
            return data

        return persistently(once, self.name, self.session.access)

    def pieces(self, start: int) -> tuple[int, Iterator[bytes]]:
        """Return the bytes from ``start`` on, and their offset."""
        response = self._get(f"bytes={start}-" if start else None)
        begin = start if response.status_code == 206 else 0
        self._check(response, begin)
        return begin, _body(response, self.size - begin)

    def _ask_size(self) -> int:
        def once() -> int:
            with self._get("bytes=0-0") as response:
                total = re.fullmatch(r"bytes [\d*-]+/(\d+)", response.headers.get("Content-Range", ""))
                self._remember(response)
                if total:  # also for an empty file: 416 with its size
                    return int(total.group(1))
                length = response.headers.get("Content-Length", "")
                if response.status_code == 200 and length.isdigit():
                    return int(length)
                raise SourceError(f"{self.name}: the server does not state its size")

        return persistently(once, self.name, self.session.access)

    def _get(self, ranges: str | None) -> requests.Response:
        # Without compression: ranges count stored bytes.
        headers = {"Accept-Encoding": "identity"} | ({"Range": ranges} if ranges else {})
        if self.tag:
            headers["If-Match"] = self.tag
        kept = self._place is not None
        response = self._follow(headers)
        if response.status_code in (400, 401, 403, 404, 410) and kept:
            # The target of a redirect is a presigned URL that expires.
            response.close()
            self._place = None
            response = self._follow(headers)
        if response.ok or response.status_code == 416:
            return response
        response.close()
        status = response.status_code
        if status in (404, 410):
            raise SourceError(f"{self.name}: not found ({status}): removed or replaced since it was listed")
        if status == 412:
            raise SourceError(f"{self.name}: it changed while being read (412); run again")
        raise RefusedError(f"{self.name}: the server refuses access: HTTP {status} {response.reason}")

    def _follow(self, headers: dict[str, str]) -> requests.Response:
        place = self._place or self.url
        for _ in range(REDIRECTS):
            # The target of a redirect never gets the archive's token.
            session = self.session if place == self.url else self.session.bare
            response = session.once("GET", place, headers=headers, stream=True, allow_redirects=False)
            if not response.is_redirect:
                if response.ok:
                    self._place = place
                return response
            response.close()
            place = urljoin(place, response.headers["Location"])
            if not re.match(r"https?://", place):
                raise SourceError(f"{self.name}: redirects to {place[:40]!r}: expected an http(s) URL")
        raise SourceError(f"{self.name}: more than {REDIRECTS} redirects")

    def _check(self, response: requests.Response, start: int) -> None:
        """Raise unless the answer holds the requested range of the expected content."""
        stated = response.headers.get("Content-Range", "")
        if response.status_code in (206, 416):
            found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", stated)
            if not found or int(found.group(1)) != start:
                response.close()
                raise SourceError(f"{self.name}: requested bytes from {start}, the server answered {stated!r}")
            total = int(found.group(2))
        else:
            length = response.headers.get("Content-Length", "")
            total = int(length) if length.isdigit() else self.size
        if total != self.size:
            response.close()
            raise SourceError(
                f"{self.name}: size is {total} bytes: expected {self.size}; it changed since it was listed"
            )
        if response.headers.get("Content-Encoding", "identity") != "identity":
            response.close()
            raise SourceError(f"{self.name}: the server compresses it although the request forbids that")
        self._remember(response)

    def _remember(self, response: requests.Response) -> None:
        tag = response.headers.get("ETag", "")
        found = tag.strip('"').lower()
        if self.etag and _MULTIPART.fullmatch(tag) and found != self.etag:
            response.close()
            raise SourceError(
                f"{self.name}: dandi-etag is {found}: expected {self.etag}, the archive's digest; the "
                "content was discarded"
            )
        if tag.startswith('"'):  # a weak ETag does not identify bytes
            self.tag = self.tag or tag
        self.changed = self.changed or response.headers.get("Last-Modified", "")


class FsspecFile:
    """An object on any fsspec file system.

    Args:
        url: of the object.
        session: holds the retry settings.
        name: for messages.
    """

    def __init__(self, url: str, session: PatientSession, name: str) -> None:
        self.name, self.access = name, session.access
        try:
            self._fs, self._path = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError, OSError) as error:
            raise SourceError(f"{name}: cannot be opened: {error}") from error
        info: dict[str, Any] = persistently(lambda: self._call(self._fs.info, self._path), name, self.access)
        self.size = int(info.get("size") or 0)
        keys = ("ETag", "etag", "LastModified", "mtime", "created")
        self._validator = next((str(info[key]) for key in keys if info.get(key)), "")

    @property
    def validator(self) -> str:
        """A value that changes with the content."""
        return self._validator

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` to ``stop``."""

        def once() -> bytes:
            data = bytes(self._call(self._fs.cat_file, self._path, start=start, end=stop))
            METER.count(len(data))
            if len(data) != stop - start:
                raise PassingError(f"{len(data)} of {stop - start} bytes came")
            return data

        return persistently(once, self.name, self.access)

    def pieces(self, start: int) -> tuple[int, Iterator[bytes]]:
        """Return the bytes from ``start`` on."""
        step = 8 * PIECE
        return start, (self.read(at, min(at + step, self.size)) for at in range(start, self.size, step))

    def _call(self, function: Any, *args: Any, **options: Any) -> Any:
        try:
            return function(*args, **options)
        except (FileNotFoundError, PermissionError) as error:
            raise SourceError(f"{self.name}: {cause_of(error)}") from error
        except (OSError, TimeoutError) as error:
            raise PassingError(cause_of(error)) from error
        except Exception as error:  # each file system's client raises its own errors
            raise SourceError(f"{self.name}: {cause_of(error)}") from error


def _body(response: requests.Response, most: int) -> Iterator[bytes]:
    """Yield at most ``most`` bytes of an answer as they arrive, so that a broken connection loses none."""
    try:
        with response:
            while most > 0 and (piece := response.raw.read1(min(PIECE, most), decode_content=False)):
                METER.count(len(piece))
                yield piece
                most -= len(piece)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise PassingError(cause_of(error)) from error


class RangeReader(io.RawIOBase):
    """A seekable view of a remote file, read in blocks; the most recently used blocks stay in memory.

    Adjacent blocks are fetched in one request of up to 16 MiB, or a quarter of the cache. Sequential reads also fetch
    the next blocks: twice as many each time, up to 4 MiB.

    Args:
        remote: the remote file.
        block: bytes per block.
        cache: maximum bytes in memory.

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
        """Size of the file in bytes."""
        return self._remote.size

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Return the position of the next read."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}.get(whence)
        if base is None or base + offset < 0:
            raise ValueError(f"cannot seek to {offset} from {whence}")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill a buffer as far as the file reaches."""
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
        """Return a block; blocks up to ``last`` are fetched with it as far as the cache allows."""
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
