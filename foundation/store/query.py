"""Choosing recordings of a catalog by an expression such as ``species == 'Mus musculus' and n_units > 50``.

The words are Python's, read by Python's own parser, but nothing is ever executed: only comparisons, ``in``, ``and``,
``or``, ``not``, parentheses, texts, numbers and the catalog's columns are understood, and all else is refused.
"""

from __future__ import annotations

import ast
import difflib
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from foundation.common.errors import ConfigError

LONGEST = 2000
TEXT, NUMBER, LIST, TRUTH = "a text", "a number", "a list of texts", "true or false"
COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}

Row = dict[str, Any]


def matching(records: list[dict[str, Any]], expression: str) -> list[dict[str, Any]]:
    """The records for which an expression is true.

    Columns are those of a catalog's records: ``subject``, ``species``, ``session``, ``path``, ``kind``, ``lab``,
    ``n_units``, ``n_spikes``, ``duration`` (seconds), ``hours``, ``labels``, ..., those of its source (``dandiset``,
    ``version``, ``licence``, ``embargo``, ...), ``versions`` (a list: those of its dandiset that hold it), counts of
    quality control (``units_dropped``, ``gaps``, ...) and ``quality.<name>``, which is 0 where nothing was mended. A
    comparison with something that a record does not have is false, but for ``!=`` and ``not in``.

    Args:
        records: commit records.
        expression: for example ``'cell_type' in labels and not (hours < 0.5 or subject in ['m1', 'm2'])``.

    Raises:
        ConfigError: if the expression cannot be understood; the message shows the place and names the columns.

    Example:
        >>> records = [{"subject": "m1", "n_units": 60, "labels": ["cell_type"]}, {"subject": "m2", "n_units": 5}]
        >>> [record["subject"] for record in matching(records, "10 < n_units and 'cell_type' in labels")]
        ['m1']
    """
    rows = [columns(record) for record in records]
    keep = _Reader(expression, _kinds(rows)).read()
    return [record for record, row in zip(records, rows, strict=True) if keep(row)]


def columns(record: dict[str, Any]) -> Row:
    """A record as flat columns.

    Example:
        >>> columns({"n_units": 3, "duration": 7200.0, "source": {"licence": "MIT"}, "quality": {"units_sorted": 1.0}})
        {'n_units': 3, 'duration': 7200.0, 'hours': 2.0, 'embargo': '', 'licence': 'MIT', 'quality.units_sorted': 1.0}
    """
    row = {name: value for name, value in record.items() if not isinstance(value, dict)}
    if "duration" in row:
        row["hours"] = row["duration"] / 3600
    if "source" in record:
        row["embargo"] = record["source"].get("embargo", "")
    for part in ("source", "control"):
        for name, value in record.get(part, {}).items():
            row.setdefault(name, value)
    for name, value in record.get("quality", {}).items():
        row[f"quality.{name}"] = value
    return row


def _kinds(rows: list[Row]) -> dict[str, str]:
    """Which kind of value each column holds."""
    kinds: dict[str, str] = {}
    for row in rows:
        for name in row.keys() - kinds.keys():
            kind = _kind(row[name])
            if kind is not None:
                kinds[name] = kind
    return kinds


def _kind(value: Any) -> str | None:
    if isinstance(value, bool):
        return TRUTH
    if isinstance(value, str):
        return TEXT
    if isinstance(value, int | float):
        return NUMBER
    return LIST if isinstance(value, list) else None


@dataclass(frozen=True)
class _Term:
    """Part of an expression: how its value is found in a row, of which kind it is, and where it stands."""

    value: Callable[[Row], Any]
    kind: str
    node: ast.expr


class _Reader:
    """Turns an expression into a function of a row."""

    def __init__(self, expression: str, kinds: dict[str, str]) -> None:
        self.text = " ".join(expression.split("\n")).strip()
        self.kinds = kinds

    def read(self) -> Callable[[Row], bool]:
        if not self.text or len(self.text) > LONGEST:
            raise ConfigError(f"where has {len(self.text)} characters: allowed are 1 to {LONGEST}")
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
        return self._truth(term).value

    def _term(self, node: ast.expr) -> _Term:
        if isinstance(node, ast.BoolOp):
            parts = [self._truth(self._term(value)).value for value in node.values]
            whole = all if isinstance(node.op, ast.And) else any
            return _Term(lambda row: whole(part(row) for part in parts), TRUTH, node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            inner = self._truth(self._term(node.operand)).value
            return _Term(lambda row: not inner(row), TRUTH, node)
        if isinstance(node, ast.Compare):
            terms = [self._term(side) for side in (node.left, *node.comparators)]
            steps = [self._compare(a, op, b) for a, op, b in zip(terms[:-1], node.ops, terms[1:], strict=True)]
            return _Term(lambda row: all(step(row) for step in steps), TRUTH, node)
        if isinstance(node, ast.List | ast.Tuple | ast.Constant | ast.UnaryOp):
            return self._constant(node)
        if isinstance(node, ast.Name | ast.Attribute):
            return self._column(node)
        raise self._refuse(node, "only comparisons, in, and, or, not, texts, numbers and columns are understood")

    def _constant(self, node: ast.expr) -> _Term:
        try:
            value = ast.literal_eval(node)
        except ValueError:
            raise self._refuse(node, "this is neither a plain text or number nor a list of them") from None
        if isinstance(value, tuple | list):
            kinds = {_kind(item) for item in value}
            if not (kinds <= {TEXT} or kinds <= {NUMBER}):
                raise self._refuse(node, "a list holds only texts, or only numbers")
            kind: str | None = LIST
        else:
            kind = _kind(value)
        if kind is None:
            raise self._refuse(node, f"{value!r} is neither a text nor a number")
        return _Term(lambda row: value, kind, node)

    def _column(self, node: ast.Name | ast.Attribute) -> _Term:
        name = ast.unparse(node)
        if name not in self.kinds:
            near = difflib.get_close_matches(name, self.kinds, n=1)
            hint = f", did you mean {near[0]}?" if near else ";"
            raise self._refuse(node, f"{name} is no column{hint} columns are {', '.join(sorted(self.kinds))}")
        missing = 0 if name.startswith("quality.") else None
        return _Term(lambda row: row.get(name, missing), self.kinds[name], node)

    def _compare(self, left: _Term, op: ast.cmpop, right: _Term) -> Callable[[Row], bool]:
        a, b = left.value, right.value
        if isinstance(op, ast.In | ast.NotIn):
            if left.kind == LIST or right.kind not in (LIST, TEXT) or (right.kind == TEXT and left.kind != TEXT):
                raise self._refuse(right.node, f"in needs a list, or a text in a text: this is {right.kind}")
            wanted = isinstance(op, ast.In)
            return lambda row: (a(row) is not None and a(row) in (b(row) or ())) == wanted
        if type(op) not in COMPARE:
            raise self._refuse(right.node, "only ==, !=, <, <=, >, >=, in and not in compare")
        if left.kind != right.kind:
            raise self._refuse(right.node, f"{self._said(left.node)} is {left.kind}, this is {right.kind}")
        if left.kind not in (TEXT, NUMBER) and not isinstance(op, ast.Eq | ast.NotEq):
            raise self._refuse(right.node, f"{left.kind} is neither more nor less than another")
        compare, missing = COMPARE[type(op)], isinstance(op, ast.NotEq)
        return lambda row: missing if (x := a(row)) is None or (y := b(row)) is None else compare(x, y)

    def _truth(self, term: _Term) -> _Term:
        if term.kind != TRUTH:
            raise self._refuse(term.node, f"this is {term.kind}: compare it with something")
        return term

    def _said(self, node: ast.expr) -> str:
        return ast.get_source_segment(self.text, node) or ast.unparse(node)

    def _refuse(self, node: ast.expr, problem: str) -> ConfigError:
        start = len(self.text.encode()[: node.col_offset].decode(errors="ignore"))
        return self._error(problem, start, len(self._said(node)))

    def _error(self, problem: str, start: int, length: int = 1) -> ConfigError:
        return ConfigError(
            f"where cannot be read here:\n  {self.text}\n  {' ' * start}{'^' * max(1, length)}\n{problem}"
        )
