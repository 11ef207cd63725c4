"""Read arrays of objects from a pickle without loading it.

hdmf-zarr stores references to other objects as pickled NumPy arrays of dictionaries. Loading a pickle can run any code
that it names; this reader interprets the few instructions that build plain values and refuses all others by name.
"""

from __future__ import annotations

import pickletools
import re
from enum import Enum
from typing import Any

from foundation.common.errors import SourceError


class _Known(Enum):
    """The names that a pickle may use, as markers: nothing is imported or called."""

    RECONSTRUCT = "_reconstruct"
    NDARRAY = "ndarray"
    DTYPE = "dtype"
    REFERENCE = "ZarrReference"


_NAMES = {
    ("numpy._core.multiarray", "_reconstruct"): _Known.RECONSTRUCT,
    ("numpy.core.multiarray", "_reconstruct"): _Known.RECONSTRUCT,
    ("numpy", "ndarray"): _Known.NDARRAY,
    ("numpy", "dtype"): _Known.DTYPE,
    ("hdmf_zarr.utils", "ZarrReference"): _Known.REFERENCE,
}
_VALUES = {
    *("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8"),
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_DTYPE_CODE = re.compile(r"[OV]\d{1,9}|[biufcSU]\d{1,9}")
_MARK = object()


class _Dtype:
    """A dtype, of which only the code is kept."""

    def __init__(self, code: str) -> None:
        self.code = code


class _Array:
    """An array under construction; ``items`` is None until its state is set."""

    items: list[Any] | None = None


def unpickled_objects(stream: bytes, count: int) -> list[Any]:
    """Return the elements of one pickled NumPy array of objects (or of records that hold objects).

    Args:
        stream: the pickle.
        count: expected number of elements.

    Returns:
        ``count`` elements: text, bytes, numbers, None, a reference as a dictionary of texts, a record as a tuple, or a
        list of such values.

    Raises:
        SourceError: if the pickle is damaged, holds anything else, or calls a function.

    Example:
        >>> import pickle, numpy
        >>> unpickled_objects(pickle.dumps(numpy.array(["CA1", None], dtype=object)), 2)
        ['CA1', None]
        >>> unpickled_objects(pickle.dumps(len), 1)
        Traceback (most recent call last):
        ...
        foundation.common.errors.SourceError: a pickle names builtins.len: only NumPy arrays of plain values are read
    """
    reader = _Reader()
    try:
        for op, argument, _ in pickletools.genops(stream):
            if op.name == "STOP":
                break
            reader.step(op.name, argument)
        found = reader.stack.pop()
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise SourceError(f"a pickle is damaged: {error}") from error
    if not isinstance(found, _Array) or found.items is None or reader.stack:
        raise SourceError("a pickle holds no NumPy array of objects: expected one")
    if len(found.items) != count:
        raise SourceError(f"a pickle is damaged: it holds {len(found.items)} objects where {count} belong")
    for item in found.items:
        _check(item, depth=2)
    return found.items


class _Reader:
    """The stack and memo of a pickle, with the effects of the allowed instructions."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _VALUES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name == "MARK":
            stack.append(_MARK)
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name in _TUPLES:
            self._push_tuple(_TUPLES[name])
        elif name == "TUPLE":
            stack.append(tuple(self._to_mark()))
        elif name in ("APPEND", "APPENDS"):
            values = [stack.pop()] if name == "APPEND" else self._to_mark()
            _of_type(stack[-1], list).extend(values)
        elif name in ("SETITEM", "SETITEMS"):
            values = [stack.pop(-2), stack.pop()] if name == "SETITEM" else self._to_mark()
            _of_type(stack[-1], dict).update(zip(values[::2], values[1::2], strict=True))
        elif name == "GLOBAL":
            stack.append(_known(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            stack.append(_known(module, attribute))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments, what = stack.pop(), stack.pop()
            stack.append(_made(what, arguments))
        elif name == "BUILD":
            state = stack.pop()
            _build(stack[-1], state)
        elif name not in ("PROTO", "FRAME"):
            raise SourceError(f"a pickle uses the instruction {name}: only NumPy arrays of plain values are read")

    def _push_tuple(self, size: int) -> None:
        values = tuple(self.stack[-size:])
        if len(values) < size:
            raise IndexError("too few values for a tuple")
        del self.stack[-size:]
        self.stack.append(values)

    def _to_mark(self) -> list[Any]:
        values = []
        while (value := self.stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]


def _of_type(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"a {kind.__name__} is missing")
    return value


def _known(module: Any, name: Any) -> _Known:
    found = _NAMES.get((module, name)) if isinstance(module, str) and isinstance(name, str) else None
    if found is None:
        raise SourceError(
            f"a pickle names {str(module)[:80]}.{str(name)[:80]}: only NumPy arrays of plain values are read"
        )
    return found


def _made(what: Any, arguments: Any) -> Any:
    if what is _Known.RECONSTRUCT and arguments == (_Known.NDARRAY, (0,), b"b"):
        return _Array()
    if what is _Known.DTYPE and isinstance(arguments, tuple) and arguments and isinstance(arguments[0], str):
        if _DTYPE_CODE.fullmatch(arguments[0]):
            return _Dtype(arguments[0])
    elif what is _Known.REFERENCE and arguments == ():
        return {}
    raise SourceError("a pickle calls a function that arrays of plain values do not need: refused")


def _build(target: Any, state: Any) -> None:
    if isinstance(target, _Dtype) and isinstance(state, tuple):
        return
    if isinstance(target, _Array) and isinstance(state, tuple) and len(state) == 5:
        _, shape, dtype, fortran, items = state
        objects = isinstance(dtype, _Dtype) and dtype.code[0] in "OV" and fortran is False and type(items) is list
        if objects and isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape):
            target.items = items
            return
    raise SourceError("a pickle sets the state of an object that is not an array: refused")


def _check(value: Any, depth: int) -> None:
    if type(value) is str:
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise SourceError(f"a pickle is damaged: it holds something that is not text ({error})") from error
    if value is None or type(value) in (str, bytes, int, float, bool):
        return
    if type(value) is dict and len(value) <= 8 and depth > 0:
        for part in (*value, *value.values()):
            _check(part, 0)
        if all(type(key) is str and (text is None or type(text) is str) for key, text in value.items()):
            return
    elif type(value) in (tuple, list) and depth > 0:
        for part in value:
            _check(part, depth - 1)
        return
    raise SourceError("a pickle holds objects that are not plain values: expected only text, numbers and references")
