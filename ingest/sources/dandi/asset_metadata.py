"""Build an asset from an archive's metadata."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from foundation.common.errors import SourceError
from foundation.store import Source
from ingest.sources.asset import Asset, entity, modalities
from ingest.sources.dandi.archives import Address, same_origin

DIGESTS = ("sha2-256", "dandi-etag", "dandi-zarr-checksum")
TEXT = 200


def is_nwb(row: dict[str, Any]) -> bool:
    """Return whether a row of an archive's list names an NWB asset.

    Example:
        >>> is_nwb({"path": "sub-a/x.nwb", "blob": "1"}), is_nwb({"path": "x.ome.zarr", "zarr": "2"})
        (True, False)
    """
    suffixes = (".nwb", ".nwb.zarr") if row.get("zarr") else (".nwb",)
    return str(row["path"]).endswith(suffixes)


def licence_of(metadata: dict[str, Any]) -> str:
    """Return the licences of a dandiset.

    Example:
        >>> licence_of({"license": ["spdx:CC-BY-4.0"]})
        'CC-BY-4.0'
    """
    return ", ".join(_text(value).removeprefix("spdx:") for value in _list(metadata.get("license")))


@dataclass(frozen=True)
class DandisetFacts:
    """The metadata that all assets of a dandiset's version share.

    Args:
        version: the version; ``''`` if an asset was named without its dandiset.
        licence: its licences.
        embargoed: whether it is not public, or not yet.
    """

    version: str = ""
    licence: str = ""
    embargoed: bool = False


def asset_from(row: dict[str, Any], metadata: dict[str, Any], address: Address, dandiset: DandisetFacts) -> Asset:
    """Build an asset from its row in an archive's list and its metadata.

    Args:
        row: ``asset_id``, ``path``, ``size``, and ``blob`` or ``zarr``.
        metadata: the archive's metadata of the asset; any part may be missing.
        address: the requested address.
        dandiset: the metadata of its dandiset.

    Raises:
        SourceError: if the archive's answer is invalid, or the path leads out of its folder.
    """
    archive, path, identity = address.archive, str(row["path"]), str(row["asset_id"])
    zarr = row.get("zarr")
    if not re.fullmatch(r"[0-9a-fA-F-]{1,64}", identity) or not re.fullmatch(r"[0-9a-fA-F-]{0,64}", str(zarr or "")):
        raise SourceError(f"{path!r}: the archive's asset id is {identity[:80]!r}: expected a UUID")
    digests = {
        kind: value
        for key, value in _dict(metadata.get("digest")).items()
        if (kind := str(key).removeprefix("dandi:")) in DIGESTS and isinstance(value, str)
    }
    stated = digests.get("dandi-zarr-checksum" if zarr else "dandi-etag")
    kind = "dandi-zarr-checksum" if zarr else "dandi-etag"
    if stated is None and not zarr and "sha2-256" in digests:
        stated, kind = digests["sha2-256"], "sha2-256"
    measured = tuple(_names(metadata.get("variableMeasured")))
    kinds = (*measured, *_names(metadata.get("approach")), *_names(metadata.get("measurementTechnique")))
    people = [person for person in _list(metadata.get("wasAttributedTo")) if isinstance(person, dict)]
    sessions = [
        _text(activity.get("identifier") or activity.get("name"))
        for activity in _list(metadata.get("wasGeneratedBy"))
        if isinstance(activity, dict) and activity.get("schemaKey") == "Session"
    ]
    return Asset(
        url=f"{archive.api_url}/zarr/{zarr}/" if zarr else f"{archive.api_url}/assets/{identity}/download/",
        path=path,
        size=int(row["size"]),
        source=Source(
            path=path,
            # Unfinished uploads have no digest yet; reading them raises the error.
            digest=f"{kind}:{stated}" if stated else f"asset:{identity}",
            archive=archive.name,
            dandiset=address.dandiset,
            version=dandiset.version,
            asset=identity,
            licence=dandiset.licence,
            embargo="embargoed" if dandiset.embargoed or _is_embargoed(metadata) else "",
        ),
        digests=digests,
        format="zarr" if zarr else "hdf5",
        archive=archive,
        content_url=_content_url(metadata, archive.api_url) if zarr else "",
        subject=next((_text(person.get("identifier")) for person in people), "") or entity(path, "sub"),
        session=entity(path, "ses") or next(iter(sessions), ""),
        species=next((_text(_dict(person.get("species")).get("name")) for person in people), ""),
        modality=tuple(dict.fromkeys((*kinds, *modalities(path)))),
        measured=measured,
    )


def _content_url(metadata: dict[str, Any], api_url: str) -> str:
    """Return the content's URL in the archive's storage; embargoed assets have only the API."""
    if any(status != "dandi:OpenAccess" for status in _access(metadata)):
        return ""
    urls = [url for url in _list(metadata.get("contentUrl")) if isinstance(url, str)]
    return next((url for url in urls if re.match(r"https?://", url) and not same_origin(url, api_url)), "")


def _is_embargoed(metadata: dict[str, Any]) -> bool:
    return "dandi:EmbargoedAccess" in _access(metadata)


def _access(metadata: dict[str, Any]) -> list[Any]:
    return [_dict(entry).get("status") for entry in _list(metadata.get("access"))]


def _names(value: Any) -> list[str]:
    """Return the names in a list of texts or of objects with a name or a value."""
    found = [
        _text(entry.get("value") or entry.get("name")) if isinstance(entry, dict) else _text(entry)
        for entry in _list(value)
    ]
    return [name for name in found if name]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value.strip()[:TEXT] if isinstance(value, str) else ""
