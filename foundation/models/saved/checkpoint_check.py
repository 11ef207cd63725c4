"""Checks of config.json against the weights beside it, before anything is built.

A config.json of a few bytes can ask for a model of terabytes, for a table of ten million labels, or for an attention
kernel from elsewhere. Its numbers are therefore compared with the shapes in the header of model.safetensors, which
the file's size bounds, and the model is built on the meta device before its weights are read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from transformers import PreTrainedModel

from foundation.common.errors import CheckpointError, ConfigError
from foundation.models.saved.weight_names import KEEPS_ROWS, OLDEST, current_name, with_current_names

CONFIG, WEIGHTS = "config.json", "model.safetensors"
CONFIG_BYTES = 1 << 24  # includes names of units
# A number up to this size cannot request anything expensive.
HARMLESS = 1024
LONGEST_TOKEN = 1 << 20  # bins
ATTENTION = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")
# Fields with which transformers would fetch, import or run code named in another file.
REFUSED = ("auto_map", "quantization_config", "use_kernels", "kernel_config", "adapter_config", "distributed_config")


def read_config(folder: Path) -> dict[str, Any]:
    """Return the content of config.json.

    Raises:
        CheckpointError: if it is damaged or too large.
    """
    path = folder / CONFIG
    try:
        if path.stat().st_size > CONFIG_BYTES:
            raise ValueError(f"it has {path.stat().st_size} bytes: expected at most {CONFIG_BYTES}")
        config = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("it does not hold a JSON object")
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    return config


def weight_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the weights, from the header of the file alone.

    Raises:
        CheckpointError: if the file is damaged.
    """
    path = folder / WEIGHTS
    try:
        with safe_open(path, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error


def older_weights(folder: Path) -> dict[str, torch.Tensor] | None:
    """Return the weights under their current names if an earlier version wrote the checkpoint; otherwise None.

    Raises:
        CheckpointError: if the file is damaged.
    """
    if not (folder / WEIGHTS).is_file():
        return None
    shapes = weight_shapes(folder)
    if all(current_name(name) == name for name in shapes):
        return None
    return with_current_names(load_file(folder / WEIGHTS))


def check_config(folder: Path, architecture: type[PreTrainedModel]) -> None:
    """Raise unless config.json describes the model whose weights lie beside it.

    Args:
        folder: with config.json and model.safetensors.
        architecture: of the model.

    Raises:
        CheckpointError: names the field or the weight.
    """
    path, given, shapes = folder / CONFIG, read_config(folder), weight_shapes(folder)
    for name in REFUSED:
        if given.get(name):
            raise CheckpointError(f"{path}: {name} is not allowed: a checkpoint here is its weights and nothing else")
    for key, name in _attention(given):
        if name not in (None, *ATTENTION):
            raise CheckpointError(f"{path}: {key} is {name!r}: expected one of {', '.join(ATTENTION)}")
    # Your own class may count things that no weight has a size of, such as seconds; its weights are compared as usual.
    check_numbers(path, given, shapes, LONGEST_TOKEN if given.get("foundation_class") else HARMLESS)
    _check_rows(path, given)
    try:
        config = architecture.config_class(**given)
        layers = int(getattr(config, "branches", 0))
        if layers > len(shapes):
            raise CheckpointError(f"{path} has {layers} branches of layers: expected at most its {len(shapes)} weights")
        if len(getattr(config, "widths", ())) > len(shapes):
            raise CheckpointError(f"{path}: widths has {len(config.widths)} layers for {len(shapes)} weights")
        with torch.device("meta"):
            wanted = {name: tuple(value.shape) for name, value in architecture(config).state_dict().items()}
    except (ConfigError, TypeError, ValueError, RuntimeError, OverflowError, AttributeError) as error:
        raise CheckpointError(f"cannot build the model of {path}: {error}") from error
    if config.model_type == "eit":
        shapes = with_current_names(shapes)
    wrong = sorted(name for name in wanted.keys() | shapes.keys() if wanted.get(name) != shapes.get(name))
    if wrong:
        raise CheckpointError(f"{folder} does not fit its config.json: {', '.join(wrong[:5])} ({len(wrong)} weights)")


def _check_rows(path: Path, given: dict[str, Any]) -> None:
    """Raise if the recordings of the rows among the weights are unknown."""
    schema, tables = given.get("foundation_schema", OLDEST), given.get("population_tables") or []
    mixed = isinstance(tables, list) and any(isinstance(table, dict) and len(table) > 1 for table in tables)
    if mixed and isinstance(schema, int) and schema < KEEPS_ROWS:
        raise CheckpointError(
            f"{path}: foundation_schema is {schema}, which lost the order of the recordings whose units have rows: "
            "pretrain again"
        )


def check_numbers(
    path: Path, given: dict[str, Any], shapes: dict[str, tuple[int, ...]], harmless: int = HARMLESS
) -> None:
    """Raise if a number of a config.json exceeds every size of the weights and their number.

    Args:
        path: of the config.json, for the error.
        given: content of config.json.
        shapes: of the weights.
        harmless: numbers up to this are always allowed.

    Raises:
        CheckpointError: names the field.
    """
    most = max([harmless, len(shapes), *(size for shape in shapes.values() for size in shape)])
    for key, number in _numbers(given):
        long = key == "population_patch_length" or (key == "patch_length" and given.get("tokens") == "intervals")
        if long and 0 <= number <= LONGEST_TOKEN:
            continue  # no weight has this size, and nothing is built from it
        if key.startswith("preprocessing."):
            continue  # the configuration checks these limits
        if not abs(number) <= most:
            raise CheckpointError(
                f"{path}: {key} is {number}: expected at most {most}, as the largest of its {len(shapes)} weights has"
            )


def _attention(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every name of an attention implementation at any depth, with its key."""
    if isinstance(value, dict):
        for name, item in value.items():
            if "attn_implementation" in name and isinstance(item, dict):
                yield from ((f"{key}{name}.{part}", chosen) for part, chosen in item.items())
            elif "attn_implementation" in name or name == "_experts_implementation":
                yield f"{key}{name}", item
            else:
                yield from _attention(item, f"{key}{name}.")
    elif isinstance(value, list):
        for item in value:
            yield from _attention(item, key)


def _numbers(value: Any, key: str = "") -> Iterator[tuple[str, float]]:
    """Yield every number at any depth, with its key; NaN counts as infinite."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _numbers(item, f"{key}.{name}" if key else name)
    elif isinstance(value, list):
        for item in value:
            yield from _numbers(item, key)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield key, math.inf if math.isnan(value) else value
