"""Choosing recordings of a catalog by an expression such as ``species == 'Mus musculus' and n_units > 50``.

Expressions use Python's syntax and parser but are never executed: only comparisons, ``in``, ``and``, ``or``, ``not``,
parentheses, texts, numbers and the catalog's columns are accepted; anything else is an error.
"""

from __future__ import annotations

import ast
import difflib
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from foundation.common.errors import ConfigError
from foundation.store.catalog_row import CatalogRows, has_text

LONGEST = 2000
TEXT, NUMBER, LIST, TRUTH = "a text", "a number", "a list of texts", "true or false"
COMPARE: dict[type[ast.cmpop], tuple[Callable[[Any, Any], bool], Callable[[Any, Any], Any]]] = {
    ast.Eq: (operator.eq, pc.equal),
    ast.NotEq: (operator.ne, pc.not_equal),
    ast.Lt: (operator.lt, pc.less),
    ast.LtE: (operator.le, pc.less_equal),
    ast.Gt: (operator.gt, pc.greater),
    ast.GtE: (operator.ge, pc.greater_equal),
}


def matching(rows: CatalogRows, expression: str, versions: Callable[[], pa.Array] | None = None) -> np.ndarray:
    """Return ``(R,)`` True for each row for which an expression is true.

    Columns are the fields of `CatalogRow`: ``subject``, ``species``, ``session``, ``path``, ``kind``, ``lab``,
    ``n_units``, ``n_spikes``, ``duration`` (seconds), ``hours``, ``labels``, ..., those of its source (``dandiset``,
    ``version``, ``licence``, ``embargo``, ...), ``versions`` (a list: the versions of its dandiset that hold it),
    counts of quality control (``units_dropped``, ``gaps``, ...) and ``quality.<name>``, which is 0 if nothing was
    repaired. A comparison with a missing value is false, except ``!=`` and ``not in``.

    Args:
        rows: the rows.
        expression: for example ``'cell_type' in labels and not (hours < 0.5 or subject in ['m1', 'm2'])``.
        versions: returns the column ``versions``; called only if the expression uses it.

    Raises:
        ConfigError: if the expression is invalid; the message marks the place and lists the columns.

    Example:
        >>> rows = CatalogRows.of_records([
        ...     {"id": "a", "n_units": 60, "labels": ["cell_type"]}, {"id": "b", "n_units": 5, "labels": []}
        ... ])
        >>> matching(rows, "10 < n_units and 'cell_type' in labels").tolist()
        [True, False]
    """
    return _Reader(expression, _Columns(rows, versions)).read()


class _Columns:
    """The columns of rows, under the names that expressions use."""

    def __init__(self, rows: CatalogRows, versions: Callable[[], pa.Array] | None) -> None:
        self.rows, self._versions = rows, versions
        self._places: dict[str, str] = {}
        names = [name for name in rows.names if name not in ("observed", "current")]
        # In this order, so that `digest` is the recording's digest, not its file's.
        for prefix in ("", "source.", "control."):
            for name in names:
                if name.startswith(prefix) and "." not in (short := name.removeprefix(prefix)):
                    self._places.setdefault(short, name)
        self._places |= {name: name for name in names if name.startswith("quality.")}
        self.kinds = {short: _kind_of(rows.column(name).type) for short, name in self._places.items()}
        if "duration" in self.kinds:
            self.kinds["hours"] = NUMBER
        if any(name.startswith("source.") for name in names):
            self.kinds["embargo"] = TEXT
        if versions is not None:
            self.kinds["versions"] = LIST

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str) -> pa.ChunkedArray:
        if name == "versions" and self._versions is not None:
            return pa.chunked_array([self._versions()])
        if name == "hours":
            return pc.divide(self.rows.column("duration"), 3600.0)
        if name == "embargo" and name not in self._places:
            return pa.chunked_array([pa.array([""] * len(self))])
        column = self.rows.column(self._places[name])
        if name.startswith("quality."):
            return pc.fill_null(column, 0)
        return pc.fill_null(column, "") if name == "embargo" else column


def _kind_of(kind: pa.DataType) -> str:
    if pa.types.is_boolean(kind):
        return TRUTH
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return NUMBER
    return LIST if pa.types.is_list(kind) else TEXT


def _kind(value: Any) -> str | None:
    if isinstance(value, bool):
        return TRUTH
    if isinstance(value, str):
        return TEXT
    if isinstance(value, int | float):
        return NUMBER
    return LIST if isinstance(value, list | tuple) else None


@dataclass(frozen=True)
class _Term:
    """Part of an expression: a column or a constant, with its kind and its syntax node."""

    value: Any
    kind: str
    node: ast.expr

    @property
    def is_column(self) -> bool:
        return isinstance(self.value, pa.ChunkedArray)

    def values(self, count: int) -> list[Any]:
        """Return one value per row, None where it is missing."""
        values: list[Any] = self.value.to_pylist() if self.is_column else [self.value] * count
        return values


def _mask(values: Any, missing: bool) -> np.ndarray:
    """Return ``(R,)`` bool of an Arrow comparison, with ``missing`` for missing values."""
    mask: np.ndarray = pc.fill_null(values, missing).to_numpy(zero_copy_only=False)
    return mask.astype(bool)


class _Reader:
    """A parser that finds the rows for which an expression is true."""

    def __init__(self, expression: str, columns: _Columns) -> None:
        self.text = " ".join(expression.split("\n")).strip()
        self.columns, self.kinds = columns, columns.kinds

    def read(self) -> np.ndarray:
        if not self.text or len(self.text) > LONGEST:
            raise ConfigError(f"where has {len(self.text)} characters: expected 1 to {LONGEST}")
        try:
            tree = ast.parse(self.text, mode="eval")
            term = self._term(tree.body)
        except SyntaxError as error:
            place = (error.offset or 1) - 1
            hint = ": == compares" if self.text[place : place + 1] == "=" else ""
            raise self._error(error.msg + hint, place) from error
        except ConfigError:
            raise
        except (ValueError, RecursionError, MemoryError) as error:
            raise ConfigError(f"where cannot be read: {error or type(error).__name__}") from error
        return self._truth(term)

    def _term(self, node: ast.expr) -> _Term:
        if isinstance(node, ast.BoolOp):
            parts = [self._truth(self._term(value)) for value in node.values]
            join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
            return self._answer(join.reduce(parts), node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return self._answer(~self._truth(self._term(node.operand)), node)
        if isinstance(node, ast.Compare):
            terms = [self._term(side) for side in (node.left, *node.comparators)]
            steps = [self._compare(a, op, b) for a, op, b in zip(terms[:-1], node.ops, terms[1:], strict=True)]
            return self._answer(np.logical_and.reduce(steps), node)
        if isinstance(node, ast.List | ast.Tuple | ast.Constant | ast.UnaryOp):
            return self._constant(node)
        if isinstance(node, ast.Name | ast.Attribute):
            return self._column(node)
        raise self._refuse(node, "expected comparisons, in, and, or, not, texts, numbers and columns")

    def _constant(self, node: ast.expr) -> _Term:
        try:
            value = ast.literal_eval(node)
        except ValueError:
            raise self._refuse(node, "expected a text, a number or a list of them") from None
        if isinstance(value, tuple | list):
            kinds = {_kind(item) for item in value}
            if not (kinds <= {TEXT} or kinds <= {NUMBER}):
                raise self._refuse(node, "expected a list of texts alone, or of numbers alone")
            kind: str | None = LIST
        else:
            kind = _kind(value)
        if kind is None:
            raise self._refuse(node, f"{value!r}: expected a text or a number")
        return _Term(value, kind, node)

    @staticmethod
    def _answer(mask_R: np.ndarray, node: ast.expr) -> _Term:
        return _Term(pa.chunked_array([pa.array(mask_R)]), TRUTH, node)

    def _column(self, node: ast.Name | ast.Attribute) -> _Term:
        name = ast.unparse(node)
        if name not in self.kinds:
            near = difflib.get_close_matches(name, self.kinds, n=1)
            hint = f", did you mean {near[0]}?" if near else ";"
            raise self._refuse(node, f"there is no column {name}{hint} columns are {', '.join(sorted(self.kinds))}")
        return _Term(self.columns[name], self.kinds[name], node)

    def _compare(self, left: _Term, op: ast.cmpop, right: _Term) -> np.ndarray:
        if isinstance(op, ast.In | ast.NotIn):
            if left.kind == LIST or right.kind not in (LIST, TEXT) or (right.kind == TEXT and left.kind != TEXT):
                raise self._refuse(
                    right.node, f"this is {right.kind}: expected a list after `in`, or a text after a text and `in`"
                )
            within = self._within(left, right)
            return within if isinstance(op, ast.In) else ~within
        if type(op) not in COMPARE:
            raise self._refuse(right.node, "expected one of ==, !=, <, <=, >, >=, in and not in")
        if left.kind != right.kind:
            raise self._refuse(right.node, f"this is {right.kind}: expected {left.kind}, as {self._text_of(left.node)}")
        if left.kind not in (TEXT, NUMBER) and not isinstance(op, ast.Eq | ast.NotEq):
            raise self._refuse(right.node, f"{left.kind} cannot be ordered: expected == or !=")
        (compare, columns), missing = COMPARE[type(op)], isinstance(op, ast.NotEq)
        if left.kind != LIST and (left.is_column or right.is_column):
            try:
                return _mask(columns(left.value, right.value), missing)
            except (OverflowError, pa.ArrowInvalid):  # a number that no column can hold
                pass
        return self._row_by_row(left, right, lambda a, b: missing if a is None or b is None else compare(a, b))

    def _within(self, left: _Term, right: _Term) -> np.ndarray:
        """Return ``(R,)`` True where the left value is in the right one."""
        if right.kind == LIST and left.is_column and not right.is_column:
            try:
                wanted = pa.array(right.value, pa.string() if left.kind == TEXT else None)
                if not len(right.value) or left.kind != TEXT:
                    raise pa.ArrowInvalid("numbers are compared as Python compares them")
                return _mask(pc.is_in(left.value, value_set=wanted), missing=False)
            except (OverflowError, pa.ArrowInvalid, pa.ArrowTypeError):
                wanted_values = set(right.value)
                return np.array([a is not None and a in wanted_values for a in left.value.to_pylist()], dtype=bool)
        if right.is_column and not left.is_column and left.kind == TEXT:
            if right.kind == LIST:
                return has_text(right.value, left.value)
            column = right.value.cast(pa.string())
            return _mask(pc.match_substring(column, left.value), False) & _mask(pc.not_equal(column, ""), False)
        return self._row_by_row(left, right, lambda a, b: a is not None and a in (b or ()))

    def _row_by_row(self, left: _Term, right: _Term, answer: Callable[[Any, Any], bool]) -> np.ndarray:
        count = len(self.columns)
        pairs = zip(left.values(count), right.values(count), strict=True)
        return np.array([answer(a, b) for a, b in pairs], dtype=bool)

    def _truth(self, term: _Term) -> np.ndarray:
        """Return ``(R,)`` bool of a term that is true or false."""
        if term.kind != TRUTH:
            raise self._refuse(term.node, f"this is {term.kind}: expected a comparison")
        return _mask(term.value, False) if term.is_column else np.full(len(self.columns), bool(term.value))

    def _text_of(self, node: ast.expr) -> str:
        return ast.get_source_segment(self.text, node) or ast.unparse(node)

    def _refuse(self, node: ast.expr, problem: str) -> ConfigError:
        start = len(self.text.encode()[: node.col_offset].decode(errors="ignore"))
        return self._error(problem, start, len(self._text_of(node)))

    def _error(self, problem: str, start: int, length: int = 1) -> ConfigError:
        return ConfigError(
            f"where cannot be read here:\n  {self.text}\n  {' ' * start}{'^' * max(1, length)}\n{problem}"
        )
