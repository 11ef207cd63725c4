"""Pretrained checkpoints by folder or URL."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar, overload

import fsspec
from safetensors import SafetensorError
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from foundation.common.credentials import without_secrets, without_secrets_in_url
from foundation.common.errors import CheckpointError, ConfigError
from foundation.models import EIT
from foundation.models.checkpoint_check import CONFIG, WEIGHTS, check_config, read_config

log = logging.getLogger(__name__)
FILES = (CONFIG, WEIGHTS)
MANIFEST = "checkpoint.json"  # of a checkpoint of a run, beside its folder ``model``
_digests: dict[tuple[str, ...], str] = {}  # of what was fetched in this process
Model = TypeVar("Model", bound=PreTrainedModel)


@overload
def load_model(name: str | Path) -> EIT: ...
@overload
def load_model(name: str | Path, architecture: type[Model]) -> Model: ...
def load_model(name: str | Path, architecture: type[PreTrainedModel] = EIT) -> PreTrainedModel:
    """A pretrained model, in evaluation mode on the CPU.

    Args:
        name: a folder with config.json and model.safetensors, the output folder of `foundation pretrain`, or any fsspec
            URL of one (``s3://...``).
        architecture: of the model: `EIT`, or one that an objective brings (`PopulationMLP`, `SwapVAEModel`).

    Raises:
        CheckpointError: if there is none, it is damaged, or it is of another architecture.

    Example:
        >>> from foundation.models import PopulationMLP, PopulationMLPConfig
        >>> folder = tempfile.mkdtemp()
        >>> PopulationMLP(PopulationMLPConfig(units=12, widths=[16, 8])).save_pretrained(folder)
        >>> load_model(folder, PopulationMLP).config.dim
        8
    """
    with local_checkpoint(name) as folder:
        kind, needed = read_config(folder).get("model_type"), architecture.config_class.model_type
        if kind != needed:
            raise CheckpointError(
                f"{_shown(name)} holds a model of type {kind!r}, and {needed!r} is needed: give a checkpoint of that "
                "type, or in Python the architecture that this one has, as load_model's second argument"
            )
        check_config(folder, architecture)
        transformers_logging.disable_progress_bar()
        try:
            model, found = architecture.from_pretrained(
                folder, output_loading_info=True, use_safetensors=True, local_files_only=True
            )
        except (OSError, SafetensorError, ConfigError, RuntimeError, ValueError) as error:
            raise CheckpointError(f"cannot load {_shown(name)}: {error}") from error
    wrong = sorted({*found["missing_keys"], *found["unexpected_keys"], *(k[0] for k in found["mismatched_keys"])})
    if wrong:
        raise CheckpointError(
            f"{_shown(name)} does not fit its config.json: {', '.join(wrong[:5])} ({len(wrong)} weights)"
        )
    return model.eval()


def find_checkpoint(name: str | Path) -> Path:
    """Return the local folder that holds config.json and model.safetensors: the one that is named, or its ``model``.

    Raises:
        CheckpointError: if there is none.
    """
    for folder in (Path(name), Path(name) / "model"):
        if all((folder / file).is_file() for file in FILES):
            return folder
    raise CheckpointError(_missing(name))


@contextmanager
def local_checkpoint(name: str | Path) -> Iterator[Path]:
    """Yield a local folder with config.json and model.safetensors; what is fetched for it is removed at the end.

    Nothing else of a URL is fetched, and its digest is that of the files that came (see `checkpoint_digest`).

    Raises:
        CheckpointError: if there is none, it cannot be fetched, or it is not what its run says that it wrote.
    """
    if "://" not in str(name):
        yield find_checkpoint(name)
        return
    with tempfile.TemporaryDirectory(prefix="foundation-checkpoint-") as temporary:
        target = Path(temporary)
        place = _Remote(str(name))
        try:
            place.fetch(target)
        except (OSError, ValueError, ImportError) as error:
            raise CheckpointError(without_secrets(f"cannot fetch {_shown(name)}: {error}")) from error
        for file, digest in place.stated().items():
            if hashlib.sha256((target / file).read_bytes()).hexdigest() != digest:
                raise CheckpointError(f"{file} of {_shown(name)} has other bytes than its run wrote: it is damaged")
        _digests[place.version()] = _digest_of(target)
        yield target


def checkpoint_digest(name: str | Path) -> str:
    """Return the sha256 of a checkpoint's config and weights.

    Those of a URL are not fetched again where `load_model` has just fetched them and they have not changed.

    Raises:
        CheckpointError: if there is none.
    """
    if "://" in str(name):
        try:
            known = _digests.get(_Remote(str(name)).version())
        except (OSError, ValueError, ImportError) as error:
            raise CheckpointError(without_secrets(f"cannot fetch {_shown(name)}: {error}")) from error
        if known is not None:
            return known
    with local_checkpoint(name) as folder:
        return _digest_of(folder)


def read_beside(name: str | Path, file: str) -> str | None:
    """Return the text of a small file of a checkpoint's run, such as metrics.jsonl; None if there is none.

    Raises:
        CheckpointError: if there is no checkpoint.
    """
    if "://" in str(name):
        place = _Remote(str(name))
        try:
            content: bytes = place.fs.cat_file(place.path(file))
        except (OSError, ValueError, ImportError):
            return None
        return content.decode("utf-8", "replace")
    folder = find_checkpoint(name)
    found = next((path for path in (folder.parent / file, folder / file) if path.is_file()), None)
    return None if found is None else found.read_text(encoding="utf-8")


class _Remote:
    """A checkpoint's files on an fsspec file system.

    Args:
        url: of its folder, or of the output folder of a run. A query (of a presigned URL) goes to each file.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.fs, root = fsspec.core.url_to_fs(url)
        self.root, mark, query = root.partition("?") if url.startswith("http") else (root, "", "")
        self.query = mark + query
        self._folder: str | None = None

    def path(self, *parts: str) -> str:
        return "/".join([self.root.rstrip("/"), *parts]) + self.query

    @property
    def folder(self) -> str:
        """``''``, or ``model`` where that holds the files."""
        if self._folder is None:
            for folder in ("", "model"):
                if all(self.fs.exists(self.path(*filter(None, (folder, file)))) for file in FILES):
                    self._folder = folder
                    break
            else:
                raise CheckpointError(_missing(self.url))
        return self._folder

    def files(self) -> dict[str, str]:
        """Name -> path of each file of the checkpoint."""
        return {file: self.path(*filter(None, (self.folder, file))) for file in FILES}

    def version(self) -> tuple[str, ...]:
        """What is different when the files are, as far as the file system tells."""
        return (self.url, *(str(self.fs.ukey(path)) for path in self.files().values()))

    def stated(self) -> dict[str, str]:
        """Name -> sha256 of the files as the manifest of a run's checkpoint states them; empty where there is none."""
        root = self.root.rstrip("/") if self.folder else self.root.rstrip("/").removesuffix("/model")
        try:
            files = json.loads(self.fs.cat_file(f"{root}/{MANIFEST}{self.query}"))["files"]
            return {file: str(files[f"model/{file}"]) for file in FILES if f"model/{file}" in files}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def fetch(self, target: Path) -> None:
        """Copy the files into a local folder."""
        for file, path in self.files().items():
            self.fs.get_file(path, str(target / file))


def _digest_of(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in FILES:
        with open(folder / name, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _shown(name: str | Path) -> str:
    return without_secrets_in_url(str(name))


def _missing(name: str | Path) -> str:
    return (
        f"no checkpoint at {_shown(name)!r}: a folder with config.json and model.safetensors is needed, "
        "as `foundation pretrain` writes it"
    )
