"""`foundation push`: publish config, weights and card of a checkpoint to a hub, a model registry, an fsspec URL or a
folder."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import fsspec

from foundation.common.errors import CheckpointError
from foundation.common.files.locks import whole_folder
from foundation.common.output.printable import printable
from foundation.hub.checkpoint_cache import is_offline
from foundation.hub.checkpoint_files import BESIDE, FILES, digest_of, is_checkpoint, reason_of, shown
from foundation.hub.checkpoint_resolver import Resolved, resolve
from foundation.hub.hub_settings import PushSettings
from foundation.hub.huggingface_checkpoints import SCHEME as HUB
from foundation.hub.huggingface_checkpoints import HubName, endpoint
from foundation.hub.mlflow_checkpoints import DIGEST_TAG, RegisteredName, client_of, registry_uri
from foundation.hub.mlflow_checkpoints import SCHEME as MLFLOW

EXPERIMENT = "checkpoints"


@dataclass(frozen=True)
class Pushed:
    """A published checkpoint.

    Args:
        name: under which it loads from now on, with a pinned revision or version if there is one.
        sha256: its digest.
        size: bytes.
    """

    name: str
    sha256: str
    size: int

    def __str__(self) -> str:
        entry = f"  my-name: {{url: {self.name}, sha256: {self.sha256}, size: {self.size}}}"
        return (
            f"{self.name}\nsha256 {self.sha256}, {self.size} bytes\nin a registry file, under `checkpoints:`\n{entry}"
        )


def push(settings: PushSettings) -> Pushed:
    """Publish a checkpoint: config.json, model.safetensors, and its card and licence if it has them.

    Returns:
        The name under which it loads, with its digest.

    Raises:
        CheckpointError: if there is no checkpoint, the target cannot be written, or it holds another one.
    """
    found, target = resolve(settings.checkpoint), settings.target
    if is_offline() and ":/" in target:
        raise CheckpointError(
            f"{shown(target)} cannot be written: connections are switched off (FOUNDATION_OFFLINE or HF_HUB_OFFLINE)"
        )
    try:
        if target.startswith(HUB):
            name = _to_hub(found, HubName.parse(target), settings.private)
        elif target.startswith(MLFLOW):
            name = _to_mlflow(found, target)
        elif ":/" in target:
            name = _to_url(found, target, settings.replace)
        else:
            name = _to_folder(found, Path(target), settings.replace)
    except CheckpointError:
        raise
    except Exception as error:  # any error of the target's client
        why = reason_of(error)
        advice = "; log in with `hf auth login` or HF_TOKEN" if target.startswith(HUB) else ""
        raise CheckpointError(f"cannot push to {shown(target)}: {why}{advice}") from error
    return Pushed(name, found.digest, found.size)


def _files(found: Resolved) -> list[Path]:
    return [found.folder / file for file in (*BESIDE, *FILES) if (found.folder / file).is_file()]


def _to_hub(found: Resolved, name: HubName, private: bool) -> str:
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    api = HfApi(endpoint=endpoint(), library_name="foundation")
    api.create_repo(name.repo, private=private, exist_ok=True)
    if name.revision != "main":
        api.create_branch(name.repo, branch=name.revision, exist_ok=True)
    adds = [
        CommitOperationAdd("/".join(filter(None, (name.folder, path.name))), path_or_fileobj=path)
        for path in _files(found)
    ]
    commit = api.create_commit(
        name.repo, adds, commit_message=f"Add checkpoint {found.digest[:12]}", revision=name.revision
    )
    return str(HubName(name.repo, commit.oid, name.folder))


def _to_mlflow(found: Resolved, target: str) -> str:
    model, _, alias = target.removeprefix(MLFLOW).partition("@")
    if not model or "/" in model:
        raise CheckpointError(
            f"{target!r} is not a target in a model registry: expected models:/name or models:/name@alias; the "
            "registry counts versions itself"
        )
    from mlflow.exceptions import MlflowException

    from foundation.common.tracking.mlflow_run import Run

    client = client_of(registry_uri())
    with Run(client.tracking_uri, EXPERIMENT, f"push {model}") as run:
        for path in _files(found):
            run.files(path, "checkpoint")
        run.params({"checkpoint": printable(found.name), "sha256": found.digest})
        source = f"{client.get_run(run.id).info.artifact_uri}/checkpoint"
    try:
        client.create_registered_model(model)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    made = client.create_model_version(model, source, run_id=run.id, tags={DIGEST_TAG: found.digest})
    if alias:
        client.set_registered_model_alias(model, alias, made.version)
    return str(RegisteredName(model, version=str(made.version)))


def _to_url(found: Resolved, url: str, replace: bool) -> str:
    fs, root = fsspec.core.url_to_fs(url)
    root = root.rstrip("/")
    if not replace and any(fs.exists(f"{root}/{file}") for file in FILES):
        raise CheckpointError(f"{shown(url)} already holds a checkpoint: name another place, or give --replace")
    fs.makedirs(root, exist_ok=True)
    for path in _files(found):  # config.json and the weights come last; until then the checkpoint is invisible
        fs.put_file(str(path), f"{root}/{path.name}")
    return shown(url)


def _to_folder(found: Resolved, folder: Path, replace: bool) -> str:
    folder = folder.expanduser()
    if folder.exists() and any(folder.iterdir()):
        if is_checkpoint(folder) and digest_of(folder) == found.digest:
            return str(folder)
        if not replace or not is_checkpoint(folder):
            raise CheckpointError(
                f"{str(folder)!r} is not empty: name another folder, or give --replace where it holds a checkpoint"
            )
    with whole_folder(folder, replace=True) as part:
        for path in _files(found):
            shutil.copyfile(path, part / path.name)
    return str(folder)
