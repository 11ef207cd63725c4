"""Packages that import their parts on first access, so that `--help` does not wait for PyTorch."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from foundation.common.errors import ConfigError

OWN = ("finetune", "foundation", "ingest")
# Folder of the packages -> the extra that installs what its files import.
EXTRAS = {
    "finetune": "finetune",
    "foundation.interop": "interop",
    "foundation.sweep": "sweep",
    "foundation.training": "train",
    "ingest": "ingest",
    "ingest.sorting": "sorting",
}


def lazy_attributes(package: str, names: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """Return a package's ``__getattr__`` (PEP 562), which imports names on first access.

    Args:
        package: its ``__name__``.
        names: module of the package -> names that the package exports from it. A name must differ from the names of
    modules, which would hide it.

    If a package of an optional extra is missing, the function raises ModuleNotFoundError with the command that installs
    the extra.

    Example:
        >>> lazy_attributes("foundation", {"foundation.version": ["__version__"]})("__version__").count(".") >= 1
        True
    """
    place = {name: module for module, shown in names.items() for name in shown}

    def get(name: str) -> Any:
        if name not in place:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            module = importlib.import_module(place[name])
        except ModuleNotFoundError as error:
            extra = _extra_of(place[name])
            if not extra or not error.name or error.name.split(".")[0] in OWN:
                raise
            text = f"{package}.{name} needs the package {error.name!r}: pip install 'neural-foundation[{extra}]'"
            raise ModuleNotFoundError(text, name=error.name) from error
        value = getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    return get


def _extra_of(module: str) -> str:
    """Return the extra that installs what a module imports; an empty text if it needs none.

    Example:
        >>> _extra_of("ingest.sorting.sort_job"), _extra_of("ingest.job"), _extra_of("foundation.store.catalog")
        ('sorting', 'ingest', '')
    """
    parts = module.split(".")
    return EXTRAS.get(".".join(parts[:2])) or EXTRAS.get(parts[0], "")


def named(place: str) -> Any:
    """Import ``module:name``, for packages above the caller in the import order.

    Example:
        >>> named("foundation.version:__version__").count(".") >= 1
        True
    """
    module, name = place.split(":")
    return getattr(importlib.import_module(module), name)


def optional_package(name: str, purpose: str, extra: str) -> ModuleType:
    """Import a package that only an extra of this distribution installs.

    Args:
        name: the package or one of its modules.
        purpose: what needs it, for the message.
        extra: the extra that installs it.

    Raises:
        ConfigError: if it cannot be imported.

    Example:
        >>> optional_package("json", "to_nwb", "interop").__name__
        'json'
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        what = f"{purpose} needs {name}, which cannot be imported ({error})"
        raise ConfigError(f"{what}: pip install 'neural-foundation[{extra}]'") from error
