"""The token of an archive: from its environment variable, or else from the keyring; never from a prompt."""

from __future__ import annotations

import logging
import os
import re
import threading

import requests
from requests.auth import AuthBase

from foundation.common.errors import SourceError
from ingest.sources.dandi.archives import Archive, same_origin

log = logging.getLogger(__name__)


class ArchiveToken(AuthBase):
    """Adds an archive's token to requests to that archive's API only, and only once the API has asked for it.

    Open dandisets are read without a token, so an expired token does not affect them.

    Args:
        archive: the archive that issued the token.
    """

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.where = ""
        self._token: str | None = None
        self._lock = threading.Lock()

    def ready(self) -> bool:
        """Send the token with all further requests; return False if no token is set."""
        with self._lock:
            if self._token is None:
                self._token, self.where = token_of(self.archive)
            return self._token is not None

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token is not None and same_origin(str(request.url), self.archive.api_url):
            request.headers["Authorization"] = f"token {self._token}"
        return request

    def __reduce__(self) -> tuple[type[ArchiveToken], tuple[Archive]]:
        # Other processes find the token themselves.
        return ArchiveToken, (self.archive,)


def token_of(archive: Archive) -> tuple[str | None, str]:
    """Return the token and where it was found, or ``(None, "")``.

    Raises:
        SourceError: if it holds invalid characters (the message does not show it).
    """
    token, where = os.environ.get(archive.token_variable, ""), f"the variable {archive.token_variable}"
    if not token.strip():
        token, where = _from_keyring(archive), "the keyring"
    token = token.strip()
    if not token:
        return None, ""
    if not re.fullmatch(r"[\x21-\x7e]+", token):
        raise SourceError(f"the token of archive {archive.name} in {where} holds invalid characters")
    return token, where


def _from_keyring(archive: Archive) -> str:
    import keyring
    from keyring.backends.chainer import ChainerBackend

    try:
        backend = keyring.get_keyring()
        for part in backend.backends if isinstance(backend, ChainerBackend) else [backend]:
            # Encrypted keyring files prompt for their password on the terminal.
            if "Encrypted" not in type(part).__name__ and (
                found := part.get_password(f"dandi-api-{archive.name}", "key")
            ):
                return str(found)
    except Exception as error:  # without a desktop each backend raises its own errors
        log.debug("no keyring: %s", type(error).__name__)
    return ""
