"""Which classes may be imported for a checkpoint: those that this user or an installed package has named.

A config.json comes from outside and could name any module, and importing a module runs its code. Its class is therefore
imported only if it was allowed on this machine:

- an installed package registers it by an entry point of ``foundation.models`` (to install a package is to trust it);
- settings or Python code of this process have named it (``model.name``, ``load_model(..., "mylab.models:Rates")``);
- the switch ``--trust mylab.models:Rates`` or $FOUNDATION_TRUST names it, or a module that it is in.

Code inside a checkpoint's folder is never imported, even if its name is trusted.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

from foundation.common.errors import CheckpointError, ConfigError
from foundation.common.extensions.named_classes import MODULE_CLASS, entry_points, find_class, was_asked_for
from foundation.common.extensions.search_folders import TRUST, search_folders, search_in, shown_folders


def trusts(path: str) -> bool:
    """Return True if a class, as ``module:Class``, may be imported for a checkpoint.

    Example:
        >>> from foundation.common.extensions.search_folders import searching
        >>> with searching([], trust=["mylab"]):
        ...     trusts("mylab.models:Rates"), trusts("mylab2.models:Rates")
        (True, False)
        >>> trusts("mylab.models:Rates")
        False
    """
    if was_asked_for(path) or path in entry_points("model").values():
        return True
    module = path.partition(":")[0]
    for name in (part.strip() for part in os.environ.get(TRUST, "").split(",")):
        if name and (name == path or (":" not in name and f"{module}.".startswith(f"{name}."))):
            return True
    return False


def trusted_class(kind: str, path: Any, checkpoint: str, folder: Path) -> Any:
    """Return the class that a checkpoint names.

    Args:
        kind: of class, such as ``model``.
        path: the class in config.json, ``module:Class``.
        checkpoint: its name, for messages.
        folder: its local folder.

    Raises:
        CheckpointError: if the class is not trusted, cannot be imported, or lies in the checkpoint's folder.
    """
    if not isinstance(path, str) or not MODULE_CLASS.fullmatch(path):
        raise CheckpointError(f"{checkpoint}: class is {path!r}: expected package.module:Class")
    about = f"{checkpoint} holds a model of class {path!r}"
    top = path.partition(":")[0].partition(".")[0]
    search_in(search_folders())
    found = importlib.util.find_spec(top)  # finding a top-level module does not run it
    where = "" if found is not None else f"; there is no module {top!r} in {shown_folders()}"
    if not trusts(path):
        raise CheckpointError(
            f"{about}, which is not part of this software, and importing it would run its code{where}: install the "
            f"package that registers it, or, if you know that code, allow it with --trust {path} (or "
            f"{TRUST}={path}, or in Python load_model(name, {path!r}))"
        )
    if found is None:
        raise CheckpointError(
            f"{about}, which cannot be imported{where}: install its package, or start in the folder that holds it"
        )
    places = [*([found.origin] if found.origin else []), *(found.submodule_search_locations or ())]
    if any(Path(place).resolve().is_relative_to(folder.resolve()) for place in places):
        raise CheckpointError(
            f"{about}, and {top!r} lies in the folder of the checkpoint: expected code that was installed apart from it"
        )
    try:
        return find_class(kind, path, f"the class of {checkpoint}")
    except ConfigError as error:
        raise CheckpointError(f"{about}, which cannot be used: {error}") from error
