"""Tables and pages: cells stay in their columns, whatever their text, and pages are written atomically."""

from foundation.common.output.pages import MarkdownPage, html_template, markdown_table, text_table

HOSTILE = "a|b\n\x1b[2J"


def test_cell_never_breaks_its_row():
    rows = markdown_table(["name", ""], [[HOSTILE, 3], ["", None]]).splitlines()
    assert rows == ["| name | |", "|---|---|", r"| a\|b\n\x1b[2J | 3 |", "| | None |"]
    lines = text_table([["name", "units"], [HOSTILE, "3"], ["short"]], right={1}).splitlines()
    assert lines == [f"{'name':12}  units", r"a|b\n\x1b[2J      3", "short"]
    assert text_table([]) == ""


def test_parts_of_a_page_are_separated_by_blank_lines(tmp_path):
    page = MarkdownPage("Title")
    page.heading("Part", level=3)
    page.say("one", "", "two")
    page.code("make it", "sh")
    page.items(["a", "b"])
    page.picture("a.png", "Loss")
    page.write(tmp_path / "new" / "page.md")
    assert (tmp_path / "new" / "page.md").read_text() == (
        "# Title\n\n### Part\n\none\n\ntwo\n\n```sh\nmake it\n```\n\n- a\n- b\n\n![Loss](a.png)\n"
    )
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["page.md"]


def test_html_text_is_escaped_once():
    for package, name in (("foundation", "catalog.html.j2"), ("finetune", "report.html.j2")):
        page = html_template(package, name).render(name=f"<{HOSTILE}>", title=f"<{HOSTILE}>", records=[], cards=[])
        assert "&lt;a|b\n\\x1b[2J&gt;" in page
        assert "\x1b" not in page
        assert page.count("--accent: #0b5f97") == 1  # the style that pages share
