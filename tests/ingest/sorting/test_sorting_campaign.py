"""The campaign behind the results page, on short sessions: it makes all rows, resumes, and never mixes settings."""

from dataclasses import replace

import numpy as np
import pytest

from foundation.common.errors import ConfigError, FoundationError, SourceError
from foundation.common.files.jsonl_results import put_result, read_results
from ingest.sorting.campaign.campaign_page import sorting_page
from ingest.sorting.campaign.campaign_runs import reproduce_sorting
from ingest.sorting.campaign.campaign_settings import SortingTable
from ingest.sorting.clustering.cluster_settings import ClusterSettings
from ingest.sorting.simulation.session_spikes import file_spikes, session_spikes
from ingest.sorting.simulation.simulated_voltage_settings import SessionSettings

SESSION = SessionSettings(seconds=20.0, min_rate=4.0, max_rate=8.0, min_snr=6.0, background_units=100)


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    shape = np.stack([np.sin(np.arange(40) / 4 + phase) * np.hanning(40) for phase in (0, 1.5)]) * 60
    truth = np.repeat([1, 2], 60)
    file = tmp_path / "two.npz"
    np.savez(file, waveforms=shape[truth - 1] + rng.normal(0, 2, (120, 40)), true_class=truth, wave_clus_class=truth)
    return SortingTable(
        output=str(tmp_path / "results"),
        page=str(tmp_path / "page" / "sorting.md"),
        rows=["known", "v0", "v3", "pca"],
        seeds=[0],
        test_units=[2, 3],
        train_units=[2, 3],
        session=SESSION,
        files=[str(file)],
        tasks=["detected", "notebook", "files"],
        clustering=ClusterSettings(epochs=1, max_units=4, max_fit=500),
    )


def test_campaign_produces_all_rows_and_resumes(table, tmp_path):
    done = reproduce_sorting(table)
    detected = read_results(tmp_path / "results" / "detected.jsonl")
    assert done.made == 2 * 2 * 7 + 7
    assert {(r["row"], r["choice"]) for r in detected} == {
        ("known", "gt"), *((row, choice) for row in ("v0", "v3", "pca") for choice in ("gt", "auto"))
    }  # fmt: skip
    known = [r for r in detected if r["row"] == "known"]
    assert all(sum(r["hits_U"]) > 0.8 * sum(r["spikes_U"]) for r in known)
    page = (tmp_path / "page" / "sorting.md").read_text()
    assert "Table 1 as the report's notebooks define it" in page
    assert "Wave_clus" in page
    assert "72 / 76 / 73" in page

    kept = detected[3:]
    (tmp_path / "results" / "detected.jsonl").write_text("".join(f"{_line(r)}\n" for r in kept))
    assert reproduce_sorting(table).made == 3
    again = read_results(tmp_path / "results" / "detected.jsonl")
    assert [_without_time(r) for r in again] == [_without_time(r) for r in detected]

    with pytest.raises(FoundationError, match="is of other settings: expected equal ones; move the file away"):
        reproduce_sorting(replace(table, threshold=5.0))


def test_drift_and_bursts_are_compared_with_the_same_sessions_without(table, tmp_path):
    few = replace(table, rows=["pca"], test_units=[2], tasks=["detected", "drift", "bursts"], bursting=1.0)
    assert reproduce_sorting(few).made == 3 * 2
    results = tmp_path / "results"
    spikes = {task: read_results(results / f"{task}.jsonl")[0]["spikes_U"] for task in few.tasks}
    assert spikes["drift"] == spikes["detected"] != spikes["bursts"]
    lines = (tmp_path / "page" / "sorting.md").read_text().splitlines()
    rows = [line.split("|")[1:5] for line in lines if line.startswith("| PCA") and ("drift" in line or "burst" in line)]
    assert [row[2].strip() for row in rows] == ["drift", "drift", "bursts", "bursts"]


def test_page_shows_the_effect_of_sorting_on_a_head(tmp_path):
    score = {"value": 0.8, "low": 0.7, "high": 0.9}
    run = {"networks": 2, "seconds": 30.0, "each": 5, "seed": 0, "neurons": 20, "found": 15, "well_detected": 12,
           "accuracy": 0.7, "units": 16, "false": 1, "rate": score, "probe": score, "both": score}  # fmt: skip
    put_result(tmp_path / "cell_types.jsonl", {"store": "sorted", "samples": 15, **run}, ("store",))
    page = sorting_page(tmp_path, "command", 4.0)
    assert "--networks 2 --neurons 10 --seconds 30 --each 5 --seed 0" in page
    assert "| sorted trains | 15 | 0.800 (0.700 to 0.900) |" in page
    assert "| 0.600 | 0.600 |" in page  # the neurons that were not found count as errors


def _line(result):
    import json

    return json.dumps(result)


def _without_time(result):
    return {name: value for name, value in result.items() if not name.endswith("seconds")}


def test_notebook_spikes_are_at_true_times_and_above_the_snr():
    spikes = session_spikes(replace(SESSION, min_snr=3.0), 6, [1], None)
    kept = spikes.above(5.0)
    assert len(spikes.waveforms) == spikes.spikes_U.sum()
    assert (kept.snr_U > 5).all()
    assert 0 < len(kept.snr_U) < 6
    assert np.bincount(kept.true_N).tolist() == kept.spikes_U.tolist()


def test_files_without_labels_are_named(tmp_path):
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(SourceError, match=r"cannot read labelled spikes from .*other.npz"):
        file_spikes(tmp_path / "other.npz")


def test_invalid_settings_are_named():
    with pytest.raises(ConfigError, match="rows has 'v7': expected one of v0"):
        SortingTable(rows=["v7"])
    with pytest.raises(ConfigError, match="tasks has 'all': expected one of notebook"):
        SortingTable(tasks=["all"])
    with pytest.raises(ConfigError, match="seeds is \\[\\]"):
        SortingTable(seeds=[])
