"""Checkpoints by a short name from a registry file: their location, digest, data and figures.

A registry is YAML::

    checkpoints:
      eit-lab:
        url: hf://our-lab/eit           # hf://, models:/, s3://, https://, ... or a folder
        revision: 8f1c...               # a commit, a branch or a version, for hf:// and models:/
        sha256: 5d41...                 # of config.json followed by model.safetensors
        size: 4200000                   # bytes
        data: 12 recordings of 4 mice (DANDI 000056)
        figures: {cell type: "0.71 [0.66, 0.76]"}
        licence: CC-BY-4.0

One registry is shipped (configs/checkpoints/registry.yaml). A lab's own files come from a setting, from
$FOUNDATION_REGISTRY (paths separated by ``:``), and from ``foundation/checkpoints.yaml`` in ``$XDG_CONFIG_HOME`` or
``~/.config``; the first file that defines a name counts.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from foundation.common.errors import ConfigError
from foundation.common.settings.resources import find_config
from foundation.hub.checkpoint_files import shown

REGISTRY = "FOUNDATION_REGISTRY"
NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
SHA256 = re.compile(r"[0-9a-fA-F]{64}")
TEXTS = ("url", "revision", "sha256", "data", "licence")


@dataclass(frozen=True)
class RegistryEntry:
    """Entry of a registry.

    Args:
        name: of the checkpoint.
        url: location.
        sha256: its digest (see `checkpoint_files.digest_of`).
        revision: a commit, branch or version.
        size: bytes; 0: unknown.
        data: training data.
        figures: name of a figure -> its value, with its interval.
        licence: of the weights.
        source: the registry file.
    """

    name: str
    url: str
    sha256: str
    revision: str = ""
    size: int = 0
    data: str = ""
    figures: dict[str, str] = field(default_factory=dict)
    licence: str = ""
    source: str = ""

    @property
    def pinned_url(self) -> str:
        """Return the URL with the revision appended, unless the URL has one."""
        if not self.revision or "@" in self.url.partition(":/")[2]:
            return self.url
        if self.url.startswith("hf://"):
            return f"{self.url}@{self.revision}"
        if self.url.startswith("models:/"):
            return f"{self.url}/{self.revision}" if self.revision.isdigit() else f"{self.url}@{self.revision}"
        return self.url


def registry_files(given: str | Path | None = None) -> list[Path]:
    """Return the registry files in lookup order.

    Args:
        given: a lab's own file, which comes first.

    Raises:
        ConfigError: if a named file is missing.
    """
    named = [Path(given).expanduser()] if given else []
    named += [Path(part).expanduser() for part in os.environ.get(REGISTRY, "").split(os.pathsep) if part]
    for path in named:
        if not path.is_file():
            raise ConfigError(
                f"no registry of checkpoints at {str(path)!r}: expected a YAML file; see {REGISTRY} and --registry"
            )
    own = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "foundation" / "checkpoints.yaml"
    return [*named, *([own] if own.is_file() else []), find_config("checkpoints/registry")]


def read_registry(path: Path) -> dict[str, RegistryEntry]:
    """Return the checkpoints of a registry file by name.

    Raises:
        ConfigError: names the file, the checkpoint and the key.

    Example:
        >>> read_registry(find_config("checkpoints/registry"))
        {}
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"the registry {str(path)!r} cannot be read: {error}") from error
    found = content.get("checkpoints", {}) if isinstance(content, dict) else None
    if not isinstance(found, dict | None) or (found is None and "checkpoints" not in content):
        raise ConfigError(f"the registry {str(path)!r} has no mapping `checkpoints`: expected name -> url, sha256, ...")
    return {str(name): _entry(str(name), given, path) for name, given in (found or {}).items()}


def _entry(name: str, given: Any, path: Path) -> RegistryEntry:
    where = f"{path}: {name}"
    if not NAME.fullmatch(name):
        raise ConfigError(f"{where} is not a valid name of a checkpoint: expected letters, digits, '.', '-' and '_'")
    if not isinstance(given, dict):
        raise ConfigError(f"{where} is {given!r}: expected a mapping with url and sha256")
    allowed = (*TEXTS, "size", "figures")
    for key in given:
        if key not in allowed:
            raise ConfigError(f"{where} has {key!r}: expected one of {', '.join(allowed)}")
    texts = {key: "" if given.get(key) is None else str(given[key]) for key in TEXTS}
    if not texts["url"]:
        raise ConfigError(f"{where} has no url: expected where the checkpoint is")
    if not SHA256.fullmatch(texts["sha256"]):
        raise ConfigError(
            f"{where}.sha256 is {texts['sha256']!r}: expected 64 hexadecimal digits, as `foundation pull` prints them"
        )
    if ":/" not in texts["url"]:  # a folder, relative to the registry
        texts["url"] = str((path.parent / Path(texts["url"]).expanduser()).resolve())
    texts["sha256"] = texts["sha256"].lower()
    size, figures = given.get("size") or 0, given.get("figures") or {}
    if not isinstance(size, int) or size < 0:
        raise ConfigError(f"{where}.size is {size!r}: expected a number of bytes")
    if not isinstance(figures, dict):
        raise ConfigError(f"{where}.figures is {figures!r}: expected a mapping of names to values")
    shown_figures = {str(key): str(value) for key, value in figures.items()}
    return RegistryEntry(name=name, size=size, figures=shown_figures, source=str(path), **texts)


def registered(given: str | Path | None = None) -> dict[str, RegistryEntry]:
    """Return the checkpoints of all registry files by name; the first file that defines a name counts.

    Raises:
        ConfigError: if a file is damaged or missing.
    """
    found: dict[str, RegistryEntry] = {}
    for path in registry_files(given):
        found = {**read_registry(path), **found}
    return found


def describe(entry: RegistryEntry) -> str:
    """Return the location of an entry, for messages."""
    return f"{shown(entry.pinned_url)} (registry {entry.source})"
