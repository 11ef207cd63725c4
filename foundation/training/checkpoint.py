"""Checkpoints that go on exactly: written under a new name, committed last, verified when loaded, free of pickle.

::

    step-00000050/
      model/                              config.json and model.safetensors: loads with `from_pretrained`
      objective.safetensors               projectors, predictors, target networks
      optimizer/00000-of-00002.safetensors  what each process holds of Adam's moments
      checkpoint.json                     step, settings, counters, sha256 of every file; without it there is none

They lie in a folder or under any fsspec URL. Weights are whole and moments say where they belong, so a checkpoint loads
on any number of processes and under any ZeRO stage. Everything random is keyed by (seed, step), so weights, moments and
the number of steps are all there is.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from foundation.errors import CheckpointError
from foundation.store.catalog import Catalog
from foundation.store.files import Files, to_json
from foundation.tracking import flatten
from foundation.training.state import own_moments, set_moments, set_weights, weights

log = logging.getLogger(__name__)
MANIFEST = "checkpoint.json"
Tensors = dict[str, torch.Tensor]


class Checkpoints:
    """The checkpoints of a run.

    Args:
        place: a folder, or an fsspec URL.
    """

    def __init__(self, place: str | Path) -> None:
        self.files = Files(place)

    def names(self) -> list[str]:
        """Committed ones, the newest first."""
        return [name for name in self._folders() if MANIFEST in self.files.names(name)]

    def unfinished(self) -> list[str]:
        """Folders that a run began and did not commit."""
        return [name for name in self._folders() if MANIFEST not in self.files.names(name)]

    def _folders(self) -> list[str]:
        return sorted((n for n in self.files.names("") if n.startswith("step-")), reverse=True)

    def where(self, name: str) -> str:
        """A checkpoint's place, for messages and for `foundation.hub`."""
        return f"{self.files.name.rstrip('/')}/{name}"

    def manifest(self, name: str) -> dict[str, Any]:
        """What checkpoint.json says.

        Raises:
            StoreError, CheckpointError: if it is damaged or not there.
        """
        found = self.files.read_json(f"{name}/{MANIFEST}")
        if found is None or not {"step", "files", "identity", "state"} <= found.keys():
            raise CheckpointError(f"{self.where(name)}/{MANIFEST} is missing or says too little")
        return found

    def read(self, name: str) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Manifest and files of a checkpoint, every one compared with its digest.

        Raises:
            CheckpointError, StoreError: if anything is missing or has other bytes; the message says which.
        """
        manifest = self.manifest(name)
        contents = {}
        for file, digest in manifest["files"].items():
            content = self.files.read_bytes(f"{name}/{file}")
            if content is None:
                raise CheckpointError(f"{file} is missing")
            if sha256(content) != digest:
                raise CheckpointError(f"{file} has other bytes than were written")
            contents[file] = content
        return manifest, contents

    def damage(self, name: str) -> str:
        """What is wrong with a checkpoint, or nothing."""
        try:
            self.read(name)
        except Exception as error:
            return str(error)
        return ""

    def resumable(self, identity: dict[str, Any]) -> tuple[str, int] | None:
        """The newest checkpoint whose files are intact, and its step; None if there is none. Damaged ones are named.

        Raises:
            CheckpointError: if it belongs to a run with other settings or recordings.
        """
        for name in self.names():
            damage = self.damage(name)
            if damage:
                log.warning("%s is damaged (%s): the one before it is taken", self.where(name), damage)
                continue
            manifest = self.manifest(name)
            _check_identity(self.where(name), manifest["identity"], identity)
            return name, int(manifest["step"])
        return None


def list_checkpoints(folder: Path) -> list[Path]:
    """Checkpoints in a local folder, the newest first."""
    return [folder / name for name in Checkpoints(folder).names()]


def sha256(content: bytes) -> str:
    """The digest that manifests hold."""
    return hashlib.sha256(content).hexdigest()


def snapshot(engine: Any) -> dict[str, Tensors]:
    """This process's share of a checkpoint, copied to the CPU: file -> tensors. All processes call it."""
    rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    files: dict[str, Tensors] = {f"optimizer/{rank:05d}-of-{world:05d}.safetensors": own_moments(engine)}
    whole = weights(engine, keep=rank == 0)
    if rank == 0:
        files["model/model.safetensors"] = select(whole, "model.")
        files["objective.safetensors"] = select(whole, "objective.")
    return files


def model_config(model: Any) -> bytes:
    """config.json, as `from_pretrained` wants it."""
    config = copy.deepcopy(model.config)
    config.architectures = [type(model).__name__]
    config.dtype = "float32"
    return config.to_json_string().encode()


def to_bytes(tensors: Tensors) -> bytes:
    """A safetensors file."""
    return save(tensors, metadata={"format": "pt"})


def write_model(model: Any, tensors: Tensors, folder: Path) -> None:
    """config.json and model.safetensors in a local folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("config.json", model_config(model)), ("model.safetensors", to_bytes(tensors))):
        (folder / name).write_bytes(content)
        sync(folder / name)
    sync(folder)


def commit(place: Checkpoints, name: str, manifest: dict[str, Any]) -> None:
    """Make a checkpoint visible whose files are all written."""
    place.files.write_bytes(f"{name}/{MANIFEST}", to_json(manifest))


def select(tensors: Tensors, prefix: str) -> Tensors:
    """The tensors under a prefix, without it."""
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def load_checkpoint(place: Checkpoints, name: str, engine: Any) -> dict[str, Any]:
    """Put weights and Adam's moments back. All processes call it.

    Returns:
        The counters that were saved with it.

    Raises:
        CheckpointError: if a tensor is missing, left over, or of another shape, or a file is not what was written.
    """
    try:
        manifest, contents = place.read(name)
        tensors: Tensors = {}
        shards: list[Tensors] = []
        for file, content in contents.items():
            if file.startswith("optimizer/"):
                shards.append(load(content))
            elif file.endswith(".safetensors"):
                prefix = "model." if file.startswith("model/") else "objective."
                tensors |= {f"{prefix}{k}": t for k, t in load(content).items()}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot read {place.where(name)}: {error}") from error
    set_weights(engine, tensors)
    set_moments(engine, shards)
    return dict(manifest["state"])


def _check_identity(where: str, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    a, b = flatten(found), flatten(json.loads(json.dumps(wanted)))
    other = [f"{k}: {a.get(k)!r} there, {b.get(k)!r} here" for k in sorted({*a, *b}) if a.get(k) != b.get(k)]
    if other:
        raise CheckpointError(
            f"{where} is of a run with other settings or recordings ({'; '.join(other[:4])}): name another output, "
            "or start anew with --resume never"
        )


def recordings_digest(catalog: Catalog) -> str:
    """sha256 over the recordings' content: what data a run was given."""
    digests = sorted(record["digest"] for record in catalog.records)
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def sync(path: Path) -> None:
    """Have the disk take what was written."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
