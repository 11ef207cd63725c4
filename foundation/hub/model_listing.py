"""`foundation models` and `foundation pull`: list the known checkpoints, and fetch one to this machine."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from foundation.common.output.pages import text_table
from foundation.common.output.printable import printable
from foundation.hub.checkpoint_cache import cache_folder, held_checkpoint, notes
from foundation.hub.checkpoint_files import FILES, digest_of, is_checkpoint
from foundation.hub.checkpoint_registry import registered
from foundation.hub.checkpoint_resolver import Resolved, resolve
from foundation.hub.hub_settings import ModelsSettings, PullSettings, PushSettings
from foundation.hub.huggingface_checkpoints import hub_cache
from foundation.hub.publishing import push
from foundation.hub.shipped_checkpoints import shipped_checkpoints

LONGEST_FIGURES = 60  # characters of a row


@dataclass(frozen=True)
class Known:
    """A checkpoint with a name.

    Args:
        name: accepted by every ``--checkpoint``.
        kind: ``shipped``, ``registry`` or ``cached``.
        sha256: its digest.
        size: bytes; 0: unknown.
        data: training data.
        figures: name of a figure -> its value, with its interval.
        licence: of the weights.
        where: its folder, or its location in a registry.
    """

    name: str
    kind: str
    sha256: str
    size: int = 0
    data: str = ""
    figures: dict[str, str] = field(default_factory=dict)
    licence: str = ""
    where: str = ""


@dataclass(frozen=True)
class Listing:
    """All checkpoints with a name on this machine."""

    models: list[Known]

    def __str__(self) -> str:
        if not self.models:
            return (
                "no checkpoint has a name on this machine: none ships, no registry file names one, and none was pulled "
                f"into {cache_folder()}"
            )
        rows = [("name", "from", "size", "sha256", "data", "figures")]
        rows += [
            (m.name, m.kind, size_text(m.size), m.sha256[:12], printable(m.data) or "-", _figures(m.figures))
            for m in self.models
        ]
        return text_table(rows)


def list_models(settings: ModelsSettings) -> Listing:
    """List the shipped checkpoints, those of registry files, and those in the caches.

    Raises:
        ConfigError: if a registry file is damaged or missing.
    """
    found = [_described(name, "shipped", folder) for name, folder in shipped_checkpoints().items()]
    found += [
        Known(e.name, "registry", e.sha256, e.size, e.data, e.figures, e.licence, e.pinned_url)
        for e in registered(settings.registry).values()
    ]
    seen = set()
    for note in notes():
        folder = held_checkpoint(note["digest"])
        name = str(note.get("name", note["digest"]))
        if folder is not None and name not in seen:
            seen.add(name)
            found.append(_described(name, "cached", folder))
    return Listing([*found, *_of_hubs()])


def pull(settings: PullSettings) -> Resolved:
    """Fetch a checkpoint into the cache, so that it later loads without a network.

    Returns:
        Its folder, its digest, and the commit or version of a branch or alias.

    Raises:
        CheckpointError: if there is no such checkpoint, or it cannot be fetched, verified or written.
        ConfigError: if a registry file is damaged or missing.
    """
    found = resolve(settings.name, settings.registry)
    if settings.output is None:
        return found
    push(PushSettings(checkpoint=str(found.folder), target=settings.output))
    return Resolved(found.name, found.kind, Path(settings.output), found.digest, found.revision, found.registry)


def card_header(folder: Path) -> dict[str, Any]:
    """Return the YAML header of a model card, as hubs read it; empty if it has none.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "README.md").write_text("---\\nlicense: apache-2.0\\n---\\n# A model\\n")
        >>> card_header(folder)
        {'license': 'apache-2.0'}
    """
    try:
        parts = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
        header = yaml.safe_load(parts[1]) if len(parts) == 3 and not parts[0] else {}
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return header if isinstance(header, dict) else {}


def _described(name: str, kind: str, folder: Path) -> Known:
    """Return the description in a folder's files and the header of its card."""
    header = card_header(folder)
    own = header.get("foundation")
    metadata: dict[str, Any] = own if isinstance(own, dict) else {}
    figures = metadata.get("figures")
    return Known(
        name,
        kind,
        digest_of(folder),
        sum((folder / file).stat().st_size for file in FILES),
        str(metadata.get("data", "")),
        {str(k): str(v) for k, v in figures.items()} if isinstance(figures, dict) else {},
        str(header.get("license", "")),
        str(folder),
    )


def _of_hubs() -> list[Known]:
    """Return the checkpoints of this software in the cache of the hub's client; other models are left out."""
    found = []
    root = hub_cache()
    for folder in sorted(root.glob("models--*/snapshots/*")) if root.is_dir() else []:
        if not is_checkpoint(folder):
            continue
        try:
            kind = json.loads((folder / FILES[0]).read_text(encoding="utf-8")).get("model_type")
        except (OSError, ValueError, AttributeError):
            continue
        if kind == "eit":
            repo = folder.parents[1].name.removeprefix("models--").replace("--", "/", 1)
            found.append(_described(f"hf://{repo}@{folder.name}", "cached", folder))
    return found


def size_text(size: int) -> str:
    """Return a number of bytes for people.

    Example:
        >>> size_text(4_200_000), size_text(0)
        ('4.2 MB', '-')
    """
    return f"{size / 1e6:.1f} MB" if size else "-"


def _figures(figures: dict[str, str]) -> str:
    text = printable("; ".join(f"{name} {value}" for name, value in figures.items()))
    return (text if len(text) <= LONGEST_FIGURES else f"{text[: LONGEST_FIGURES - 3]}...") or "-"
