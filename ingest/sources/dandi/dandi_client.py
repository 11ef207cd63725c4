"""The dandi client for one archive, with our retries and token handling."""

from __future__ import annotations

import logging
import os

from foundation.common.errors import SourceError
from ingest.sources.dandi.archives import Archive, same_origin
from ingest.sources.http.http_session import PatientSession
from ingest.sources.source_retry import cause_of
from ingest.sources.source_settings import AccessSettings

# Stop the client from asking the internet for its newest version.
os.environ.setdefault("DANDI_NO_ET", "1")

from dandi.consts import DandiInstance
from dandi.dandiapi import DandiAPIClient
from dandi.exceptions import BadCliVersionError, CliVersionTooOldError
from dandi.utils import ServerInfo
from packaging.version import Version

log = logging.getLogger(__name__)
# What goes wrong is raised here, and named.
logging.getLogger("dandi").setLevel(logging.CRITICAL)


def connect(archive: Archive, access: AccessSettings) -> DandiAPIClient:
    """Return a client of the archive's API. It sends no token until the archive asks for one.

    It uses the configured API URL, whatever URL the server states, and shares no cached answer between archives.

    Raises:
        SourceError: if the server cannot be reached, is not an archive, or rejects this version of the client.
    """
    client = DandiAPIClient(dandi_instance=DandiInstance(archive.name, archive.web_url or None, archive.api_url))
    client.session.close()
    client.session = PatientSession(access, archive)
    try:
        info = ServerInfo.model_validate(client.server_info)
        least, bad = Version(info.cli_minimal_version), [Version(version) for version in info.cli_bad_versions]
    except SourceError as error:
        raise SourceError(f"archive {archive.name}: {error}") from error
    except Exception as error:  # HTML, JSON of something else, an invalid version
        raise SourceError(f"{archive.api_url} does not answer like an archive: {cause_of(error)}") from error
    ours = Version(_own_version())
    if ours < least:
        raise SourceError(
            f"archive {archive.name}: {CliVersionTooOldError(ours, least, bad)}: upgrade the package dandi"
        )
    if ours in bad:
        raise SourceError(f"archive {archive.name}: {BadCliVersionError(ours, least, bad)}: install another dandi")
    stated = str(info.services.api.url)
    if not same_origin(stated, archive.api_url):
        log.warning(
            "archive %s says its API is at %s; %s is used, as configured", archive.name, stated, archive.api_url
        )
    return client


def _own_version() -> str:
    import dandi

    return str(dandi.__version__)
