"""Find files by folder, glob, path or URL."""

import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import fsspec
import pytest

from foundation.common.errors import SourceError
from foundation.store import Source
from ingest.sources import Asset, AssetFilters, find_assets, open_asset


@pytest.fixture
def folder(tmp_path):
    for name in ("sub-b/x.nwb", "sub-a/y.nwb", "sub-a/z.nwb", "sub-a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"12")
    return tmp_path


def paths(source, **filters):
    return [asset.path for asset in find_assets(str(source), AssetFilters(**filters))]


def test_folder_is_searched_to_any_depth_and_sorted(folder):
    found = find_assets(str(folder))
    assert [asset.path for asset in found] == ["sub-a/y.nwb", "sub-a/z.nwb", "sub-b/x.nwb"]
    source = Source("sub-a/y.nwb", "")
    assert found[0] == Asset(str(folder / "sub-a/y.nwb"), "sub-a/y.nwb", 2, source, subject="a")
    assert found[0].namespace == ""
    assert find_assets(f"{folder}/") == found


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("sub-a/*.nwb", ["y.nwb", "z.nwb"]),
        ("*/x.nwb", ["sub-b/x.nwb"]),
        ("**/*.nwb", ["sub-a/y.nwb", "sub-a/z.nwb", "sub-b/x.nwb"]),
        ("sub-[b]/*", ["sub-b/x.nwb"]),
        ("sub-?", ["sub-a/y.nwb", "sub-a/z.nwb", "sub-b/x.nwb"]),
    ],
)
def test_a_glob(folder, pattern, expected):
    assert paths(f"{folder}/{pattern}") == expected


def test_single_file_with_any_extension(folder):
    assert paths(folder / "sub-b/x.nwb") == ["x.nwb"]
    assert paths(folder / "sub-a/notes.txt") == ["notes.txt"]


def test_a_relative_path(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (asset,) = find_assets("sub-b")
    assert (asset.url, asset.path, asset.size) == (str(folder / "sub-b/x.nwb"), "x.nwb", 2)


def test_existing_name_with_glob_characters_is_a_path(tmp_path):
    (tmp_path / "run[1]").mkdir()
    (tmp_path / "run[1]" / "a.nwb").write_bytes(b"")
    assert paths(tmp_path / "run[1]") == ["a.nwb"]


def test_urls(folder):
    memory = fsspec.filesystem("memory")
    memory.pipe("/files-test/sub-a/y.nwb", b"1")
    try:
        (asset,) = find_assets("memory://files-test")
        assert (asset.url, asset.path, asset.size) == ("memory:///files-test/sub-a/y.nwb", "sub-a/y.nwb", 1)
        with open_asset(asset) as content:
            assert content.read() == b"1"
    finally:
        memory.rm("/files-test", recursive=True)
    assert paths(f"file://{folder}/sub-b") == ["x.nwb"]


def test_zarr_folders_are_assets_but_their_content_is_not(folder):
    for name in ("session.nwb.zarr", "other.zarr/inner.zarr", "plain"):
        (folder / name).mkdir(parents=True)
        (folder / name / ".zgroup").write_text('{"zarr_format": 2}')
    (folder / "other.zarr" / ".zgroup").write_text('{"zarr_format": 2}')
    (folder / "session.nwb.zarr" / "part.nwb").write_bytes(b"123")
    found = find_assets(str(folder), AssetFilters(path=["*.zarr"]))
    assert [(asset.path, asset.format, asset.size) for asset in found] == [
        ("other.zarr", "zarr", 36),
        ("session.nwb.zarr", "zarr", 21),
    ]
    (named,) = find_assets(str(folder / "session.nwb.zarr"))
    assert named == find_assets(str(folder / "session.nwb.zarr") + "/")[0]
    assert (named.path, named.format) == ("session.nwb.zarr", "zarr")
    with open_asset(named) as store:
        assert store.read_only


@pytest.mark.parametrize("place", ["gone", "*.nwb", "sub-c/*.nwb"])
def test_missing_source_raises(folder, place):
    with pytest.raises(SourceError, match=r"no NWB file at|there is nothing at"):
        find_assets(str(folder / place))


def test_an_empty_folder(tmp_path):
    with pytest.raises(SourceError, match=r"no NWB file at .*must end in \.nwb"):
        find_assets(str(tmp_path))


def test_an_unknown_protocol():
    with pytest.raises(SourceError, match="'gopher://x'"):
        find_assets("gopher://x")


def test_opening_a_deleted_file_raises(folder):
    (asset,) = find_assets(str(folder / "sub-b"))
    (folder / "sub-b/x.nwb").unlink()
    with pytest.raises(SourceError, match=r"x\.nwb: cannot be opened"), open_asset(asset):
        pass


def test_links_to_folders_are_followed_once_and_without_loops(folder, tmp_path_factory, caplog):
    other = tmp_path_factory.mktemp("other_disk")
    (other / "w.nwb").write_bytes(b"1")
    (folder / "0-first").symlink_to(folder / "sub-a")  # a second name, which sorts before the first
    (folder / "disk").symlink_to(other)
    (folder / "sub-b" / "up").symlink_to(folder)
    (other / "back").symlink_to(folder / "sub-b")
    with caplog.at_level("INFO", "ingest"):
        assert paths(folder) == ["disk/w.nwb", "sub-a/y.nwb", "sub-a/z.nwb", "sub-b/x.nwb"]
    assert "skipped, links to folders already searched: " in caplog.text
    assert "0-first" in caplog.text
    (other / "back").unlink()
    assert paths(f"{folder}/disk") == ["w.nwb"]
    assert paths(f"{folder}/d*") == ["disk/w.nwb"]


def test_hidden_files_and_folders_are_skipped_with_a_message(folder, caplog):
    for name in ("sub-a/._y.nwb", ".ipynb_checkpoints/x-checkpoint.nwb", ".git/annex/objects/K.nwb/K.nwb"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"1")
    with caplog.at_level("INFO", "ingest"):
        assert paths(folder) == ["sub-a/y.nwb", "sub-a/z.nwb", "sub-b/x.nwb"]
    assert all(name in caplog.text for name in ("._y.nwb", ".ipynb_checkpoints", ".git"))
    assert paths(f"{folder}/sub-a/*.nwb") == ["y.nwb", "z.nwb"]
    assert paths(f"{folder}/**") == ["sub-a/y.nwb", "sub-a/z.nwb", "sub-b/x.nwb"]
    assert paths(f"{folder}/sub-a/.*.nwb") == ["._y.nwb"]  # asked for by name
    assert paths(folder / "sub-a" / "._y.nwb") == ["._y.nwb"]
    for name in ("y.nwb", "z.nwb"):
        (folder / "sub-a" / name).unlink()
    with pytest.raises(SourceError, match=r"no NWB file .*; skipped, hidden by a leading dot: .*\._y\.nwb"):
        find_assets(f"{folder}/sub-a")


def test_hidden_objects_of_another_file_system_are_left_out():
    fs = fsspec.filesystem("memory")
    for name in ("a.nwb", "._a.nwb", "day/.snapshot/a.nwb", "b.nwb.zarr/.zgroup", "b.nwb.zarr/units/.zarray"):
        fs.pipe(f"/hidden/{name}", b"1")
    assert paths("memory://hidden") == ["a.nwb", "b.nwb.zarr"]
    assert [asset.size for asset in find_assets("memory://hidden")] == [1, 2]


def test_missing_git_annex_content_is_named(folder, caplog):
    (folder / "sub-a" / "locked.nwb").symlink_to("../.git/annex/objects/aa/bb/MD5E-s5--0.nwb/MD5E-s5--0.nwb")
    (folder / "sub-a" / "unlocked.nwb").write_text("/annex/objects/MD5E-s5--0.nwb\n")
    (folder / "sub-a" / "gone.nwb").symlink_to("/nowhere/x.nwb")
    with caplog.at_level("INFO", "ingest"):
        found = {asset.path: asset for asset in find_assets(str(folder))}
    assert "fetch it with `datalad get`" in caplog.text
    for name, why in [
        ("locked", "datalad get"),
        ("unlocked", "datalad get"),
        ("gone", "is a link to '/nowhere/x.nwb'"),
    ]:
        with pytest.raises(SourceError, match=f"sub-a/{name}.nwb: .*{why}"), open_asset(found[f"sub-a/{name}.nwb"]):
            pass
    with pytest.raises(SourceError, match="datalad get"):
        find_assets(str(folder / "sub-a" / "locked.nwb"))


def test_pipes_and_unreadable_folders_are_skipped_with_a_message(folder, caplog):
    os.mkfifo(folder / "sub-a" / "pipe.nwb")
    with caplog.at_level("INFO", "ingest"):
        assert paths(folder) == ["sub-a/y.nwb", "sub-a/z.nwb", "sub-b/x.nwb"]
    assert "skipped, not regular files: " in caplog.text


class Presigned(BaseHTTPRequestHandler):
    """A large object at a URL signed for GET only; counts the sent bytes."""

    size = 300_000_000
    sent = 0
    asked: ClassVar[list[str]] = []

    def do_HEAD(self):
        self.send_error(403)

    def do_GET(self):
        self.asked.append(self.path)
        if "X-Amz-Signature=a*b%5Bc/" not in self.path:
            self.send_error(403)
            return
        wanted = self.headers.get("Range", f"bytes=0-{self.size - 1}").removeprefix("bytes=").split("-")
        first, last = int(wanted[0]), min(int(wanted[1] or self.size - 1), self.size - 1)
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("Content-Range", f"bytes {first}-{last}/{self.size}")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        while first <= last:
            piece = bytes(min(1 << 16, last - first + 1))
            self.wfile.write(piece)
            type(self).sent += len(piece)
            first += len(piece)

    def log_message(self, *_):
        pass


def test_presigned_url_is_listed_without_its_bytes_and_named_without_its_secret():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Presigned)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/a/x.nwb?part=1&X-Amz-Signature=a*b%5Bc/"
        (asset,) = find_assets(url)
    finally:
        server.shutdown()
        server.server_close()
    assert (asset.url, asset.path, asset.size) == (url, "x.nwb", 300_000_000)
    assert asset.source == Source("x.nwb", "")
    assert Presigned.sent <= 1
    assert len(Presigned.asked) == 1
