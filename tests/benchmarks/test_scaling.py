"""The tables of docs/scaling.md equal the cost model's output."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_tables_of_the_scaling_page_are_up_to_date():
    command = [sys.executable, "benchmarks/scaling.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_scale_has_a_bottleneck():
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith(("| 8 |", "| 64 |", "| 1,024 |"))]
    times = [row for row in rows if " s |" in row or " ms |" in row]
    assert len(times) == 6
    assert all(any(word in row for word in ("store", "compute", "network")) for row in times)
