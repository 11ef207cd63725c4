"""Apply a head to recordings: `foundation predict`."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass, field
from pathlib import Path

from finetune.calibrate_head import calibrate_head
from finetune.heads.decode import Decoded, decode
from finetune.heads.head import ADAPTED, MODEL, Head, HeadError
from finetune.heads.head_files import load_head, save_head
from finetune.heads.head_models import head_models
from finetune.heads.write_decoded import check_one, is_hdf5, write_derived, write_nwb, write_parquet
from finetune.predict_settings import PredictSettings
from foundation.common.errors import ConfigError
from foundation.common.output.printable import count
from foundation.common.output.progress import progress
from foundation.embedding.feature_cache import FeatureCache
from foundation.models import EIT
from foundation.store import Catalog, Store, StoredRecording
from foundation.store.input_store import ingested, is_store
from foundation.store.result_cache import ResultCache

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Predicted:
    """What `foundation predict` did.

    Args:
        head: the head.
        written: where it went: a file, or folders of the store.
        decoded: of each recording.
        refused: path and reason of each recording that the head does not fit.
    """

    head: Head
    written: list[str]
    decoded: list[Decoded] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """False if a recording was refused."""
        return not self.refused

    def __str__(self) -> str:
        samples, kind = sum(map(len, self.decoded)), "unit" if self.head.of_units else "sample"
        what = f"{count(samples, kind)} of {count(len(self.decoded), 'recording')}"
        lines = [f"{self.head.title}: {what} in {', '.join(self.written)}"]
        return "\n".join([*lines, *(f"  left out: {reason}" for _, reason in self.refused)])


def predict(settings: PredictSettings) -> Predicted | None:
    """Apply a head to recordings and write what it says. A recording that it does not fit is named with the reason.

    Args:
        settings: what to do.

    Returns:
        What was written; None after a stream.

    Raises:
        HeadError: if the head cannot be loaded, or fits none of the recordings.
        StoreError, SourceError: if the input cannot be read.
        ConfigError: if settings do not fit the input or the head.
    """
    head = load_head(settings.head)
    models = head_models(head, settings.checkpoint)
    if settings.stream:
        from finetune.heads.stream import run_lines

        run_lines(head, models, sys.stdin, sys.stdout)
        return None
    given = str(settings.input)
    if settings.output is None and not is_store(given):
        raise ConfigError(f"output is null and input {given!r} is no store: expected a .nwb or .parquet file")
    catalog = Catalog.open(Store(ingested(given)))
    if settings.where is not None:
        catalog = catalog.where(settings.where)
    recordings = list(catalog)
    if not recordings:
        raise HeadError(f"{given!r} has no recording to decode: `foundation catalog` lists the recordings of a store")
    if settings.output is not None and settings.output.endswith(".nwb") and len(recordings) > 1:
        raise HeadError(
            f"output is {settings.output!r} and the input has {len(recordings)} recordings: expected one for an NWB "
            "file; choose it with --where, or write .parquet"
        )
    if settings.calibrate is not None:
        head, models = _calibrated(settings, head, models, catalog, recordings)
    predicted, cache = Predicted(head, []), _cache(settings, head, models, catalog)
    for recording in progress(recordings, "decoding", unit="recording"):
        try:
            predicted.decoded.append(decode(head, recording, models, cache))
        except HeadError as error:
            log.debug("%s", recording.record.path, exc_info=error)
            predicted.refused.append((recording.record.path, str(error)))
    if not predicted.decoded:
        more = f" (and {len(predicted.refused) - 1} more)" if len(predicted.refused) > 1 else ""
        raise HeadError(f"{predicted.refused[0][1]}{more}")
    predicted.written.extend(_write(settings, predicted.decoded))
    return predicted


def _calibrated(
    settings: PredictSettings, head: Head, models: dict[str, EIT], catalog: Catalog, recordings: list[StoredRecording]
) -> tuple[Head, dict[str, EIT]]:
    """The head fitted anew to labelled minutes of the only recording, and what it reads."""
    if len(recordings) != 1:
        raise HeadError(
            f"calibrate is {settings.calibrate:g} and the input has {len(recordings)} recordings: expected one; choose "
            "it with --where"
        )
    found = calibrate_head(head, models, catalog, recordings[0], float(settings.calibrate or 0))
    if settings.calibrated is not None:
        save_head(found.head, settings.calibrated, found.changed)
    return found.head, {ADAPTED: found.changed[0]} if found.changed else models


def _cache(settings: PredictSettings, head: Head, models: dict[str, EIT], catalog: Catalog) -> FeatureCache | None:
    """Return the cache of features of the head's checkpoint; None if it reads no unchanged checkpoint."""
    if MODEL not in models or head.kept.checkpoint is None:
        return None
    return FeatureCache(models[MODEL], head.kept.checkpoint["digest"], ResultCache(catalog.store, settings.cache_size))


def _write(settings: PredictSettings, decoded: list[Decoded]) -> list[str]:
    output = settings.output
    if output is None:
        return [write_derived(part) for part in decoded]
    if output.endswith(".parquet"):
        write_parquet(decoded, output)
        return [output]
    source = Path(str(settings.input)).expanduser()
    write_nwb(check_one(decoded, output), output, source if is_hdf5(source) else None)
    return [output]
