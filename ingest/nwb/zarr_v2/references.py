"""References from one object of a store to another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from hdmf.build import Builder
from hdmf.query import BuilderResolver, ContainerResolver

from foundation.common.errors import SourceError
from ingest.nwb.zarr_v2.zarr_v2_arrays import LazyArray

Resolve = Callable[[Any], Any]


def is_reference(value: Any) -> bool:
    """Whether a value is a reference as hdmf-zarr writes it: where its object is, and in which store.

    Example:
        >>> is_reference({"source": ".", "path": "/units"}), is_reference("/units")
        (True, False)
    """
    return isinstance(value, Mapping) and "path" in value and "source" in value


def find_target(reference: Mapping[str, Any], builders: Mapping[str, Builder], store_id: str | None) -> Builder:
    """The object that a reference names.

    Args:
        reference: ``source`` (``.`` for the store itself), ``path``, and perhaps ``source_object_id``.
        builders: path -> object of the store.
        store_id: the object id of the store's root.

    Raises:
        SourceError: if the object lies in another store, or nowhere.
    """
    source, path = reference.get("source"), reference.get("path")
    stated = reference.get("source_object_id")
    # Some versions wrote where the store was when it was made; its id then tells that it is this one.
    if source not in (".", None) and (stated is None or stated != store_id):
        raise SourceError(f"a link to {str(path)[:200]!r} in another store, {str(source)[:200]!r}: it is not followed")
    found = builders.get(path.strip("/")) if isinstance(path, str) else None
    if found is None:
        raise SourceError(f"a link to {str(path)[:200]!r}, which the store does not hold")
    return found


class _References(LazyArray):
    """An array of references (or of records with some): what is read of it are the objects themselves."""

    def __init__(self, array: LazyArray, resolve: Resolve, inverse: Resolve) -> None:
        super().__init__(array.store, array.path, array.layout)
        self._resolve, self._inverse = resolve, inverse

    @property
    def dtype(self) -> Any:
        return "object"

    def __getitem__(self, key: Any) -> Any:
        found = self._read(key)
        return [self._resolved(value) for value in found] if isinstance(found, np.ndarray) else self._resolved(found)

    def _opened(self) -> Any:
        self._refuse_false_claims()
        return self._objects()

    def _resolved(self, value: Any) -> Any:
        if isinstance(value, tuple):
            return [self._resolved(part) if is_reference(part) else part for part in value]
        if not is_reference(value):
            raise SourceError(f"{self.path}: {str(value)[:100]!r} is no reference")
        try:
            return self._resolve(value)
        except SourceError as error:
            raise SourceError(f"{self.path}: {error}") from error

    def invert(self) -> Any:
        """The same references, resolved to the other kind of object."""
        return self.get_inverse_class()(self, self._inverse, self._resolve)

    @classmethod
    def get_inverse_class(cls) -> type[_References]:
        raise NotImplementedError


class BuilderReferences(_References, BuilderResolver):
    """References that are read as builders."""

    @classmethod
    def get_inverse_class(cls) -> type[_References]:
        return ContainerReferences


class ContainerReferences(_References, ContainerResolver):
    """References that are read as containers."""

    @classmethod
    def get_inverse_class(cls) -> type[_References]:
        return BuilderReferences
