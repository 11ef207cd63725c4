"""Cache trained EITs, so that a transfer does not train its source again."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError

from finetune.reproduce.common.run_results import key_of
from finetune.reproduce.models import EITPublished
from foundation.common.errors import FoundationError
from foundation.common.files.locks import whole_folder
from foundation.models.saved.checkpoint_check import check_config

log = logging.getLogger(__name__)


def trained_eit(
    folder: Path, config: dict, digests: dict[str, str], train: Callable[[], tuple[EITPublished, dict]]
) -> tuple[EITPublished, dict]:
    """Return the cached EIT of this configuration and data, or train and cache it.

    Args:
        folder: cache folder; each run has a subfolder with ``config.json``, ``model.safetensors`` and ``run.json``,
            named by the digest of the next two.
        config: of the run, seed and rule included.
        digests: of its data.
        train: returns a trained model and its training history as JSON values.

    Raises:
        FoundationError: if the cached weights are damaged.
    """
    kept = folder / f"eit-{key_of(config, digests)}"
    if kept.is_dir():
        try:
            detail = json.loads((kept / "run.json").read_text())["detail"]
            check_config(kept, EITPublished)
            model = EITPublished.from_pretrained(kept, local_files_only=True).eval()
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError, FoundationError) as error:
            raise FoundationError(f"{kept} is not a kept EIT: {error}; remove it to train it again") from error
        log.info("weights of %s, seed %s, from %s", config["subject"], config["seed"], kept)
        return model, detail
    model, detail = train()
    with whole_folder(kept) as part:
        model.save_pretrained(part)
        (part / "run.json").write_text(json.dumps({"config": config, "digests": digests, "detail": detail}, indent=1))
    return model, detail
