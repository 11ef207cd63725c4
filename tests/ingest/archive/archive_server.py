"""A DANDI-like archive server with a second server for its storage. On loopback only."""

import re
import uuid
from hashlib import md5

from archive_content import Contents, etag_of
from archive_http import Fault, Server

NO_TOKEN = (
    401,
    {"WWW-Authenticate": 'Bearer realm="api"'},
    {"detail": "Authentication credentials were not provided."},
)
BAD_TOKEN = (401, {}, {"detail": "Invalid token."})
NOT_OWNER = (403, {}, {"detail": "You do not have permission to perform this action."})
NOT_FOUND = (404, {}, {"detail": "Not found."})
NO_ROUTE = (404, {"Content-Type": "text/html"}, b"<html><h1>Not Found</h1></html>")


class ArchiveServer:
    """The archive: ``contents`` holds the assets, ``api`` and ``storage`` are its two servers."""

    def __init__(self):
        self.contents = Contents()
        self.page_size, self.zarr_page = 100, 1000
        self.lists_metadata = True
        self.uploads_in_parts = True
        self.storage_is_private = False  # answers only presigned URLs, also for open assets
        self.least_client, self.bad_clients = "0.60.0", []
        self.stated_api = None
        self._signatures = set()
        self.api, self.storage = Server(self._api), Server(self._storage)
        self.api_url = f"{self.api.url}/api"

    def stop(self):
        self.api.stop()
        self.storage.stop()

    def fail_api(self, match, **what):
        self.api.faults.append(Fault(match, **what))

    def fail_storage(self, match="", **what):
        self.storage.faults.append(Fault(match, **what))

    def expire(self):
        """Expire all presigned URLs."""
        self._signatures.clear()

    def _api(self, request, fault):
        path = request.path
        given = request.headers.get("authorization")
        user = None
        if given is not None:
            kind, _, token = given.partition(" ")
            if kind.lower() == "token":
                if token not in self.contents.tokens:
                    return BAD_TOKEN
                user = self.contents.tokens[token]
        if not path.endswith("/") and path.startswith("/api/"):
            return (
                301,
                {"Location": f"{self.api.url}{path}/" + (f"?{request.raw_query}" if request.raw_query else "")},
                b"",
            )
        if path == "/api/info/":
            return 200, {}, self._info()
        for pattern, answer in (
            (r"/api/dandisets/(\d{6})/", self._dandiset),
            (r"/api/dandisets/(\d{6})/versions/", self._versions),
            (r"/api/dandisets/(\d{6})/versions/(draft|0\.\d{6}\.\d{4})/", self._metadata),
            (r"/api/dandisets/(\d{6})/versions/(draft|0\.\d{6}\.\d{4})/info/", self._version),
            (r"/api/dandisets/(\d{6})/versions/(draft|0\.\d{6}\.\d{4})/assets/", self._assets),
            (r"/api/dandisets/(\d{6})/versions/(draft|0\.\d{6}\.\d{4})/assets/([0-9a-f-]{36})/(info/)?", self._asset),
            (r"/api/assets/([0-9a-f-]{36})/(info/|download/)?", self._bare_asset),
            (r"/api/zarr/([0-9a-f-]{36})/files/", self._zarr),
        ):
            found = re.fullmatch(pattern, path)
            if found:
                return answer(request, user, *found.groups())
        return NO_ROUTE

    def _info(self):
        api = {"api": {"url": self.stated_api or self.api_url}}
        versions = {"cli-minimal-version": self.least_client, "cli-bad-versions": self.bad_clients}
        return {"version": "0.7.0", "services": api, **versions}

    def _refused(self, dandiset, user):
        if dandiset is None:
            return NOT_FOUND
        if not dandiset.embargoed:
            return None
        return NO_TOKEN if user is None else None if user in dandiset.owners else NOT_OWNER

    def _dandiset(self, request, user, identity):
        dandiset = self.contents.dandisets.get(identity)
        return self._refused(dandiset, user) or (200, {}, dandiset.row())

    def _versions(self, request, user, identity):
        dandiset = self.contents.dandisets.get(identity)
        refused = self._refused(dandiset, user)
        return refused or self._page(request, [dandiset.version(name) for name in dandiset.versions])

    def _metadata(self, request, user, identity, version):
        dandiset = self.contents.dandisets.get(identity)
        if refused := self._refused(dandiset, user):
            return refused
        if version not in dandiset.versions:
            return NOT_FOUND
        return (
            200,
            {},
            {"identifier": f"DANDI:{identity}", "name": "x", "version": version, "license": [dandiset.licence]},
        )

    def _version(self, request, user, identity, version):
        dandiset = self.contents.dandisets.get(identity)
        if refused := self._refused(dandiset, user):
            return refused
        if version not in dandiset.versions:
            return NOT_FOUND
        errors = {"asset_validation_errors": [], "version_validation_errors": []}
        return 200, {}, dandiset.version(version) | errors

    def _assets(self, request, user, identity, version):
        dandiset = self.contents.dandisets.get(identity)
        if refused := self._refused(dandiset, user):
            return refused
        if version not in dandiset.versions:
            return NOT_FOUND
        prefix = request.query.get("path", "").lower()
        found = [asset for asset in dandiset.versions[version] if asset.path.lower().startswith(prefix)]
        if request.query.get("order") == "path":
            found.sort(key=lambda asset: asset.path)
        shown = self.lists_metadata and request.query.get("metadata") == "true"
        rows = [asset.row() | ({"metadata": self._asset_metadata(asset)} if shown else {}) for asset in found]
        return self._page(request, rows)

    def _asset(self, request, user, identity, version, asset_id, info):
        dandiset = self.contents.dandisets.get(identity)
        if refused := self._refused(dandiset, user):
            return refused
        asset = next((a for a in dandiset.versions.get(version, []) if a.identity == asset_id), None)
        return NOT_FOUND if asset is None else self._described(asset, info)

    def _bare_asset(self, request, user, asset_id, action):
        asset = self.contents.assets.get(asset_id)
        if refused := self._refused(self.contents.dandiset_of(asset) if asset else None, user):
            return refused
        if action != "download/":
            return self._described(asset, action)
        if asset.files is not None:
            return 400, {}, "Unable to provide download link for zarr assets."
        return 302, {"Location": self._signed(f"/blobs/{asset.content}")}, b""

    def _described(self, asset, info):
        metadata = self._asset_metadata(asset)
        return 200, {}, asset.row() | {"metadata": metadata} if info else metadata

    def _asset_metadata(self, asset):
        folder = "blobs" if asset.files is None else "zarr"
        direct = f"{self.storage.url}/{folder}/{asset.content}" + ("" if asset.files is None else "/")
        embargoed = self.contents.dandiset_of(asset).embargoed
        return {
            "contentUrl": [f"{self.api_url}/assets/{asset.identity}/download/", direct],
            "contentSize": asset.size,
            "access": [{"status": "dandi:EmbargoedAccess" if embargoed else "dandi:OpenAccess"}],
            "identifier": asset.identity,
            **asset.metadata,
        }

    def _zarr(self, request, user, zarr_id):
        asset = self.contents.by_content(zarr_id)
        if refused := self._refused(self.contents.dandiset_of(asset) if asset else None, user):
            return refused
        prefix, after = request.query.get("prefix", ""), request.query.get("after", "")
        if request.query.get("download") == "true":
            return 302, {"Location": self._signed(f"/zarr/{zarr_id}/{prefix}")}, b""
        keys = [key for key in sorted(asset.files) if key.startswith(prefix) and key > after]
        shown = keys[: self.zarr_page]
        rows = [
            {
                "Key": key,
                "ETag": md5(asset.files[key]).hexdigest(),
                "Size": len(asset.files[key]),
                "LastModified": "2024",
            }
            for key in shown
        ]
        following = f"{self.api_url}/zarr/{zarr_id}/files/?after={shown[-1]}" if len(keys) > len(shown) else None
        return 200, {}, {"next": following, "results": rows}

    def _page(self, request, rows):
        size = min(int(request.query.get("page_size", self.page_size)), self.page_size)
        number = int(request.query.get("page", 1))
        shown = rows[(number - 1) * size : number * size]
        kept = "&".join(part for part in request.raw_query.split("&") if part and not part.startswith("page="))
        more = number * size < len(rows)
        following = f"{self.api.url}{request.path}?page={number + 1}" + (f"&{kept}" if kept else "")
        count = len(rows) if number == 1 else None
        return 200, {}, {"count": count, "next": following if more else None, "previous": None, "results": shown}

    def _signed(self, path):
        signature = uuid.uuid4().hex
        self._signatures.add(signature)
        return f"{self.storage.url}{path}?X-Amz-Expires=21600&X-Amz-Signature={signature}"

    def _storage(self, request, fault):
        found = re.fullmatch(r"/(blobs|zarr)/([0-9a-f-]{36})(?:/(.*))?", request.path)
        asset = self.contents.by_content(found[2]) if found else None
        if asset is None:
            return 404, {"Content-Type": "application/xml"}, b"<Error><Code>NoSuchKey</Code></Error>"
        signature = request.query.get("X-Amz-Signature")
        closed = self.storage_is_private or self.contents.dandiset_of(asset).embargoed
        if signature not in self._signatures and (signature or closed):
            return 403, {"Content-Type": "application/xml"}, b"<Error><Code>AccessDenied</Code></Error>"
        if request.method == "HEAD":
            return 403, {}, b""  # a presigned GET URL refuses HEAD
        data = asset.data if asset.files is None else asset.files.get(found[3])
        if data is None:
            return 404, {}, b""
        headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
        in_parts = asset.files is None and self.uploads_in_parts
        headers["ETag"] = f'"{etag_of(data) if in_parts else md5(data).hexdigest()}"'
        if request.headers.get("if-match", headers["ETag"]) != headers["ETag"]:
            return 412, {}, b""
        ranges = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
        if not ranges or (fault is not None and fault.whole):
            return 200, headers, data
        start = int(ranges[1]) if ranges[1] else max(0, len(data) - int(ranges[2]))
        if start >= len(data):
            return 416, {"Content-Range": f"bytes */{len(data)}"}, b""
        stop = min(int(ranges[2]) + 1, len(data)) if ranges[1] and ranges[2] else len(data)
        return 206, headers | {"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"}, data[start:stop]
