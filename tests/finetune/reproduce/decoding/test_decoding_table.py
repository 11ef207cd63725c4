"""The table of decoded behaviour: its rows, resuming, held-out time of pretraining, and its page."""

import json
from dataclasses import replace

import numpy as np
import pytest

from finetune.finetune_settings import FinetuneSettings
from finetune.heads.fitting.head_probe import probe_with_rates
from finetune.reproduce import DecodingTable, ReproduceSettings, reproduce
from finetune.reproduce.common.run_results import read_all
from finetune.reproduce.common.stored_sums import pack_sums, unpack_sums
from finetune.reproduce.decoding.decoding_by_others import decode_by_others
from finetune.reproduce.decoding.decoding_page import decoding_page, figure, gain
from finetune.reproduce.decoding.decoding_rows import WORK
from finetune.reproduce.decoding.decoding_runs import find_targets, held_out_blocks, planned
from finetune.reproduce.decoding.decoding_text import PREPARATION
from finetune.reproduce.decoding.pretrained_models import PretrainedModels
from foundation.common.errors import ConfigError, FoundationError
from foundation.common.files.jsonl_results import read_results
from foundation.common.settings.command import build_parser, parse
from foundation.common.settings.resources import config_names
from foundation.evaluation.confidence_intervals import gain as gain_of_one
from foundation.evaluation.confidence_intervals import interval
from foundation.evaluation.metrics import primary, sums
from foundation.store import Catalog, Interval, Store


def test_every_seed_runs_every_row_and_deterministic_rows_run_once(rows):
    seeds = {name: [r.seed for r in found] for name, found in rows.items()}
    fixed = {"rate", "rate_own", "time", "profile", "oracle"}
    drawn = {f"{row}{end}" for row in ("frozen", "both", "shuffled") for end in ("", "_apart")}
    drawn |= {"random", "finetuned", "scratch"}
    few = {f"few_20{end}" for end in ("", "_rate", "_frozen", "_both", "_scratch")}
    for subject in ("Ann", "Bob"):
        mine = {name.split("/")[2]: found for name, found in seeds.items() if name.startswith(f"velocity/{subject}/")}
        assert mine == {row: [0] for row in fixed} | {row: [0, 1] for row in drawn | few | {"gru", "gru_causal"}}
        mine = {name.split("/")[2]: found for name, found in seeds.items() if name.startswith(f"direction/{subject}/")}
        assert mine == {"rate": [0]} | {row: [0, 1] for row in drawn}
        assert seeds[f"hidden_units/{subject}/others"] == [0]
        assert seeds[f"hidden_units/{subject}/co_smoothing"] == [0, 1]
    assert rows["velocity/Ann/rate"][0].accuracy > 0.4
    assert rows["velocity/Ann/oracle"][0].accuracy > 0.5
    assert rows["velocity/Ann/shuffled_apart"][0].accuracy < 0.2
    assert len({json.dumps(r.detail["sums"]) for r in rows["velocity/Ann/frozen_apart"]}) == 2  # seeds differ
    assert rows["velocity/Ann/frozen"][0].detail["sums"] != rows["velocity/Ann/frozen_apart"][0].detail["sums"]


def test_table_resumes(settings, rows, place):
    table = place / "results/reach.jsonl"
    whole, models = table.read_bytes(), sorted((place / "models").glob("*/model/model.safetensors"))
    written = [path.stat().st_mtime_ns for path in models]
    assert len(models) == 2 * 3  # of each seed: one of all activity, and one without each block
    lines = [line for line in read_results(table) if (line["name"], line["seed"]) != ("direction/Bob/frozen", 1)]
    table.write_text("".join(json.dumps(line) + "\n" for line in lines))
    reproduce(settings)
    again = read_all(table)
    assert {name: [r.accuracy for r in found] for name, found in again.items()} == {
        name: [r.accuracy for r in found] for name, found in rows.items()
    }
    seconds = {(r.name, r.seed): r.detail["seconds"] for found in rows.values() for r in found}
    made = {
        (r.name, r.seed) for found in again.values() for r in found if r.detail["seconds"] != seconds[r.name, r.seed]
    }
    assert made <= {(f"direction/Bob/{row}", 1) for row in ("frozen", "both", "shuffled")}
    assert [path.stat().st_mtime_ns for path in models] == written  # nothing was pretrained again
    table.write_bytes(whole)


def test_another_configuration_is_rejected_before_any_work(settings, rows, place):
    whole = (place / "results/reach.jsonl").read_bytes()
    other = replace(settings, decoding=replace(settings.decoding, folds=3, models=str(place / "other")))
    with pytest.raises(FoundationError, match=r"velocity/Ann/rate, seed 0, of .* is of another configuration"):
        reproduce(other)
    assert (place / "results/reach.jsonl").read_bytes() == whole
    assert not (place / "other").exists()
    with pytest.raises(ConfigError, match="has 0 recordings of subject 'Dan'"):
        reproduce(replace(settings, decoding=replace(settings.decoding, subjects=["Dan"])))


def test_position_is_decoded_on_request_and_for_a_named_session(settings, place):
    catalog = Catalog.open(Store(place / "store"))
    table = replace(settings.decoding, subjects=["Ann-session0"], labels=["position"], work=["place", "place_causal"])
    (target,) = find_targets(table, catalog.where("subject == 'Ann'"), 1)
    assert target.name == "position/Ann-session0"
    models = PretrainedModels(table.pretrain, catalog, catalog, place / "models", [])
    assert [(run.work, run.main) for run in planned(table, [target], models)] == [
        (work, f"position/Ann-session0/{work}") for work in ("place", "place_causal")
    ]
    both, causal = (WORK[name].make(target, models, FinetuneSettings("c", "s", "o"))[name] for name in table.work)
    assert 0.2 < causal.figure < both.figure < 1
    assert len(both.detail["choices"]["walk"]) == 2


def test_model_of_a_block_has_not_seen_its_test_data(settings, place):
    table = settings.decoding
    everything = Catalog.open(Store(place / "store"))
    catalog = everything.select([r.id for r in everything if r.subject.id in table.subjects])
    targets = find_targets(table, catalog, 1)
    assert [t.name for t in targets] == [f"{label}/{subject}" for label in table.labels for subject in table.subjects]
    blocks = held_out_blocks(targets, table.folds)
    models = PretrainedModels(table.pretrain, catalog, everything, place / "models", blocks)
    for target in targets:
        for k, fold in enumerate(target.split.folds):
            held = models.settings(0, k).data.held_out_time[target.problem.recording.id]
            time = Interval([a for a, _ in held], [b for _, b in held])
            windows = np.unique(target.problem.window_S[fold.test])
            assert time.covers(target.problem.windows.start_W[windows], target.problem.end_W[windows]).all()
    whole = models.settings(0)
    assert not whole.data.held_out_time
    assert everything.where(whole.validation.held_out).ids == [r.id for r in everything if r.subject.id == "Cleo"]
    outputs = {models.settings(seed, block).output for seed in (0, 1) for block in (None, 0, 1)}
    assert len(outputs) == 6


def test_one_seed_has_the_intervals_of_finetune_and_several_their_mean(settings, rows, place):
    everything = Catalog.open(Store(place / "store"))
    target = find_targets(replace(settings.decoding, subjects=["Ann"]), everything.where("subject == 'Ann'"), 1)[0]
    problem, evaluation = target.problem, FinetuneSettings("c", "s", "o", control_repeats=3)
    rates = problem.rate_features()
    plain = probe_with_rates(problem, rates, rates[1:], target.split, evaluation)
    by_fold = probe_with_rates(problem, rates, lambda fold: rates[1:], target.split, evaluation)
    for name in ("rate", "model", "both"):
        mine, theirs = getattr(plain, name).predictions, getattr(by_fold, name).predictions
        assert (mine.predicted_S == theirs.predicted_S).all()
        np.testing.assert_allclose(unpack_sums(pack_sums(mine)), sums(mine), rtol=1e-5)
    assert plain.control == by_fold.control
    floor = rows["velocity/Ann/rate"]
    assert figure(floor).value == pytest.approx(primary(plain.rate.predictions), abs=1e-6)
    assert (figure(floor).low, figure(floor).high) == pytest.approx(interval(plain.rate.predictions, 1000, 0), abs=1e-4)
    ours = [replace(floor[0], detail=floor[0].detail | {"sums": pack_sums(plain.model.predictions)})]
    _, bounds = gain_of_one(plain.model.predictions, plain.rate.predictions, 1000, 0)
    assert gain(ours, floor).low == pytest.approx(bounds[0], abs=1e-4)
    seeds = rows["velocity/Ann/frozen_apart"]
    one, both = [gain([r], floor) for r in seeds], gain(seeds, floor)
    assert both.value == pytest.approx(np.mean([g.value for g in one]))
    assert min(g.low for g in one) <= both.low <= both.value <= both.high <= max(g.high for g in one)


def test_page_renders_with_any_number_of_seeds(rows, place, tmp_path):
    assert "No run is there yet." in decoding_page(tmp_path, "")
    lines = read_results(place / "results/reach.jsonl")
    (tmp_path / "reach.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines if not line["seed"]))
    one, several = decoding_page(tmp_path, ""), (place / "page.md").read_text()
    assert "Seeds so far: 0. velocity, Ann: 288 bins in 48 trials." in one
    assert "Seeds so far: 0, 1." in several
    row = next(line for line in several.splitlines() if line.startswith("| frozen, without the test block | "))
    found = figure(rows["velocity/Ann/frozen_apart"])
    assert row.startswith(f"| frozen, without the test block | {found.text()} |")
    assert row.endswith("| 2 |")
    row = next(line for line in one.splitlines() if line.startswith("| frozen, without the test block | "))
    assert row.startswith(
        f"| frozen, without the test block | {figure(rows['velocity/Ann/frozen_apart'][:1]).text()} |"
    )
    assert row.endswith("| 1 |")
    assert "Not run:" not in several
    assert "Tables without a run: `reproduce/decoding-reach`, " in several
    assert "| velocity, Ann | 20 | " in several
    assert "over from scratch" in several
    assert "| direction, mean of the animals | frozen, without the test block | above firing rates" in several
    assert "from seeing the test block's activity: velocity of Ann " in several
    assert str(place) not in several


def test_models_of_other_animals_and_variants_are_read(settings, place):
    catalog = Catalog.open(Store(place / "store"))
    table = replace(
        settings.decoding,
        subjects=["Ann"],
        labels=["velocity"],
        work=["rates", "transfer_10", "untrained_10", "made_10"],
        seeds=[0],
        variants={"recipe": {}, "one_step": {"steps": 1, "checkpoint_every": 1}},
    )
    one = replace(settings, name="from-others", page=None, output=str(place / "from-others"), decoding=table)
    rows = read_all(reproduce(one))
    made = {name: found[0] for name, found in rows.items() if "/made_10" in name}
    assert {name.removeprefix("velocity/Ann/made_10") for name in made} == {"", "_rate", "_dealt", "_tuned", "_fitted"}
    assert len({str(result.detail["sums"]) for result in made.values()}) == 5
    ends = ("", "_rate", "_frozen", "_both", "_scratch")
    assert {name for name in rows if "transfer" in name} == {f"velocity/Ann/transfer_10{end}" for end in ends}
    runs = [path for path in (place / "models").glob("decoding-seed0-all-*") if "Ann" not in subjects_of(path, catalog)]
    assert [subjects_of(run, catalog) for run in runs] == [{"Bob", "Cleo"}] * 2
    assert sorted(json.loads((run / "model/config.json").read_text())["made_rows"] for run in runs) == [False, True]
    frozen, untrained = rows["velocity/Ann/transfer_10_frozen"][0], rows["velocity/Ann/untrained_10"][0]
    assert frozen.detail["sums"] != untrained.detail["sums"]
    few, whole = rows["velocity/Ann/transfer_10_rate"][0], rows["velocity/Ann/rate"][0]
    assert few.accuracy < whole.accuracy
    page = decoding_page(place / "from-others", "")
    assert "### From other animals" in page
    assert "### Rows made from identity" in page
    scores = [figure(rows[f"velocity/Ann/made_10{end}"]).text() for end in ("_rate", "")]
    assert f"| velocity, Ann | 10 | {' | '.join(scores)} | " in page
    assert "| velocity, Ann | 10 | " in page
    assert f"| {figure([few]).text()} | " in page
    plain, other = (rows[f"velocity/Ann/variant_{name}"][0] for name in ("recipe", "one_step"))
    assert plain.detail["sums"] != other.detail["sums"]
    assert page.index("| recipe | ") < page.index("| one step | ")


def test_labels_of_one_animal_decode_another_without_labels(settings, place):
    catalog = Catalog.open(Store(place / "store"))
    chosen = catalog.select([r.id for r in catalog if r.subject.id in ("Ann", "Bob")])
    ann, bob = find_targets(replace(settings.decoding, labels=["velocity"]), chosen, 1)
    assert [one.recording.id for one in ann.others] == [bob.problem.recording.id]
    bob.problem.features = lambda _: bob.problem.rate_features()  # units of the two animals are tuned alike

    def decoded(ours):
        return decode_by_others(ann.problem, ann.others, None, lambda _: (None, ours), ann.split, 0)

    rates = ann.problem.rate_features()
    found = decoded(rates)
    assert primary(found) > 0.4
    assert len(found.y_S) == sum(len(fold.test) for fold in ann.split.folds)
    turned = [replace(rates[0], x_TF=np.roll(rates[0].x_TF, 4, axis=1))]  # units that prefer the opposite direction
    assert primary(decoded(turned)) < 0
    with pytest.raises(ValueError, match="others has 0 problems: expected one or more"):
        decode_by_others(ann.problem, (), None, lambda _: (None, rates), ann.split, 0)
    with pytest.raises(ConfigError, match=r"work has made_0 and decoding\.subjects one animal"):
        replace(settings.decoding, subjects=["Ann"], work=["made_0"])


def subjects_of(run, catalog):
    """Return the animals whose units have rows in the model of a run."""
    tables = json.loads((run / "model/config.json").read_text())["population_tables"]
    return {recording.subject.id for recording in catalog if any(recording.id in table for table in tables)}


def test_shipped_tables_are_valid_settings():
    shipped = {}
    for name in (name for name in config_names("reproduce") if name.startswith("reproduce/decoding-")):
        given = ["--config", name, "--store", "s"]
        settings = parse(build_parser("reproduce", reproduce, ReproduceSettings), ReproduceSettings, given)
        assert f"reproduce/{settings.name}" == name
        assert settings.name in PREPARATION
        shipped[settings.name] = settings.decoding
    assert shipped["decoding-reach"] == DecodingTable()
    assert set(shipped["decoding-variants"].variants) > {"recipe", "byol"}
    with pytest.raises(ConfigError, match=r"decoding\.variants has 'No dropout': lower-case letters"):
        DecodingTable(variants={"No dropout": {}})
    with pytest.raises(ConfigError, match=r"decoding\.work is \['probe'\]: one or more of rates"):
        DecodingTable(work=["probe"])
