"""Names and passwords in URLs such as ``http://me:password@host``: kept out of what others read."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

USER = re.compile(r"(?<=://)[^/?#\s]*@")


def without_user(text: str) -> str:
    """A URL, or a text with URLs in it, without names and passwords.

    Example:
        >>> without_user("http://me:password@host:5000 is away")
        'http://host:5000 is away'
        >>> without_user("s3://bucket/a@b")
        's3://bucket/a@b'
    """
    return USER.sub("", text)


def holds_user(text: str) -> bool:
    """Whether a text holds a URL with a name or a password.

    Example:
        >>> holds_user("http://me:password@host"), holds_user("http://host")
        (True, False)
    """
    return USER.search(text) is not None


def public(values: Any) -> Any:
    """The same settings without names and passwords, however deep the texts lie that hold them.

    Example:
        >>> public({"store": "s3://key:secret@bucket/a", "saving": {"place": None}, "steps": 2})
        {'store': 's3://bucket/a', 'saving': {'place': None}, 'steps': 2}
    """
    if isinstance(values, dict):
        return {name: public(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return type(values)([public(value) for value in values])
    return without_user(values) if isinstance(values, str) else values


def write_private(path: Path, text: str) -> None:
    """Write a file that its owner alone can read (mode 0600), from its first byte on."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
