"""A Ray cluster reached by ssh: the three commands of infra/ingest.yaml, run from outside the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from foundation.store import Catalog, Store

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
BIN = Path(sys.executable).parent

START = """
set -euo pipefail
ray get-auth-token --generate > /dev/null
ray up -y {cluster} > {out}/up.log 2>&1
echo "== cluster"
foundation ingest --cluster {cluster} --config {out}/own.yaml --recipe {out}/recipe.yaml
"""
OTHER_WAYS = """
echo "== submit"
ray submit {cluster} {root}/ingest/job.py -- --config ingest/folder --input {nwb} --store {out}/submitted
echo "== job"
ray job submit --address http://127.0.0.1:8265 -- \\
  python -P -m ingest.job --config ingest/folder --input {nwb} --store {out}/job
echo "== failing"
if foundation ingest --cluster {cluster} --input {nwb}/none --store {out}/none; then exit 9; fi
"""
END = """
echo "== tasks"
ray list tasks --format json > {out}/tasks.json
ray down -y {cluster} > {out}/down.log 2>&1
"""


def _missing() -> str:
    if os.geteuid() != 0:
        return "a cluster over ssh needs root, to create network namespaces"
    for tool in ("/usr/sbin/sshd", "ip", "unshare", "rsync", "ssh-keygen"):
        if shutil.which(tool) is None:
            return f"a cluster over ssh needs {tool}, which is not installed"
    name = f"foundation-probe-{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode != 0:
        return "a cluster over ssh needs network namespaces, which this machine does not allow"
    subprocess.run(["ip", "netns", "del", name], check=False)
    return ""


@pytest.mark.timeout(420)
@pytest.mark.parametrize("ways", ["one way", pytest.param("all ways", marks=pytest.mark.long)])
def test_job_runs_on_a_cluster_over_ssh(tmp_path, nwb_maker, ways):
    if reason := _missing():
        pytest.skip(reason)
    for k in range(3):
        nwb = nwb_maker.add_trains(nwb_maker.new(identifier=f"id{k}"), [[0.5 + k, 1.0 + k], [2.0]], klass=["PV", ""])
        nwb_maker.save(nwb, tmp_path / "nwb" / f"sub-{k}" / f"sub-{k}_ses-1.nwb")
    text = (ROOT / "infra" / "ingest.yaml").read_text()
    blanks = {
        "<HEAD>": "127.0.0.1",
        "<WORKER_1>, <WORKER_2>": "",
        "min_workers: 2": "min_workers: 0",
        "max_workers: 2": "max_workers: 0",
        "<USER>": "root",
        "<PATH_OF_YOUR_PRIVATE_KEY>": str(tmp_path / "machine" / "etc" / "user_key"),
        "<VENV>": str(BIN.parent),
    }
    for blank, value in blanks.items():
        assert blank in text
        text = text.replace(blank, value)
    cluster = tmp_path / "cluster.yaml"
    cluster.write_text(text)
    (tmp_path / "own.yaml").write_text(f"input: {tmp_path}/nwb\nstore: {tmp_path}/shipped\nstrict: true\n")
    (tmp_path / "recipe.yaml").write_text("units: {cell_type: [klass]}\n")
    (tmp_path / "machine").mkdir()
    script = tmp_path / "commands.sh"
    commands = START + (OTHER_WAYS if ways == "all ways" else "") + END
    script.write_text(commands.format(cluster=cluster, out=tmp_path, root=ROOT, nwb=tmp_path / "nwb"))
    environment = {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "LANG": "C.UTF-8",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
    }
    done = subprocess.run(
        [HERE / "one_machine_cluster.sh", tmp_path / "machine", "bash", script],
        capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=400, check=False,
    )  # fmt: skip
    output = done.stdout + done.stderr
    assert done.returncode == 0, output[-4000:]
    for name in ("shipped", "submitted", "job") if ways == "all ways" else ("shipped",):
        catalog = Catalog.open(Store(tmp_path / name))
        assert len(catalog) == 3, name
        assert all(stored.verify() == [] for stored in catalog)
    # The user's recipe was sent along: it finds the cell types in the column `klass`.
    types = [stored.units.text("cell_type").tolist() for stored in Catalog.open(Store(tmp_path / "shipped"))]
    assert types == [["PV", ""]] * 3
    if ways == "all ways":
        assert "there is nothing at" in output
        assert not (tmp_path / "none").exists()
    tasks = (tmp_path / "tasks.json").read_text()
    assert '"name": "ingest sub-0/sub-0_ses-1.nwb"' in tasks
