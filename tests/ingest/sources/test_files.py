"""Which files a folder, a glob, a file or a URL names."""

import fsspec
import pytest

from foundation.errors import SourceError
from ingest.sources import SourceFile, find_files


@pytest.fixture
def folder(tmp_path):
    for name in ("sub-b/x.nwb", "sub-a/y.nwb", "sub-a/z.nwb", "sub-a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"12")
    return tmp_path


def test_a_folder_is_searched_to_any_depth_and_sorted(folder):
    found = find_files(str(folder))
    assert [file.path for file in found] == ["sub-a/y.nwb", "sub-a/z.nwb", "sub-b/x.nwb"]
    assert found[0] == SourceFile(str(folder / "sub-a/y.nwb"), "sub-a/y.nwb", size=2)
    assert find_files(f"{folder}/") == found


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [
        ("sub-a/*.nwb", ["y.nwb", "z.nwb"]),
        ("*/x.nwb", ["sub-b/x.nwb"]),
        ("**/*.nwb", ["sub-a/y.nwb", "sub-a/z.nwb", "sub-b/x.nwb"]),
        ("sub-[b]/*", ["sub-b/x.nwb"]),
    ],
)
def test_a_glob(folder, pattern, paths):
    assert [file.path for file in find_files(f"{folder}/{pattern}")] == paths


def test_one_file_whatever_its_name_ends_in(folder):
    assert [f.path for f in find_files(str(folder / "sub-b/x.nwb"))] == ["x.nwb"]
    assert [f.path for f in find_files(str(folder / "sub-a/notes.txt"))] == ["notes.txt"]


def test_a_relative_path(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert find_files("sub-b") == [SourceFile(str(folder / "sub-b/x.nwb"), "x.nwb", 2)]


def test_a_name_with_the_signs_of_a_glob_is_a_name_first(tmp_path):
    (tmp_path / "run[1]").mkdir()
    (tmp_path / "run[1]" / "a.nwb").write_bytes(b"")
    assert [f.path for f in find_files(str(tmp_path / "run[1]"))] == ["a.nwb"]


def test_urls(folder):
    memory = fsspec.filesystem("memory")
    memory.pipe("/files-test/sub-a/y.nwb", b"1")
    try:
        assert find_files("memory://files-test") == [SourceFile("memory:///files-test/sub-a/y.nwb", "sub-a/y.nwb", 1)]
    finally:
        memory.rm("/files-test", recursive=True)
    assert [f.path for f in find_files(f"file://{folder}/sub-b")] == ["x.nwb"]


@pytest.mark.parametrize("place", ["gone", "*.nwb", "sub-c/*.nwb"])
def test_nothing_there(folder, place):
    with pytest.raises(SourceError, match=r"no NWB file at|there is nothing at"):
        find_files(str(folder / place))


def test_an_empty_folder(tmp_path):
    with pytest.raises(SourceError, match=r"no NWB file at .*must end in \.nwb"):
        find_files(str(tmp_path))


def test_an_unknown_protocol():
    with pytest.raises(SourceError, match="'gopher://x'"):
        find_files("gopher://x")
