"""Tables for terminals and Markdown, Markdown pages built part by part, and HTML pages from templates."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from foundation.common.errors import FoundationError
from foundation.common.files.locks import write_whole
from foundation.common.output.printable import in_page, printable

if TYPE_CHECKING:
    import jinja2


def text_table(rows: Iterable[Sequence[str]], *, right: Collection[int] = (), indent: int = 0) -> str:
    r"""Return rows as lines with aligned columns, two spaces apart.

    Args:
        rows: cells of each row; a row may be shorter. Control characters are escaped.
        right: numbers of the right-aligned columns.
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
    """Return a table in Markdown, without a final newline.

    Args:
        head: names of the columns.
        rows: cells of each row, written as text.
        right: number of right-aligned columns at the end.

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


class MarkdownPage:
    """A page in Markdown, with blank lines between its parts.

    Args:
        title: heading of the page; empty for a piece of a page.

    Example:
        >>> page = MarkdownPage("Scores")
        >>> page.say("Of two seeds.", "")
        >>> page.table(["", "R2"], [["rates", "0.5"]])
        >>> print(page.text, end="")
        # Scores
        <BLANKLINE>
        Of two seeds.
        <BLANKLINE>
        | | R2 |
        |---|---|
        | rates | 0.5 |
    """

    def __init__(self, title: str = "") -> None:
        self.parts = [f"# {title}"] if title else []

    def heading(self, text: str, level: int = 2) -> None:
        """Add a heading."""
        self.parts.append(f"{'#' * level} {text}")

    def say(self, *paragraphs: str) -> None:
        """Add paragraphs; empty ones are left out."""
        self.parts += [paragraph for paragraph in paragraphs if paragraph]

    def code(self, text: str, language: str = "") -> None:
        """Add a block of code."""
        self.parts.append(f"```{language}\n{text}\n```")

    def items(self, texts: Iterable[str]) -> None:
        """Add a list."""
        self.parts.append("\n".join(f"- {text}" for text in texts))

    def picture(self, place: str, alt: str) -> None:
        """Add a picture at ``place``, relative to the page."""
        self.parts.append(f"![{alt}]({place})")

    def table(self, head: Sequence[object], rows: Iterable[Sequence[object]], right: int = 0) -> None:
        """Add a table, see `markdown_table`."""
        self.parts.append(markdown_table(head, rows, right=right))

    @property
    def text(self) -> str:
        """The page."""
        return "\n\n".join(self.parts) + "\n"

    def write(self, path: str | Path) -> None:
        """Write the page atomically."""
        write_whole(Path(path), self.text)


def html_template(package: str, name: str) -> jinja2.Template:
    """Return a template of a package. Texts put into it are escaped, control characters included.

    Args:
        package: the package whose folder ``templates`` holds the template; includes may come from ``foundation``'s.
        name: name of the file.

    Raises:
        FoundationError: if Jinja is not installed.

    Example:
        >>> page = html_template("foundation", "catalog.html.j2").render(name="<b>", records=[], cards=[])
        >>> "<title>Catalog of &lt;b&gt;</title>" in page
        True
    """
    try:
        import jinja2
    except ModuleNotFoundError as error:
        raise FoundationError(
            f"the page needs the package {error.name!r}: pip install 'neural-foundation[finetune]'"
        ) from error
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(package), jinja2.PackageLoader("foundation")]),
        autoescape=True,
        finalize=in_page,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
