"""Files and store in an object store: a real S3 protocol, served on this machine."""

import s3fs

from foundation.store import Catalog, Store
from ingest.nwb.read_nwb import read_nwb
from ingest.recipe.recipes import load_recipe
from ingest.run.worker import Work
from ingest.sources import find_assets


def test_from_bucket_to_bucket(bucket, write, nwb_maker):
    path = write(nwb_maker.add_trains(nwb_maker.new(), [[0.5, 1.0], [2.0]], cell_type=["PV", "SST"]))
    s3fs.S3FileSystem().put(str(path), f"{bucket}/nwb/sub-m1/a.nwb")
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
