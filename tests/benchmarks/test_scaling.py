"""The tables of docs/scaling.md are what the cost model says."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_tables_of_the_page_on_scaling_are_up_to_date():
    command = [sys.executable, "benchmarks/scaling.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_bottleneck_is_named_at_each_scale():
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith(("| 8 |", "| 64 |", "| 1,024 |"))]
    times = [row for row in rows if " s |" in row or " ms |" in row]
    assert len(times) == 6
    assert all(any(word in row for word in ("store", "compute", "network")) for row in times)
