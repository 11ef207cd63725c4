"""A Hugging Face hub on this machine: what `huggingface_hub`'s own client asks for, with files in memory.

Revisions, listings, downloads with ranges, commits of small files and large ones (git-lfs). Faults can be ordered: a
connection that breaks in the middle of a file, or bytes that are not those that were stated.
"""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = (".safetensors", ".bin")


class Hub:
    """Repositories, and a list of the received requests."""

    def __init__(self):
        self.repos = {}  # name -> {"commits": {sha: {path: bytes}}, "refs": {branch: sha}}
        self.asked = []
        self.lfs = {}
        self.cuts = 0  # downloads of large files that end too early
        self.wrong = False  # large files have other bytes than are stated
        self.closed = False
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def commit(self, repo, files, branch="main"):
        """Commit files and return the commit's hash."""
        known = self.repos.setdefault(repo, {"commits": {}, "refs": {}})
        sha = hashlib.sha1(json.dumps([repo, len(known["commits"]), sorted(files)]).encode()).hexdigest()
        known["commits"][sha] = dict(files)
        known["refs"][branch] = sha
        return sha

    def files(self, repo, revision):
        known = self.repos[repo]
        return known["commits"].get(known["refs"].get(revision, revision))

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def _handler(hub):  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self, content, status=200, **headers):
                body = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def fail(self, code, status=404):
                self.answer({"error": code}, status, X_Error_Code=code, X_Error_Message=code)

            def do_HEAD(self):
                self.do_GET()

            def do_GET(self):
                path, query = unquote(urlsplit(self.path).path), parse_qs(urlsplit(self.path).query)
                hub.asked.append(f"{self.command} {path}")
                parts = path.strip("/").split("/")
                if parts[:2] == ["api", "models"]:
                    return self.describe("/".join(parts[2:4]), parts[4:], query)
                if parts[2:3] == ["resolve"]:
                    return self.download("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
                return self.fail("NotFound")

            def describe(self, repo, rest, query):
                if repo not in hub.repos:
                    return self.fail("RepoNotFound")
                revision = rest[1] if len(rest) > 1 else "main"
                files = hub.files(repo, revision)
                if files is None:
                    return self.fail("RevisionNotFound")
                sha = hub.repos[repo]["refs"].get(revision, revision)
                if rest[:1] == ["tree"]:
                    return self.answer([entry(name, content) for name, content in sorted(files.items())])
                siblings = [{"rfilename": name} for name in files]
                about = {"_id": "0", "id": repo, "modelId": repo, "sha": sha, "siblings": siblings, "tags": []}
                return self.answer(about | {"private": False, "downloads": 0, "likes": 0})

            def download(self, repo, revision, name):
                files = hub.files(repo, revision) if repo in hub.repos else None
                if files is None or name not in files:
                    return self.fail("EntryNotFound")
                content = files[name]
                about = entry(name, content)
                etag = about["lfs"]["oid"] if "lfs" in about else about["oid"]
                sha = hub.repos[repo]["refs"].get(revision, revision)
                headers = {"ETag": f'"{etag}"', "X_Repo_Commit": sha, "Accept_Ranges": "bytes"}
                if hub.wrong and "lfs" in about:
                    content = bytes(len(content))
                asked = self.headers.get("Range")
                first = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
                if self.command == "GET" and "lfs" in about and hub.cuts:
                    hub.cuts -= 1
                    self.send_response(206 if first else 200)
                    self.send_header("Content-Length", str(len(content) - first))
                    self.end_headers()
                    self.wfile.write(content[first : first + (len(content) - first) // 2])
                    self.wfile.flush()
                    self.close_connection = True
                    self.connection.close()
                    return None
                if first:
                    headers["Content_Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
                return self.answer(content[first:], 206 if first else 200, **headers)

            def body(self):
                if self.headers.get("Transfer-Encoding") == "chunked":
                    found = b""
                    while size := int(self.rfile.readline(), 16):
                        found += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                    return found
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))

            def do_PUT(self):
                hub.asked.append(f"PUT {self.path}")
                content = self.body()
                hub.lfs[hashlib.sha256(content).hexdigest()] = content
                self.answer({})

            def do_POST(self):
                path = unquote(urlsplit(self.path).path)
                hub.asked.append(f"POST {path}")
                content = self.body()
                if self.headers.get("Authorization") != "Bearer hub-token":
                    return self.fail("Unauthorized", 401)
                if path == "/api/repos/create":
                    asked = json.loads(content)
                    repo = f"{asked.get('organization') or 'me'}/{asked['name']}"
                    if repo in hub.repos:
                        return self.answer({"error": "exists", "url": f"{hub.url}/{repo}"}, 409)
                    hub.repos[repo] = {"commits": {}, "refs": {}}
                    hub.commit(repo, {})
                    return self.answer({"url": f"{hub.url}/{repo}"})
                if path == "/api/validate-yaml":
                    return self.answer({"errors": [], "warnings": []})
                if path.endswith("/info/lfs/objects/batch"):
                    objects = [
                        {**o, "actions": {"upload": {"href": f"{hub.url}/lfs/{o['oid']}"}}}
                        for o in json.loads(content)["objects"]
                    ]
                    return self.answer({"transfer": "basic", "objects": objects})
                parts = path.strip("/").split("/")
                repo = "/".join(parts[2:4])
                if parts[4] == "preupload":
                    files = [
                        {
                            "path": f["path"],
                            "uploadMode": "lfs" if f["path"].endswith(LARGE) else "regular",
                            "shouldIgnore": False,
                            "oid": None,
                        }
                        for f in json.loads(content)["files"]
                    ]
                    return self.answer({"files": files})
                assert parts[4] == "commit", path
                new = dict(hub.files(repo, parts[5]) or {})
                for line in content.splitlines():
                    item = json.loads(line)
                    if item["key"] == "file":
                        new[item["value"]["path"]] = base64.b64decode(item["value"]["content"])
                    elif item["key"] == "lfsFile":
                        new[item["value"]["path"]] = hub.lfs[item["value"]["oid"]]
                sha = hub.commit(repo, new, parts[5])
                url = f"{hub.url}/{repo}/commit/{sha}"
                return self.answer({"success": True, "commitOid": sha, "commitUrl": url, "hookOutput": ""})

        return Handler


def entry(name, content):
    """Return a file's entry in a listing: with git's digest, and the sha256 of a large file."""
    about = {"type": "file", "path": name, "size": len(content)}
    about["oid"] = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    if name.endswith(LARGE):
        about["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return about
