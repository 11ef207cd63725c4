"""Decompress chunks up to their maximum size."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numcodecs

from foundation.common.errors import SourceError

COMPRESSORS = ("blosc", "zstd", "lz4", "zlib", "gzip")
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def expand(codecs: list[dict[str, Any]], raw: bytes, limit: int) -> bytes:
    """Decompress a chunk to at most ``limit`` bytes.

    Args:
        codecs: in order of decoding.
        raw: the chunk.
        limit: maximum bytes of the result; intermediate results may be slightly larger.

    Raises:
        SourceError: if a codec is not supported, the bytes are damaged, or the result would be larger.

    Example:
        >>> expand([{"id": "zlib"}], zlib.compress(b"spikes"), 6)
        b'spikes'
        >>> expand([{"id": "zlib"}], zlib.compress(bytes(10**6)), 1000)
        Traceback (most recent call last):
        ...
        foundation.common.errors.SourceError: a chunk expands to more than the 1000 bytes that it may hold
    """
    for left, codec in zip(range(len(codecs) - 1, -1, -1), codecs, strict=True):
        raw = _expand(codec["id"], raw, limit + left * (4096 + limit // 8))
    if len(raw) > limit:
        raise SourceError(f"a chunk has {len(raw)} bytes: expected at most {limit}")
    return raw


def _expand(name: str, raw: bytes, limit: int) -> bytes:
    if name in ("zlib", "gzip"):
        return _inflate(raw, 31 if name == "gzip" else 15, limit)
    if _stated_size(name, raw) > limit:
        raise SourceError(f"a chunk expands to more than the {limit} bytes that it may hold")
    try:
        return bytes(numcodecs.get_codec({"id": name}).decode(raw))
    except Exception as error:  # each codec raises its own errors
        raise SourceError(f"a chunk is damaged: {name} cannot expand it ({error})") from error


def _inflate(raw: bytes, window: int, limit: int) -> bytes:
    try:
        stream = zlib.decompressobj(window)
        found = stream.decompress(raw, limit + 1)
    except zlib.error as error:
        raise SourceError(f"a chunk is damaged: zlib cannot expand it ({error})") from error
    if len(found) > limit:
        raise SourceError(f"a chunk expands to more than the {limit} bytes that it may hold")
    if not stream.eof:
        raise SourceError("a chunk is damaged: it ends before its data")
    return found


def _stated_size(name: str, raw: bytes) -> int:
    """Return the decompressed size from the chunk's header."""
    try:
        if name == "blosc":
            expanded, _, compressed = struct.unpack_from("<III", raw, 4)
            if compressed != len(raw):
                raise SourceError(f"a chunk is damaged: it states {compressed} bytes and has {len(raw)}")
            return int(expanded)
        if name == "lz4":
            return int(struct.unpack_from("<I", raw)[0])
        if name == "zstd":
            return _zstd_size(raw)
    except (struct.error, IndexError):
        raise SourceError(f"a chunk is damaged: it has no {name} header") from None
    raise SourceError(f"the codec {name!r} cannot be read; these can: {', '.join(COMPRESSORS)}")


def _zstd_size(raw: bytes) -> int:
    """Return the frame content size of a Zstandard frame (RFC 8878, 3.1.1)."""
    if raw[:4] != _ZSTD_MAGIC:
        raise SourceError("a chunk is damaged: it is not a Zstandard frame")
    descriptor = raw[4]
    single, flag, dictionary = descriptor >> 5 & 1, descriptor >> 6, descriptor & 3
    if not single and not flag:
        raise SourceError("a chunk does not state its size after expansion: it is refused")
    start = 5 + (not single) + (0, 1, 2, 4)[dictionary]
    width = (1, 2, 4, 8)[flag]
    field = raw[start : start + width]
    if len(field) < width:
        raise IndexError
    return int.from_bytes(field, "little") + (256 if width == 2 else 0)
