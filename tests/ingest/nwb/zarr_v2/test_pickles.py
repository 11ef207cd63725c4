"""Arrays of objects in pickles: what plain ones hold, and that nothing else is ever carried out."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.common.errors import SourceError
from ingest.nwb.zarr_v2.pickled_objects import unpickled_objects

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
REFERENCES = st.dictionaries(st.sampled_from(["source", "path", "object_id"]), st.none() | TEXTS, max_size=3)
VALUES = st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | TEXTS | REFERENCES


def array_of(values):
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


@given(st.lists(VALUES, max_size=30), st.sampled_from([3, 4, 5]))
def test_plain_objects_come_back(values, protocol):
    assert unpickled_objects(pickle.dumps(array_of(values), protocol=protocol), len(values)) == values


def test_records_come_back():
    rows = [(0, 5, {"path": "/a", "source": "."}), (5, 7, {"path": "/b", "source": "."})]
    array = np.array(rows, dtype=[("start", "<i4"), ("count", "<i4"), ("series", object)])
    assert unpickled_objects(pickle.dumps(array), 2) == rows


class Calls:
    """An object that runs a function when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "call",
    [
        Calls(os.system, "touch called"),
        Calls(os.remove, "canary"),
        Calls(eval, "open('called', 'w')"),
        Calls(subprocess.check_output, ["touch", "called"]),
        Calls(np.load, "canary", None, True),
        Calls(np.memmap, "called"),
        Calls(getattr, "a", "upper"),
        Calls(bytes, 10**12),
    ],
    ids=lambda call: call.call[0].__name__,
)
@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_calls_are_refused_by_name_and_not_made(call, protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "canary").write_bytes(b"alive")
    for hostile in (call, array_of([call]), array_of([{"path": call}])):
        with pytest.raises(SourceError, match="pickle"):
            unpickled_objects(pickle.dumps(hostile, protocol=protocol), 1)
    if protocol > 2:
        with pytest.raises(SourceError, match=rf"names .*{call.call[0].__name__}"):
            unpickled_objects(pickle.dumps(array_of([call]), protocol=protocol), 1)
    assert [path.name for path in tmp_path.iterdir()] == ["canary"]


def nested(opcode, depth):
    return b"\x80\x04" + opcode * depth


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x80\x04.", id="empty"),
        pytest.param(b"\x80\x04\x8d" + (2**60).to_bytes(8, "little") + b"x.", id="text of an exabyte"),
        pytest.param(b"\x80\x04\x96" + (2**62).to_bytes(8, "little") + b".", id="byte array of exabytes"),
        pytest.param(b"\x80\x04\x8b" + (2**31 - 1).to_bytes(4, "little") + b".", id="number of gigabytes"),
        pytest.param(b"\x80\x04" + b"]" + b"h\x00" * 10 + b".", id="memo of nothing"),
        pytest.param(nested(b"]", 200_000) + b"a" * 199_999 + b".", id="deep lists"),
        pytest.param(b"\x80\x04)" + b"\x85" * 200_000 + b".", id="deep tuples"),
        pytest.param(nested(b"(", 200_000) + b"t" * 200_000 + b".", id="deep marks"),
        pytest.param(b"\x80\x04]\x94" + b"(" + b"h\x00" * 50 + b"e" * 1 + b".", id="a list in itself"),
        pytest.param(b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.", id="by hand"),
        pytest.param(b"cos\nsystem\n(S'true'\ntR.", id="protocol 0"),
        pytest.param(b"\x80\x02\x82\x01.", id="extension code"),
        pytest.param(b"\x80\x04\x8c\x01aQ.", id="persistent id"),
        pytest.param(b"\x80\x05\x97.", id="buffer from outside"),
    ],
)
def test_bombs_are_refused(stream):
    with pytest.raises(SourceError, match="pickle"):
        unpickled_objects(stream, 1)


def test_a_pickle_that_doubles_itself_is_not_followed():
    """Lists of lists of the same list: a few hundred bytes that would be 2**100 elements."""
    value = []
    for _ in range(100):
        value = [value, value]
    array = array_of([None])
    array[0] = value
    with pytest.raises(SourceError, match="not plain values"):
        unpickled_objects(pickle.dumps(array), 1)


@given(st.data())
def test_damaged_pickles_give_plain_values_or_are_refused(data):
    good = bytearray(pickle.dumps(array_of([{"path": "/a", "source": "."}, "text", 1.5, None])))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = unpickled_objects(bytes(good), 4)
    except SourceError:
        return
    assert len(found) == 4
    assert all(type(value) in (str, bytes, int, float, bool, type(None), dict, tuple, list) for value in found)


def test_the_number_of_objects_is_that_of_the_chunk():
    with pytest.raises(SourceError, match="holds 2 objects where 3 belong"):
        unpickled_objects(pickle.dumps(array_of(["a", "b"])), 3)


def test_arrays_of_numbers_are_not_arrays_of_objects():
    with pytest.raises(SourceError, match="pickle"):
        unpickled_objects(pickle.dumps(np.arange(3.0), protocol=4), 3)


def test_nothing_here_can_load_a_pickle():
    """The module that reads pickles does not import the one that loads them."""
    code = "import ingest.nwb.zarr_v2.pickled_objects as m; print('pickle' in vars(m))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
