"""Explain what a recipe takes from a file, what it leaves and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from zarr.abc.store import Store as ZarrStore

from foundation.common.errors import SourceError
from foundation.common.output.printable import printable
from foundation.store import Recording, Source
from ingest.nwb.read_log import Note, Notes
from ingest.nwb.read_nwb import NeedsSorting, NoActivity, read_nwb
from ingest.recipe.recipes import Recipe, load_recipe, recipe_for
from ingest.sources import AccessSettings, Archive, Asset, find_assets, open_asset


@dataclass(frozen=True)
class Explanation:
    """What an ingest would make of a file.

    Args:
        path: the file.
        result: a one-line summary of the recording, or why the file gives none.
        taken: objects that are read, and what they become.
        left: objects that are left, and why.
        quality: counts of what reading changed or left out.
        refused: whether the file cannot be read.
    """

    path: str
    result: str
    taken: list[Note] = field(default_factory=list)
    left: list[Note] = field(default_factory=list)
    quality: dict[str, float] = field(default_factory=dict)
    refused: bool = False

    @property
    def ok(self) -> bool:
        """Whether an ingest would succeed; the command exits with status 1 if not."""
        return not self.refused

    def __str__(self) -> str:
        width = max((len(printable(note.path)) for note in [*self.taken, *self.left]), default=0)
        lines = [self.path, f"  {self.result}"]
        for title, notes in (("taken", self.taken), ("left", self.left)):
            if notes:
                lines += ["", title, *[f"  {printable(note.path).ljust(width)}  {note.text}" for note in notes]]
        if self.quality:
            lines += ["", "counted", *[f"  {name} {number:g}" for name, number in self.quality.items()]]
        return "\n".join(map(printable, lines))


def explain(
    path: str,
    recipe: Recipe | None = None,
    *,
    content: BinaryIO | ZarrStore | None = None,
    strict: bool = False,
    archives: Sequence[Archive] = (),
    access: AccessSettings | None = None,
) -> Explanation:
    """Read a file as an ingest would and report what becomes of each object in it. Writes nothing.

    Args:
        path: a file, an fsspec URL, or an asset of an archive (``dandi://<archive>/<dandiset>[@version]/<path>``).
        recipe: what columns, tables and series mean; by default the shipped recipe for the asset's dandiset, or else
            ``default``.
        content: the file's content, if already open.
        strict: apply the ingest's ``strict``.
        archives: archives in addition to the built-in ones.
        access: how to read a remote asset.

    Returns:
        What is taken and left; for a file that an ingest would refuse, the reason.

    Raises:
        SourceError: if the path holds no asset or more than one.
    """
    if content is not None:
        return _explain(Asset(path, path, 0, Source(path, "")), path, recipe, content, strict)
    assets = find_assets(path, archives=archives, access=access)
    if len(assets) != 1:
        raise SourceError(f"{path} holds {len(assets)} assets: expected one, such as {_address(assets[0])}")
    access = access or AccessSettings()
    if access.mode == "auto" and assets[0].size > access.small:  # only a small part is read, and no digest is computed
        access = replace(access, mode="stream")
    try:
        with open_asset(assets[0], access) as opened:
            return _explain(assets[0], path, recipe, opened, strict)
    except SourceError as error:
        return Explanation(path, _refused(error, path), refused=True)


def _explain(
    asset: Asset, path: str, recipe: Recipe | None, content: BinaryIO | ZarrStore, strict: bool
) -> Explanation:
    notes = Notes()
    recipe = load_recipe(recipe_for(asset.source.dandiset, asset.numbered_by)) if recipe is None else recipe
    refused = False
    try:
        read = read_nwb(
            path, recipe, strict=strict, source=asset.source, namespace=asset.namespace, content=content, notes=notes
        )
        result = _result(read)
    except SourceError as error:
        result, refused = _refused(error, path), True
    return Explanation(path, result, notes.taken, notes.left, notes.found(), refused)


def _refused(error: SourceError, path: str) -> str:
    return f"refused: {str(error).removeprefix(f'{path}: ')}"


def _address(asset: Asset) -> str:
    """Return the address of one asset of a folder, a dandiset or a glob."""
    source = asset.source
    if asset.archive is None:
        return asset.url
    return f"dandi://{asset.archive.name}/{source.dandiset}@{source.version}/{asset.path}"


def _result(read: Recording | NeedsSorting | NoActivity) -> str:
    if isinstance(read, NoActivity):
        return f"left out: {read}"
    return _sorting(read) if isinstance(read, NeedsSorting) else _summary(read)


def _sorting(found: NeedsSorting) -> str:
    what = "voltage alone, which needs sorting first" if found.channels else "no voltage and no units"
    return f"{what}: {found}"


def _summary(recording: Recording) -> str:
    what = f"{recording.n_spikes} spikes"
    if recording.activity is not None:
        what = f"{len(recording.activity)} samples ({recording.activity_kind})"
    return (
        f"session {recording.session} of {recording.subject.key}: {recording.n_units} units, {what}, "
        f"{recording.domain.duration:.1f} s observed; behaviour {_names(recording.behavior)}; "
        f"intervals {_names(recording.intervals)}"
    )


def _names(items: dict) -> str:
    return ", ".join(items) if items else "none"
