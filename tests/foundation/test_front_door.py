"""`import foundation`: fast, without PyTorch, and with the names of its type-checking block."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import foundation

TREE = ast.parse(Path(foundation.__file__).read_text())
HEAVY = ("torch", "numpy", "transformers", "pynwb", "ray", "mlflow", "deepspeed", "zarr", "pyarrow", "jsonargparse")


@pytest.mark.parametrize("name", foundation.__all__)
def test_every_name_exists(name):
    assert getattr(foundation, name) is not None
    assert name in dir(foundation)


def test_names_match_the_type_checking_block():
    block = next(node for node in TREE.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert {*seen, "__version__"} == set(foundation.__all__)
    for name, module in seen.items():
        assert getattr(foundation, name) is getattr(sys.modules[module], name)


def test_unknown_name_is_an_attribute_error():
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


def test_name_without_its_extra_says_how_to_install_it():
    printed = subprocess.check_output([sys.executable, "-c", WITHOUT], text=True).strip()
    wanted = "foundation.read_nwb needs the package 'h5py': pip install 'neural-foundation[ingest]'"
    assert printed == f"h5py; {wanted}"


def test_import_is_fast_and_light():
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
