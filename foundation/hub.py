"""Pretrained checkpoints by folder or URL."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from pathlib import Path
from typing import TypeVar, overload

import fsspec
from safetensors import SafetensorError
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from foundation.credentials import without_secrets
from foundation.errors import CheckpointError, ConfigError
from foundation.models import EIT

log = logging.getLogger(__name__)
Model = TypeVar("Model", bound=PreTrainedModel)


@overload
def load_model(name: str | Path) -> EIT: ...
@overload
def load_model(name: str | Path, architecture: type[Model]) -> Model: ...
def load_model(name: str | Path, architecture: type[PreTrainedModel] = EIT) -> PreTrainedModel:
    """A pretrained model, in evaluation mode on the CPU.

    Args:
        name: a folder with config.json and model.safetensors, the output folder of `foundation pretrain`, or any fsspec
            URL of one (``s3://...``).
        architecture: of the model: `EIT`, or one that an objective brings (`PopulationMLP`, `SwapVAEModel`).

    Raises:
        CheckpointError: if there is none, it is damaged, or it is of another architecture.

    Example:
        >>> from foundation.models import PopulationMLP, PopulationMLPConfig
        >>> folder = tempfile.mkdtemp()
        >>> PopulationMLP(PopulationMLPConfig(units=12, widths=[16, 8])).save_pretrained(folder)
        >>> load_model(folder, PopulationMLP).config.dim
        8
    """
    folder = find_checkpoint(name)
    kind, needed = _read_config(folder).get("model_type"), architecture.config_class.model_type
    if kind != needed:
        raise CheckpointError(
            f"{folder} holds a model of type {kind!r}, and {needed!r} is needed: give a checkpoint of that type, or in "
            "Python the architecture that this one has, as load_model's second argument"
        )
    transformers_logging.disable_progress_bar()
    try:
        model, found = architecture.from_pretrained(folder, output_loading_info=True, use_safetensors=True)
    except (OSError, SafetensorError, ConfigError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"cannot load {folder}: {error}") from error
    wrong = sorted({*found["missing_keys"], *found["unexpected_keys"], *(k[0] for k in found["mismatched_keys"])})
    if wrong:
        raise CheckpointError(f"{folder} does not fit its config.json: {', '.join(wrong[:5])} ({len(wrong)} weights)")
    return model.eval()


def find_checkpoint(name: str | Path) -> Path:
    """The local folder that holds config.json and model.safetensors; fetched first if it is elsewhere.

    Raises:
        CheckpointError: if there is none.
    """
    text = str(name)
    if "://" in text:
        target = Path(tempfile.mkdtemp(prefix="foundation-checkpoint-"))
        try:
            filesystem, path = fsspec.core.url_to_fs(text)
            filesystem.get(path.rstrip("/") + "/", f"{target}/", recursive=True)
        except (OSError, ValueError, ImportError) as error:
            raise CheckpointError(without_secrets(f"cannot fetch {text}: {error}")) from error
        text = str(target)
    for folder in (Path(text), Path(text) / "model"):
        if (folder / "config.json").is_file() and (folder / "model.safetensors").is_file():
            return folder
    raise CheckpointError(
        f"no checkpoint at {without_secrets(str(name))!r}: a folder with config.json and model.safetensors is needed, "
        "as `foundation pretrain` writes it"
    )


def checkpoint_digest(folder: str | Path) -> str:
    """sha256 of a checkpoint's config and weights."""
    digest = hashlib.sha256()
    for name in ("config.json", "model.safetensors"):
        with open(find_checkpoint(folder) / name, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _read_config(folder: Path) -> dict:
    try:
        return json.loads((folder / "config.json").read_text())
    except ValueError as error:
        raise CheckpointError(f"{folder / 'config.json'} is damaged: {error}") from error
