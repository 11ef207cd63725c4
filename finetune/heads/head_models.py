"""The models that a head reads, found by name and checked by digest."""

from __future__ import annotations

from finetune.heads.head import MODEL, Head, HeadError, adapted_source
from finetune.heads.head_files import CHECKPOINT, changed_folder
from foundation.common.credentials import without_secrets_in_url
from foundation.common.errors import CheckpointError
from foundation.hub.checkpoints import checkpoint_digest, load_model
from foundation.models import EIT


def head_models(head: Head, checkpoint: str | None = None) -> dict[str, EIT]:
    """Return the models that a head reads, by source; none for a head that reads plain activity alone.

    Args:
        head: loaded.
        checkpoint: where the frozen checkpoint is, if not where it was when the head was fitted.

    Raises:
        HeadError: if one is missing, or is not the one that the head was fitted to.
    """
    found: dict[str, EIT] = {}
    if MODEL in head.sources:
        assert head.kept.checkpoint is not None  # `load_head` has checked it
        bundled = None if head.folder is None else head.folder / CHECKPOINT
        name = str(bundled) if bundled is not None and bundled.is_dir() else checkpoint or head.kept.checkpoint["name"]
        found[MODEL] = _checked(name, head.kept.checkpoint["digest"], "give the right one with --checkpoint")
    for place, digest in enumerate(head.kept.adapted):
        if head.folder is None:
            raise HeadError(f"head {head.name} reads changed weights: load it from its folder")
        again = "fit the head again with `foundation finetune`"
        found[adapted_source(place)] = _checked(str(changed_folder(head.folder, place)), digest, again)
    return found


def _checked(name: str, digest: str, hint: str) -> EIT:
    shown = without_secrets_in_url(name)
    try:
        model = load_model(name)
        found = checkpoint_digest(name)
    except CheckpointError as error:
        raise HeadError(f"the checkpoint of the head cannot be loaded ({error}): {hint}") from error
    if found != digest:
        raise HeadError(f"{shown} has digest {found[:12]}, but the head was fitted to {digest[:12]}: {hint}")
    return model
