"""The ratio that benchmarks state, and the page that they write."""

import importlib.util
import sys
import time
from pathlib import Path

import numpy as np
import pytest

SPEC = importlib.util.spec_from_file_location(
    "benchmark_harness", Path(__file__).parents[2] / "benchmarks" / "harness.py"
)
harness = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = harness
SPEC.loader.exec_module(harness)


def test_sides_take_turns_and_the_warm_up_does_not_count():
    seen = []
    times = harness.in_turns({"a": lambda: seen.append("a"), "b": lambda: seen.append("b")}, rounds=3, warmup=1)
    assert seen == ["a", "b"] * 4
    assert {name: len(t) for name, t in times.items()} == {"a": 3, "b": 3}
    slow = harness.in_turns({"slow": lambda: time.sleep(0.02), "message": lambda: 7.0}, rounds=2)
    assert (slow["slow"] >= 0.02).all()
    assert slow["message"].tolist() == [7.0, 7.0]


def test_bound_of_a_ratio_has_its_nominal_coverage():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(60):
        a, b = 3.0 * rng.lognormal(0, 0.3, 40), rng.lognormal(0, 0.3, 40)
        ratio = harness.ratio_of(a, b)
        assert ratio.low <= ratio.value <= ratio.high
        covered += ratio.low <= 3.0 <= ratio.high
    assert covered >= 50  # 95 % of 60 are 57
    sure = harness.ratio_of(np.full(20, 4.0), np.full(20, 2.0))
    assert sure.holds(2.0)
    assert not sure.holds(2.1)
    with pytest.raises(ValueError, match="two or more pairs"):
        harness.ratio_of(np.ones(3), np.ones(2))


def test_page_has_no_local_paths_and_lists_missing_results(tmp_path, monkeypatch):
    monkeypatch.setenv("FOUNDATION_DATA", "/srv/recordings")
    page = harness.Page("Speed", "python benchmarks/speed.py", ["numpy", "no-such-package"])
    page.table(["what", "per second"], [["read", 12345.6], ["write", 0.0123]])
    with pytest.raises(ValueError, match="not measured"):
        page.write(tmp_path / "page.md")
    page.not_measured(["a network"])
    page.say("read from /srv/recordings/nwb")
    page.write(tmp_path / "docs" / "page.md")
    text = (tmp_path / "docs" / "page.md").read_text()
    assert "| read | 12,346 |" in text
    assert "| write | 0.0123 |" in text
    assert "$FOUNDATION_DATA/nwb" in text
    assert "no-such-package not installed" in text
    page.say(f"kept in {Path.home()}/x")
    with pytest.raises(ValueError, match="a path of this machine"):
        page.write(tmp_path / "page.md")
