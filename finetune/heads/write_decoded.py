"""Write what was decoded: into an NWB file, as a Parquet table, or beside the recordings of a store."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from finetune.heads.decode import Decoded
from finetune.heads.head import Head, HeadError
from foundation.common.errors import SourceError
from foundation.common.files.locks import part_folder, put_in_place, whole_file
from foundation.common.lazy import optional_package
from foundation.evaluation.metrics import CLASSES
from foundation.interop.nwb_export import to_nwb
from foundation.store import Derived

MODULE = "decoded"
KIND = "decoded-1"  # of `Derived`; the number changes with what it holds
HDF5 = b"\x89HDF\r\n\x1a\n"


def series_name(head: Head) -> str:
    """Return what a head decodes, as the name of a series: ``velocity``, ``cell_type``."""
    return head.target.split("-")[0] if head.task == "behavior" else head.task


def write_nwb(decoded: Decoded, output: str | Path, source: str | Path | None = None) -> None:
    """Write an NWB file with what was decoded of a recording.

    The processing module ``decoded`` gets, for values, a TimeSeries of them and ``<name>_uncertainty``, their root mean
    squared error in cross-validation; for states ``<name>_probabilities`` and ``<name>``, the place of the most
    probable class; for trials a TimeIntervals table, and for units a DynamicTable, each with the class and the
    probability of every class, or with values and their error.

    Args:
        decoded: of one recording.
        output: the file; an earlier one is replaced. The source itself stays as it is.
        source: the recording's own HDF5 file, which is copied and added to; None: a new file with the recording.

    Raises:
        SourceError: if the file has something of that name in its module already.
    """
    pynwb = optional_package("pynwb", "foundation predict with an output of .nwb", "interop")
    if source is not None and Path(output).resolve() == Path(source).resolve():
        raise SourceError(f"output is the input, {str(source)!r}: expected another file")
    with part_folder(Path(output)) as folder:  # a file of its own name, and none that this process has locked
        part = folder / Path(output).name
        if source is None:
            nwb = to_nwb(decoded.recording.load())
            _add(pynwb, nwb, decoded)
            with pynwb.NWBHDF5IO(str(part), "w") as io:
                io.write(nwb)
        else:
            shutil.copyfile(source, part)
            with pynwb.NWBHDF5IO(str(part), "a", load_namespaces=True) as io:
                nwb = io.read()
                _add(pynwb, nwb, decoded)
                io.write(nwb)
        put_in_place(part, Path(output))


def is_hdf5(path: str | Path) -> bool:
    """Whether a local file is HDF5, which is what a copy can be added to."""
    try:
        with open(path, "rb") as file:
            return file.read(len(HDF5)) == HDF5
    except OSError:
        return False


def _add(pynwb: Any, nwb: Any, decoded: Decoded) -> None:
    head, name = decoded.head, series_name(decoded.head)
    module = nwb.processing.get(MODULE)
    if module is None:
        module = nwb.create_processing_module(MODULE, "decoded from the activity by foundation predict")
    found = [entry for entry in module.data_interfaces if entry == name or entry.startswith(f"{name}_")]
    if found:
        raise SourceError(f"{decoded.recording.record.path} has {MODULE}/{found[0]} already: give the file without it")
    about = about_head(head)
    if decoded.unit_S is not None or head.windows.whole:
        module.add(_table(decoded, name, about))
        return
    times = {"timestamps": np.asarray(decoded.times)}

    def add(series: str, data: np.ndarray, unit: str, description: str) -> None:
        module.add(
            pynwb.TimeSeries(name=series, data=data, unit=unit, description=description, comments=about, **times)
        )

    if head.kind == CLASSES:
        order = ", ".join(f"{k} {label}" for k, label in enumerate(head.classes))
        add(f"{name}_probabilities", decoded.out_SK, "1", f"probability of each class, columns: {order}")
        add(name, decoded.out_SK.argmax(axis=1), "class", f"most probable class: {order}")
        return
    columns = ", ".join(head.value_names)
    spread_SK = np.broadcast_to(np.array(head.spread_K), decoded.out_SK.shape)
    add(name, decoded.out_SK, head.unit or "unknown", f"columns: {columns}")
    words = f"root mean squared error of each column in cross-validation: {columns}"
    add(f"{name}_uncertainty", np.array(spread_SK), head.unit or "unknown", words)


def _table(decoded: Decoded, name: str, about: str) -> Any:
    """Classes or values of units or of trials, a row for each."""
    from hdmf.common import DynamicTable, VectorData
    from pynwb.epoch import TimeIntervals

    head = decoded.head
    if head.kind == CLASSES:
        columns = [VectorData(name=name, description="most probable class", data=list(decoded.names))]
        for k, label in enumerate(head.classes):
            described = f"probability of {label}"
            columns.append(VectorData(name=f"p({label})", description=described, data=decoded.out_SK[:, k]))
    else:
        columns = []
        for k, label in enumerate(head.value_names):
            spread_S, error = np.full(len(decoded), head.spread_K[k]), "root mean squared error in cross-validation"
            columns.append(VectorData(name=label, description=label, data=decoded.out_SK[:, k]))
            columns.append(VectorData(name=f"{label} uncertainty", description=error, data=spread_S))
    if decoded.unit_S is not None:
        first = VectorData(name="unit", description="id in the table of units", data=decoded.unit_S)
        return DynamicTable(name=name, description=about, columns=[first, *columns])
    assert decoded.start_S is not None  # of trials
    bounds = [
        VectorData(name="start_time", description="seconds", data=decoded.start_S),
        VectorData(name="stop_time", description="seconds", data=decoded.start_S + decoded.seconds),
    ]
    return TimeIntervals(name=name, description=about, columns=[*bounds, *columns])


def about_head(head: Head) -> str:
    """Return where decoded data come from, in a line."""
    kept = head.kept
    model = "no model" if kept.checkpoint is None else f"checkpoint {kept.checkpoint['digest'][:12]}"
    return f"{head.title}: {kept.readout} ({kept.mode}) of foundation {kept.version}, {model}, head {kept.key[:12]}"


def write_parquet(decoded: Sequence[Decoded], output: str | Path) -> None:
    """Write a Parquet table with a row for each sample of some recordings, all by one head.

    Columns are ``recording``, ``path``, ``subject``, ``session``; ``unit``, or ``start`` and ``end`` in seconds; then
    the class and ``p(<class>)`` of each, or each value and ``<value> uncertainty``. The head's facts stand in the
    table's metadata as JSON, under ``foundation-head``.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    head = decoded[0].head
    tables = []
    for part in decoded:
        record, n = part.recording.record, len(part)
        columns: dict[str, Any] = {"recording": [record.id] * n, "path": [record.path] * n}
        columns |= {"subject": [record.subject] * n, "session": [record.session] * n}
        tables.append(pa.table(columns | decoded_columns(part)))
    whole = pa.concat_tables(tables)
    facts = json.dumps(head.facts(), ensure_ascii=False).encode()
    with whole_file(Path(output)) as file:
        pq.write_table(whole.replace_schema_metadata({"foundation-head": facts}), file)


def write_derived(decoded: Decoded) -> str:
    """Write what was decoded of a recording beside it, into its store; return the folder."""
    head, recording = decoded.head, decoded.recording
    made_by = {"head": head.kept.key, "name": head.name, "data": head.kept.data}
    derived = Derived(recording.store, KIND, made_by, [recording.record.digest])
    arrays = {"out_SK": decoded.out_SK}
    if decoded.unit_S is not None:
        arrays["unit_S"] = decoded.unit_S
    elif decoded.start_S is not None:
        arrays["start_S"] = decoded.start_S
    about = {"recording": recording.id, "seconds": decoded.seconds, "head": head.facts()}
    derived.write(arrays, about)
    return derived.folder


def check_one(decoded: Sequence[Decoded], output: str) -> Decoded:
    """Return the only recording, which is all that an NWB file can hold.

    Raises:
        HeadError: if there are several.
    """
    if len(decoded) != 1:
        raise HeadError(
            f"output is {output!r} and {len(decoded)} recordings were decoded: expected one for an NWB file; choose it "
            "with --where, or write .parquet"
        )
    return decoded[0]


def decoded_columns(decoded: Decoded) -> dict[str, Any]:
    """Return what was decoded as columns of S rows: units or times, and classes with probabilities or values."""
    head, columns = decoded.head, dict[str, Any]()
    if decoded.unit_S is not None:
        columns["unit"] = decoded.unit_S
    else:
        assert decoded.start_S is not None  # of samples over time
        columns |= {"start": decoded.start_S, "end": decoded.start_S + decoded.seconds}
    if head.kind == CLASSES:
        columns[series_name(head)] = decoded.names
        return columns | {f"p({label})": decoded.out_SK[:, k] for k, label in enumerate(head.classes)}
    for k, name in enumerate(head.value_names):
        columns |= {name: decoded.out_SK[:, k], f"{name} uncertainty": np.full(len(decoded), head.spread_K[k])}
    return columns
