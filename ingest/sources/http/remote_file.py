"""One remote file: ranges of its bytes over HTTP or through fsspec, and a seekable view that fetches what is read."""

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
# The entity tag that S3 gives to what was uploaded in parts.
_MULTIPART = re.compile(r'"[0-9a-fA-F]{32}-\d+"')
# Bytes that one request asks for at most, and how many of them may be a guess: blocks that nobody has asked for yet.
LONGEST = 16 << 20
MOST_AHEAD = 4 << 20


class RefusedError(SourceError):
    """A file that its server does not give to us."""


class RemoteBytes(Protocol):
    """A file of known size that gives ranges of its bytes."""

    name: str
    size: int

    @property
    def validator(self) -> str:
        """What is different when the content is: an entity tag or a time of change; ``''`` if nothing is stated."""

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from ``start`` up to ``stop``, tried again where that helps; `SourceError` if nothing does."""

    def pieces(self, start: int) -> tuple[int, Iterator[bytes]]:
        """Bytes from ``start`` to the end over one connection, and where they really begin (0 if ranges are ignored).

        Both the call and the iteration raise `PassingError` when the connection breaks.
        """


class HttpFile:
    """A file behind a URL, or behind the redirect that an archive's API answers with.

    The redirect is followed once and its target kept; when that no longer answers (presigned URLs expire), it is asked
    for again.

    Args:
        url: where it is.
        session: holds the archive's token back from all other hosts.
        name: for messages.
        size: bytes, if that is known; asked for otherwise, by a range, as presigned URLs refuse HEAD.
        etag: the ``dandi-etag`` that the archive states. S3 sends the same value as the entity tag of every answer, so
            content that is not the stated one is refused with the first of them. Empty if none is stated.
    """

    def __init__(self, url: str, session: PatientSession, name: str, size: int | None = None, etag: str = "") -> None:
        self.url, self.session, self.name, self.etag = url, session, name, etag.lower()
        self.tag = self.changed = ""
        self._place: str | None = None
        self.size = self._ask_size() if size is None else size

    @property
    def validator(self) -> str:
        """What is different when the content is."""
        return self.tag or self.changed

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from ``start`` up to ``stop``."""

        def once() -> bytes:
            with self._get(f"bytes={start}-{stop - 1}") as response:
                if response.status_code == 200 and self.size > stop - start:
                    raise SourceError(f"{self.name}: its server gives no ranges; read it with mode download")
                self._check(response, start)
                data = b"".join(_body(response, stop - start))
            if len(data) != stop - start:
                raise PassingError(f"the connection ended after {len(data)} of {stop - start} bytes")
            return data

        return persistently(once, self.name, self.session.access)

    def pieces(self, start: int) -> tuple[int, Iterator[bytes]]:
        """Bytes from ``start`` to the end, and where they really begin."""
        response = self._get(f"bytes={start}-" if start else None)
        begin = start if response.status_code == 206 else 0
        self._check(response, begin)
        return begin, _body(response, self.size - begin)

    def _ask_size(self) -> int:
        def once() -> int:
            with self._get("bytes=0-0") as response:
                total = re.fullmatch(r"bytes [\d*-]+/(\d+)", response.headers.get("Content-Range", ""))
                self._remember(response)
                if total:  # also where the file is empty: 416, and its size
                    return int(total.group(1))
                length = response.headers.get("Content-Length", "")
                if response.status_code == 200 and length.isdigit():
                    return int(length)
                raise SourceError(f"{self.name}: its server does not say how large it is")

        return persistently(once, self.name, self.session.access)

    def _get(self, ranges: str | None) -> requests.Response:
        # Without compression: ranges are of the bytes as they are kept.
        headers = {"Accept-Encoding": "identity"} | ({"Range": ranges} if ranges else {})
        if self.tag:
            headers["If-Match"] = self.tag
        kept = self._place is not None
        response = self._follow(headers)
        if response.status_code in (400, 401, 403, 404, 410) and kept:
            # The target of a redirect is a key that expires.
            response.close()
            self._place = None
            response = self._follow(headers)
        if response.ok or response.status_code == 416:
            return response
        response.close()
        status = response.status_code
        if status in (404, 410):
            raise SourceError(
                f"{self.name}: it is gone from its place ({status}): removed or replaced since it was listed"
            )
        if status == 412:
            raise SourceError(f"{self.name}: it changed while it was read (412)")
        raise RefusedError(f"{self.name}: its server refuses to give it: HTTP {status} {response.reason}")

    def _follow(self, headers: dict[str, str]) -> requests.Response:
        place = self._place or self.url
        for _ in range(REDIRECTS):
            # Where an archive sends us to gets no token of the archive, whatever host it is.
            session = self.session if place == self.url else self.session.bare
            response = session.once("GET", place, headers=headers, stream=True, allow_redirects=False)
            if not response.is_redirect:
                if response.ok:
                    self._place = place
                return response
            response.close()
            place = urljoin(place, response.headers["Location"])
            if not re.match(r"https?://", place):
                raise SourceError(f"{self.name}: it is redirected to {place[:40]!r}, which is not on the web")
        raise SourceError(f"{self.name}: more than {REDIRECTS} redirects")

    def _check(self, response: requests.Response, start: int) -> None:
        """The answer is the part that was asked for, of the content that was asked for."""
        stated = response.headers.get("Content-Range", "")
        if response.status_code in (206, 416):
            found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", stated)
            if not found or int(found.group(1)) != start:
                response.close()
                raise SourceError(f"{self.name}: asked for bytes from {start}, its server answers {stated!r}")
            total = int(found.group(2))
        else:
            length = response.headers.get("Content-Length", "")
            total = int(length) if length.isdigit() else self.size
        if total != self.size:
            response.close()
            raise SourceError(f"{self.name}: it has {total} bytes where {self.size} were stated: it changed")
        if response.headers.get("Content-Encoding", "identity") != "identity":
            response.close()
            raise SourceError(f"{self.name}: its server sends it compressed although it was asked not to")
        self._remember(response)

    def _remember(self, response: requests.Response) -> None:
        tag = response.headers.get("ETag", "")
        found = tag.strip('"').lower()
        if self.etag and _MULTIPART.fullmatch(tag) and found != self.etag:
            response.close()
            raise SourceError(
                f"{self.name}: its storage has content with dandi-etag {found}, but {self.etag} is stated: the "
                "bytes are not the stated ones, and are not used"
            )
        if tag.startswith('"'):  # a weak one says nothing about bytes
            self.tag = self.tag or tag
        self.changed = self.changed or response.headers.get("Last-Modified", "")


class FsspecFile:
    """An object of any file system that fsspec knows.

    Args:
        url: where it is.
        session: its settings bound repetitions.
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
        """What is different when the content is."""
        return self._validator

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from ``start`` up to ``stop``."""

        def once() -> bytes:
            data = bytes(self._call(self._fs.cat_file, self._path, start=start, end=stop))
            METER.count(len(data))
            if len(data) != stop - start:
                raise PassingError(f"{len(data)} bytes came where {stop - start} were asked for")
            return data

        return persistently(once, self.name, self.access)

    def pieces(self, start: int) -> tuple[int, Iterator[bytes]]:
        """Bytes from ``start`` to the end."""
        step = 8 * PIECE
        return start, (self.read(at, min(at + step, self.size)) for at in range(start, self.size, step))

    def _call(self, function: Any, *args: Any, **options: Any) -> Any:
        try:
            return function(*args, **options)
        except (FileNotFoundError, PermissionError) as error:
            raise SourceError(f"{self.name}: {cause_of(error)}") from error
        except (OSError, TimeoutError) as error:
            raise PassingError(cause_of(error)) from error
        except Exception as error:  # each file system's client has errors of its own
            raise SourceError(f"{self.name}: {cause_of(error)}") from error


def _body(response: requests.Response, most: int) -> Iterator[bytes]:
    """The bytes of an answer as they come, so that none is lost when the connection breaks; at most ``most``."""
    try:
        with response:
            while most > 0 and (piece := response.raw.read1(min(PIECE, most), decode_content=False)):
                METER.count(len(piece))
                yield piece
                most -= len(piece)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise PassingError(cause_of(error)) from error


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
