import subprocess
import sys


def test_a_process_that_has_read_the_catalog_ends_well(small_store):
    """Arrow's threads, left over from reading a Python file object, aborted two processes of five at their end."""
    code = f"""
from foundation.store import Catalog, Store
assert len(Catalog.open(Store({str(small_store)!r}))) == 4
"""
    for _ in range(8):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
