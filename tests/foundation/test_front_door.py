"""`import foundation`: quick, without PyTorch, and with the names that its type checker's block has."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import foundation

TREE = ast.parse(Path(foundation.__file__).read_text())
HEAVY = ("torch", "numpy", "transformers", "pynwb", "ray", "mlflow", "deepspeed", "zarr", "pyarrow", "jsonargparse")


@pytest.mark.parametrize("name", foundation.__all__)
def test_every_name_is_there(name):
    assert getattr(foundation, name) is not None
    assert name in dir(foundation)


def test_the_names_are_those_that_a_type_checker_sees():
    block = next(node for node in TREE.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert {*seen, "__version__"} == set(foundation.__all__)
    for name, module in seen.items():
        assert getattr(foundation, name) is getattr(sys.modules[module], name)


def test_a_name_that_is_none_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'foundation' has no attribute 'nothing'"):
        foundation.nothing  # noqa: B018


WITHOUT = """
import sys
sys.modules["h5py"] = None  # as if it were not installed
import foundation
try:
    foundation.read_nwb
except ModuleNotFoundError as error:
    print(error.name, error, sep="; ")
"""


def test_a_name_whose_extra_is_not_installed_says_how_to_install_it():
    printed = subprocess.check_output([sys.executable, "-c", WITHOUT], text=True).strip()
    wanted = "foundation.read_nwb needs the package 'h5py': pip install 'neural-foundation[ingest]'"
    assert printed == f"h5py; {wanted}"


def test_importing_takes_no_time_and_nothing_heavy():
    code = (
        "import time; began = time.perf_counter(); import foundation; print(time.perf_counter() - began);"
        f"import sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    times = []
    for _ in range(3):
        lines = subprocess.check_output([sys.executable, "-c", code], text=True).splitlines()
        assert lines[1] == "[]"
        times.append(float(lines[0]))
    assert min(times) < 0.3
