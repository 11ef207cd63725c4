"""Pretrained models by name, folder or URL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar, overload

from safetensors import SafetensorError
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from foundation.common.errors import CheckpointError, ConfigError
from foundation.hub.checkpoint_cache import is_offline
from foundation.hub.checkpoint_files import shown as _shown
from foundation.hub.checkpoint_resolver import resolve
from foundation.hub.url_checkpoints import RemoteFolder
from foundation.models import EIT
from foundation.models.saved.checkpoint_check import check_config, read_config

Model = TypeVar("Model", bound=PreTrainedModel)


@overload
def load_model(name: str | Path, *, registry: str | Path | None = None) -> EIT: ...
@overload
def load_model(name: str | Path, architecture: type[Model], *, registry: str | Path | None = None) -> Model: ...
def load_model(
    name: str | Path, architecture: type[PreTrainedModel] = EIT, *, registry: str | Path | None = None
) -> PreTrainedModel:
    """Return a pretrained model, in evaluation mode on the CPU.

    Args:
        name: a folder with config.json and model.safetensors, the output folder of `foundation pretrain`, the name of a
            checkpoint that ships or stands in a registry file, ``models:/name@alias``, ``hf://org/name@revision``, or
            any fsspec URL (``s3://...``); see `foundation.hub.checkpoint_resolver`.
        architecture: of the model: `EIT`, or one that an objective brings (`PopulationMLP`, `SwapVAEModel`).
        registry: a lab's own registry file.

    Raises:
        CheckpointError: if there is none, it cannot be fetched, it is damaged, it has another digest than is pinned, or
            it is of another architecture.

    Example:
        >>> import tempfile
        >>> from foundation.models import PopulationMLP, PopulationMLPConfig
        >>> folder = tempfile.mkdtemp()
        >>> PopulationMLP(PopulationMLPConfig(units=12, widths=[16, 8])).save_pretrained(folder)
        >>> load_model(folder, PopulationMLP).config.dim
        8
    """
    folder = resolve(name, registry).folder
    kind, needed = read_config(folder).get("model_type"), architecture.config_class.model_type
    if kind != needed:
        raise CheckpointError(
            f"{_shown(name)} holds a model of type {kind!r}, and {needed!r} is needed: give a checkpoint of that "
            "type, or in Python the architecture that this one has, as load_model's second argument"
        )
    check_config(folder, architecture)
    transformers_logging.disable_progress_bar()
    try:
        model, found = architecture.from_pretrained(
            folder, output_loading_info=True, use_safetensors=True, local_files_only=True
        )
    except (OSError, SafetensorError, ConfigError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"cannot load {_shown(name)}: {error}") from error
    wrong = sorted({*found["missing_keys"], *found["unexpected_keys"], *(k[0] for k in found["mismatched_keys"])})
    if wrong:
        raise CheckpointError(
            f"{_shown(name)} does not fit its config.json: {', '.join(wrong[:5])} ({len(wrong)} weights)"
        )
    return model.eval()


@contextmanager
def local_checkpoint(name: str | Path, registry: str | Path | None = None) -> Iterator[Path]:
    """Yield a local folder with config.json and model.safetensors, which must not be written to.

    Raises:
        CheckpointError: if there is none, it cannot be fetched, or it has another digest than is pinned.
    """
    yield resolve(name, registry).folder


def checkpoint_digest(name: str | Path, registry: str | Path | None = None) -> str:
    """Return the sha256 of a checkpoint's config and weights.

    Raises:
        CheckpointError: if there is none.
    """
    return resolve(name, registry).digest


def read_beside(name: str | Path, file: str) -> str | None:
    """Return the text of a small file of a checkpoint's run, such as metrics.jsonl; None if there is none.

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
