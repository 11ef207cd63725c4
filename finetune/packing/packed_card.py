"""The card of a packed checkpoint: its data, its training, its scores and its limitations."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from finetune.packing.pack_settings import PackSettings, SourceRule
from finetune.report.score_table import TITLES_OF, Row, cell, sample_text
from foundation.common.output.pages import markdown_table
from foundation.common.output.printable import count, printable
from foundation.evaluation.metrics import TITLES
from foundation.version import __version__

SOURCES = ["source", "licence", "species", "subjects", "recordings", "units", "hours"]
SHOWN = ("probe", "full", "both", "rate", "majority", "shuffled")  # readouts of the table of figures


@dataclass(frozen=True)
class Made:
    """The provenance of a checkpoint.

    Args:
        record: its pretraining.json.
        seconds: of training.
        digest: of the checkpoint.
        size: bytes of config and weights.
        parameters: numbers in the weights.
        config: its config.json.
    """

    record: dict[str, Any]
    seconds: float
    digest: str
    size: int
    parameters: int
    config: dict[str, Any]


def packed_card(settings: PackSettings, name: str, made: Made, rows: Sequence[Row]) -> str:
    """Return the card as Markdown, with the header that hubs and `foundation models` read.

    Args:
        settings: of the packing.
        name: of the model.
        made: its provenance.
        rows: its results, a row per target.
    """
    recordings = [_with_source(r, settings.sources) for r in made.record["recordings"]]
    header = {
        "library_name": "transformers",
        "license": settings.licence.lower(),
        "tags": ["neuroscience", "neural-population", made.config.get("model_type", "eit")],
        "foundation": {"data": data_line(recordings), "figures": figures(rows)},
    }
    parts = [
        f"---\n{yaml.safe_dump(header, sort_keys=False, allow_unicode=True)}---\n",
        f"# {printable(name)}\n",
        f"{made.parameters:,} parameters, {made.size / 1e6:.1f} MB, sha256 {made.digest}. {_streams(made.config)}\n",
        f'```python\nimport foundation\n\nmodel = foundation.load_model("{name}")  # or the folder of this file\n'
        'table = model.embed(foundation.read_nwb("mine.nwb"))  # a row a unit\n```\n',
        f"## What it has seen\n\n{data_line(recordings)}. Activity alone: no label was read in pretraining.\n",
        markdown_table(
            ["source", "licence", "species", "subjects", "recordings", "units", "hours"], _sources(recordings)
        ),
        "\nRecordings by the digest of what was read of each (`pretraining.json` has all digits, also of files):\n",
        markdown_table(["subject", "session", "units", "hours", "digest"], _each(recordings)),
        _held_out(made.record),
        f"\n## How it was made\n\n{_making(settings, made)}",
        _figures_section(rows, {r["id"] for r in recordings}),
        _limits(settings, made, rows),
        f"\n## Licence\n\n{_licence(settings, recordings)}\n",
    ]
    return "\n".join(part for part in parts if part).rstrip() + "\n"


def data_line(recordings: Sequence[dict[str, Any]]) -> str:
    """Return a one-line summary of the recordings.

    Example:
        >>> data_line([{"subject": "m1", "species": "Mus musculus", "units": 20, "hours": 0.5}])
        '1 recording of 1 subject (Mus musculus), 20 units, 0.5 h'
    """
    subjects = {r["subject"] for r in recordings}
    species = ", ".join(sorted({printable(r["species"] or "species not given") for r in recordings}))
    units, hours = sum(r["units"] for r in recordings), sum(r["hours"] for r in recordings)
    return (
        f"{count(len(recordings), 'recording')} of {count(len(subjects), 'subject')} ({species}), {units:,} units, "
        f"{hours:.1f} h"
    )


def figures(rows: Sequence[Row]) -> dict[str, str]:
    """Return each target's best readout of the frozen or finetuned model, with its interval."""
    found = {}
    for row in rows:
        mode = next((mode for mode in ("probe", "full") if mode in row.scores), None)
        if mode is not None:
            first = row.first
            found[f"{first.task} {first.target}"] = f"{cell(row.scores[mode], first.metric)} {TITLES[first.metric]}"
    return found


def _with_source(recording: dict[str, Any], rules: Sequence[SourceRule]) -> dict[str, Any]:
    """Return a recording with ``from`` and ``licence``: from its file, or from the first matching rule."""
    source = recording["source"]
    subject = str(recording["subject"]).rpartition("/")[2]
    rule = next((rule for rule in rules if re.fullmatch(rule.subjects, subject)), None)
    where = "/".join(filter(None, (source.get("archive"), source.get("dandiset"))))
    where = where or (rule.source if rule else "local files")
    licence = source.get("licence") or (rule.licence if rule else "not given")
    return {**recording, "from": where, "licence": licence}


def _sources(recordings: Sequence[dict[str, Any]]) -> list[list[str]]:
    def key(r: dict[str, Any]) -> tuple[str, str, str]:
        return r["from"], r["licence"], r["species"] or "-"

    lines = []
    for names, group in itertools.groupby(sorted(recordings, key=key), key):
        of = list(group)
        subjects, units = len({r["subject"] for r in of}), sum(r["units"] for r in of)
        hours = f"{sum(r['hours'] for r in of):.1f}"
        lines.append([*map(printable, names), str(subjects), str(len(of)), f"{units:,}", hours])
    return lines


def _each(recordings: Sequence[dict[str, Any]]) -> list[list[str]]:
    return [
        [printable(r["subject"]), printable(r["session"]), str(r["units"]), f"{r['hours']:.2f}", str(r["digest"])[:16]]
        for r in recordings
    ]


def _held_out(record: dict[str, Any]) -> str:
    spans = [span for found in record.get("held_out_time", {}).values() for span in found]
    if not spans:
        return ""
    seconds = sum(end - start for start, end in spans)
    return (
        f"\nOf {len(record['held_out_time'])} of them {seconds:,.0f} s were held out (`pretraining.json` says which).\n"
    )


def _making(settings: PackSettings, made: Made) -> str:
    on, own = made.record["hardware"], made.record["settings"]
    energy = "Energy was not measured."
    if settings.watts is not None:
        hours = made.seconds / 3600
        energy = (
            f"Energy, not measured: about {settings.watts * hours:.1f} Wh if the machine draws {settings.watts:g} W."
        )
    commands = "\n".join(["```", *settings.commands, "```\n\n"]) if settings.commands else ""
    processes = f" in each of {on['processes']} processes" if on["processes"] > 1 else ""
    machine = f"{on['processor']}, {on['cores']} cores ({on['threads']} in use{processes}), {on['memory_gb']} GB"
    versions = f"foundation {made.record['foundation']}, torch {on['torch']}; packed with foundation {__version__}"
    return (
        f"{commands}{made.record['steps']:,} steps of up to {own['data']['tokens_per_step']:,} neuron-tokens, seed "
        f"{own['seed']}, {own['precision']}, in {made.seconds:,.0f} s of training. {machine}. {versions}. {energy} All "
        "settings are in `pretraining.json`."
    )


def _figures_section(rows: Sequence[Row], seen: set[str]) -> str:
    if not rows:
        return "\n## Figures\n\nNone were measured.\n"
    shown = [name for name in SHOWN if any(name in row.scores for row in rows)]
    lines = [
        [
            f"{row.first.task} {row.first.target}",
            TITLES[row.first.metric],
            sample_text(row.first),
            row.first.split,
            *(cell(row.scores[name], row.first.metric) if name in row.scores else "-" for name in shown),
        ]
        for row in rows
    ]
    head = ["target", "metric", "samples", "split", *(TITLES_OF[name] for name in shown)]
    known = sum(bool(set(row.first.recordings) & seen) for row in rows)
    about = (
        "Frozen and finetuned readouts by `foundation finetune`, beside firing rates and controls; [a, b] is a 95 % "
        f"interval. Pretraining saw the activity, and not the labels, of recordings of {known} of these "
        f"{len(rows)} targets."
    )
    return f"\n## Figures\n\n{about}\n\n{markdown_table(head, lines)}"


def _limits(settings: PackSettings, made: Made, rows: Sequence[Row]) -> str:
    own = made.config.get("preprocessing") or {}
    seen = f"It has seen {' and '.join(own.get('kinds', []))} in bins of {_widths(own.get('bin_widths', []))}"
    for objective, windows in made.record["settings"]["data"].get("own_windows", {}).items():
        if windows.get("bin_widths"):
            seen += f", and for {printable(objective)} activity in bins of {_widths(windows['bin_widths'])}"
    lines = [
        f"{seen}; nothing else.",
        "Species, regions and recording methods unlike those above were not seen: judge it on your own labels, beside "
        "a baseline on firing rates.",
    ]
    behind = [row for row in rows if row.first.verdict == "worse"]
    if behind:
        names = ", ".join(f"{row.first.task} {row.first.target}" for row in behind)
        lines.append(f"Plain firing rates do better than the frozen model for: {names}.")
    return "\n## Limits\n\n" + "\n".join(f"- {line}" for line in [*lines, *settings.limits])


def _widths(seconds: Sequence[float]) -> str:
    return " or ".join(f"{w:g} s" for w in seconds)


def _streams(config: dict[str, Any]) -> str:
    if not config.get("population_layers"):
        return "It embeds the units of any population."
    known = sum(len(table) for table in config.get("population_tables") or [])
    return (
        f"It embeds the units of any population, and has a population stream with rows for {count(known, 'recording')}."
    )


def _licence(settings: PackSettings, recordings: Sequence[dict[str, Any]]) -> str:
    licences = sorted({printable(r["licence"]) for r in recordings} - {"not given"})
    of_data = f"The recordings are under {', '.join(licences)}." if licences else ""
    return f"The weights are {settings.licence}, granted by {printable(settings.holder)}. {of_data}".rstrip()
