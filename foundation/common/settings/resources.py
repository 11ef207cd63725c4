"""Configs by name: ``pretrain/demo`` finds the shipped file wherever the package is installed."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from foundation.common.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parents[2]


def config_folder() -> Path:
    """Return the folder of shipped configs: inside the installed package, or beside it in a checkout."""
    installed = _PACKAGE / "configs"
    return installed if installed.is_dir() else _PACKAGE.parent / "configs"


def config_names(folder: str = "") -> list[str]:
    """Return the names of the shipped configs under ``folder``, without ``.yaml``.

    Example:
        >>> "recipes/default" in config_names("recipes")
        True
    """
    root = config_folder()
    return sorted(p.relative_to(root).with_suffix("").as_posix() for p in (root / folder).rglob("*.yaml"))


def find_config(name: str | Path, folder: str = "") -> Path:
    """Return the file of a config: the user's own file, or a shipped config.

    Args:
        name: a path to a file, or a shipped name such as ``pretrain/demo`` (with or without ``.yaml`` and a leading
            ``configs/``).
        folder: folder of shipped configs that is also searched for a bare name, such as ``recipes``.

    Raises:
        ConfigError: if there is no such file or name; the message has the nearest name.
    """
    given = Path(name)
    if given.is_file():
        return given
    bare = given.as_posix().removeprefix("configs/").removesuffix(".yaml")
    root = config_folder().resolve()
    for candidate in (root / f"{bare}.yaml", root / folder / f"{bare}.yaml"):
        if candidate.is_file() and candidate.resolve().is_relative_to(root):
            return candidate
    raise ConfigError(f"no config {str(name)!r}, neither a file nor a shipped name.{_expected(given, bare, folder)}")


def _expected(given: Path, bare: str, folder: str) -> str:
    """Return a hint of valid names: the nearest ones, and the shipped names of the folder."""
    files = [path.name for pattern in ("*.yaml", "*.yml") for path in given.parent.glob(pattern)]
    beside = [(given.parent / name).as_posix() for name in get_close_matches(given.name, files, n=1)]
    family = folder or next(iter(Path(bare).parts), "")
    names = config_names(family) if family else []
    whole = bool(names) and Path(bare) == Path(family)
    near = beside or get_close_matches(bare, [] if whole else config_names(), n=1)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    if names:
        return f"{meant} Shipped under {family}/: {', '.join(names)}"
    families = sorted({Path(shipped).parts[0] for shipped in config_names()})
    return (
        f"{meant} Shipped configs are in {'/, '.join(families)}/; a name such as {families[-1]}/ lists those of "
        "one folder"
    )
