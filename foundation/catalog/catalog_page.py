"""The catalog as one self-contained HTML page: a table, and a card with pictures for each recording."""

from __future__ import annotations

import logging
from pathlib import Path

from foundation.common.errors import ConfigError, FoundationError
from foundation.common.files.locks import whole_file
from foundation.common.output.pages import html_template
from foundation.common.output.printable import count
from foundation.common.output.progress import progress
from foundation.store import Catalog, StoredRecording
from foundation.version import __version__

try:
    from foundation.catalog.catalog_card import Card, make_card
except ModuleNotFoundError as error:
    raise FoundationError(
        f"the page needs the package {error.name!r}: pip install 'neural-foundation[finetune]'"
    ) from error

log = logging.getLogger(__name__)


def write_page(catalog: Catalog, path: str | Path, limit: int = 100, chosen_by: str = "") -> Path:
    """Write the page atomically.

    Args:
        catalog: the recordings.
        path: the HTML file.
        limit: largest number of recordings with a card; the table lists all.
        chosen_by: the expression that selected the recordings, or ``''``.

    Returns:
        The file.

    Raises:
        ConfigError: if the file cannot be written.
    """
    target = Path(path)
    if target.is_dir():
        raise ConfigError(f"page is {str(path)!r}, which is a folder: expected the name of an HTML file")
    try:
        with whole_file(target) as part:  # before the pictures are drawn, which takes long
            part.write_text(render(catalog, limit, chosen_by), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"page cannot be written to {str(path)!r}: {error.strerror or error}") from error
    log.info("page: %s", target)
    return target


def render(catalog: Catalog, limit: int = 100, chosen_by: str = "") -> str:
    """Return the page as text. Equal stores give equal pages."""
    template = html_template("foundation", "catalog.html.j2")
    template.environment.filters["count"] = count
    parts: dict[str, str] = {}
    for session in catalog.sessions():
        if len(session.records) > 1:
            parts |= {r.id: f"{k + 1} of {len(session.records)}" for k, r in enumerate(session.records)}
    shown = catalog.records[:limit]
    cards = [
        _card(StoredRecording(catalog.store, record), parts.get(record.id, ""))
        for record in progress(shown, "drawing", unit="recording")
    ]
    return template.render(
        name=catalog.store.name.rstrip("/").rsplit("/", 1)[-1],
        totals=_totals(catalog),
        records=catalog.records,
        parts=parts,
        cards=cards,
        drawn={card.record.id for card in cards},
        any_dropped=catalog.records.units_dropped > 0,
        archived=any(catalog.records.texts("source.dandiset")),
        chosen_by=chosen_by,
        version=__version__,
    )


def _card(recording: StoredRecording, part: str) -> Card:
    try:
        return make_card(recording, part)
    except (FoundationError, OSError, ValueError, KeyError, RuntimeError) as error:  # how damaged bytes fail to decode
        log.warning("%s cannot be shown: %s", recording.record.path, error)
        log.debug("drawing failed", exc_info=True)
        return Card(recording.record, part, problem=f"{type(error).__name__}: {error}")


def _totals(catalog: Catalog) -> list[tuple[str, str]]:
    """Return words and numbers for the head of the page."""
    rows = catalog.records
    totals = [
        ("recordings", len(rows)),
        ("sessions", len(catalog.sessions())),
        ("subjects", len(set(rows.texts("subject")))),
        ("species", len(set(rows.texts("species")) - {""})),
        ("units", int(rows.numbers("n_units").sum())),
        ("units dropped", rows.units_dropped),
        ("spikes", int(rows.numbers("n_spikes").sum())),
    ]
    hours = sum(rows.numbers("duration").tolist()) / 3600
    return [(name, f"{number:,}") for name, number in totals] + [("hours observed", f"{hours:,.1f}")]
