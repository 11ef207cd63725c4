"""The pages under docs/results equal those rendered from results/, character by character."""

from pathlib import Path

import pytest

from finetune.reproduce import EXPERIMENTS, commands
from finetune.reproduce.common.run_results import tables_of
from foundation.common.errors import FoundationError

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_page_matches_its_stored_results(name):
    experiment, output, page = EXPERIMENTS[name], ROOT / "results" / name, ROOT / "docs" / "results" / f"{name}.md"
    drawn = {"pictures": page.with_suffix("")} if experiment.draws else {}
    assert experiment.page(output, commands(output), **drawn) == page.read_text()


def test_results_of_the_former_layout_are_rejected(tmp_path):
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "linear-seed0.json").write_text("{}")
    with pytest.raises(FoundationError, match=r"linear-seed0\.json is a result of an earlier version: expected one"):
        tables_of(tmp_path)
