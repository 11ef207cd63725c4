"""Results derived from recordings (fits, embeddings, quality), stored under a digest of their settings and inputs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import zarr

from foundation.common.digests import json_digest
from foundation.common.errors import ConfigError, StoreError
from foundation.common.files.locks import is_part
from foundation.store.format.encode import EncodedArray, decode_column, encode_column
from foundation.store.format.finite import is_finite
from foundation.store.format.zarr_arrays import GROUP_FILE, group_objects, read_array
from foundation.store.storage import Store

CACHED = "cache-"  # prefix of the names of cached results, which are removed when space is needed


class Derived:
    """Named arrays computed from recordings, written once and atomically.

    They are stored under ``derived/<digest>``, a digest of the kind, the settings and the inputs, so that the same
    computation finds its result again. Recordings stay unchanged.

    Args:
        store: the store.
        kind: name of the computation, with a version of its code where that matters, such as ``cebra-1``.
        settings: everything that the result depends on, as JSON values.
        inputs: content digests of the input recordings (``StoredRecording.record.digest``), in any order.

    Raises:
        ConfigError: if the settings are not JSON.

    Example:
        >>> import tempfile
        >>> store = Store(tempfile.mkdtemp() + "/store", create=True)
        >>> fit = Derived(store, "embedding", {"dim": 2}, inputs=["digest of a recording"])
        >>> fit.exists()
        False
        >>> fit.write({"z": np.zeros((3, 2), np.float32)}, {"loss": 0.5})
        >>> again = Derived(store, "embedding", {"dim": 2}, inputs=["digest of a recording"])
        >>> again.read("z").shape, again.attributes["loss"]
        ((3, 2), 0.5)
    """

    prefix: ClassVar[str] = ""  # of the folder's name, before the digest

    def __init__(self, store: Store, kind: str, settings: Mapping[str, Any], inputs: Sequence[str]) -> None:
        self.store, self.kind = store, kind
        try:
            text = json.dumps({"kind": kind, "settings": dict(settings), "inputs": sorted(inputs)}, sort_keys=True)
        except TypeError as error:
            raise ConfigError(f"settings of {kind!r} cannot be stored ({error}): expected JSON values") from error
        self.made_by: dict[str, Any] = json.loads(text)
        self.digest = made_by_digest(self.made_by)

    @property
    def folder(self) -> str:
        return f"derived/{self.prefix}{self.digest}"

    def exists(self) -> bool:
        """Return True if the result has been written."""
        return self.store.read_bytes(f"{self.folder}/{GROUP_FILE}") is not None

    def write(self, arrays: Mapping[str, np.ndarray], attributes: Mapping[str, Any] | None = None) -> None:
        """Write the result unless it exists already.

        Args:
            arrays: name -> numbers or text; a name may hold ``/``.
            attributes: JSON values.

        Raises:
            StoreError: if an array holds values that are not finite, or the store cannot be written.
            ValueError: if a name cannot name an array.
        """
        for name in arrays:
            if not name or any(part in ("", ".", "..", GROUP_FILE) for part in name.split("/")):
                raise ValueError(f"array name is {name!r}: expected a relative path such as 'rates/mean'")
            if wrong := int((~is_finite(np.asarray(arrays[name]))).sum()):
                raise StoreError(
                    f"{self.kind} array {name!r} has {wrong} values that are not finite: expected numbers that float32 "
                    "can hold; look for infinite or missing samples in the input, or for a model that diverged"
                )
        encoded: dict[str, EncodedArray] = {name: encode_column(np.asarray(a)) for name, a in arrays.items()}
        about = {"made_by": self.made_by, **(attributes or {})}
        if not self.exists():
            self.store.write_objects(self.folder, group_objects(encoded, about))

    @property
    def _group(self) -> zarr.Group:
        return self.store.open_folder(self.folder)

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes passed to `write`, and ``made_by``."""
        return dict(self._group.attrs)

    def names(self) -> list[str]:
        """Return the sorted names of the arrays."""
        return sorted(path for path, item in self._group.members(max_depth=None) if isinstance(item, zarr.Array))

    def read(self, name: str) -> np.ndarray:
        """Return one of the arrays.

        Raises:
            StoreError: if the result is not written, has no such array, or the array's bytes are damaged.
        """
        group = self._group
        if name not in self.names():
            raise StoreError(f"{self.folder} has no array {name!r}: it has {', '.join(self.names())}")
        damaged = StoreError(f"{self.folder}/{name} is damaged: remove the folder and compute it again")
        try:
            array = read_array(group, name)
        except Exception as error:  # damaged bytes fail to decode in many ways
            raise damaged from error
        if array.digest != group[name].attrs["sha256"]:
            raise damaged
        return decode_column(array)

    @classmethod
    def find(cls, store: Store, kind: str | None = None) -> list[Derived]:
        """Return all derived results, or all results of a kind, sorted by digest (lists a folder)."""
        found = []
        for name in derived_names(store):
            about = store.read_json(f"derived/{name}/{GROUP_FILE}")
            if about is not None:
                made_by = about["attributes"]["made_by"]
                if kind in (None, made_by["kind"]):
                    found.append(cls(store, made_by["kind"], made_by["settings"], made_by["inputs"]))
        return found


def derived_names(store: Store) -> list[str]:
    """Return the sorted names of the folders of finished results, without those of a cache."""
    return [name for name in store.names("derived") if not is_part(name) and not name.startswith(CACHED)]


def made_by_digest(made_by: dict[str, Any]) -> str:
    """Return the digest under which a derived result is stored."""
    return json_digest(made_by)[:32]
