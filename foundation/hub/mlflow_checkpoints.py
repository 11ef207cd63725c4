"""Checkpoints in an MLflow model registry: ``models:/name@alias`` and ``models:/name/3``.

A version never changes, so it is fetched once and then found in the cache. An alias is resolved to its version at each
use; if the registry is unreachable, the last known version is used.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foundation.common.credentials import without_secrets
from foundation.common.errors import CheckpointError
from foundation.common.lazy import optional_package
from foundation.hub.checkpoint_cache import (
    held_checkpoint,
    is_offline,
    key_of,
    note_of,
    offline_error,
    part_of,
    put_checkpoint,
    write_note,
)
from foundation.hub.checkpoint_files import BESIDE, FILES, check_names, folder_in, path_in, reason_of

log = logging.getLogger(__name__)
SCHEME = "models:/"
DIGEST_TAG = "foundation.sha256"  # of a version: the digest of the checkpoint that was pushed
_NAME = re.compile(r"models:/(?P<model>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")


@dataclass(frozen=True)
class RegisteredName:
    """A registered model with an alias or a version.

    Example:
        >>> RegisteredName.parse("models:/eit@production")
        RegisteredName(model='eit', alias='production', version='')
        >>> str(RegisteredName.parse("models:/eit/3"))
        'models:/eit/3'
    """

    model: str
    alias: str = ""
    version: str = ""

    @classmethod
    def parse(cls, name: str) -> RegisteredName:
        """Parse ``models:/name@alias`` or ``models:/name/version``.

        Raises:
            CheckpointError: if the name has another form.
        """
        found = _NAME.fullmatch(name)
        if found is None:
            raise CheckpointError(
                f"{name!r} is not a name in a model registry: expected models:/name@alias or models:/name/3"
            )
        return cls(found["model"], found["alias"] or "", found["version"] or "")

    def __str__(self) -> str:
        return f"{SCHEME}{self.model}" + (f"@{self.alias}" if self.alias else f"/{self.version}")


def registry_uri() -> str:
    """Return the registry's URI: $MLFLOW_REGISTRY_URI, $MLFLOW_TRACKING_URI, or the URI set in MLflow by the program.

    Raises:
        CheckpointError: if none is set.
        ConfigError: if MLflow is not installed.
    """
    mlflow = optional_package("mlflow", "models:/", "train")
    given = os.environ.get("MLFLOW_REGISTRY_URI") or os.environ.get("MLFLOW_TRACKING_URI")
    if given is None and mlflow.is_tracking_uri_set():
        given = mlflow.get_registry_uri()
    if not given:
        raise CheckpointError(
            "MLFLOW_TRACKING_URI is not set: expected the model registry for models:/ names, such as "
            "http://host:5000 or sqlite:///folder/mlflow.db"
        )
    return str(given)


def client_of(uri: str) -> Any:
    """Return MLflow's client for a registry."""
    mlflow = optional_package("mlflow", "models:/", "train")
    for noisy in ("alembic", "mlflow", "mlflow.store.db.utils"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    return mlflow.MlflowClient(tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or uri, registry_uri=uri)


def fetch_registered(name: RegisteredName) -> tuple[str, str, Path]:
    """Return the version, the digest and the local folder of a registered checkpoint.

    Raises:
        CheckpointError: if there is no such checkpoint, it cannot be fetched, or its digest differs from the pushed
            one.
    """
    uri = registry_uri()
    key = key_of(uri, str(name))
    note = note_of(key)
    held = held_checkpoint(note["digest"]) if note else None
    known = None if note is None or held is None else (str(note["version"]), str(note["digest"]), held)
    if known is not None and (name.version or is_offline()):
        return known
    if is_offline():
        raise offline_error(str(name))
    try:
        return _fetch(name, uri, key)
    except CheckpointError:
        raise
    except Exception as error:  # errors of MLflow, its servers, artifact stores and databases
        why = reason_of(error)
        if getattr(error, "error_code", "") in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise CheckpointError(f"the model registry {without_secrets(uri)} has no {name}: {why}") from error
        if known is None:
            raise CheckpointError(f"cannot fetch {name} from {without_secrets(uri)}: {why}") from error
        log.warning("the model registry cannot be reached (%s): %s is version %s, as it was", why, name, known[0])
        return known


def _fetch(name: RegisteredName, uri: str, key: str) -> tuple[str, str, Path]:
    client = client_of(uri)
    found = (
        client.get_model_version_by_alias(name.model, name.alias)
        if name.alias
        else client.get_model_version(name.model, name.version)
    )
    version = str(found.version)
    if name.alias:
        log.info("%s is version %s", name, version)
        pinned = RegisteredName(name.model, version=version)
        _, digest, folder = fetch_registered(pinned)
        write_note(key, {"name": str(name), "digest": digest, "version": version})
        return version, digest, folder
    from mlflow.artifacts import download_artifacts

    root = str(client.get_model_version_download_uri(name.model, version)).rstrip("/")
    files = _files(root, client.tracking_uri)
    check_names(str(name), files)
    inner = folder_in(str(name), files)
    with part_of(key) as part:
        for file in (*FILES, *BESIDE):
            if path_in(inner, file) in files:
                download_artifacts(
                    artifact_uri=f"{root}/{path_in(inner, file)}",
                    dst_path=str(part),
                    tracking_uri=client.tracking_uri,
                )
        stated = str(found.tags.get(DIGEST_TAG, ""))
        try:
            digest, target = put_checkpoint(part, str(name), stated, f"its tag {DIGEST_TAG}")
        except CheckpointError:
            shutil.rmtree(part, ignore_errors=True)
            raise
        write_note(key, {"name": str(name), "digest": digest, "version": version})
    return version, digest, target


def _files(root: str, tracking_uri: str, inside: str = "") -> list[str]:
    """Return the paths of all files of a version, relative to its root."""
    from mlflow.artifacts import list_artifacts

    found: list[str] = []
    # MLflow returns paths from the root of the run's artifacts; only the file name is used.
    for entry in list_artifacts(artifact_uri=f"{root}/{inside}".rstrip("/"), tracking_uri=tracking_uri):
        path = f"{inside}{entry.path.rstrip('/').rpartition('/')[2]}"
        found += _files(root, tracking_uri, f"{path}/") if entry.is_dir else [path]
    return found
