"""The bytes of one remote file, by ranges: over HTTP, or through fsspec."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Protocol
from urllib.parse import urljoin

import fsspec
import requests
import urllib3

from foundation.common.errors import SourceError
from ingest.sources.http.byte_meter import METER
from ingest.sources.http.http_session import PatientSession
from ingest.sources.source_retry import PassingError, cause_of, persistently

PIECE = 1 << 20
REDIRECTS = 5
# The entity tag that S3 gives to what was uploaded in parts.
_MULTIPART = re.compile(r'"[0-9a-fA-F]{32}-\d+"')


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
