"""Heads in folders: head.safetensors with the weights, head.json with all else, and changed weights of the model.

::

    out/velocity-mouse1/
      head.json             what the head is of, how good it is, and the digest of its weights; written last
      head.safetensors      its weights
      model/                config.json and model.safetensors, where the model itself was changed; those of further
                            networks of an ensemble in model-2/, model-3/, ...
      checkpoint/           the frozen checkpoint, in heads that MLflow keeps

Nothing else in the folder is read, and nothing that can hold code.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from finetune.heads.head import (
    LAGS,
    MODEL,
    RATES,
    READINGS,
    SCHEMA,
    Head,
    HeadBlock,
    HeadError,
    HeadWindows,
    Kept,
    Population,
    adapted_source,
)
from foundation.common.files.locks import whole_folder, write_whole
from foundation.evaluation.metrics import CLASSES, VALUES
from foundation.hub.checkpoints import checkpoint_digest
from foundation.models import EIT

FACTS, WEIGHTS, CHANGED, CHECKPOINT = "head.json", "head.safetensors", "model", "checkpoint"
MAX_FACTS, MAX_WEIGHTS = 1 << 24, 1 << 33  # bytes
PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib")
AGAIN = "fit it again with `foundation finetune`"
Part = TypeVar("Part", HeadWindows, Population, Kept)


def save_head(head: Head, folder: str | Path, adapted: Sequence[EIT] = (), frozen: EIT | None = None) -> None:
    """Write a head into a folder; head.json is written last and holds the digests of all else.

    Args:
        head: the head.
        folder: made if it is not there; an earlier head in it is replaced.
        adapted: the changed models that the head reads.
        frozen: the model that the head reads beside it, if that is not the checkpoint itself: the checkpoint with rows
            for a new population.
    """
    folder = Path(folder)
    tensors = {"bias": np.asarray(head.bias_K, dtype=np.float64)}
    for place, block in enumerate(head.blocks):
        for name, array in (("mean", block.mean_F), ("scale", block.scale_F), ("weight", block.weight_LFK)):
            tensors[f"{place}.{name}"] = np.ascontiguousarray(array, dtype=np.float32)
    content = save(tensors)
    facts = {**head.facts(), "tensors": hashlib.sha256(content).hexdigest()}
    for earlier in folder.glob(f"{CHANGED}*"):  # of an earlier head
        shutil.rmtree(earlier)
    for place, model in enumerate(adapted):
        with whole_folder(changed_folder(folder, place), replace=True) as part:
            model.save_pretrained(part)
    facts["adapted"] = [checkpoint_digest(changed_folder(folder, place)) for place in range(len(adapted))]
    if frozen is not None:
        with whole_folder(folder / CHECKPOINT, replace=True) as part:
            frozen.save_pretrained(part)
        facts["checkpoint"] = {**facts["checkpoint"], "digest": checkpoint_digest(folder / CHECKPOINT)}
    else:
        shutil.rmtree(folder / CHECKPOINT, ignore_errors=True)  # of an earlier head
    write_whole(folder / WEIGHTS, content)
    write_whole(folder / FACTS, json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def changed_folder(folder: Path, place: int) -> Path:
    """Return the folder of a changed model, by its place among those of a head.

    Example:
        >>> changed_folder(Path("velocity"), 0).as_posix(), changed_folder(Path("velocity"), 1).as_posix()
        ('velocity/model', 'velocity/model-2')
    """
    return folder / (CHANGED if place == 0 else f"{CHANGED}-{place + 1}")


def find_head(place: str | Path) -> Path:
    """Return the folder of a head: the one that is named, or the only one whose name goes on after a hyphen.

    Raises:
        HeadError: if the folder has no head, or several.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "velocity-mouse1").mkdir()
        >>> _ = (folder / "velocity-mouse1" / "head.json").write_text("{}")
        >>> find_head(folder / "velocity").name
        'velocity-mouse1'
    """
    place = Path(place)
    if (place / FACTS).is_file():
        return place
    near = sorted(path.parent for path in place.parent.glob(f"*/{FACTS}")) if place.parent.is_dir() else []
    found = [folder for folder in near if folder.name.startswith(f"{place.name}-")]
    if len(found) == 1:
        return found[0]
    inside = sorted(path.parent.name for path in place.glob(f"*/{FACTS}")) if place.is_dir() else []
    names = [folder.name for folder in found or near] or inside
    hint = f"; name one of {', '.join(names)}" if names else "; `foundation finetune` writes one for each target"
    raise HeadError(f"head is {str(place)!r}: expected one folder with {FACTS}{hint}")


def load_head(place: str | Path) -> Head:
    """Read a head that `foundation finetune` wrote. Nothing of its model is read yet.

    Args:
        place: its folder, or the beginning of the folder's name (``out/velocity`` for ``out/velocity-mouse1``).

    Raises:
        HeadError: if the head is missing, damaged, of another schema, or has unknown content.
    """
    folder = find_head(place)
    try:
        if (folder / FACTS).stat().st_size > MAX_FACTS:
            raise ValueError(f"it is larger than {MAX_FACTS} bytes")
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        if not isinstance(facts, dict) or facts.get("format") != "foundation-head":
            raise ValueError("its format is not 'foundation-head'")
    except (OSError, ValueError, RecursionError) as error:
        raise HeadError(f"{folder / FACTS} is damaged: {error}; {AGAIN}") from error
    if facts.get("schema") != SCHEMA:
        raise HeadError(f"{folder / FACTS}: schema is {facts.get('schema')!r}: expected {SCHEMA}; {AGAIN}")
    tensors = _read_tensors(folder, facts)
    try:
        return _head(folder, facts, tensors)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        raise HeadError(f"{folder / FACTS} is damaged: {what}; {AGAIN}") from error


def read_key(folder: Path) -> str:
    """Return the key of the head in a folder; empty if the folder has no loadable head."""
    try:
        return load_head(folder).kept.key if (folder / FACTS).is_file() else ""
    except HeadError:
        return ""


def _read_tensors(folder: Path, facts: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the weights, whose bytes must be those that head.json names."""
    path = folder / WEIGHTS
    if not path.is_file():
        pickles = sorted(p.name for p in folder.iterdir() if p.suffix in PICKLES)
        also = f" ({', '.join(pickles)} can hold code and is not read)" if pickles else ""
        raise HeadError(f"{folder} has no {WEIGHTS}{also}: {AGAIN}")
    if path.stat().st_size > MAX_WEIGHTS:
        raise HeadError(f"{path} has {path.stat().st_size} bytes: expected at most {MAX_WEIGHTS}")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != facts.get("tensors"):
        raise HeadError(f"{path} has other bytes than {FACTS} names: it is damaged or belongs to another head; {AGAIN}")
    try:
        return load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise HeadError(f"{path} is no safetensors file: {error}; {AGAIN}") from error


def _head(folder: Path, facts: dict[str, Any], tensors: dict[str, np.ndarray]) -> Head:
    kind, classes, values = facts["kind"], _texts(facts, "classes"), _texts(facts, "value_names")
    if kind not in (CLASSES, VALUES):
        raise ValueError(f"kind is {kind!r}: expected {CLASSES!r} or {VALUES!r}")
    n_out = len(classes) if kind == CLASSES else len(values)
    bias_K = _tensor(tensors, "bias", (n_out,), np.float64)
    windows, kept = _part(HeadWindows, facts["windows"]), _part(Kept, facts)
    adapted = [adapted_source(place) for place in range(len(kept.adapted))]
    sources = [RATES, MODEL, *adapted]
    blocks = tuple(_block(place, about, tensors, n_out, sources) for place, about in enumerate(facts["blocks"]))
    wanted = {"bias", *(f"{place}.{part}" for place in range(len(blocks)) for part in ("mean", "scale", "weight"))}
    if set(tensors) != wanted or not blocks:
        raise ValueError(f"{WEIGHTS} holds {', '.join(sorted(tensors))}: expected {', '.join(sorted(wanted))}")
    population = None if facts["population"] is None else _part(Population, facts["population"])
    spread, temperature = [float(x) for x in facts["spread"]], float(facts["temperature"])
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"temperature is {temperature}: expected a number above 0")
    if kind == VALUES and (len(spread) != n_out or not all(math.isfinite(x) and x >= 0 for x in spread)):
        raise ValueError(f"spread is {spread}: expected {n_out} finite numbers")
    if not (0 < windows.token_seconds < 1e6 and 1 <= windows.bins_per_token < 1e6 and 1 <= windows.tokens < 1e6):
        raise ValueError(f"windows are {windows}: expected positive lengths")
    head = Head(
        str(facts["task"]), str(facts["target"]), str(facts["title"]), kind, classes, values, str(facts["unit"]),
        blocks, bias_K, windows, population, kept, spread, temperature, folder,
    )  # fmt: skip
    if unread := set(adapted) - head.sources:
        raise ValueError(f"adapted is {kept.adapted!r} and no block reads {', '.join(sorted(unread))}")
    if MODEL in head.sources and (kept.checkpoint is None or set(kept.checkpoint) != {"name", "digest"}):
        raise ValueError(f"checkpoint is {kept.checkpoint!r}: expected the name and digest of what a block reads")
    return head


def _block(
    place: int, about: dict[str, Any], tensors: dict[str, np.ndarray], n_out: int, sources: Sequence[str]
) -> HeadBlock:
    source, reading, lags, clip = about["source"], about["reading"], tuple(about["lags"]), about["clip"]
    if source not in sources or reading not in READINGS:
        raise ValueError(
            f"blocks[{place}] reads {reading!r} of {source!r}: expected one of {READINGS} of {', '.join(sources)}"
        )
    if not all(isinstance(lag, int) and abs(lag) < 1e6 for lag in lags) or (not lags if reading == LAGS else lags):
        raise ValueError(f"blocks[{place}].lags is {lags}: expected whole numbers for lags, and none otherwise")
    if clip is not None and not (math.isfinite(clip) and clip > 0):
        raise ValueError(f"blocks[{place}].clip is {clip}: expected a number above 0, or null")
    n_lags, n_features = max(1, len(lags)), len(tensors[f"{place}.mean"])
    mean_F, scale_F = (_tensor(tensors, f"{place}.{name}", (n_features,), np.float32) for name in ("mean", "scale"))
    if not (scale_F > 0).all():
        raise ValueError(f"{WEIGHTS}: {place}.scale has values of 0 or below")
    weight_LFK = _tensor(tensors, f"{place}.weight", (n_lags, n_features, n_out), np.float32)
    return HeadBlock(source, str(about["features"]), reading, lags, clip, mean_F, scale_F, weight_LFK)


def _tensor(tensors: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...], kind: Any) -> np.ndarray:
    array = tensors[name]
    if array.shape != shape or array.dtype != kind:
        expected = f"{shape} of {np.dtype(kind)}"
        raise ValueError(f"{WEIGHTS}: {name} has shape {array.shape} of {array.dtype}: expected {expected}")
    if wrong := int((~np.isfinite(array)).sum()):
        raise ValueError(f"{WEIGHTS}: {name} has {wrong} non-finite values")
    return array


def _texts(facts: Mapping[str, Any], key: str) -> list[str]:
    if not isinstance(facts[key], list) or not all(isinstance(text, str) for text in facts[key]):
        raise ValueError(f"{key} is {facts[key]!r}: expected a list of texts")
    return list(facts[key])


TYPES: dict[str, type | tuple[type, ...]] = {
    "str": str, "int": int, "float": (int, float), "bool": bool, "list[int]": list, "list[str]": list,
    "dict[str, Any]": dict, "dict[str, str]": dict, "dict[str, dict[str, Any]]": dict,
    "dict[str, str] | None": (dict, type(None)), "str | None": (str, type(None)),
}  # fmt: skip


def _part(kind: type[Part], content: Mapping[str, Any]) -> Part:
    """Return a part of head.json, with every field of the type that it has in Python."""
    given: dict[str, Any] = {}
    for entry in fields(kind):
        value = content[entry.name]
        expected = TYPES[str(entry.type)]
        if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
            raise ValueError(f"{entry.name} is {value!r}: expected {entry.type}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{entry.name} is {value}: expected a finite number")
        given[entry.name] = value
    return kind(**given)
