"""Which results in a folder belong together: of one checkpoint, of the last settings, of recordings as they are now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from finetune.finetune_settings import MODES, FinetuneSettings
from finetune.result import LeftOut, Result, from_json, read_json, write_json
from foundation.common.digests import json_digest
from foundation.common.errors import FoundationError
from foundation.evaluation import CONTRACT_VERSION
from foundation.store import Catalog

NOTE = "finetune.json"


@dataclass(frozen=True)
class Current:
    """The results of a folder that a report shows.

    Args:
        results: sorted by task, target and mode.
        stale: place and reason of each result that does not belong to them.
        left_out: targets of the last run without results.
    """

    results: list[Result]
    stale: list[tuple[str, str]]
    left_out: list[LeftOut]


def digests(catalog: Catalog) -> dict[str, str]:
    """Id -> digest of the recordings that a store holds."""
    return dict(zip(catalog.ids, catalog.records.texts("digest"), strict=True))


def settings_digest(settings: FinetuneSettings, mode: str) -> str:
    """Digest of the settings that decide the numbers of a mode."""
    return json_digest(settings.identity(mode))


def write_note(settings: FinetuneSettings, checkpoint: str, tasks: list[str], left_out: list[LeftOut]) -> None:
    """Write which settings and checkpoint the folder's results are of, and which targets have none.

    Targets without results of tasks that this run did not do stay, if they are of the same settings and checkpoint.
    """
    path = Path(settings.output) / NOTE
    about = {
        "contract": CONTRACT_VERSION,
        "checkpoint": checkpoint,
        "settings": {mode: settings_digest(settings, mode) for mode in MODES},
    }
    known = read_json(path) or {}
    same = all(known.get(name) == value for name, value in about.items())
    others = [e for e in known.get("left_out", []) if same and e["task"] not in tasks]
    note = {**about, "left_out": [*others, *(asdict(entry) for entry in left_out)]}
    if note != known:
        write_json(path, note)


def read_current(folder: str | Path, checkpoint: str | None, recordings: Mapping[str, str] | None) -> Current:
    """Read the results of one checkpoint; others, and stale ones, are named with the reason.

    Args:
        folder: output of `foundation finetune`.
        checkpoint: digest of the model; None takes the one that all results are of.
        recordings: id -> digest of the recordings that the store holds; None: that is not checked.

    Raises:
        FoundationError: if there are no results, none that is current, or no way to say which checkpoint is meant.
    """
    found, stale = _read_all(Path(folder))
    note = read_json(Path(folder) / NOTE) or {}
    if checkpoint is None:
        checkpoint = _only("checkpoint", {result.checkpoint for result in found.values()}, folder)
    settings: dict[str, str] = note.get("settings") or {}
    for mode in MODES:
        if mode not in settings and any(r.mode == mode for r in found.values()):
            mine = {r.settings for r in found.values() if r.mode == mode and r.checkpoint == checkpoint}
            settings[mode] = _only("settings", mine, folder) if mine else ""
    results = []
    for place, result in found.items():
        reason = _why_stale(result, checkpoint, settings, recordings)
        if reason:
            stale.append((place, reason))
        else:
            results.append(result)
    if not results:
        place, reason = stale[0]
        raise FoundationError(
            f"none of the {len(stale)} results in {str(folder)!r} is current: {place} is {reason}; run "
            "`foundation finetune` with this checkpoint and store"
        )
    left_out = [LeftOut(**entry) for entry in note.get("left_out", []) if note.get("checkpoint") == checkpoint]
    return Current(sorted(results, key=lambda r: (r.task, r.target, MODES.index(r.mode))), sorted(stale), left_out)


def _read_all(folder: Path) -> tuple[dict[str, Result], list[tuple[str, str]]]:
    """Results by place, and those that another version wrote.

    Raises:
        FoundationError: if neither has any.
    """
    found: dict[str, Result] = {}
    stale: list[tuple[str, str]] = []
    for path in sorted(folder.glob("*/*/*.json")):
        value = read_json(path)
        if value is None or "mode" not in value or "score" not in value:
            continue
        place = path.relative_to(folder).with_suffix("").as_posix()
        try:
            found[place] = from_json(value)
        except FoundationError:
            stale.append((place, _of_contract(value)))
    if not found and not stale:
        raise FoundationError(f"there are no results in {str(folder)!r}: make them with `foundation finetune`")
    return found, stale


def _of_contract(value: dict[str, Any]) -> str:
    return f"of evaluation contract {value.get('contract')}, where this version has {CONTRACT_VERSION}"


def _only(what: str, digests: set[str], folder: str | Path) -> str:
    if len(digests) > 1:
        named = ", ".join(sorted(value[:12] for value in digests))
        raise FoundationError(
            f"{str(folder)!r} holds results of {len(digests)} {what} ({named}): name a checkpoint that can be read, "
            "or run `foundation finetune` again"
        )
    return next(iter(digests), "")


def _why_stale(
    result: Result, checkpoint: str, settings: Mapping[str, str], recordings: Mapping[str, str] | None
) -> str:
    if result.contract != CONTRACT_VERSION:
        return _of_contract({"contract": result.contract})
    if result.checkpoint != checkpoint:
        return f"of checkpoint {result.checkpoint[:12]}, not {checkpoint[:12]}"
    if result.settings != settings.get(result.mode):
        return "of other settings than the last run"
    if recordings is None:
        return ""
    for identity, value in result.recordings.items():
        if identity not in recordings:
            return f"of recording {identity}, which the store does not contain any more"
        if recordings[identity] != value:
            return f"of recording {identity} before it changed"
    return ""
