"""Checkpoints that go on exactly: written to a new name, committed last, verified when loaded, free of pickle.

::

    step-00000050/
      model/              config.json and model.safetensors: loads with `from_pretrained`
      objective.safetensors
      optimizer.safetensors
      checkpoint.json     step, settings, and the sha256 of every file; its presence means that the folder is whole

Everything random is keyed by (seed, step), so weights, optimiser state and the number of steps are all there is.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from foundation.errors import CheckpointError
from foundation.tracking import flatten
from foundation.training.state import optimizer_state, set_optimizer_state, set_weights, weights
from foundation.version import __version__

log = logging.getLogger(__name__)
MANIFEST = "checkpoint.json"


def save_checkpoint(folder: Path, engine: Any, *, step: int, identity: dict[str, Any], keep: int) -> Path:
    """Write the checkpoint of a finished step and drop the oldest ones. All processes call it; the first one writes.

    Args:
        folder: the run's checkpoints.
        engine: DeepSpeed's engine around a `PretrainModule`.
        step: steps done.
        identity: what decides the weights: settings and recordings.
        keep: newest checkpoints kept.
    """
    tensors = weights(engine)
    moments = optimizer_state(engine)
    target = folder / f"step-{step:08d}"
    if torch.distributed.get_rank() == 0:
        part = folder / f".{target.name}.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        save_model(engine.module.model, select(tensors, "model."), part / "model")
        save_file(select(tensors, "objective."), part / "objective.safetensors")
        save_file(moments, part / "optimizer.safetensors")
        files = {str(p.relative_to(part)): _sha256(p) for p in sorted(part.rglob("*")) if p.is_file()}
        manifest = {"step": step, "version": __version__, "identity": identity, "files": files}
        (part / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))
        for path in part.rglob("*"):
            _sync(path)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(part, target)
        _sync(folder)
        for old in list_checkpoints(folder)[keep:]:
            shutil.rmtree(old)
    torch.distributed.barrier()
    return target


def save_model(model: Any, tensors: dict[str, torch.Tensor], folder: Path) -> None:
    """config.json and model.safetensors, as `from_pretrained` wants them."""
    model.save_pretrained(folder, state_dict=tensors)


def select(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """The tensors under a prefix, without it."""
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def list_checkpoints(folder: Path) -> list[Path]:
    """Checkpoints, the newest first."""
    return sorted((p for p in folder.glob("step-*") if (p / MANIFEST).is_file()), reverse=True)


def find_resumable(folder: Path, identity: dict[str, Any]) -> tuple[Path, int] | None:
    """The newest checkpoint whose files are intact, and its step; None if there is none. A damaged one is named.

    Raises:
        CheckpointError: if it belongs to a run with other settings or recordings.
    """
    for path in list_checkpoints(folder):
        damage = verify_checkpoint(path)
        if damage:
            log.warning("%s is damaged (%s): the one before it is taken", path, damage)
            continue
        manifest = json.loads((path / MANIFEST).read_text())
        _check_identity(path, manifest["identity"], identity)
        return path, int(manifest["step"])
    return None


def verify_checkpoint(path: Path) -> str:
    """What is wrong with a checkpoint, or nothing."""
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        for name, digest in manifest["files"].items():
            if not (path / name).is_file():
                return f"{name} is missing"
            if _sha256(path / name) != digest:
                return f"{name} has other bytes than were written"
    except (ValueError, KeyError, OSError) as error:
        return f"{MANIFEST}: {error}"
    return ""


def load_checkpoint(path: Path, engine: Any) -> None:
    """Put weights and optimiser state back. All processes call it.

    Raises:
        CheckpointError: if a tensor is missing, left over, or of another shape.
    """
    try:
        tensors = {f"model.{k}": t for k, t in load_file(path / "model" / "model.safetensors").items()}
        tensors |= {f"objective.{k}": t for k, t in load_file(path / "objective.safetensors").items()}
        moments = load_file(path / "optimizer.safetensors")
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error
    set_weights(engine, tensors)
    set_optimizer_state(engine, moments)


def _check_identity(path: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    a, b = flatten(found), flatten(json.loads(json.dumps(wanted)))
    other = [f"{k}: {a.get(k)!r} there, {b.get(k)!r} here" for k in sorted({*a, *b}) if a.get(k) != b.get(k)]
    if other:
        raise CheckpointError(
            f"{path} is of a run with other settings or recordings ({'; '.join(other[:4])}): name another output, "
            "or start anew with --resume never"
        )


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
