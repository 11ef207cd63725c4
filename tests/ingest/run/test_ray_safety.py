"""A Ray started by an ingest: it listens only on this machine, requires its token, and ignores the user's own files."""

import os
import subprocess
import sys

import psutil
import pytest

from foundation.store import Catalog, Store


def test_ray_listens_only_on_the_loopback_device(ray_session):
    ours = {child.pid for child in psutil.Process().children(recursive=True)}
    hosts = {
        connection.laddr.ip.removeprefix("::ffff:")
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.pid in ours
    }
    assert hosts
    assert all(host == "::1" or host.startswith("127.") for host in hosts)


@pytest.mark.parametrize("metadata", [(), (("authorization", f"Bearer {'0' * 64}"),)])
def test_client_without_the_token_is_refused(ray_session, metadata):
    grpc = pytest.importorskip("grpc")
    address = ray_session.get_runtime_context().gcs_address
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary("/ray.rpc.NodeInfoGcsService/GetAllNodeInfo")
        with pytest.raises(grpc.RpcError) as refused:
            call(b"", timeout=30, metadata=metadata)
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        token = (("authorization", f"Bearer {os.environ['RAY_AUTH_TOKEN']}"),)
        assert call(b"", timeout=30, metadata=token)


def test_files_named_like_packages_are_not_run_even_with_a_long_temporary_folder(
    good_folder, tmp_path, poisoned_folder
):
    long = tmp_path / ("temporary" * 14)
    long.mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | {"TMPDIR": str(long)}
    command = [sys.executable, "-P", "-m", "foundation", "ingest", "--input", str(good_folder), "--store", "store"]
    done = subprocess.run(
        [*command, "--address", "local", "--workers", "1"],
        capture_output=True, text=True, timeout=300, env=environment, cwd=poisoned_folder, check=False,
    )  # fmt: skip
    assert not (poisoned_folder / "imported").exists()
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(Catalog.open(Store(poisoned_folder / "store"))) == 3
