"""The files of a checkpoint, their digest, and the files that its repository must not hold. Imports quickly."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from foundation.common.credentials import without_secrets, without_secrets_in_url
from foundation.common.errors import CheckpointError

FILES = ("config.json", "model.safetensors")
BESIDE = ("README.md", "LICENSE", "pretraining.json")  # optional small files of a checkpoint
MANIFEST = "checkpoint.json"  # of a run's checkpoint, beside its folder ``model``
PICKLES = (".bin", ".ckpt", ".dill", ".joblib", ".pickle", ".pkl", ".pt", ".pt2", ".pth")
CODE = (".ipynb", ".py", ".pyc", ".pyd", ".sh", ".so")
_digests: dict[tuple[str, ...], str] = {}  # of folders whose files are unchanged


def find_checkpoint(name: str | Path) -> Path:
    """Return the local folder with config.json and model.safetensors: the given folder, or its ``model``.

    Raises:
        CheckpointError: if the folder holds no checkpoint.
    """
    for folder in (Path(name), Path(name) / "model"):
        if is_checkpoint(folder):
            return folder
    raise CheckpointError(missing(name))


def holds_checkpoint(name: str | Path) -> bool:
    """Return True if a local folder, or its ``model``, holds config.json and model.safetensors."""
    return is_checkpoint(Path(name)) or is_checkpoint(Path(name) / "model")


def is_checkpoint(folder: Path) -> bool:
    """Return True if a folder itself holds config.json and model.safetensors."""
    return all((folder / file).is_file() for file in FILES)


def missing(name: str | Path) -> str:
    """Return the message for a place without a checkpoint."""
    return (
        f"no checkpoint at {shown(name)!r}: a folder with config.json and model.safetensors is needed, "
        "as `foundation pretrain` writes it"
    )


def shown(name: str | Path) -> str:
    """Return a checkpoint's name for messages, without secrets."""
    return without_secrets_in_url(str(name))


def digest_of(folder: Path) -> str:
    """Return the sha256 of a checkpoint: of the bytes of config.json, followed by those of model.safetensors.

    ``cat config.json model.safetensors | sha256sum`` gives the same. Unchanged files are read only once.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in FILES:
        ...     _ = (folder / name).write_text(name)
        >>> digest_of(folder) == hashlib.sha256(b"config.jsonmodel.safetensors").hexdigest()
        True
    """
    stats = [(folder / name).stat() for name in FILES]
    key = (os.path.realpath(folder), *(f"{s.st_ino} {s.st_size} {s.st_mtime_ns} {s.st_ctime_ns}" for s in stats))
    if key not in _digests:
        digest = hashlib.sha256()
        for name in FILES:
            update_from(digest, folder / name)
        _digests[key] = digest.hexdigest()
    return _digests[key]


def update_from(digest: hashlib._Hash, path: Path) -> None:
    """Add the bytes of a file to a digest, a piece at a time."""
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)


def file_digest(path: Path) -> str:
    """Return the sha256 of a file."""
    digest = hashlib.sha256()
    update_from(digest, path)
    return digest.hexdigest()


def check_digest(name: str, found: str, wanted: str, source: str) -> None:
    """Raise unless a checkpoint has the pinned digest.

    Args:
        name: of the checkpoint, for the message.
        found: the sha256 of the files.
        wanted: the pinned sha256; ``''``: none.
        source: where it is pinned.

    Raises:
        CheckpointError: if they differ.
    """
    if wanted and found != wanted.lower():
        raise CheckpointError(
            f"{shown(name)} has sha256 {found}: expected {wanted.lower()}, as {source} says; if its publisher has "
            "changed it on purpose, write the new digest there, otherwise do not use it"
        )


def folder_in(name: str, files: Iterable[str], top: str = "") -> str:
    """Return the folder of a repository that holds a checkpoint: the given folder, or its ``model``.

    Args:
        name: of the checkpoint, for the message.
        files: paths in the repository.
        top: the given folder; ``''``: the top of the repository.

    Raises:
        CheckpointError: if neither holds config.json and model.safetensors.

    Example:
        >>> folder_in("hf://a/b", ["README.md", "model/config.json", "model/model.safetensors"])
        'model'
    """
    held = set(files)
    for folder in dict.fromkeys((top, path_in(top, "model"))):
        if all(path_in(folder, file) in held for file in FILES):
            return folder
    raise CheckpointError(
        f"{name} holds no checkpoint: config.json and model.safetensors are needed, and it has "
        f"{', '.join(sorted(held)[:6]) or 'no files'}"
    )


def path_in(folder: str, file: str) -> str:
    """Return the path of a file in a folder of a repository; ``''`` is its top."""
    return f"{folder}/{file}" if folder else file


def reason_of(error: Exception) -> str:
    """Return the kind and the first line of a client's error, without secrets.

    Example:
        >>> reason_of(OSError("no such host"))
        'OSError: no such host'
    """
    return without_secrets(f"{type(error).__name__}: {str(error).strip()}".splitlines()[0])


def check_names(name: str, files: Iterable[str]) -> None:
    """Raise if a repository holds pickles or code, which a checkpoint does not need.

    Args:
        name: of the checkpoint, for the message.
        files: paths in the repository.

    Raises:
        CheckpointError: names the files and what to do.

    Example:
        >>> check_names("hf://a/b", ["config.json", "model.safetensors", "README.md"])
    """
    wrong = sorted(file for file in files if file.lower().endswith(PICKLES + CODE))
    if wrong:
        raise CheckpointError(
            f"{shown(name)} holds {', '.join(wrong[:4])} ({len(wrong)} in all): expected a repository without pickles "
            "and code, which run when they are loaded; ask its owner for a revision with config.json and "
            "model.safetensors alone, or copy those two into a folder and name the folder"
        )
