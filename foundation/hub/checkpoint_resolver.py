"""From the name of a checkpoint to a local folder and a digest, for everything that takes a checkpoint.

A name means, in this order: a local folder; a checkpoint that ships with the package (``eit-tiny``); a version in an
MLflow registry (``models:/name@alias``); a repository of a Hugging Face hub (``hf://org/name@revision``); any fsspec
URL (``s3://...``); a name in a registry file. Imports quickly, without torch.
"""

from __future__ import annotations

import difflib
import logging
from dataclasses import dataclass
from pathlib import Path

from foundation.common.errors import CheckpointError
from foundation.hub.checkpoint_files import (
    FILES,
    check_digest,
    digest_of,
    find_checkpoint,
    holds_checkpoint,
    missing,
    shown,
)
from foundation.hub.checkpoint_registry import NAME, RegistryEntry, describe, registered
from foundation.hub.huggingface_checkpoints import SCHEME as HUB
from foundation.hub.huggingface_checkpoints import HubName, fetch_hub
from foundation.hub.mlflow_checkpoints import SCHEME as MLFLOW
from foundation.hub.mlflow_checkpoints import RegisteredName, fetch_registered
from foundation.hub.shipped_checkpoints import shipped_checkpoints
from foundation.hub.url_checkpoints import fetch_url

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Resolved:
    """A checkpoint on this machine.

    Args:
        name: the requested name, without secrets.
        kind: ``folder``, ``shipped``, ``mlflow``, ``huggingface`` or ``url``.
        folder: holds config.json and model.safetensors. A folder in a cache must not be changed.
        digest: sha256 of config.json followed by model.safetensors.
        revision: the commit on a hub or the version in a registry; otherwise ``''``.
        registry: the registry file that defines the name; ``''`` for none.
    """

    name: str
    kind: str
    folder: Path
    digest: str
    revision: str = ""
    registry: str = ""

    @property
    def size(self) -> int:
        """Return the bytes of config.json and model.safetensors."""
        return sum((self.folder / file).stat().st_size for file in FILES)

    def __str__(self) -> str:
        revision = f", revision {self.revision}" if self.revision else ""
        return f"{self.name}: {self.folder} (sha256 {self.digest}{revision})"


def resolve(name: str | Path, registry: str | Path | None = None) -> Resolved:
    """Return a checkpoint's local folder and digest; fetch it if necessary.

    Args:
        name: see the module's docstring.
        registry: a lab's own registry file, searched first.

    Raises:
        CheckpointError: if there is no such checkpoint, it cannot be fetched, its digest differs from the pinned one,
            or its repository holds pickles or code. The message says what to do.
        ConfigError: if a registry file is damaged or missing.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for file in FILES:
        ...     _ = (folder / file).write_text("{}")
        >>> resolve(folder).kind, resolve(folder).digest[:8]
        ('folder', 'b51f08b6')
    """
    text = str(name)
    if isinstance(name, Path) or holds_checkpoint(text):
        return _local(text, "folder", find_checkpoint(text))
    if (found := shipped_checkpoints().get(text)) is not None:
        return _local(text, "shipped", found)
    if ":/" in text:
        return _elsewhere(text, "", "")
    entry = registered(registry).get(text) if NAME.fullmatch(text) else None
    if entry is None:
        raise CheckpointError(missing(text) if Path(text).is_dir() else _unknown(text, registry))
    return _of_registry(entry)


def is_known_name(name: str) -> bool:
    """Return True if a text that is not a local folder looks like a name for `resolve`.

    Example:
        >>> is_known_name("hf://lab/eit@main"), is_known_name("lab/eit")
        (True, False)
    """
    return ":/" in name or name in shipped_checkpoints() or name in registered()


def _local(name: str, kind: str, folder: Path) -> Resolved:
    return Resolved(name, kind, folder, digest_of(folder))


def _elsewhere(url: str, wanted: str, source: str) -> Resolved:
    """Fetch a name with a scheme; ``wanted`` is the digest that ``source`` pins."""
    if url.startswith(MLFLOW):
        version, digest, folder = fetch_registered(RegisteredName.parse(url))
        _check_held(folder, digest)
        check_digest(url, digest, wanted, source)
        return Resolved(url, "mlflow", folder, digest, version)
    if url.startswith(HUB):
        hub = HubName.parse(url)
        commit, folder = fetch_hub(hub)
        digest = digest_of(folder)
        check_digest(url, digest, wanted, source)
        return Resolved(url, "huggingface", folder, digest, commit)
    if "://" not in url:
        raise CheckpointError(missing(url))
    digest, folder = fetch_url(url, wanted, source)
    _check_held(folder, digest)
    return Resolved(shown(url), "url", folder, digest)


def _check_held(folder: Path, digest: str) -> None:
    """Raise if a cached checkpoint no longer has its original bytes; each process checks once."""
    if digest_of(folder) != digest:
        raise CheckpointError(
            f"{folder} has other bytes than when it was fetched (sha256 {digest}): it is damaged; remove that "
            "folder, and it is fetched again"
        )


def _of_registry(entry: RegistryEntry) -> Resolved:
    log.debug("%s is %s", entry.name, describe(entry))
    source = f"the registry {entry.source}"
    if ":/" in entry.url:
        found = _elsewhere(entry.pinned_url, entry.sha256, source)
    else:
        found = _local(entry.url, "folder", find_checkpoint(entry.url))
        check_digest(entry.name, found.digest, entry.sha256, source)
    return Resolved(entry.name, found.kind, found.folder, found.digest, found.revision, entry.source)


def _unknown(name: str, registry: str | Path | None) -> str:
    """Return the message for an unknown name, with the most similar known one."""
    if not NAME.fullmatch(name):
        return missing(name)
    known = [*shipped_checkpoints(), *registered(registry)]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}? " if near else ""
    names = ", ".join(known) or "none so far"
    return (
        f"no checkpoint at {name!r}: {hint}expected a folder with config.json and model.safetensors, as `foundation "
        f"pretrain` writes it, a URL (hf://, models:/, s3://, ...), or a known name ({names})"
    )
