"""What a recipe takes from a file, and what it leaves and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import BinaryIO

from zarr.abc.store import Store as ZarrStore

from foundation.errors import SourceError
from foundation.store import Recording, Source
from ingest.notes import Note, Notes
from ingest.nwb import NeedsSorting, read_nwb
from ingest.recipes import Recipe, load_recipe


@dataclass(frozen=True)
class Explanation:
    """What would come of a file.

    Args:
        path: the file.
        result: a line on the recording, or why there is none.
        taken: what objects of the file became.
        left: what was left, and why.
        quality: what reading changed or left out, as numbers.
    """

    path: str
    result: str
    taken: list[Note] = field(default_factory=list)
    left: list[Note] = field(default_factory=list)
    quality: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        width = max((len(note.path) for note in [*self.taken, *self.left]), default=0)
        lines = [self.path, f"  {self.result}"]
        for title, notes in (("taken", self.taken), ("left", self.left)):
            if notes:
                lines += ["", title, *[f"  {note.path.ljust(width)}  {note.text}" for note in notes]]
        if self.quality:
            lines += ["", "counted", *[f"  {name} {number:g}" for name, number in self.quality.items()]]
        return "\n".join(lines)


def explain(
    path: str, recipe: Recipe | None = None, *, content: BinaryIO | ZarrStore | None = None, strict: bool = False
) -> Explanation:
    """Read a file as an ingest would, and say what became of each object in it. Nothing is written.

    Args:
        path: a file or an fsspec URL.
        recipe: what columns, tables and series mean; the shipped ``default`` if none is given.
        content: what is at that path, if it is open already.
        strict: as the ingest would be.

    Returns:
        What is taken and left. A file that an ingest would refuse gives the reason as its result.
    """
    notes = Notes()
    recipe = load_recipe("default") if recipe is None else recipe
    try:
        read = read_nwb(path, recipe, strict=strict, source=Source(path, ""), content=content, notes=notes)
        result = _sorting(read) if isinstance(read, NeedsSorting) else _summary(read)
    except SourceError as error:
        result = f"refused: {str(error).removeprefix(f'{path}: ')}"
    return Explanation(path, result, notes.taken, notes.left, notes.found())


def _sorting(found: NeedsSorting) -> str:
    return f"voltage alone, which needs sorting first: {found}"


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
