"""The content of the test archive: dandisets, versions and assets. Computes digests independently of the package."""

import hashlib
import itertools
import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache

START = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass
class StoredAsset:
    """One asset: a blob's bytes, or a Zarr's files."""

    identity: str
    path: str
    data: bytes = b""
    files: dict | None = None
    metadata: dict = field(default_factory=dict)
    content: str = ""
    created: str = ""
    dandiset: str = ""

    @property
    def size(self):
        return len(self.data) if self.files is None else sum(map(len, self.files.values()))

    def row(self):
        content = {"blob": self.content, "zarr": None} if self.files is None else {"blob": None, "zarr": self.content}
        times = {"created": self.created, "modified": self.created}
        return {"asset_id": self.identity, "path": self.path, "size": self.size, **content, **times}


@dataclass
class StoredDandiset:
    """Versions are lists of assets; the draft is one of them."""

    identity: str
    owners: tuple = ()
    embargoed: bool = False
    licence: str = "spdx:CC-BY-4.0"
    versions: dict = field(default_factory=lambda: {"draft": []})
    changes: int = 0

    def version(self, name):
        assets = self.versions[name]
        moment = (START + timedelta(seconds=self.changes if name == "draft" else 0)).isoformat()
        return {
            "version": name,
            "name": f"dandiset {self.identity}",
            "asset_count": len(assets),
            "size": sum(asset.size for asset in assets),
            "created": START.isoformat(),
            "modified": moment,
            "status": "Valid",
        }

    def row(self):
        published = [name for name in self.versions if name != "draft"]
        return {
            "identifier": self.identity,
            "created": START.isoformat(),
            "modified": START.isoformat(),
            "contact_person": "",
            "embargo_status": "EMBARGOED" if self.embargoed else "OPEN",
            "draft_version": self.version("draft"),
            "most_recent_published_version": self.version(max(published)) if published else None,
        }


class Contents:
    """The content of an archive. Ids are equal in every run."""

    def __init__(self):
        self.dandisets = {}
        self.assets = {}
        self.tokens = {}
        self._numbers = itertools.count(1)

    def add_dandiset(self, identity, **options):
        self.dandisets[identity] = StoredDandiset(identity, **options)
        return self.dandisets[identity]

    def add(self, dandiset, path, data=b"", files=None, digest=None, **metadata):
        """Add an asset to a draft. ``digest`` overrides the true digest."""
        content, identity = self._id(), self._id()
        if files is None:
            stated = {"dandi:dandi-etag": etag_of(data), "dandi:sha2-256": hashlib.sha256(data).hexdigest()}
        else:
            stated = {"dandi:dandi-zarr-checksum": zarr_checksum_of(files)}
        stated = stated if digest is None else digest
        asset = StoredAsset(identity, path, data, files, {"digest": stated, **metadata}, content, START.isoformat())
        asset.metadata["path"] = path
        asset.dandiset = dandiset
        self.assets[identity] = asset
        self.dandisets[dandiset].versions["draft"].append(asset)
        self.dandisets[dandiset].changes += 1
        return asset

    def remove(self, dandiset, path):
        """Remove an asset from the draft; its id is still served."""
        draft = self.dandisets[dandiset].versions["draft"]
        (asset,) = [asset for asset in draft if asset.path == path]
        draft.remove(asset)
        self.dandisets[dandiset].changes += 1
        return asset

    def purge(self, dandiset, path):
        """Remove an asset from the draft and delete its content."""
        del self.assets[self.remove(dandiset, path).identity]

    def replace(self, dandiset, path, data):
        """Replace the asset at a path by one with other bytes and a new id."""
        self.remove(dandiset, path)
        return self.add(dandiset, path, data)

    def publish(self, dandiset, version):
        stored = self.dandisets[dandiset]
        stored.versions[version] = list(stored.versions["draft"])

    def dandiset_of(self, asset):
        return self.dandisets[asset.dandiset]

    def by_content(self, content):
        return next((asset for asset in self.assets.values() if asset.content == content), None)

    def _id(self):
        return str(uuid.UUID(int=next(self._numbers) << 64 | 0x4000_8000_0000_0000_0000, version=4))


@lru_cache(maxsize=8)
def etag_of(data, part=64 << 20):
    """The etag that S3 gives an upload in parts."""
    parts = [data[start : start + part] for start in range(0, len(data), part)] or [b""]
    whole = b"".join(hashlib.md5(piece).digest() for piece in parts)
    return f"{hashlib.md5(whole).hexdigest()}-{len(parts)}"


def zarr_checksum_of(files):
    """The checksum over a tree of files: the digest of a folder covers the list of its entries."""
    digest, count, size = _folder({key: (hashlib.md5(data).hexdigest(), len(data)) for key, data in files.items()})
    return f"{digest}-{count}--{size}"


def _folder(files):
    inner, direct = {}, []
    for key, (digest, size) in files.items():
        folder, slash, rest = key.partition("/")
        if slash:
            inner.setdefault(folder, {})[rest] = (digest, size)
        else:
            direct.append({"digest": digest, "name": key, "size": size})
    folders, count, total = [], len(direct), sum(entry["size"] for entry in direct)
    for name, content in inner.items():
        digest, number, size = _folder(content)
        folders.append({"digest": f"{digest}-{number}--{size}", "name": name, "size": size})
        count, total = count + number, total + size
    manifest = {
        "directories": sorted(folders, key=lambda entry: entry["name"]),
        "files": sorted(direct, key=lambda entry: entry["name"]),
    }
    text = json.dumps(manifest, separators=(",", ":"))
    return hashlib.md5(text.encode()).hexdigest(), count, total
