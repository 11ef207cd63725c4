"""What the documentation site needs beside Sphinx: example scripts and options of commands as pages, our docstrings.

An example is a Python file of `examples/` in cells: ``# %% [markdown]`` begins text, ``# %%`` begins code.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import typing
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.domains.python import PyXRefRole
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
NAME = re.compile(r"[A-Z]\w+(\.\w+)?|[a-z_]+(\.\w+)+")
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


class NameRole(PyXRefRole):
    """Text in single backticks of a docstring: a link where it is a name that a page describes, else code."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return a link to the name, or code."""
        if not NAME.fullmatch(self.text):
            return [nodes.literal(self.rawtext, self.text)], []
        self.refdomain, self.reftype, self.classes = "py", "obj", ["xref", "py", "py-obj"]
        return self.create_xref_node()

    def process_link(
        self, env: Any, refnode: nodes.Element, has_explicit_title: bool, title: str, target: str
    ) -> tuple[str, str]:
        """Look the name up in all modules."""
        title, target = super().process_link(env, refnode, has_explicit_title, title, target)
        refnode["refspecific"] = True
        return title, target


def plain_sections(app: Sphinx, what: str, name: str, found: Any, options: Any, lines: list[str]) -> None:
    """Keep napoleon from taking text before a colon for a type: our types stand in the signatures."""
    if what in ("property", "attribute", "data") and lines:
        lines[0] = f": {lines[0]}"
    for k, line in enumerate(lines):
        if line.strip() in ("Returns:", "Yields:") and k + 1 < len(lines):
            lines[k : k + 2] = [f":{line.strip()[:-1].lower()}: {lines[k + 1].strip()}", ""]
            end = next((n for n in range(k + 1, len(lines)) if lines[n] and not lines[n].startswith(" ")), len(lines))
            lines[k + 1 : end] = [*lines[k + 2 : end], ""]
            return


def plain_types(app: Sphinx, found: Any, bound_method: bool) -> None:
    """Leave the limits of settings out of signatures: ``Annotated[int, Limit(...)]`` is shown as ``int``."""
    with contextlib.suppress(NameError, TypeError, AttributeError):
        found.__annotations__ = typing.get_type_hints(found)


def plain_defaults(app: Sphinx, what: str, name: str, found: Any, options: Any, given: str | None, result: str) -> Any:
    """Show a default that each object makes for itself as ``...``."""
    return (given.replace("<factory>", "..."), result) if given else None


def formula(writer: Any, node: nodes.Element) -> None:
    """Write a formula as MathML, which browsers show without a script."""
    writer.body.append(tex2mathml(node.astext(), as_block=isinstance(node, nodes.math_block)))
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register directives, role, the writer of formulas, and what is done to docstrings."""
    app.add_directive("example", ExamplePage)
    app.add_directive("command-help", CommandHelp)
    app.add_role("name", NameRole())
    app.add_html_math_renderer("mathml", inline_renderers=(formula, None), block_renderers=(formula, None))
    app.connect("autodoc-process-docstring", plain_sections, priority=100)
    app.connect("autodoc-process-signature", plain_defaults)
    app.connect("autodoc-before-process-signature", plain_types)
    return {"parallel_read_safe": True}
