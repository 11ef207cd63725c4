"""Clean texts of NWB files: single texts without padding."""

from __future__ import annotations

from typing import Any

import numpy as np
from hdmf.build import Builder, DatasetBuilder, GroupBuilder

# Lists of texts by NWB's specification, which stay lists when they hold one text.
LISTS = ("colnames", "experimenter", "file_create_date", "keywords", "related_publications")


def plain_text(value: Any) -> str:
    """Return a text without surrounding blanks and NULs; '' for None.

    Args:
        value: a text, bytes, or an array or list that holds one text, as MATLAB writes it.

    Example:
        >>> plain_text(b"left  "), plain_text(np.array(["CA1\\0\\0"], dtype=object)), plain_text(None)
        ('left', 'CA1', '')
    """
    value = single_text(value)
    if value is None:
        return ""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    # NUL ends a text in NumPy's fixed-width arrays; no text holds one on purpose.
    return text.replace("\0", "").strip()


def single_text(value: Any) -> Any:
    """Return the text of an array or list with exactly one text; any other value unchanged."""
    if isinstance(value, np.ndarray | list | tuple) and np.size(value) == 1:
        one = np.asarray(value, dtype=object).reshape(-1)[0]
        return one if isinstance(one, str | bytes) else value
    return value


def unwrap_single_texts(root: GroupBuilder) -> None:
    """Unwrap arrays of one text, as MATLAB writes them, where NWB expects a text; wrap a text where NWB expects a list.

    Covers all attributes, and the datasets of the file's root and of ``general`` that have no type. Lists by
    specification (`LISTS`) stay lists; a text attribute among them becomes a list.

    Args:
        root: the file as hdmf's builders; changed in place.
    """
    seen: set[int] = set()
    pending: list[tuple[str, Builder]] = [("", root)]
    while pending:
        path, builder = pending.pop()
        if id(builder) in seen:
            continue
        seen.add(id(builder))
        for name, value in builder.attributes.items():
            if name in LISTS and isinstance(value, str | bytes):
                builder.attributes[name] = np.array([_decoded(value)], dtype=object)
            elif name not in LISTS and (one := single_text(value)) is not value:
                builder.attributes[name] = _decoded(one)
        if isinstance(builder, GroupBuilder):
            pending += [(f"{path}/{name}", item) for name, item in builder.groups.items()]
            pending += [(f"{path}/{name}", item) for name, item in builder.datasets.items()]
        elif isinstance(builder, DatasetBuilder) and _is_a_field(path, builder):
            _unwrap_data(builder)


def _is_a_field(path: str, builder: DatasetBuilder) -> bool:
    inside = path.count("/") == 1 or path.startswith("/general/")
    return inside and builder.name not in LISTS and "neurodata_type" not in builder.attributes


def _unwrap_data(builder: DatasetBuilder) -> None:
    data = builder.data
    kind = getattr(getattr(data, "dtype", None), "kind", "O")
    if np.shape(data) not in ((1,), (1, 1)) or kind not in "OSU":
        return
    one = single_text(np.asarray(data[:], dtype=object))
    if isinstance(one, str | bytes):
        builder["data"] = _decoded(one)  # the builder's setter refuses to overwrite


def _decoded(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
