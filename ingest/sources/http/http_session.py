"""HTTP session that retries every request whose failure may be transient."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import requests
from requests.exceptions import ChunkedEncodingError, ConnectionError, ContentDecodingError, SSLError, Timeout

from foundation.common.errors import SourceError
from foundation.version import __version__
from ingest.sources.dandi.archive_tokens import ArchiveToken
from ingest.sources.dandi.archives import Archive, same_origin
from ingest.sources.source_retry import PassingError, asked_wait, cause_of, persistently
from ingest.sources.source_settings import AccessSettings

USER_AGENT = f"neural-foundation/{__version__}"
BREAKS = (ConnectionError, Timeout, ChunkedEncodingError, ContentDecodingError)


class PatientSession(requests.Session):
    """A session with timeouts and retries; it sends an archive's token only once that archive asks for it.

    Args:
        access: timeout and retries.
        archive: the archive whose API the session calls, or None.
    """

    def __init__(self, access: AccessSettings, archive: Archive | None = None) -> None:
        super().__init__()
        self.access, self.archive = access, archive
        self.headers["User-Agent"] = USER_AGENT
        if archive is not None:
            self.auth = ArchiveToken(archive)

    @cached_property
    def bare(self) -> PatientSession:
        """A session without a token, for hosts that an archive redirects to."""
        return PatientSession(self.access)

    def request(self, method: Any, url: Any, **options: Any) -> requests.Response:  # type: ignore[override]
        """Return the response. Transient statuses are retried; 401 and 403 of the archive raise SourceError.

        Raises:
            SourceError: if the archive refuses access, or when attempts or budget are used up.
        """
        what = f"{method} {str(url).partition('?')[0]}"
        return persistently(lambda: self.once(method, url, **options), what, self.access)

    def once(self, method: str, url: str, **options: Any) -> requests.Response:
        """Make one attempt of `get`.

        Raises:
            PassingError: if a retry may help.
            SourceError: if it cannot.
        """
        options.setdefault("timeout", self.access.timeout)
        response = self._answer(method, url, options)
        if self.archive is not None and same_origin(url, self.archive.api_url):
            assert isinstance(self.auth, ArchiveToken)
            sent = "Authorization" in response.request.headers
            if response.status_code == 401 and not sent and self.auth.ready():
                response.close()
                response = self._answer(method, url, options)
            if response.status_code in (401, 403):
                response.close()
                raise SourceError(_refusal(self.archive, self.auth.where, response.status_code))
        status = response.status_code
        if status in (408, 425, 429) or (status >= 500 and status != 501):
            wait = asked_wait(response.headers.get("Retry-After"))
            response.close()
            raise PassingError(f"HTTP {status} {response.reason}", wait)
        return response

    def _answer(self, method: str, url: str, options: dict[str, Any]) -> requests.Response:
        try:
            return super().request(method, url, **options)
        except SSLError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise SourceError(f"{url.partition('?')[0]}: {cause_of(error)}") from error
            raise PassingError(cause_of(error)) from error
        except BREAKS as error:
            raise PassingError(cause_of(error)) from error
        except (requests.RequestException, UnicodeError) as error:
            raise SourceError(f"{url.partition('?')[0]}: {cause_of(error)}") from error


def _refusal(archive: Archive, where: str, status: int) -> str:
    if status == 403 and where:
        return f"archive {archive.name} refuses: the token in {where} is valid, but its owner is not among the owners"
    if where:
        return f"archive {archive.name} rejects the token in {where} (401): create a new one on its pages"
    return (
        f"archive {archive.name} requires a token ({status}; embargoed data): put one into the variable "
        f"{archive.token_variable}, or into the keyring (service dandi-api-{archive.name}, user key)"
    )
