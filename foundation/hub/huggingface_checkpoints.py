"""Checkpoints on a Hugging Face hub: ``hf://org/name@revision``, through the cache and the client of `huggingface_hub`.

Cached checkpoints are found without a connection: a commit that is pinned by its hash opens no socket, and a branch or
tag is resolved to its commit once and then fetched as that commit. The hub's own digests of files are checked.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import Timeout

from foundation.common.errors import CheckpointError
from foundation.common.files.locks import file_lock
from foundation.hub.checkpoint_cache import held_by, held_lock, is_offline, key_of, lock_patience, offline_error
from foundation.hub.checkpoint_files import BESIDE, FILES, check_names, file_digest, folder_in, path_in, reason_of

log = logging.getLogger(__name__)
SCHEME = "hf://"
COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class HubName:
    """A repository of a hub, a revision and a folder.

    Args:
        repo: ``org/name``.
        revision: a commit's hash, a branch or a tag.
        folder: in the repository; ``''``: its top, where ``model`` is searched too.

    Example:
        >>> HubName.parse("hf://lab/eit@v1")
        HubName(repo='lab/eit', revision='v1', folder='')
        >>> HubName.parse("hf://lab/eit/large").folder
        'large'
    """

    repo: str
    revision: str = "main"
    folder: str = ""

    @classmethod
    def parse(cls, name: str) -> HubName:
        """Parse ``hf://org/name[@revision]`` or ``hf://org/name/folder[@revision]``.

        Raises:
            CheckpointError: if the name has another form.
        """
        place, _, revision = name.removeprefix(SCHEME).partition("@")
        parts = place.strip("/").split("/")
        pattern = re.compile(r"[\w.-]+(/[\w.-]+)*")
        if not name.startswith(SCHEME) or len(parts) < 2 or not pattern.fullmatch("/".join(parts)):
            raise CheckpointError(f"{name!r} is not a name on a hub: expected hf://org/name or hf://org/name@revision")
        if revision and not pattern.fullmatch(revision):
            raise CheckpointError(
                f"{name!r} has the revision {revision!r}: expected a commit's hash, a branch or a tag"
            )
        if ".." in [*parts, *revision.split("/")]:
            raise CheckpointError(f"{name!r} holds '..': expected hf://org/name@revision")
        return cls("/".join(parts[:2]), revision or "main", "/".join(parts[2:]))

    def __str__(self) -> str:
        return f"{SCHEME}{'/'.join(filter(None, (self.repo, self.folder)))}@{self.revision}"

    @property
    def is_pinned(self) -> bool:
        """True if the revision is a commit's hash."""
        return bool(COMMIT.fullmatch(self.revision))


def hub_cache() -> Path:
    """Return the folder that `huggingface_hub` keeps repositories in: $HF_HUB_CACHE, or ``hub`` in $HF_HOME."""
    from huggingface_hub import constants

    if given := os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(os.path.expandvars(given)).expanduser()
    home = os.environ.get("HF_HOME")
    return Path(os.path.expandvars(home)).expanduser() / "hub" if home else Path(constants.HF_HUB_CACHE)


def endpoint() -> str | None:
    """Return the current $HF_ENDPOINT; None: the hub's own."""
    return os.environ.get("HF_ENDPOINT") or None


def fetch_hub(name: HubName) -> tuple[str, Path]:
    """Return the commit and the local folder of a checkpoint on a hub.

    Raises:
        CheckpointError: if there is no such checkpoint, it cannot be fetched, its bytes differ from the hub's, or its
            repository holds pickles or code.
    """
    found = _cached(name)
    if found is not None and (name.is_pinned or is_offline()):
        return found
    if is_offline():
        raise offline_error(str(name), f"the cache ({hub_cache()})")
    try:
        return _fetch(name)
    except CheckpointError:
        raise
    except Exception as error:
        from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

        why = reason_of(error)
        if isinstance(error, RevisionNotFoundError):
            raise CheckpointError(f"{name.repo} has no revision {name.revision!r}: name one that it has") from error
        if isinstance(error, RepositoryNotFoundError | GatedRepoError):
            raise CheckpointError(
                f"{name} cannot be read: there is no such repository, or it is private or gated; check its name, ask "
                f"for access on its page, and log in with `hf auth login` or HF_TOKEN ({why})"
            ) from error
        if found is None:
            raise CheckpointError(f"cannot fetch {name}: {why}") from error
        log.warning("%s cannot be reached (%s): the cached commit %s is used", name, why, found[0])
        return found


def _cached(name: HubName) -> tuple[str, Path] | None:
    """Return commit and folder of a cached checkpoint, without any request or write."""
    from huggingface_hub import try_to_load_from_cache

    for folder in dict.fromkeys((name.folder, path_in(name.folder, "model"))):
        paths = [
            try_to_load_from_cache(
                name.repo, path_in(folder, file), cache_dir=hub_cache(), revision=name.revision, repo_type="model"
            )
            for file in FILES
        ]
        if all(isinstance(path, str) for path in paths):
            local = Path(str(paths[0])).parent
            return _commit_of(local, folder), local
    return None


def _commit_of(local: Path, folder: str) -> str:
    """Return the commit of a snapshot's folder: ``snapshots/<commit>/<folder>``."""
    return local.parts[len(local.parts) - 1 - len(Path(folder).parts)]


def _fetch(name: HubName) -> tuple[str, Path]:
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    api = HfApi(endpoint=endpoint(), library_name="foundation")
    commit = api.resolve_revision(name.repo, revision=name.revision, cache_dir=hub_cache()).resolved
    pinned = HubName(name.repo, commit, name.folder)
    if not name.is_pinned:
        log.info("%s is commit %s", name, commit)
        if (found := _cached(pinned)) is not None:
            return found
    stated = _stated(api, pinned)
    check_names(str(name), stated)
    folder = folder_in(str(name), stated, name.folder)
    with held_lock(key_of(str(pinned))):
        for file in (*FILES, *BESIDE):
            if path_in(folder, file) not in stated:
                continue
            digest, inside = stated[path_in(folder, file)], path_in(folder, file)
            _wait_for_others(name.repo, digest)
            path = Path(hf_hub_download(name.repo, inside, revision=commit, cache_dir=hub_cache(), endpoint=endpoint()))
            if _digest_like(digest, path) != digest:
                blob = path.resolve()  # resolve the link before it is removed
                for wrong in (path, blob):
                    wrong.unlink(missing_ok=True)
                raise CheckpointError(
                    f"{file} of {name} has other bytes than the hub states ({digest}): it was damaged on its way and "
                    "has been removed; pull it again, and if that does not help, contact its owner"
                )
    local = _cached(pinned)
    if local is None:
        raise CheckpointError(
            f"{pinned} is not in {hub_cache()} after its download: check whether another program clears that folder"
        )
    return local


def _stated(api: Any, name: HubName) -> dict[str, str]:
    """Return the files of a commit: path -> sha256 of a large file, git's digest of a small one."""
    from huggingface_hub.hf_api import RepoFile

    entries = api.list_repo_tree(name.repo, recursive=True, revision=name.revision)
    return {e.path: str(e.lfs.sha256 if e.lfs else e.blob_id) for e in entries if isinstance(e, RepoFile)}


def _digest_like(digest: str, path: Path) -> str:
    """Return a file's digest of the same kind as another: a sha256, or git's sha1 of a blob."""
    if len(digest) == 64:
        return file_digest(path)
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _wait_for_others(repo: str, blob: str) -> None:
    """Wait for another program that downloads the same file; `huggingface_hub` itself would wait endlessly.

    Raises:
        CheckpointError: if the hub client's lock is not released in time; the message names the holder.
    """
    path = hub_cache() / ".locks" / f"models--{repo.replace('/', '--')}" / f"{blob}.lock"
    if not blob or not path.is_file():
        return
    with ExitStack() as stack:
        try:
            stack.enter_context(file_lock(path, lock_patience(), create=False))
        except Timeout:
            raise CheckpointError(held_by(path)) from None
        except OSError as error:
            log.debug("%s is not waited for: %s", path, error)
