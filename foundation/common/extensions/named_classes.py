"""A lab's own models, objectives, tasks, samplers and recipes, found by name.

A setting names such a class as ``mylab.losses:Contrast`` (a module and a class in it), as ``to/losses.py:Contrast`` (a
file), or by an entry point of an installed package, one group per kind::

    [project.entry-points."foundation.objectives"]
    contrast = "mylab.losses:Contrast"

`find_class` imports it, with clear errors. docs/extend.md has an example of each kind.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from foundation.common.errors import ConfigError, FoundationError
from foundation.common.extensions.search_folders import installed_path, search_folders, search_in, shown_folders
from foundation.common.lazy import named

MODULE_CLASS = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
FILE_CLASS = re.compile(r".+\.py:[^\W\d]\w*")


@dataclass(frozen=True)
class Kind:
    """A kind of class that users can define.

    Args:
        group: of the entry points that register such classes.
        base: its base class, as ``module:Class``.
        needs: names that a class has to define, besides the abstract methods of its base.
        wanted: the bases in words, if users subclass another class than ``base``.
    """

    group: str
    base: str
    needs: tuple[str, ...] = ()
    wanted: str = ""


KINDS = {
    "model": Kind("foundation.models", "transformers:PreTrainedModel", ("config_class", "forward")),
    "objective": Kind("foundation.objectives", "foundation.objectives.base:Objective", ("view_spec", "losses")),
    "recipe": Kind("foundation.recipes", "ingest.recipe.own_recipe:OwnRecipe"),
    "sampler": Kind("foundation.samplers", "foundation.data.steps.step_plan:StepPlan"),
    "task": Kind("foundation.tasks", "finetune.tasks.own_task:OwnTask", (), "UnitTask, TimeTask or TrialTask"),
}
_files: dict[str, tuple[str, ModuleType]] = {}  # module -> digest of its file, and what was loaded
_asked: set[str] = set()  # classes named by settings of this process, as ``module:Class``


def is_class_name(kind: str, name: str) -> bool:
    """Return True if a name has the form of a custom class, or is an entry point; nothing is imported.

    Example:
        >>> [is_class_name("objective", n) for n in ("mylab.losses:Contrast", "losses.py:Contrast", "neurpri")]
        [True, True, False]
    """
    return bool(FILE_CLASS.fullmatch(name) or MODULE_CLASS.fullmatch(name)) or name in entry_points(kind)


def allowed_forms(kind: str) -> str:
    """Return the allowed forms of a custom class's name, for messages."""
    points = sorted(entry_points(kind))
    listed = ", ".join(points) if points else "none is installed"
    return f"package.module:Class, path/to/file.py:Class, or an entry point of {KINDS[kind].group} ({listed})"


def short_name(name: str) -> str:
    """Return the class's short name, for titles and names of metrics.

    Example:
        >>> short_name("mylab.losses:Contrast"), short_name("neurpir")
        ('Contrast', 'neurpir')
    """
    return name.rpartition(":")[2]


def entry_points(kind: str) -> dict[str, str]:
    """Return the classes of a kind that installed packages register: name -> ``module:Class``.

    Only installed packages register classes, not the other folders that are searched.
    """
    return _entry_points(KINDS[kind].group, tuple(installed_path()))


@cache
def _entry_points(group: str, path: tuple[str, ...]) -> dict[str, str]:
    found = metadata.distributions(path=list(path))
    return {point.name: point.value for package in found for point in package.entry_points if point.group == group}


def find_class(kind: str, name: str, setting: str) -> Any:
    """Return the class that a setting names.

    Args:
        kind: one of `KINDS`.
        name: ``module:Class``, ``file.py:Class`` or an entry point.
        setting: the setting that holds the name, for messages, such as ``objective.name``.

    Raises:
        ConfigError: if there is no such module, its import fails, or the class does not fit its kind.
    """
    about = f"{setting} is {name!r}"
    value = entry_points(kind).get(name)
    if value is not None:
        about += f" (an entry point of {KINDS[kind].group}: {value})"
    elif not is_class_name(kind, name):
        raise ConfigError(f"{about}: expected {allowed_forms(kind)}")
    place, _, attribute = (value or name).rpartition(":")
    module = _from_file(place, about) if place.endswith(".py") else _from_module(place, about)
    found = getattr(module, attribute, None)
    if found is None:
        own = [item for item in vars(module).values() if isinstance(item, type) and item.__module__ == module.__name__]
        classes = [item.__name__ for item in own]
        near = difflib.get_close_matches(attribute, classes, n=1)
        has = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(classes) or 'no class'}"
        raise ConfigError(f"{about}: {getattr(module, '__file__', place)} has no {attribute!r}; {has}")
    check_class(kind, found, about)
    _asked.add(class_path(found))
    return found


def check_class(kind: str, found: Any, about: str) -> None:
    """Raise unless a class fits its kind.

    Args:
        kind: one of `KINDS`.
        found: the class.
        about: start of the message, such as ``objective.name is 'mylab:Contrast'``.

    Raises:
        ConfigError: if it is not a class, has another base, or lacks a method.
    """
    what = KINDS[kind]
    base = named(what.base)
    wanted = f"a subclass of {what.wanted or what.base.rpartition(':')[2]} ({what.base})"
    if not isinstance(found, type):
        raise ConfigError(f"{about}, which is a {type(found).__name__}: expected {wanted}; see docs/extend.md")
    if not issubclass(found, base):
        bases = ", ".join(parent.__name__ for parent in found.__bases__)
        raise ConfigError(f"{about}, which is a subclass of {bases}: expected {wanted}; see docs/extend.md")
    missing = [name for name in what.needs if getattr(found, name, None) is getattr(base, name, None)]
    missing += sorted(getattr(found, "__abstractmethods__", ()))
    if missing:
        raise ConfigError(
            f"{about}, which does not define {' and '.join(missing)}: expected what the docstring of "
            f"{what.base.replace(':', '.')} and docs/extend.md list"
        )


def class_path(found: type) -> str:
    """Return a class's path ``module:Class``, by which another process finds it.

    Example:
        >>> class_path(Kind)
        'foundation.common.extensions.named_classes:Kind'
    """
    return f"{found.__module__}:{found.__qualname__}"


def was_asked_for(path: str) -> bool:
    """Return True if settings of this process have named a class, given as ``module:Class``."""
    return path in _asked


@contextmanager
def plain_failure(about: str) -> Iterator[None]:
    """Turn an exception of the user's code into a `ConfigError` with the line that raised it.

    Args:
        about: start of the message.
    """
    try:
        yield
    except FoundationError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{about}: {last_line(error)}") from error


def last_line(error: BaseException) -> str:
    """Return the last line of an exception's traceback, with file and line.

    Example:
        >>> try:
        ...     _ = 1 / 0
        ... except ZeroDivisionError as error:
        ...     last_line(error).partition(" (")[0]
        'ZeroDivisionError: division by zero'
    """
    summary = " ".join(traceback.format_exception_only(error)[-1].split())
    if isinstance(error, SyntaxError):
        return f"{summary} ({error.filename}:{error.lineno})"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    return f"{summary} ({frames[-1].filename}:{frames[-1].lineno})" if frames else summary


def _from_module(place: str, about: str) -> ModuleType:
    """Import a module by its dotted path, from an installed package or one of the searched folders."""
    search_in(search_folders())
    importlib.invalidate_caches()
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        parents = [place.rsplit(".", n)[0] for n in range(place.count(".") + 1)]
        if error.name in parents:
            advice = "install its package, or start the command in the folder that holds it"
            raise ConfigError(
                f"{about}: there is no module {error.name!r}; searched {shown_folders()}; {advice}"
            ) from error
        raise ConfigError(f"{about}: importing {place} fails: {last_line(error)}") from error
    except FoundationError as error:
        raise ConfigError(f"{about}: importing {place} fails: {error}") from error
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{about}: importing {place} fails: {last_line(error)}") from error


def _from_file(place: str, about: str) -> ModuleType:
    """Import a module by its file, under the file's name; this process searches its folder from now on."""
    given = Path(place).expanduser()
    tried = [given] if given.is_absolute() else [folder / given for folder in search_folders()]
    path = next((path for path in tried if path.is_file()), None)
    if path is None:
        raise ConfigError(f"{about}: there is no file {place!r}; searched {', '.join(str(p.parent) for p in tried)}")
    path = path.resolve()
    known, digest = path.stem, hashlib.sha256(str(path).encode() + b"\0" + path.read_bytes()).hexdigest()
    if known in _files:
        if _files[known][0] == digest:
            return _files[known][1]
    else:
        _refuse_taken(known, path, about)
    spec = importlib.util.spec_from_file_location(known, path)
    assert spec is not None  # a .py file has one
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    search_in([path.parent])
    sys.modules[known] = module  # where inspect finds the source of its classes
    try:
        with plain_failure(f"{about}: importing {path} fails"):
            spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(known, None)
        _files.pop(known, None)
        raise
    _files[known] = (digest, module)
    return module


def _refuse_taken(known: str, path: Path, about: str) -> None:
    """Raise if another module has the file's name: its classes would be looked up in that module."""
    there = sys.modules.get(known)
    spec = getattr(there, "__spec__", None) if there is not None else importlib.util.find_spec(known)
    origin = getattr(there, "__file__", None) or getattr(spec, "origin", None)
    if (there is not None or spec is not None) and (origin is None or Path(origin).resolve() != path):
        raise ConfigError(
            f"{about}: a module {known!r} exists already ({origin or 'part of Python'}): give the file another name"
        )
