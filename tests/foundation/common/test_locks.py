"""Locks on files: one holder at a time, and file systems without locks."""

import errno
import threading

import pytest
from filelock import Timeout

from foundation.common import locks
from foundation.common.locks import file_lock


def test_one_holder_at_a_time_and_the_next_gets_the_lock_once_it_is_free(tmp_path):
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


def test_a_missing_file_is_made_only_if_asked_for(tmp_path):
    with pytest.raises(FileNotFoundError), file_lock(tmp_path / "none", create=False):
        pass
    with file_lock(tmp_path / "none"):
        assert (tmp_path / "none").is_file()


def test_a_file_system_without_locks_holds_nothing(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(locks, "lock_descriptor", refuse)
    with file_lock(tmp_path / "lock") as is_held:
        assert not is_held
