"""The digest of a JSON value."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def json_digest(value: Any) -> str:
    """Return the sha256 of a value as JSON, in hexadecimal. The order of a dict's keys makes no difference.

    Example:
        >>> json_digest({"a": 1, "b": [2]}) == json_digest({"b": [2], "a": 1})
        True
        >>> json_digest(["x"])[:12]
        'cd65ea2c2ad9'
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
