"""Escaping of texts from files, archives and servers for terminals, logs and pages."""

from __future__ import annotations

import re
from typing import Any

# Control characters of C0 and C1, marks that turn the direction of writing, separators of lines, halves of characters.
_CONTROL = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_IN_LINES = re.compile(f"[{_CONTROL}]")
_IN_A_LINE = re.compile(f"[\t\n{_CONTROL}]")


def printable(text: str) -> str:
    r"""Return a text on one line with control characters escaped, so that a terminal does not obey them.

    Example:
        >>> print(printable("mouse\x1b[2J\nfailed"))
        mouse\x1b[2J\nfailed
    """
    return _IN_A_LINE.sub(_escape, text)


def printable_lines(text: str) -> str:
    r"""Return a text of several lines: like `printable`, but tabs and newlines stay.

    Example:
        >>> printable_lines("a\n\x07b")
        'a\n\\x07b'
    """
    return _IN_LINES.sub(_escape, text)


def replace_unprintable(text: str, by: str) -> str:
    r"""Return a text with every unprintable character replaced.

    Example:
        >>> replace_unprintable("mouse\x1b\nfailed", "_")
        'mouse__failed'
    """
    return "".join(char if char.isprintable() else by for char in text)


def in_page(value: Any) -> Any:
    r"""Return a value for a template (Jinja's ``finalize``), with control characters in texts escaped.

    Example:
        >>> in_page("a\x1b[2J"), in_page(3)
        ('a\\x1b[2J', 3)
    """
    return type(value)(printable_lines(value)) if isinstance(value, str) else value


def count(number: int, what: str) -> str:
    """Return a number with its noun.

    Example:
        >>> count(1, "unit"), count(2000, "unit")
        ('1 unit', '2,000 units')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
