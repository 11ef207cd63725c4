"""Tables as text: with columns of equal width for a terminal, and in Markdown for a page."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from foundation.common.printable import printable


def text_table(rows: Iterable[Sequence[str]], *, right: Collection[int] = (), indent: int = 0) -> str:
    r"""Return rows as lines with their cells below each other, two spaces apart.

    Args:
        rows: cells of each row; a row may end early. Control characters are written as escapes.
        right: columns that are aligned to the right, by number.
        indent: spaces before each line.

    Example:
        >>> print(text_table([["file", "units"], ["mouse\n", "3"]], right={1}, indent=2))
          file     units
          mouse\n      3
    """
    lines = [[printable(cell) for cell in row] for row in rows]
    n_columns = max(map(len, lines), default=0)
    widths = [max(len(line[k]) for line in lines if k < len(line)) for k in range(n_columns)]
    return "\n".join(
        (
            " " * indent
            + "  ".join(cell.rjust(widths[k]) if k in right else cell.ljust(widths[k]) for k, cell in enumerate(line))
        ).rstrip()
        for line in lines
    )


def markdown_table(head: Sequence[object], rows: Iterable[Sequence[object]], *, right: int = 0) -> str:
    """Return a table in Markdown, without a line end behind it.

    Args:
        head: names of the columns.
        rows: cells of each row, written as text.
        right: how many of the last columns are aligned to the right.

    Example:
        >>> print(markdown_table(["", "R2"], [["rates", 0.5], ["a|b", "-"]], right=1))
        | | R2 |
        |---|---:|
        | rates | 0.5 |
        | a\\|b | - |
    """
    rule = "".join("---:|" if k >= len(head) - right else "---|" for k in range(len(head)))
    return "\n".join([_line(head), f"|{rule}", *map(_line, rows)])


def _line(cells: Iterable[object]) -> str:
    texts = (printable(str(cell)).replace("|", "\\|") for cell in cells)
    return "|" + "".join(f" {text} |" if text else " |" for text in texts)
