"""Removal of secrets in URLs (names, passwords and queries) from text that others read.

``http://me:password@host/file?token=abc`` becomes ``http://host/file?***``. Passwords may hold characters that a URL
should have escaped (``/``, ``#``, ``?``, ``@``, blanks): SQLAlchemy accepts them, and other libraries repeat them in
their errors. Where a text is ambiguous, more of it is left out: ``http://host:80/a@b`` becomes ``http://***@b``.
"""

from __future__ import annotations

import re
from typing import Any

HIDDEN = "***"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://")
# Start of the next URL in a line: a password may hold ``://``, but hardly after one of these characters.
_NEXT = re.compile(r"(?<=[\s'\"(<\[{,;|])[A-Za-z][A-Za-z0-9+.\-]*://|(?<=::)[A-Za-z][A-Za-z0-9+.\-]*://")
_NAMED, _NAMED_WHOLE = re.compile(r"[^/?#\s@:]*:"), re.compile(r"[^/?#@:]*:")
_USER = re.compile(r"[^/?#\s]*@")
_UNESCAPED = re.compile(r"[/?#\s]")
# A query or a fragment with names and values; libraries also repeat it without its host.
_NAMES_AND_VALUES = re.compile(r"[?#][\w.~+$%\[\]-]+=\S*")
_QUERY, _WEB_QUERY = re.compile(r"[?#][\w.~+$%\[\]-]+="), re.compile(r"\?\S|#[\w.~+$%\[\]-]+=")
_BLANK = re.compile(r"\s|$")
_CLOSING = re.compile(r"[\])}>'\",.:;]*$")


def without_secrets(text: str) -> str:
    """Return a text, such as a message, without the names, passwords and queries of the URLs in it.

    Example:
        >>> without_secrets("http://me:pass/word@host:5000/a is away")
        'http://***@host:5000/a is away'
        >>> without_secrets("cannot open 'https://me:password@host/a.nwb?token=abc': 403")
        "cannot open 'https://host/a.nwb?***': 403"
        >>> without_secrets("s3://bucket/sub-?/a@b"), without_secrets("dandi://dandi/000003@draft")
        ('s3://bucket/sub-?/a@b', 'dandi://dandi/000003@draft')
    """
    if "://" not in text and "=" not in text:
        return text
    return "\n".join(map(_line_without_secrets, text.split("\n")))


def without_secrets_in_url(value: str) -> str:
    """Return a value without secrets; a URL extends to the end of the value, so its query may hold blanks.

    Example:
        >>> without_secrets_in_url("https://host/a.nwb?password=two words")
        'https://host/a.nwb?***'
    """
    if not _SCHEME.match(value):
        return without_secrets(value)
    # Chained URLs (``zip://a.nwb::https://host/b.zip``), and several URLs in one value, each hold secrets.
    starts = [0, *(following.start() for following in _NEXT.finditer(value, 1))]
    parts = [value[start:stop] for start, stop in zip(starts, [*starts[1:], len(value)], strict=True)]
    return "".join(map(_url_without_secrets, parts))


def holds_secret(values: Any) -> bool:
    """Return True if a text, or settings with texts, hold a URL with a name, a password or a query.

    Example:
        >>> holds_secret("http://me:password@host"), holds_secret({"store": "http://host"})
        (True, False)
    """
    return bool(public(values) != values)


def public(values: Any) -> Any:
    """Return settings without secrets in URLs, at any depth.

    Example:
        >>> public({"store": "s3://key:secret@bucket/a", "saving": {"place": None}, "steps": 2})
        {'store': 's3://bucket/a', 'saving': {'place': None}, 'steps': 2}
    """
    if isinstance(values, dict):
        return {public(name): public(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return type(values)([public(value) for value in values])
    return without_secrets_in_url(values) if isinstance(values, str) else values


def _url_without_secrets(url: str) -> str:
    """Return a URL without secrets, up to the end of the text; ``::`` or a blank before the next URL stays."""
    scheme = _SCHEME.match(url)
    assert scheme is not None
    end = len(url.rstrip()) if not url.endswith("::") else len(url) - 2
    return scheme[0] + _hide(scheme[0], url[scheme.end() : end], whole=True) + url[end:]


def _line_without_secrets(line: str) -> str:
    first = _SCHEME.search(line)
    if first is None:
        return _hide_values(line)
    starts = [first.start(), *(n.start() for n in _NEXT.finditer(line, first.end()))]
    parts = [_hide_values(line[: starts[0]])]
    for start, stop in zip(starts, [*starts[1:], len(line)], strict=True):
        scheme = _SCHEME.match(line, start)
        assert scheme is not None
        quote = line[start - 1] if start and line[start - 1] in "'\"" else ""
        parts.append(scheme[0] + _hide(scheme[0], line[scheme.end() : stop], quote))
    return "".join(parts)


def _hide(scheme: str, rest: str, quote: str = "", whole: bool = False) -> str:
    """Return the text after ``scheme://`` in a line, without secrets.

    Args:
        scheme: with ``://``.
        rest: up to the next URL or the end of the line.
        quote: the quote before the URL; the URL ends at the next one.
        whole: the URL extends to the end of ``rest``.
    """
    user, named = _USER.match(rest), (_NAMED_WHOLE if whole else _NAMED).match(rest)
    quoted = rest.rfind(quote) if quote and quote in rest else len(rest)
    end = rest.rfind("@", 0, quoted) + 1 if named else user.end() if user else 0
    mark = f"{HIDDEN}@" if _UNESCAPED.search(rest, 0, end) else ""
    rest = rest[end:]
    # Outside the web, a ? without a name and a value is a wildcard.
    query = (_WEB_QUERY if scheme.lower().startswith("http") else _QUERY).search(rest)
    if query is None:
        return mark + _hide_values(rest)
    place = query.start()
    shown = f"{mark}{rest[: place + 1]}{HIDDEN}"
    if whole:
        return shown
    blank = _BLANK.search(rest, max(rest.find(quote, place) if quote else place, place))
    stop = blank.start() if blank else len(rest)
    return f"{shown}{_closing(rest[place:stop])}{_hide_values(rest[stop:])}"


def _hide_values(text: str) -> str:
    """Return a text without the values of queries that lack their host, as in ``with url: /a?token=abc``."""
    return _NAMES_AND_VALUES.sub(lambda m: f"{m[0][0]}{HIDDEN}{_closing(m[0])}", text)


def _closing(text: str) -> str:
    """Return the brackets, quotes and full stops after a URL that do not belong to it."""
    found = _CLOSING.search(text, 1)
    return found[0] if found else ""
