r"""Find regular expressions of a recipe that could be slow on some texts; loading the recipe refuses them.

Python's ``re`` tries all ways to share a text among repetitions that can match the same characters: three of them, as
in ``^\s*([^;]+?)\s*$``, take a time that grows with the third power of the text's length, and one inside the other, as
in ``(\w+\s*)+;``, twice as long for each character more. It cannot be stopped once it has begun. So the parsed
expression is walked through with the repetitions that a text could still be shared with ("live").
"""

from __future__ import annotations

import re
import re._constants as ops  # type: ignore[import-not-found]  # what `re.compile` itself parses with
import re._parser as parser  # type: ignore[import-not-found]
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

# Characters of a name, and of a longer text, that an expression is shown.
LONGEST_NAME, LONGEST_TEXT = 500, 4000
# Powers of the length that are allowed: about 0.1 s for names and texts of these lengths.
NAME_POWER, TEXT_POWER = 3.0, 2.0
FEW = 16  # repetitions from which on a bounded one counts as unbounded
OPTION = 0.2  # a part that may be missing doubles the ways, and so counts for less than a repetition
_SAMPLE = [chr(n) for n in range(256)] + list("\u0130\u0131\u017f\u2028\u212a\u3000\u4e2d")
Chars = frozenset[str]
ALL = frozenset(_SAMPLE)
_REPEATS = (ops.MAX_REPEAT, ops.MIN_REPEAT, ops.POSSESSIVE_REPEAT)
_CATEGORIES = {
    ops.CATEGORY_SPACE: str.isspace,
    ops.CATEGORY_DIGIT: str.isdigit,
    ops.CATEGORY_WORD: lambda char: char.isalnum() or char == "_",
}
_OPPOSITES = {
    ops.CATEGORY_NOT_SPACE: ops.CATEGORY_SPACE,
    ops.CATEGORY_NOT_DIGIT: ops.CATEGORY_DIGIT,
    ops.CATEGORY_NOT_WORD: ops.CATEGORY_WORD,
}


class _SlowError(Exception):
    """The expression can be slow."""


@dataclass(frozen=True)
class _Loop:
    """A repetition that is live: the characters that it matches, what it counts for, and in which round it began."""

    chars: Chars
    weight: float
    round: int = 0


def takes_long(pattern: str, searched: bool = False) -> bool:
    r"""Return whether an expression is slow on some texts.

    Args:
        pattern: an expression that `re.compile` takes.
        searched: it is searched in texts of up to `LONGEST_TEXT`; otherwise it matches whole names.

    Example:
        >>> takes_long(r"^\s*([^;]+?)\s*$", searched=True), takes_long(r"(\w+\s*)+;"), takes_long(r"(a|aa)*b")
        (True, True, True)
        >>> takes_long(r"^\s*([^;\s](?:[^;]*[^;\s])?)\s*$", searched=True), takes_long(r".*df_?(over|/)?_?f.*")
        (False, False)
    """
    parsed = list(parser.parse(pattern, re.IGNORECASE))
    live: list[_Loop] = []
    if searched:
        parsed = _without_last_loop(parsed)
        if not parsed or parsed[0][0] is not ops.AT or parsed[0][1] is not ops.AT_BEGINNING:
            live = [_Loop(ALL, 1.0)]  # each place in the text is tried
    try:
        _walk(parsed, live, TEXT_POWER if searched else NAME_POWER, round=0)
    except (_SlowError, RecursionError):
        return True
    return False


def _walk(items: Iterable[Any], live: list[_Loop], power: float, round: int, inside: bool = False) -> list[_Loop]:
    """Walk through a part of an expression.

    Args:
        items: of the parser.
        live: repetitions before it.
        power: of the length that is allowed.
        round: of the repetition around it.
        inside: whether there is one.

    Returns:
        The repetitions that are live after it.
    """
    for op, value in items:
        if op in _REPEATS:
            live = _repeated(value, live, power, round, inside)
        elif op is ops.BRANCH:
            live = _branched(value[1], live, power, round, inside)
        elif op is ops.SUBPATTERN:
            live = _walk(value[3], live, power, round, inside)
        elif op is ops.ATOMIC_GROUP:
            live = _walk(value, live, power, round, inside)
        elif op in (ops.ASSERT, ops.ASSERT_NOT):
            _walk(value[1], live, power, round, inside)
        elif op is ops.GROUPREF_EXISTS:
            live = _branched([value[1], value[2] or []], live, power, round, inside)
        elif op is ops.GROUPREF:
            live = _added(_Loop(ALL, 1.0, round), live, power)
        elif op is not ops.AT:
            live = _crossing(live, _chars([(op, value)]))
    return live


def _repeated(value: Any, live: list[_Loop], power: float, round: int, inside: bool) -> list[_Loop]:
    least, most, body = value
    chars = _chars(body)
    if most <= FEW:
        through = live
        for _ in range(min(int(most), 4)):  # enough rounds to see whether they share a text
            through = _walk(body, through, power, round, inside)
        taken = max(through, live if least == 0 else through, key=_weight)
        return taken if least == most else _added(_Loop(chars, OPTION, round), taken, power)
    if not _is_one_character(body):
        first = _walk(body, [], power, 1, inside=True)
        _walk(body, first, power, 2, inside=True)
    live = _crossing(live, chars) if least else live
    return _added(_Loop(chars, 1.0, round), live, power)


def _branched(branches: Sequence[Any], live: list[_Loop], power: float, round: int, inside: bool) -> list[_Loop]:
    if inside:
        seen: Chars = frozenset()
        for branch in branches:
            first = _first(branch)
            if seen & first:  # each round has two ways to go
                raise _SlowError
            seen |= first
    after = max((_walk(branch, live, power, round, inside) for branch in branches), key=_weight)
    if any(_may_be_empty(branch) for branch in branches):
        after = _added(_Loop(frozenset().union(*map(_chars, branches)), OPTION, round), after, power)
    return after


def _added(loop: _Loop, live: list[_Loop], power: float) -> list[_Loop]:
    """Add a repetition, unless it shares a text with too many others, or with one of the previous round."""
    shared = [other for other in live if other.chars & loop.chars]
    if any(0 < other.round < loop.round for other in shared) or _weight([*shared, loop]) > power + 0.99:
        raise _SlowError
    return [*live, loop]


def _crossing(live: list[_Loop], chars: Chars) -> list[_Loop]:
    """Return the repetitions that are live after one of these characters: those that match none of them have ended."""
    return [loop for loop in live if loop.chars & chars]


def _weight(live: list[_Loop]) -> float:
    return sum(loop.weight for loop in live)


def _may_be_empty(items: Any) -> bool:
    return not items or (hasattr(items, "getwidth") and items.getwidth()[0] == 0)


def _is_one_character(body: Any) -> bool:
    items = list(body)
    while len(items) == 1 and items[0][0] is ops.SUBPATTERN:
        items = list(items[0][1][3])
    return len(items) == 1 and items[0][0] in (ops.LITERAL, ops.NOT_LITERAL, ops.ANY, ops.IN)


def _without_last_loop(items: list[Any]) -> list[Any]:
    """Return an expression without its final repetition: nothing after it can fail, so it is tried only once."""
    if not items:
        return items
    op, value = items[-1]
    if op is ops.SUBPATTERN:
        return [*items[:-1], (op, (*value[:3], _without_last_loop(list(value[3]))))]
    if op in _REPEATS and _is_one_character(value[2]):
        return [*items[:-1], *[item for _ in range(min(value[0], FEW)) for item in value[2]]]
    return items


def _first(items: Iterable[Any]) -> Chars:
    """Return the characters that a part of an expression can begin with."""
    found: Chars = frozenset()
    for op, value in items:
        if op in _REPEATS:
            found |= _first(value[2])
            if value[0] == 0:
                continue
        elif op is ops.SUBPATTERN:
            found |= _first(value[3])
        elif op is ops.BRANCH:
            found |= frozenset().union(*(_first(branch) for branch in value[1]))
        elif op in (ops.AT, ops.ASSERT, ops.ASSERT_NOT):
            continue
        else:
            found |= _chars([(op, value)])
        return found
    return found


def _chars(items: Iterable[Any]) -> Chars:
    """Return all characters that a part of an expression can match, ignoring case."""
    found: set[str] = set()
    for op, value in items:
        if op is ops.LITERAL:
            found |= _alike(chr(value))
        elif op is ops.NOT_LITERAL:
            found |= ALL - _alike(chr(value))
        elif op is ops.IN:
            found |= _of_class(value)
        elif op is ops.ANY:
            found |= ALL - {"\n"}
        elif op in _REPEATS:
            found |= _chars(value[2])
        elif op is ops.SUBPATTERN:
            found |= _chars(value[3])
        elif op is ops.BRANCH:
            found |= set().union(*(_chars(branch) for branch in value[1]))
        elif op is ops.ATOMIC_GROUP:
            found |= _chars(value)
        elif op not in (ops.AT, ops.ASSERT, ops.ASSERT_NOT):
            found |= ALL
    return frozenset(found)


def _of_class(items: Iterable[Any]) -> set[str]:
    found: set[str] = set()
    negated = False
    for op, value in items:
        if op is ops.NEGATE:
            negated = True
        elif op is ops.LITERAL:
            found |= _alike(chr(value))
        elif op is ops.RANGE:
            found |= {c for c in _SAMPLE if any(value[0] <= ord(x) <= value[1] for x in _alike(c))}
        elif value in _CATEGORIES:
            found |= {c for c in _SAMPLE if _CATEGORIES[value](c)}
        else:
            found |= {c for c in _SAMPLE if not _CATEGORIES[_OPPOSITES[value]](c)}
    return set(ALL) - found if negated else found


def _alike(char: str) -> set[str]:
    return {char} | {other for other in (char.lower(), char.upper()) if len(other) == 1}
