"""The examples of docs/store.md run unchanged."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "store.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=["zarr", "package", "derived"])
def test_example_runs(example, small_store, make_recording, tmp_path):
    shutil.copytree(small_store, tmp_path / "store")
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    counts = [len(make_recording(seed).spikes.train(3)) for seed in range(4)]
    if "train = [" in example:
        words = done.stdout.split()
        assert words[0].startswith("mouse")
        assert int(words[1]) in counts
        assert words[-1] == "slow"
    elif "Derived" in example:
        assert float(done.stdout.strip("[] \n").split()[0]) == pytest.approx(2.0, abs=0.5)
    else:
        assert done.stdout.startswith("mouse0 12 [")


def test_plain_reader_needs_only_codecs_of_the_specification(small_store):
    """All codecs in the store's metadata are in the Zarr v3 specification or its core extensions."""
    allowed = {"bytes", "blosc", "sharding_indexed", "crc32c", "zstd", "gzip", "transpose"}
    names = {
        name
        for path in (small_store / "recordings").rglob("zarr.json")
        for name in re.findall(r'"name":\s*"([a-z0-9_.]+)"', path.read_text())
    }
    assert "blosc" in names
    assert names - allowed <= {"regular", "default"}
