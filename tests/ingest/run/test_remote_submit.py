"""The files sent with a job on a cluster."""

import yaml

from foundation.common.settings.command import build_parser, parse
from ingest.job import IngestCommand, run_command
from ingest.recipe.recipes import load_recipe
from ingest.run.remote_submit import _write


def test_settings_and_recipe_arrive_unchanged(tmp_path, monkeypatch):
    (tmp_path / "own.yaml").write_text("units: {cell_type: [klass]}\n")
    command = IngestCommand("nwb", "store", str(tmp_path / "own.yaml"), strict=True, cluster="cluster.yaml")
    out = tmp_path / "out"
    out.mkdir()
    config, recipe = _write(command, out)
    assert {"dry_run", "explain", "cluster"}.isdisjoint(yaml.safe_load(config.read_text()))
    parsed = parse(build_parser("job", run_command, IngestCommand), IngestCommand, ["--config", str(config)])
    assert (parsed.input, parsed.store, parsed.strict, parsed.cluster) == ("nwb", "store", True, None)
    monkeypatch.chdir(out)  # the job runs in the folder that the files were copied to
    assert load_recipe(parsed.recipe).digest == load_recipe(tmp_path / "own.yaml").digest
    assert parsed.recipe == f"./{recipe.name}"
