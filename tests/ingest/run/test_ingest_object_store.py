"""Files and store in an object store: a real S3 protocol, served on this machine."""

import pytest

from foundation.store import Catalog, Store
from ingest.nwb.read_nwb import read_nwb
from ingest.recipe.recipes import load_recipe
from ingest.run.worker import Work
from ingest.sources import find_assets

boto3 = pytest.importorskip("boto3", reason="boto3 is not installed: pip install 'moto[server]'")
moto = pytest.importorskip("moto.server", reason="moto is not installed: pip install 'moto[server]'")


@pytest.fixture
def bucket(monkeypatch):
    """A bucket's URL on a server that lives as long as the test."""
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    boto3.client("s3", endpoint_url=url).create_bucket(Bucket="recordings")
    yield "s3://recordings"
    server.stop()


def test_from_bucket_to_bucket(bucket, write, nwb_maker):
    path = write(nwb_maker.add_trains(nwb_maker.new(), [[0.5, 1.0], [2.0]], cell_type=["PV", "SST"]))
    boto3.client("s3").upload_file(path, "recordings", "nwb/sub-m1/a.nwb")
    (file,) = find_assets(f"{bucket}/nwb")
    assert (file.url, file.path) == (f"{bucket}/nwb/sub-m1/a.nwb", "sub-m1/a.nwb")
    Store(f"{bucket}/store", create=True)
    recipe = load_recipe("default")
    work = Work(f"{bucket}/store", recipe)
    receipt = work(file)
    assert (receipt.status, receipt.n_units, receipt.n_spikes) == ("ingested", 2, 3)
    assert work(file).status == "skipped"
    (stored,) = Catalog.build(Store(f"{bucket}/store"))
    local = read_nwb(path)
    assert stored.verify() == []
    assert stored.load().spikes.times.tolist() == local.spikes.times.tolist()
    assert stored.record.source.digest == local.source.digest
