"""Whether bytes are those that an archive states."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from foundation.common.errors import SourceError

BLOCK = 1 << 22


def check_file(path: Path, digests: dict[str, str], name: str) -> None:
    """Check a file against every digest that is stated and known: ``sha2-256``, ``dandi-etag``, ``md5``.

    Raises:
        SourceError: if one differs; it names both.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "x"
        >>> _ = path.write_bytes(b"abc")
        >>> check_file(path, {"dandi-etag": "af5da9f45af7a300e3aded972f8ff687-1"}, "x")
    """
    size = path.stat().st_size
    known = {kind: make(size) for kind, make in _MAKERS.items() if kind in digests}
    with path.open("rb") as file:
        while known and (block := file.read(BLOCK)):
            for digest in known.values():
                digest.update(block)
    for kind, digest in known.items():
        found = digest.hexdigest() if size or kind != "dandi-etag" else EMPTY_ETAG
        if found != digests[kind].lower():
            raise SourceError(
                f"{name}: its {kind} is {found}, but {digests[kind]} is stated: the bytes are not the stated ones, and "
                "are not used"
            )


def _etag(size: int) -> Any:
    from dandischema.digests.dandietag import ETagHashlike

    return ETagHashlike(size)


# The etag of nothing, as S3 gives it for an upload of one empty part.
EMPTY_ETAG = "59adb24ef3cdbe0297f05b395827453f-1"
_MAKERS: dict[str, Callable[[int], Any]] = {
    "sha2-256": lambda size: hashlib.sha256(),
    "md5": lambda size: hashlib.md5(usedforsecurity=False),
    "dandi-etag": _etag,
}
