"""Write the page of a full test run from pytest's XML: date, commit, counts, times, and tests that did not run."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from pathlib import Path

from foundation.common.output.pages import MarkdownPage


def page_of(xml: Path) -> MarkdownPage:
    """Return the page of one run."""
    suite = ET.parse(xml).getroot().find("testsuite")
    counts = {name: int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped")}
    passed = counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    skips = sorted(
        {case.find("skipped").get("message") for case in suite.iter("testcase") if case.find("skipped") is not None}
    )
    slow = sorted(suite.iter("testcase"), key=lambda case: -float(case.get("time")))[:15]
    page = MarkdownPage("The whole test suite")
    page.say(
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {commit.strip()}, `make test-full`: {passed} passed, "
        f"{counts['failures']} failed, {counts['errors']} errors, {counts['skipped']} skipped in "
        f"{float(suite.get('time')) / 60:.1f} minutes.",
        "Not run, and why:",
    )
    page.items(skips or ["nothing was left out"])
    page.table(["Slowest", "seconds"], [[case.get("name"), f"{float(case.get('time')):.1f}"] for case in slow])
    return page


if __name__ == "__main__":
    page_of(Path(sys.argv[1])).write(sys.argv[2])
