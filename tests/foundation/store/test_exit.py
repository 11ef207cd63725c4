import subprocess
import sys


def test_process_that_read_the_catalog_exits_cleanly(small_store):
    """Arrow's threads, left over from reading a Python file object, aborted two of five processes on exit."""
    code = f"""
from foundation.store import Catalog, Store
assert len(Catalog.open(Store({str(small_store)!r}))) == 4
"""
    for _ in range(8):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
