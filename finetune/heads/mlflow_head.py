"""Heads as MLflow models: a folder of safetensors and JSON, loaded by this module and by no pickle.

The model takes a table of spikes, ``unit`` and ``time`` a row, and gives a table of what it decodes. It is whole: the
frozen checkpoint lies beside the head.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from finetune.heads.decode import Decoded, decode
from finetune.heads.head import MODEL, Head, HeadError
from finetune.heads.head_files import CHECKPOINT, FACTS, WEIGHTS, changed_folder, load_head
from finetune.heads.head_models import head_models
from finetune.heads.write_decoded import decoded_columns, series_name
from foundation.common.files.locks import part_folder, put_in_place
from foundation.evaluation.metrics import CLASSES
from foundation.hub.checkpoints import local_checkpoint
from foundation.store import (
    Catalog,
    Interval,
    Recording,
    RegularTimeSeries,
    Source,
    Spikes,
    Store,
    Subject,
    Units,
    write_recording,
)
from foundation.version import __version__

EXAMPLE_SECONDS = 2.0


class HeadModel:
    """What MLflow loads: a head with its models.

    Args:
        folder: of the head.
    """

    def __init__(self, folder: str | Path) -> None:
        self.head = load_head(folder)
        self.models = head_models(self.head)

    def predict(self, table: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Decode a table of spikes.

        Args:
            table: a pandas DataFrame with ``unit`` (id) and ``time`` (seconds) of each spike; of sampled activity also
                ``value``, a row for each sample of each unit.
            params: ``start`` and ``end``, seconds that were observed (by default from 0 to the last spike);
                ``trial_starts`` and ``trial_ends``, seconds.

        Returns:
            A DataFrame: ``unit``, or ``start`` and ``end`` of each sample, then the class and ``p(<class>)`` of each,
            or each value and ``<value> uncertainty``.

        Raises:
            HeadError: if the table does not fit the head.
        """
        with tempfile.TemporaryDirectory(prefix="foundation-head-") as temporary:
            store = Store(temporary + "/store", create=True)
            write_recording(store, table_recording(self.head, table, params or {}))
            (recording,) = Catalog.build(store)
            return decoded_table(decode(self.head, recording, self.models))


def _load_pyfunc(path: str) -> HeadModel:
    """What MLflow calls with the model's data."""
    return HeadModel(path)


def table_recording(head: Head, table: Any, params: Mapping[str, Any]) -> Recording:
    """Return the recording that a table of spikes or samples describes.

    Raises:
        HeadError: if it lacks a column or holds units that the head does not know.
    """
    sampled = head.windows.activity != "spikes"
    for column in ("unit", "time", *(("value",) if sampled else ())):
        if column not in table:
            raise HeadError(f"the table has columns {', '.join(map(str, table))}: expected {column!r} among them")
    unit_K, time_K = np.asarray(table["unit"]).astype(np.int64), np.asarray(table["time"], dtype=np.float64)
    known = head.population
    ids = np.unique(unit_K) if known is None else np.array(known.unit_ids)
    if strange := sorted(set(unit_K.tolist()) - set(ids.tolist())):
        raise HeadError(f"unit {strange[0]} is not one of the {len(ids)} units of head {head.name}")
    start, end = float(params.get("start", 0.0)), float(params.get("end", -1.0))
    end = end if end > start else float(time_K.max(initial=start)) + 1e-9
    trials = [np.asarray(params.get(name, []), dtype=np.float64).reshape(-1) for name in ("trial_starts", "trial_ends")]
    if len(trials[0]) != len(trials[1]):
        raise HeadError(f"there are {len(trials[0])} trial_starts and {len(trials[1])} trial_ends: expected as many")
    given: dict[str, Any] = {}
    if sampled:
        given["activity"] = _sampled(ids, unit_K, time_K, np.asarray(table["value"], dtype=np.float32))
        given["activity_kind"] = head.windows.activity
        domain = given["activity"].domain
    else:
        given["spikes"] = Spikes.from_trains([np.sort(time_K[unit_K == identity]) for identity in ids])
        domain = Interval.single(start, end)
    return Recording(
        source=Source("table", "0" * 64),
        subject=Subject("table" if known is None else known.subject),
        session="table",
        units=Units(len(ids), {"id": ids}),
        domain=domain,
        intervals={"trials": Interval(trials[0], trials[1])} if len(trials[0]) else {},
        **given,
    )


def _sampled(ids: np.ndarray, unit_K: np.ndarray, time_K: np.ndarray, value_K: np.ndarray) -> RegularTimeSeries:
    times, row_K = np.unique(time_K, return_inverse=True)
    if len(times) < 2 or len(time_K) != len(times) * len(ids):
        raise HeadError(
            f"the table has {len(time_K)} rows for {len(times)} times of {len(ids)} units: expected a row for each "
            "unit at each time, two times or more"
        )
    data_TN = np.zeros((len(times), len(ids)), np.float32)
    data_TN[row_K, np.searchsorted(np.sort(ids), unit_K)] = value_K
    order = np.argsort(np.argsort(ids))
    return RegularTimeSeries(data_TN[:, order], rate=float(1 / np.median(np.diff(times))), start=float(times[0]))


def decoded_table(decoded: Decoded) -> Any:
    """Return what was decoded as a pandas DataFrame."""
    import pandas as pd

    return pd.DataFrame(decoded_columns(decoded))


def save_mlflow_head(folder: str | Path, target: str | Path, checkpoint: str) -> None:
    """Write a head as an MLflow model with signature and input example.

    Args:
        folder: of the head.
        target: folder of the model; an earlier one is replaced.
        checkpoint: the frozen model that the head was fitted to.
    """
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    head, target = load_head(folder), Path(target)
    logging.getLogger("mlflow").setLevel(logging.ERROR)  # it wishes for an environment to be built
    example = _example(head)
    inputs = [ColSpec("long", "unit"), ColSpec("double", "time")]
    if head.windows.activity != "spikes":
        inputs.append(ColSpec("double", "value"))
    outputs = [ColSpec("long", "unit")] if head.of_units else [ColSpec("double", x) for x in ("start", "end")]
    if head.kind == CLASSES:
        outputs += [ColSpec("string", series_name(head)), *(ColSpec("double", f"p({c})") for c in head.classes)]
    else:
        outputs += [ColSpec("double", f"{name}{end}") for name in head.value_names for end in ("", " uncertainty")]
    params = ParamSchema(
        [
            ParamSpec("start", "double", 0.0),
            ParamSpec("end", "double", -1.0),
            ParamSpec("trial_starts", "double", [], shape=(-1,)),
            ParamSpec("trial_ends", "double", [], shape=(-1,)),
        ]
    )
    with part_folder(target) as part:
        data = part / "head"
        data.mkdir()
        for name in (FACTS, WEIGHTS):
            shutil.copyfile(Path(folder) / name, data / name)
        for place in range(len(head.kept.adapted)):
            shutil.copytree(changed_folder(Path(folder), place), changed_folder(data, place))
        if (Path(folder) / CHECKPOINT).is_dir():
            shutil.copytree(Path(folder) / CHECKPOINT, data / CHECKPOINT)
        elif MODEL in head.sources:
            with local_checkpoint(checkpoint) as source:
                (data / CHECKPOINT).mkdir()
                for name in ("config.json", "model.safetensors"):
                    shutil.copyfile(source / name, data / CHECKPOINT / name)
        mlflow.pyfunc.save_model(
            path=str(part / "model"),
            loader_module="finetune.heads.mlflow_head",
            data_path=str(data),
            signature=ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs), params=params),
            input_example=example,
            pip_requirements=[f"neural-foundation[finetune]=={__version__}"],
        )
        shutil.rmtree(target, ignore_errors=True)
        put_in_place(part / "model", target)


def _example(head: Head) -> Any:
    """A table that the head can read: two seconds, or as long as its window."""
    import pandas as pd

    ids = [0] if head.population is None else head.population.unit_ids
    seconds = max(EXAMPLE_SECONDS, head.windows.token_seconds * head.windows.tokens)
    if head.windows.activity != "spikes":
        times = np.arange(0.0, seconds + head.windows.token_seconds, head.windows.token_seconds)
        unit_K, time_K = np.repeat(ids, len(times)), np.tile(times, len(ids))
        return pd.DataFrame({"unit": unit_K, "time": time_K, "value": np.ones(len(time_K))})
    rng = np.random.default_rng(0)
    unit_K = rng.choice(ids, 200)
    return pd.DataFrame({"unit": unit_K, "time": np.sort(rng.uniform(0, seconds, 200))})
