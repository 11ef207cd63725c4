"""Checkpoints that resume bit for bit: written under a new name, committed last, verified when loaded, free of pickle.

::

    step-00000050/
      model/                              config.json and model.safetensors: loads with `from_pretrained`
      objective.safetensors               projectors, predictors, target networks
      optimizer/00000-of-00002.safetensors  each process's share of Adam's moments
      deepspeed.json                      configuration of DeepSpeed
      checkpoint.json                     step, settings, counters, sha256 of every file; it commits the checkpoint

They are in a folder or under any fsspec URL. Weights are consolidated and each piece of a moment names its position, so
a checkpoint loads on any number of processes and under any ZeRO stage. All random draws are keyed by (seed, step), so
weights, moments and the number of steps are the complete state.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from foundation.common.errors import CheckpointError, FoundationError, StoreError
from foundation.common.files.locks import write_whole
from foundation.common.retry import retried
from foundation.common.tracking.mlflow_run import flatten
from foundation.models.saved.weight_names import with_current_names
from foundation.store.commit.atomic_files import Files, to_json
from foundation.training.checkpoint.place_lock import Lease, place_lock
from foundation.training.distributed.deepspeed_state import own_moments, set_moments, set_weights, weights

log = logging.getLogger(__name__)
MANIFEST = "checkpoint.json"
DAMAGE = (CheckpointError, StoreError, FileNotFoundError)  # with other errors the place is unreadable for now
T = TypeVar("T")
Tensors = dict[str, torch.Tensor]
Content = tuple[dict[str, Any], dict[str, bytes]]  # manifest, and the bytes of the files


class Checkpoints:
    """The checkpoints of a run.

    Args:
        place: a folder, or an fsspec URL.
        retries: how often a failed read is tried again.
        pause: seconds before the first retry; each further pause is twice as long.
    """

    def __init__(self, place: str | Path, retries: int = 0, pause: float = 0.0) -> None:
        self.files, self.retries, self.pause = Files(place), retries, pause
        self.damaged: set[str] = set()  # names of the checkpoints that `resumable` could not verify
        self.lease: Lease | None = None  # while the place is held by a lease

    def names(self) -> list[str]:
        """Return the names of the committed checkpoints, the newest first."""
        return [name for name in self._folders() if MANIFEST in self.files.names(name)]

    def unfinished(self) -> list[str]:
        """Return the names of the folders of uncommitted checkpoints."""
        return [name for name in self._folders() if MANIFEST not in self.files.names(name)]

    def _folders(self) -> list[str]:
        return sorted((n for n in self.files.names("") if n.startswith("step-")), reverse=True)

    def where(self, name: str) -> str:
        """Return a checkpoint's path or URL, for messages and for `foundation.hub.checkpoints`."""
        return f"{self.files.name.rstrip('/')}/{name}"

    def sure(self, action: Callable[[], T], what: str) -> T:
        """Return the result of ``action``, retrying after errors that may pass; see `retried`."""
        unless = (FoundationError, FileNotFoundError)
        return retried(action, what, retries=self.retries, pause=self.pause, unless=unless)

    def remove(self, name: str) -> None:
        """Remove a checkpoint, manifest first, so that an interrupted removal leaves no checkpoint behind.

        Raises:
            CheckpointError: if another run has taken over the place, as the checkpoint may be its own.
        """
        self.check_held()
        self.files.remove(f"{name}/{MANIFEST}")
        self.files.remove(name)
        self.damaged.discard(name)

    @contextmanager
    def held(self, holder: str, patience: float | None = None) -> Iterator[None]:
        """Lock the place against other runs before anything in it changes.

        Args:
            holder: the run's output. A lease of the same holder on this machine is taken over at once.
            patience: seconds to wait for a lock; None: `place_lock.PATIENCE`.

        Raises:
            FoundationError: if another run holds the place.
        """
        name = self.files.name
        refusal = (
            f"another run is writing its checkpoints to {name}: wait for it, stop it, or name another saving.place"
        )
        with ExitStack() as stack:
            if not stack.enter_context(place_lock(self.files, refusal, patience)):
                take = partial(stack.enter_context, Lease(self.files, holder, refusal))
                self.lease = self.sure(take, f"taking the lease of {name}")
            yield

    def check_held(self) -> None:
        """Raise if another run has taken over the place.

        Raises:
            CheckpointError: if the lease on the place is lost.
        """
        if self.lease is not None and self.lease.lost:
            raise CheckpointError(f"{self.files.name} was taken over by another run")

    def check_whole(self, name: str, sizes: dict[str, int]) -> None:
        """Raise unless all files of a checkpoint exist with their full size; this takes one listing.

        Args:
            name: name of the checkpoint.
            sizes: file -> bytes.

        Raises:
            CheckpointError: if a file is missing or has another size, or another run has taken over the place.
        """
        self.check_held()
        found = self.sure(lambda: self.files.sizes(name), f"listing {self.where(name)}")
        for file, size in sizes.items():
            if found.get(file) != size:
                raise CheckpointError(
                    f"{file} has {found.get(file, 0)} bytes: expected the {size} bytes that were written"
                )

    def manifest(self, name: str) -> dict[str, Any]:
        """Return the content of checkpoint.json.

        Raises:
            StoreError, CheckpointError: if it is damaged or missing.
        """
        file = f"{name}/{MANIFEST}"
        found = self.sure(lambda: self.files.read_json(file), f"reading {self.where(file)}")
        kinds = {"step": int, "files": dict, "identity": dict, "state": dict}
        if found is None or not all(isinstance(found.get(key), kind) for key, kind in kinds.items()):
            raise CheckpointError(f"{self.where(file)} is missing or incomplete")
        return found

    def read(self, name: str) -> Content:
        """Return the manifest and the files of a checkpoint, each file verified by its digest.

        Raises:
            CheckpointError, StoreError: if a file is missing or has other bytes; the message names it.
            OSError: or another error of the place, if it cannot be read after all retries; this is not damage.
        """
        manifest = self.manifest(name)
        contents = {}
        for file, digest in manifest["files"].items():
            read = partial(self.files.read_bytes, f"{name}/{file}")
            content = self.sure(read, f"reading {self.where(name)}/{file}")
            if content is None:
                raise CheckpointError(f"{file} is missing")
            if sha256(content) != digest:
                raise CheckpointError(f"{file} has other bytes than were written")
            contents[file] = content
        return manifest, contents

    def damage(self, name: str) -> str:
        """Return a description of a checkpoint's damage, or ``''``. An unreadable place raises, as in `read`."""
        try:
            self.read(name)
        except DAMAGE as error:
            return str(error)
        return ""

    def resumable(self, identity: dict[str, Any]) -> tuple[str, Content] | None:
        """Return the newest intact checkpoint, its name and its content; None if there are no checkpoints.

        Damaged checkpoints are logged and added to ``damaged``.

        Raises:
            CheckpointError: if the checkpoint belongs to a run with other settings or recordings, or all are damaged.
            OSError: or another error of the place, if it cannot be read after all retries.
        """
        damage = {}
        for name in self.sure(self.names, f"listing {self.files.name}"):
            try:
                manifest, contents = self.read(name)
            except DAMAGE as error:
                log.warning("%s is damaged (%s): trying the previous checkpoint", self.where(name), error)
                damage[name] = str(error)
                continue
            check_identity(self.where(name), manifest["identity"], identity)
            self.damaged = set(damage)
            return name, (manifest, contents)
        if damage:
            what = "; ".join(f"{name}: {why}" for name, why in list(damage.items())[:4])
            raise CheckpointError(
                f"all {len(damage)} checkpoints in {self.files.name} are damaged ({what}): move them away to start "
                "from step 0, or use --resume never, which removes them"
            )
        return None


def check_identity(where: str, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raise unless a checkpoint belongs to a run with these settings and recordings.

    Args:
        where: the checkpoint, for the message.
        found: the identity in its manifest.
        wanted: the identity of this run.

    Raises:
        CheckpointError: if they differ; the message names the first differences.
    """
    a, b = flatten(found), flatten(json.loads(json.dumps(wanted)))
    keys = [key for key in sorted({*a, *b}) if a.get(key) != b.get(key)]
    other = [f"{key}: {a.get(key)!r} in the checkpoint, {b.get(key)!r} in the settings" for key in keys]
    if other:
        raise CheckpointError(
            f"{where} is of a run with other settings or recordings ({'; '.join(other[:4])}): name another output, "
            "or start again with --resume never"
        )


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in a local folder, the newest first."""
    return [folder / name for name in Checkpoints(folder).names()]


def sha256(content: bytes) -> str:
    """Return the digest under which a manifest lists a file."""
    return hashlib.sha256(content).hexdigest()


def snapshot(engine: Any) -> dict[str, Tensors]:
    """Copy this process's share of a checkpoint to the CPU: file -> tensors. All processes call it."""
    rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    files: dict[str, Tensors] = {f"optimizer/{rank:05d}-of-{world:05d}.safetensors": own_moments(engine)}
    whole = weights(engine, keep=rank == 0)
    if rank == 0:
        files["model/model.safetensors"] = select(whole, "model.")
        files["objective.safetensors"] = select(whole, "objective.")
    return files


def model_config(model: Any) -> bytes:
    """Return config.json in the form that `from_pretrained` reads."""
    config = copy.deepcopy(model.config)
    config.architectures = [type(model).__name__]
    config.dtype = "float32"
    return config.to_json_string().encode()


def to_bytes(tensors: Tensors) -> bytes:
    """Return the bytes of a safetensors file."""
    return save(tensors, metadata={"format": "pt"})


def write_model(model: Any, tensors: Tensors, folder: Path) -> None:
    """Write config.json and model.safetensors into a local folder."""
    for name, content in (("config.json", model_config(model)), ("model.safetensors", to_bytes(tensors))):
        write_whole(folder / name, content)


def commit(place: Checkpoints, name: str, manifest: dict[str, Any]) -> None:
    """Make a checkpoint visible after all its files are written."""
    place.files.write_bytes(f"{name}/{MANIFEST}", to_json(manifest))


def select(tensors: Tensors, prefix: str) -> Tensors:
    """Return the tensors whose names have a prefix, without the prefix."""
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def load_checkpoint(place: Checkpoints, name: str, engine: Any, content: Content | None = None) -> dict[str, Any]:
    """Load weights and Adam's moments into an engine. All processes call it.

    Args:
        place: the run's checkpoints.
        name: name of the checkpoint.
        engine: DeepSpeed's engine.
        content: the result of `Checkpoints.read`, if this process has it already.

    Returns:
        The counters that were saved with the checkpoint.

    Raises:
        CheckpointError: if a tensor is missing, left over or of another shape, or a file is damaged.
    """
    try:
        manifest, contents = content or place.read(name)
        tensors: Tensors = {}
        shards: list[Tensors] = []
        for file, data in contents.items():
            if file.startswith("optimizer/"):
                shards.append(with_current_names(load(data)))
            elif file.endswith(".safetensors"):
                prefix = "model." if file.startswith("model/") else "objective."
                tensors |= with_current_names({f"{prefix}{k}": t for k, t in load(data).items()})
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot read {place.where(name)}: {error}") from error
    set_weights(engine, tensors)
    set_moments(engine, shards)
    return dict(manifest["state"])
