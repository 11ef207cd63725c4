"""The Ray cluster to join, and the errors if Ray does not start."""

import logging
import multiprocessing
import os
import socket
import sys
import tempfile
from multiprocessing.connection import Listener
from types import SimpleNamespace

import pytest
from ray._common.utils import try_make_directory_shared

from foundation.common.errors import ConfigError, FoundationError
from foundation.common.files.private_folder import SOCKET_BYTES, shorten_sockets
from foundation.common.processes import ray_cluster as cluster
from foundation.common.processes import ray_start as cluster_start
from foundation.common.processes.environment import drop_working_folder, safe_path


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def note(tmp_path, monkeypatch, listening):
    """The file that `ray start` leaves: the address of a running cluster."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    file = tmp_path / "ray" / "ray_current_cluster"
    file.parent.mkdir()
    file.write_text(listening)
    return file


def test_cluster_in_a_file_of_this_user_or_root_is_joined(note, listening, caplog):
    assert cluster.running_cluster() == listening
    note.chmod(0o666)
    with caplog.at_level(logging.WARNING):
        assert cluster.running_cluster() is None
    assert "not joining it; join it with --address HOST:PORT" in caplog.text
    note.unlink()
    assert cluster.running_cluster() is None


def test_file_of_another_user_and_link_are_ignored(note, listening, tmp_path):
    (tmp_path / "elsewhere").write_text(listening)
    note.unlink()
    note.symlink_to(tmp_path / "elsewhere")
    assert cluster.running_cluster() is None
    if os.geteuid() == 0:
        note.unlink()
        note.write_text(listening)
        os.chown(note, 12345, 12345)
        assert cluster.running_cluster() is None


@pytest.mark.parametrize("environment", [True, False])
def test_cluster_from_the_environment_counts_as_named_by_the_user(note, monkeypatch, environment):
    import ray

    joined = []
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(cluster, "_join", lambda ray, address, *, automatic: joined.append((address, automatic)))
    if environment:
        monkeypatch.setenv("RAY_ADDRESS", "remote:6379")
    with cluster.ray_cluster():
        pass
    assert joined == [("remote:6379", False) if environment else (note.read_text(), True)]


def test_auto_without_a_cluster_is_an_error(tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with (
        pytest.raises(ConfigError, match="address is 'auto', and you have no Ray cluster"),
        cluster.ray_cluster(address="auto"),
    ):
        pass


def test_start_that_times_out_is_retried_and_explained(monkeypatch, caplog):
    tries = []

    def init(*_: object, **options: object) -> None:
        tries.append(options)
        raise Exception("The current node timed out during startup.")  # as Ray does

    slow = SimpleNamespace(init=init, shutdown=lambda: None, _private=SimpleNamespace(services=SimpleNamespace()))
    slow._private.services.get_node = None
    monkeypatch.setattr(cluster_start, "require_token", lambda: None)
    with (
        caplog.at_level(logging.INFO, "foundation"),
        pytest.raises(FoundationError, match=r"in 2 tries, the last of 5 s \(The current node timed out.*less busy"),
    ):
        cluster_start.start_ray(slow, 3, None, patience=(2, 5))
    assert [options["num_cpus"] for options in tries] == [3, 3]
    assert "trying again for at most 5 s" in caplog.text


def test_long_temporary_folder_is_replaced_by_a_short_private_one(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    assert cluster_start._socket_folder() == {}
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / ("d" * 120)))
    (short,) = cluster_start._socket_folder().values()
    assert len(short) + cluster_start.SESSION_BYTES <= SOCKET_BYTES
    assert os.stat(short).st_uid == os.getuid()


def test_second_start_of_ray_uses_the_same_short_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / ("d" * 120)))
    (short,) = cluster_start._socket_folder().values()
    try_make_directory_shared(short)  # as Ray does with the folder that it is given
    assert cluster_start._socket_folder() == {"_temp_dir": short}


def test_loader_processes_also_use_a_short_folder(tmp_path, monkeypatch):
    config = vars(multiprocessing.current_process())["_config"]
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("d" * 120)))
    monkeypatch.delitem(config, "tempdir", raising=False)
    shorten_sockets()
    with Listener(family="AF_UNIX") as listener:
        assert len(str(listener.address)) <= SOCKET_BYTES
    del config["tempdir"]


def test_working_folder_is_not_on_the_import_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), "/elsewhere"])
    drop_working_folder()
    assert sys.path == ["/elsewhere"]
    drop_working_folder()
    assert sys.path == ["/elsewhere"]
    monkeypatch.setenv("PYTHONSAFEPATH", "")
    with safe_path():
        assert os.environ["PYTHONSAFEPATH"] == "1"
    assert os.environ["PYTHONSAFEPATH"] == ""
