"""Two directives of the documentation site: an example script as a page, and the options of a command.

An example is a Python file of `examples/` in cells: ``# %% [markdown]`` begins text, ``# %%`` begins code.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
CELL = re.compile(r"^# %%[ ]*(\[markdown\])?.*$", re.MULTILINE)


def markdown_of(script: str) -> str:
    """Return a script in cells as Markdown: its text as text, its code as blocks of Python.

    Example:
        >>> print(markdown_of("# %% [markdown]\\n# # Title\\n# %%\\nx = 1\\n"))
        # Title
        <BLANKLINE>
        ```python
        x = 1
        ```
    """
    parts = CELL.split(script)
    pages = []
    for kind, cell in zip(parts[1::2], parts[2::2], strict=True):
        if not cell.strip():
            continue
        if kind:
            pages.append("\n".join(re.sub(r"^# ?", "", line) for line in cell.strip().splitlines()))
        else:
            pages.append(f"```python\n{cell.strip()}\n```")
    return "\n\n".join(pages)


class ExamplePage(SphinxDirective):
    """``{example} name.py`` puts a script of `examples/` on the page."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the parsed cells of the script."""
        path = ROOT / "examples" / self.arguments[0]
        self.env.note_dependency(str(path))
        return self.parse_text_to_nodes(markdown_of(path.read_text(encoding="utf-8")), allow_section_headings=True)


class CommandHelp(SphinxDirective):
    """``{command-help}`` gives each command of `foundation` a section with its options."""

    def run(self) -> list[nodes.Node]:
        """Return a section for each command."""
        from foundation.cli.commands import COMMANDS, main

        found: list[nodes.Node] = []
        os.environ["COLUMNS"] = "100"
        for name, command in COMMANDS.items():
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
                main([*name.split(), "--help"])
            options = printed.getvalue().partition("options:\n")[2]
            if not options:
                raise self.error(f"`foundation {name} --help` printed no options")
            section = nodes.section(ids=[f"foundation-{name.replace(' ', '-')}"], names=[f"foundation {name}"])
            section += nodes.title("", "", nodes.literal("", f"foundation {name}"))
            section += nodes.paragraph("", f"{command.summary[0].upper()}{command.summary[1:]}.")
            section += nodes.literal_block(options, options, language="text")
            found.append(section)
        return found


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("example", ExamplePage)
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True}
