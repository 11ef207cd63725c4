"""Folders that commands write: home, caches, log, temporary files; locks; and files that hide packages."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from foundation.cli.doctor.finding import BROKEN, OK, WARNING, Finding
from foundation.cli.doctor.machine_checks import existing
from foundation.common.processes.environment import ROOT

# Packages that `python -m` and Ray's workers would look for in the working folder first.
HIDDEN = ("foundation", "ingest", "finetune", "torch", "numpy", "random", "types", "queue", "copy")


def why_not_writable(folder: Path) -> str:
    """Return why no file can be written in a folder, which may not exist yet; an empty text if one can.

    Example:
        >>> why_not_writable(Path("/proc/none"))
        'No such file or directory'
    """
    try:
        if folder.exists() and not folder.is_dir():
            return "a file, not a folder"
        there = existing(folder)
        blocking = next((path for path in folder.absolute().parents if path.is_file()), None)
        if blocking is not None:
            return f"{blocking} is a file"
        with tempfile.TemporaryFile(dir=there, prefix=".foundation-doctor-"):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def home() -> Path | None:
    """Return the home folder; None if this user has none."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def written_folders() -> dict[str, tuple[Path, str, str]]:
    """Return the folders that commands write: name -> folder, state if writing fails, and how to fix it."""
    own = home() or Path("/nonexistent")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or own / ".cache")
    state = Path(os.environ.get("XDG_STATE_HOME") or own / ".local" / "state")
    checkpoints = os.environ.get("FOUNDATION_CHECKPOINT_CACHE")
    hub = os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME") or cache / "huggingface") / "hub"
    log = os.environ.get("FOUNDATION_LOG")
    found = {
        "home": (own, WARNING, "set HOME to a folder that you can write to"),
        "log": (
            Path(log).absolute().parent if log else state / "foundation",
            WARNING,
            "set FOUNDATION_LOG to a file that you can write to",
        ),
        "checkpoint cache": (
            Path(checkpoints).expanduser() if checkpoints else cache / "foundation" / "checkpoints",
            WARNING,
            "set FOUNDATION_CHECKPOINT_CACHE to a folder that you can write to",
        ),
        "hub cache": (Path(hub), WARNING, "set HF_HOME to a folder that you can write to"),
    }
    return found


def check_folder(name: str, folder: Path, state: str, mend: str) -> Finding:
    """Check whether a folder can be written to."""
    reason = why_not_writable(folder)
    if reason:
        return Finding(name, state, f"{folder} cannot be written to ({reason})", mend)
    return Finding(name, OK, str(folder))


def check_temporary() -> Finding:
    """Check the folder of temporary files, which every command needs."""
    mend = "set TMPDIR to a folder that you can write to"
    given = os.environ.get("TMPDIR")
    try:
        folder = Path(tempfile.gettempdir())
    except OSError as error:
        return Finding("temporary folder", BROKEN, f"no usable temporary folder ({error.strerror or error})", mend)
    if given and why_not_writable(Path(given)):
        text = f"TMPDIR is {given!r}, which cannot be written to ({why_not_writable(Path(given))}): {folder} is used"
        return Finding("temporary folder", WARNING, text, mend)
    return check_folder("temporary folder", folder, BROKEN, mend)


def check_compiled(package: Path = ROOT / "foundation") -> Finding:
    """Check where numba keeps compiled loops: $NUMBA_CACHE_DIR, the package, home or temporary files."""
    mend = "set NUMBA_CACHE_DIR to a folder that you can write to"
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given and (reason := why_not_writable(Path(given))):
        return Finding(
            "numba cache", WARNING, f"NUMBA_CACHE_DIR is {given!r}, which cannot be written to ({reason})", mend
        )
    own = home()
    places = [Path(given)] if given else []
    places += [package, *([own / ".cache" / "numba"] if own else []), Path(tempfile.gettempdir())]
    found = next((place for place in places if not why_not_writable(place)), None)
    if found is None:
        return Finding("numba cache", WARNING, "no folder for compiled loops: each process compiles them again", mend)
    return Finding("numba cache", OK, str(found))


def check_locks(folder: Path) -> Finding:
    """Check whether file locks work in the folder for stores and runs."""
    try:
        import fcntl
    except ImportError:  # not a Unix: another kind of lock is used
        return Finding("locks", OK, "not tried on this system")
    try:
        with tempfile.NamedTemporaryFile(dir=existing(folder), prefix=".foundation-doctor-") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(file, fcntl.LOCK_UN)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT):
            text = f"no file can be written in {folder} ({error.strerror})"
            return Finding("folder", BROKEN, text, "give --folder or work in a folder that you can write to")
        text = f"file locks do not work in {folder} ({error.strerror})"
        return Finding(
            "locks", BROKEN, text, "mount the file system with locks (NFS: version 4, or lockd), or use another"
        )
    return Finding("locks", OK, f"file locks work in {folder}")


def check_hidden(folder: Path) -> list[Finding]:
    """Find files in the working folder that Python would import in place of packages."""
    if folder.resolve() == ROOT:
        return []
    found = [name for name in HIDDEN if (folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file()]
    if not found:
        return []
    text = f"{', '.join(found)} in the working folder hide{'s' * (len(found) == 1)} the packages of that name"
    return [Finding("working folder", WARNING, text, "export PYTHONSAFEPATH=1, or work in another folder")]


def folder_findings(folder: Path) -> list[Finding]:
    """Check folders.

    Args:
        folder: place for stores and runs.
    """
    findings = [check_folder(name, *found) for name, found in written_folders().items()]
    return [*findings, check_temporary(), check_compiled(), check_locks(folder), *check_hidden(Path.cwd())]
