"""What a model's configuration says of the windows that pretraining saw."""

from __future__ import annotations

from typing import Any

from foundation.data.steps.views import ViewSpec
from foundation.models.config import EITConfig
from foundation.models.preprocessing import Preprocessing
from foundation.store.catalog import Catalog
from foundation.training.pretrain_settings import PretrainSettings


def name_windows(config: Any, settings: PretrainSettings, spec: ViewSpec, catalog: Catalog) -> None:
    """Write bin widths, tokens of the longest window and kinds of recordings into an EIT's configuration.

    Args:
        config: of the model; that of another architecture stays as it is.
        settings: of the run.
        spec: the views that the objective asks for.
        catalog: the recordings.
    """
    if isinstance(config, EITConfig):
        kinds = tuple(sorted(set(catalog.records.texts("kind"))))
        own = Preprocessing(tuple(sorted(settings.data.bin_widths)), spec.max_tokens, kinds)
        config.preprocessing = own.to_dict()
