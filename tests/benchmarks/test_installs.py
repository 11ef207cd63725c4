"""Assessment of the results of benchmarks/installs.py."""

import importlib.util
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def installs():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        spec = importlib.util.spec_from_file_location("installs", BENCHMARKS / "installs.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules["installs"] = module  # for its dataclass
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(BENCHMARKS))
        sys.modules.pop("installs", None)


def result(extra: str, lines: dict, **changed) -> dict:
    good = {name: {"status": 0} for name in ("install", "check", "import", "help", "doctor")}
    return {"extra": extra, **good, "lines": lines, "commands": {"catalog": ["", ""]}} | changed


TABLE = {"status": 0, "last_line": "a table of 20 units"}
ASKS = {"status": 1, "last_line": "ModuleNotFoundError: ... pip install 'neural-foundation[ingest]'"}


def test_extras_contain_each_other_and_developer_extras_are_left_out(installs):
    held = installs.extras()
    assert held["none"] == set()
    assert held["sweep"] == {"sweep", "train"}
    assert held["sorting"] == {"sorting", "ingest"}
    assert held["all"] == set(held) - {"none"}
    assert not {"dev", "docs", "bench"} & set(held)


def test_working_environment_has_no_failures(installs):
    assert installs.worked(result("ingest", TABLE)) == []
    assert installs.worked(result("train", ASKS)) == []


@pytest.mark.parametrize(
    ("given", "failed"),
    [
        (result("ingest", ASKS), ["three lines"]),
        (result("train", {"status": 1, "last_line": "ModuleNotFoundError: No module named 'h5py'"}), ["three lines"]),
        (result("ingest", TABLE, doctor={"status": 1}), ["doctor"]),
        (result("ingest", TABLE, commands={"ingest": ["ingest", "ImportError"]}), ["`ingest`"]),
        (result("ingest", TABLE, commands={"pretrain": ["train", "ImportError"]}), []),
        (result("sweep", ASKS, commands={"pretrain": ["train", "ImportError"]}), ["`pretrain`"]),
        (
            {"extra": "ingest", "install": {"status": 1}},
            ["install", "check", "import", "help", "doctor", "three lines"],
        ),
    ],
)
def test_failures_are_named(installs, given, failed):
    found = installs.worked(given)
    assert found[: len(failed)] == failed
    assert bool(found) == bool(failed)


def test_untested_environment_is_named(installs):
    tried = [{"python": "3.11.7", "extra": extra, "versions": "constraints"} for extra in installs.extras()]
    assert installs._missing(tried) == []
    (text,) = installs._missing(tried[1:])
    assert text.endswith(f": {next(iter(installs.extras()))} on 3.11.7.")
