"""Pretrained models by name, folder or URL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, overload

from safetensors import SafetensorError
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from foundation.common.errors import CheckpointError, ConfigError
from foundation.common.extensions.trusted_names import trusted_class
from foundation.hub.checkpoint_cache import is_offline
from foundation.hub.checkpoint_files import shown as _shown
from foundation.hub.checkpoint_resolver import Resolved, resolve
from foundation.hub.url_checkpoints import RemoteFolder
from foundation.models import EIT
from foundation.models.encoder import CLASS, check_architecture, model_class, register
from foundation.models.saved.checkpoint_check import check_config, read_config

Model = TypeVar("Model", bound=PreTrainedModel)


@overload
def load_model(name: str | Path | Resolved, *, registry: str | Path | None = None) -> EIT: ...
@overload
def load_model(
    name: str | Path | Resolved, architecture: type[Model], *, registry: str | Path | None = None
) -> Model: ...
@overload
def load_model(
    name: str | Path | Resolved, architecture: str, *, registry: str | Path | None = None
) -> PreTrainedModel: ...
def load_model(
    name: str | Path | Resolved,
    architecture: type[PreTrainedModel] | str | None = None,
    *,
    registry: str | Path | None = None,
) -> PreTrainedModel:
    """Return a pretrained model, in evaluation mode on the CPU.

    Args:
        name: a folder with config.json and model.safetensors, the output folder of `foundation pretrain`, the name of a
            shipped or registered checkpoint, ``models:/name@alias``, ``hf://org/name@revision``, or
            any fsspec URL (``s3://...``); see `foundation.hub.checkpoint_resolver`. Or the result of `resolve`, so that
            model and digest belong to the same revision even if a branch moves meanwhile.
        architecture: class of the model: `EIT`, the encoder of an objective (`PopulationMLP`, `SwapVAEModel`), or your
            own class, or its name (``mylab.models:Rates``). None: EIT, or the class that the checkpoint names, if it is
            trusted on this machine (see `foundation.common.extensions.trusted_names`).
        registry: a lab's own registry file.

    Raises:
        CheckpointError: if the checkpoint does not exist, cannot be fetched, is damaged, differs from its pinned
            digest, has another architecture, or its class is not trusted.
        ConfigError: if ``architecture`` names a class that cannot be imported.

    Example:
        >>> import tempfile
        >>> from foundation.models import PopulationMLP, PopulationMLPConfig
        >>> folder = tempfile.mkdtemp()
        >>> PopulationMLP(PopulationMLPConfig(units=12, widths=[16, 8])).save_pretrained(folder)
        >>> load_model(folder, PopulationMLP).config.dim
        8
    """
    found = name if isinstance(name, Resolved) else resolve(name, registry)
    folder, shown = found.folder, _shown(found.name)
    given = read_config(folder)
    architecture = _architecture(architecture, given.get(CLASS), shown, folder)
    kind, needed = given.get("model_type"), architecture.config_class.model_type
    if kind != needed:
        raise CheckpointError(
            f"{shown} holds a model of type {kind!r}: expected {needed!r}; give a checkpoint of that "
            "type, or in Python its architecture as load_model's second argument"
        )
    check_config(folder, architecture)
    transformers_logging.disable_progress_bar()
    try:
        model, report = architecture.from_pretrained(
            folder, output_loading_info=True, use_safetensors=True, local_files_only=True
        )
    except (OSError, SafetensorError, ConfigError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"cannot load {shown}: {error}") from error
    wrong = sorted({*report["missing_keys"], *report["unexpected_keys"], *(k[0] for k in report["mismatched_keys"])})
    if wrong:
        raise CheckpointError(f"{shown} does not fit its config.json: {', '.join(wrong[:5])} ({len(wrong)} weights)")
    return model.eval()


def _architecture(
    asked: type[PreTrainedModel] | str | None, path: Any, shown: str, folder: Path
) -> type[PreTrainedModel]:
    """Return the class of a checkpoint's model.

    Args:
        asked: the class that the caller wants, or its name; None: the checkpoint's own.
        path: the class in config.json, ``module:Class``; None: one of ours.
        shown: name of the checkpoint, for messages.
        folder: of the checkpoint.
    """
    if isinstance(asked, str):
        asked = model_class(asked, "architecture")
    if asked is not None:
        return asked
    if path is None:
        return EIT
    found: type[PreTrainedModel] = trusted_class("model", path, shown, folder)
    check_architecture(found, f"{shown} holds a model of class {path!r}")
    register(found)
    return found


@contextmanager
def local_checkpoint(name: str | Path, registry: str | Path | None = None) -> Iterator[Path]:
    """Yield a local folder with config.json and model.safetensors, which must not be changed.

    Raises:
        CheckpointError: if the checkpoint does not exist, cannot be fetched, or differs from its pinned digest.
    """
    yield resolve(name, registry).folder


def checkpoint_digest(name: str | Path, registry: str | Path | None = None) -> str:
    """Return the sha256 of a checkpoint's config and weights.

    Raises:
        CheckpointError: if there is no such checkpoint.
    """
    return resolve(name, registry).digest


def read_beside(name: str | Path, file: str) -> str | None:
    """Return the text of a small file of a checkpoint's run, such as metrics.jsonl; None if it is missing.

    Raises:
        CheckpointError: if there is no checkpoint.
    """
    found = resolve(name)
    if found.kind == "url" and "://" in str(name):
        try:
            return None if is_offline() else RemoteFolder(str(name)).text_beside(file)
        except (CheckpointError, OSError, ValueError, ImportError):
            return None
    places = [found.folder / file] if found.kind != "folder" else [found.folder.parent / file, found.folder / file]
    place = next((path for path in places if path.is_file()), None)
    return None if place is None else place.read_text(encoding="utf-8")
