"""A map of units: their positions by one model or several, with their properties."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from foundation.common.errors import FoundationError
from foundation.common.files.locks import write_whole
from foundation.embedding.unit_facts import ISI_EDGES, NUMBER
from foundation.embedding.unit_layouts import unit_layouts
from foundation.version import __version__

if TYPE_CHECKING:
    from foundation.common.output.neuron_table import NeuronTable


@dataclass
class Placed:
    """Units with their embeddings by one model, by recording and row.

    Args:
        name: of the model or run.
        facts: the result of `unit_facts`, and ``z_SD``, an embedding of each unit.
        predicted: task -> ``(S,)`` prediction for each unit, ``''`` if there is none.
    """

    name: str
    facts: dict[str, np.ndarray]
    predicted: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def keys(self) -> list[tuple[str, int]]:
        """Recording and row of each unit."""
        return list(zip(self.facts["recording_S"].tolist(), self.facts["unit_S"].tolist(), strict=True))


def neuron_table(placed: Sequence[Placed]) -> NeuronTable | None:
    """Return all units of some runs as a map: a row per unit, a layout per run and method; None if no run has units.

    Units without a position in a run lie at its middle.
    """
    from foundation.common.output.neuron_table import NeuronTable

    keys = list(dict.fromkeys(key for one in placed for key in one.keys))
    if not keys:
        return None
    row = {key: n for n, key in enumerate(keys)}
    columns: dict[str, np.ndarray] = {}
    isi_NB = np.zeros((len(keys), len(ISI_EDGES) - 1), dtype=np.uint8)
    layouts = {}
    several = len({one.name for one in placed}) > 1
    for one in placed:
        here = np.array([row[key] for key in one.keys])
        isi_NB[here] = one.facts["isi_SB"]
        for key, values in one.facts.items():
            kind, _, name = key.partition(":")
            if not name:
                continue
            missing = np.nan if kind + ":" == NUMBER else ""
            dtype = float if kind + ":" == NUMBER else object
            columns.setdefault(name, np.full(len(keys), missing, dtype=dtype))[here] = values
        for task, labels in one.predicted.items():
            name = f"{task} by {one.name}" if several else f"{task}, predicted"
            columns.setdefault(name, np.full(len(keys), "", dtype=object))[here] = labels
    for name in dict.fromkeys(one.name for one in placed):
        parts = [one for one in placed if one.name == name]
        seen = {key: z for one in parts for key, z in zip(one.keys, one.facts["z_SD"], strict=True)}
        here = np.array([row[key] for key in seen])
        for method, xy_M2 in unit_layouts(np.stack(list(seen.values()))).items():
            xy_N2 = np.tile(xy_M2.mean(axis=0, dtype=np.float64), (len(keys), 1))
            xy_N2[here] = xy_M2
            layouts[f"{name}: {method}" if several else method] = xy_N2
    named = _names(columns)
    shown = {"neuron": named, **{n: v.astype(str) if v.dtype == object else v for n, v in columns.items()}}
    shown = {name: values for name, values in shown.items() if name == "neuron" or _has_any(values)}
    shown.pop("unit", None)
    first = {name: shown[name] for name in ("neuron", "region", "cell type", "rate (Hz)", "animal") if name in shown}
    shown = first | shown
    return NeuronTable(layouts, shown, isi_NB if isi_NB.any() else None, ISI_EDGES)


def _names(columns: dict[str, np.ndarray]) -> np.ndarray:
    """Return a name for each unit: animal, session and its id in the file."""
    parts = zip(columns["animal"], columns["session"], columns["unit"], strict=True)
    return np.array([f"{session or animal} · {int(unit)}" for animal, session, unit in parts])


def _has_any(values: np.ndarray) -> bool:
    return bool(np.isfinite(values).any()) if values.dtype.kind == "f" else bool((values.astype(str) != "").any())


def write_map_page(placed: Sequence[Placed], path: Path, title: str) -> None:
    """Write a page with the map of some units, atomically.

    Args:
        placed: the units.
        path: the HTML file.
        title: heading of the page.
    """
    from foundation.common.output.neuron_map import neuron_map
    from foundation.common.output.pages import html_template

    table = neuron_table(placed)
    made = None if table is None else neuron_map(table)
    template = html_template("foundation", "map.html.j2")
    text = template.render(title=title, map=made, units=0 if table is None else table.n_units, version=__version__)
    write_whole(path, text)


def check_packages() -> None:
    """Raise unless the packages that a map needs are installed.

    Raises:
        FoundationError: names the first missing package.
    """
    for name in ("matplotlib", "jinja2", "bokeh", "sklearn"):
        if importlib.util.find_spec(name) is None:
            raise FoundationError(f"page needs the package {name!r}: pip install 'neural-foundation[finetune]'")
