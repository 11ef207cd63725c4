"""Locks on files: one holder at a time, and file systems without locks."""

import errno
import threading

import pytest
from filelock import Timeout

from foundation.common.files import locks
from foundation.common.files.locks import file_lock, put_in_place, whole_folder, write_whole


def test_lock_has_one_holder_and_passes_to_the_next(tmp_path):
    path, order = tmp_path / "lock", []
    path.write_bytes(b"content")

    def take() -> None:
        with file_lock(path):
            order.append("second")

    with file_lock(path) as is_held:
        assert is_held
        with pytest.raises(Timeout), file_lock(path, patience=0.05):
            pass
        waiting = threading.Thread(target=take)
        waiting.start()
        order.append("first")
    waiting.join(10)
    assert order == ["first", "second"]
    assert path.read_bytes() == b"content"


def test_missing_file_is_created_only_on_request(tmp_path):
    with pytest.raises(FileNotFoundError), file_lock(tmp_path / "none", create=False):
        pass
    with file_lock(tmp_path / "none"):
        assert (tmp_path / "none").is_file()


def test_file_system_without_locks_yields_false(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(locks, "lock_descriptor", refuse)
    with file_lock(tmp_path / "lock") as is_held:
        assert not is_held


def test_folder_appears_complete_or_not_at_all(tmp_path):
    target = tmp_path / "made" / "model"
    with pytest.raises(IsADirectoryError), whole_folder(target) as part:
        part.write_text("a folder takes no text")
    assert list(target.parent.iterdir()) == []
    for content, replace, found in (("first", False, "first"), ("same", False, "first"), ("new", True, "new")):
        with whole_folder(target, replace) as part:
            (part / "weights").write_text(content)
        assert (target / "weights").read_text() == found
        assert [path.name for path in target.parent.iterdir()] == ["model"]


def test_part_replaces_an_earlier_file(tmp_path):
    for name, content in (("a.part", "old"), ("b.part", "new")):
        (tmp_path / name).write_text(content)
        put_in_place(tmp_path / name, tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "new"


def test_private_file_replaces_a_readable_one(tmp_path):
    write_whole(tmp_path / "settings", "nothing secret")
    assert (tmp_path / "settings").stat().st_mode & 0o044
    write_whole(tmp_path / "settings", "s3cret", private=True)
    assert not (tmp_path / "settings").stat().st_mode & 0o077
