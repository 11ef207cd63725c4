"""Search path of a lab's own modules: installed packages first, then folders, the same in every process.

A command searches its working folder and the folders of its YAML files, after all installed packages. A file called
``random.py`` or ``foundation.py`` therefore never replaces a package. The folders are in $FOUNDATION_PATH, which child
processes inherit and which is sent to other machines.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

PATH, TRUST = "FOUNDATION_PATH", "FOUNDATION_TRUST"
INHERITED = (PATH, TRUST)  # by every process of a command
_added: list[str] = []  # to `sys.path`, by this module


def search_folders() -> list[Path]:
    """Return the folders that are searched after installed packages: those of $FOUNDATION_PATH, then the working one.

    Example:
        >>> Path.cwd().resolve() in search_folders()
        True
    """
    named = [Path(part).expanduser() for part in os.environ.get(PATH, "").split(os.pathsep) if part]
    try:
        here = [Path.cwd()]
    except OSError:  # the working folder was removed
        here = []
    return list(dict.fromkeys(folder.resolve() for folder in [*named, *here]))


def search_in(folders: Iterable[Path]) -> None:
    """Add folders to this process's search path, after the existing ones."""
    for folder in map(str, folders):
        if folder not in sys.path:
            sys.path.append(folder)
            _added.append(folder)


def installed_path() -> list[str]:
    """Return the import path of installed packages: `sys.path` without the folders that `search_in` added."""
    return [folder for folder in sys.path if folder not in _added]


def shown_folders() -> str:
    """Return the searched folders, for messages."""
    return ", ".join(["installed packages", *map(str, search_folders())])


@contextmanager
def searching(folders: Iterable[Path], trust: Iterable[str] = ()) -> Iterator[None]:
    """Search more folders and trust more names inside the block, also in processes started there.

    Args:
        folders: folders to search after those of $FOUNDATION_PATH.
        trust: names that a checkpoint may import (see `trusted_names`), besides those of $FOUNDATION_TRUST.

    Example:
        >>> with searching([Path("my/lab")], ["mylab"]):
        ...     os.environ["FOUNDATION_TRUST"], Path("my/lab").resolve() in search_folders()
        ('mylab', True)
    """
    before = {name: os.environ.get(name) for name in INHERITED}
    known = [part for part in os.environ.get(PATH, "").split(os.pathsep) if part]
    more = [str(folder.resolve()) for folder in folders]
    allowed = [part for part in os.environ.get(TRUST, "").split(",") if part]
    os.environ[PATH] = os.pathsep.join(dict.fromkeys([*known, *more]))
    os.environ[TRUST] = ",".join(dict.fromkeys([*allowed, *trust]))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def inherited() -> dict[str, str]:
    """Return the variables to pass to `inherit` in a process that does not inherit the environment.

    Example:
        >>> sorted(inherited())
        ['FOUNDATION_PATH', 'FOUNDATION_TRUST']
    """
    folders = dict.fromkeys([*map(str, search_folders()), *_added])
    return {PATH: os.pathsep.join(folders), TRUST: os.environ.get(TRUST, "")}


def inherit(given: Mapping[str, str]) -> None:
    """Use the search folders and trusted names of the parent process in this process."""
    os.environ.update({name: given[name] for name in INHERITED if name in given})
