"""Recordings for other programs: pynapple, torch_brain, NWB. Each is an optional package, imported when asked for."""

from __future__ import annotations

import importlib
from types import ModuleType

from foundation.common.errors import ConfigError

EXTRA = "interop"


def needed(name: str, purpose: str) -> ModuleType:
    """Import an optional package.

    Raises:
        ConfigError: if it is not installed; the message names the extra that brings it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        what = f"{purpose} needs {name}, which cannot be imported ({error})"
        raise ConfigError(f"{what}: pip install 'neural-foundation[{EXTRA}]'") from error
