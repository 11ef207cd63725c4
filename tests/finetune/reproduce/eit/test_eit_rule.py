"""How long a model of the EIT table trains, in which order it sees its windows, and the progress it reports."""

import numpy as np
import pytest
import torch

from finetune.reproduce import EITTable, ReproduceSettings, reproduce
from finetune.reproduce.common.run_results import find_recording, read_all
from finetune.reproduce.eit.decoding import Rule, fit, validate
from finetune.reproduce.eit.reaching_trials import cut, read_trials, split
from finetune.reproduce.models import MLPDecoder, MLPDecoderConfig
from foundation.common.errors import ConfigError
from foundation.store import Catalog, Store

N_TRIALS, N_UNITS = 40, 9
QUICK = Rule(max_epochs=4, patience=2, smooth=2, learning_rate=3e-3)


def test_trace_changes_no_result_and_is_kept_with_the_last_figure(reaching, tmp_path):
    store = reaching[0]
    found = {}
    for trace in (False, True):
        settings = ReproduceSettings(
            store=str(store), output=str(tmp_path / str(trace)), name="t", page=str(tmp_path / f"{trace}.md"),
            eit=EITTable(models=["mlp", "ndt"], seeds=[1], rule=Rule(epochs=11, learning_rate=3e-3), trace=trace),
        )  # fmt: skip
        found[trace] = read_all(reproduce(settings))
    plain, traced = found[False]["mlp"][0], found[True]["mlp"][0]
    assert traced.right_R == plain.right_R
    assert "traced" not in plain.detail
    assert list(traced.detail["traced"]) == ["5", "10"]
    assert all(0 <= value <= 1 for value in traced.detail["traced"].values())
    assert traced.key != plain.key
    assert "traced" not in found[True]["ndt"][0].detail  # it has no classes of its own
    sentence = f"chosen on the test trials: MLP {100 * max(traced.detail['traced'].values()):.2f} (epoch "
    assert sentence in (tmp_path / "True.md").read_text()
    assert "chosen on the test trials" not in (tmp_path / "False.md").read_text()


def test_windows_follow_the_order_of_the_rule(reaching):
    train, _ = split(read_trials(find_recording(Catalog.open(Store(reaching[0])), "Chewie")))
    cuts = cut(train, 6)
    n_trials, n_starts = len(train), len(cuts) // len(train)
    assert n_starts == 3

    class Watched(MLPDecoder):
        def forward(self, x_BNT, **more):
            batches.append(x_BNT)
            return super().forward(x_BNT, **more)

    rules = {
        "shuffled": Rule(epochs=2),
        "by trial": Rule(epochs=2, shuffle=False),
        "by start": Rule(epochs=2, shuffle=False, order="start"),
    }
    windows, first_batch = {}, {}
    for name, rule in rules.items():
        batches = []
        fit(lambda: Watched(MLPDecoderConfig(n_units=8, n_bins=6)), train, 6, rule, 0)
        windows[name] = (
            torch.cat(batches).numpy().reshape(2, *cuts.x_WNT.shape)
        )  # no epoch leaves out a single last window
        first_batch[name] = batches[0].numpy()
    np.testing.assert_array_equal(windows["by trial"], np.stack([cuts.x_WNT, cuts.x_WNT]))
    x_RSNT = cuts.x_WNT.reshape(n_trials, n_starts, *cuts.x_WNT.shape[1:])
    in_order = np.concatenate([x_RSNT[:, start] for start in range(n_starts)])
    np.testing.assert_array_equal(windows["by start"], np.stack([in_order, in_order]))
    # A batch holds the first window of 16 trials: their bins 1 to 6.
    np.testing.assert_array_equal(first_batch["by start"], train.centred().rate_RNT[:16, :, :6])
    assert (windows["shuffled"][0] != windows["shuffled"][1]).any()
    np.testing.assert_array_equal(np.sort(windows["shuffled"][0], axis=0), np.sort(cuts.x_WNT, axis=0))


def test_rule_without_an_order_keeps_its_earlier_key(reaching, tmp_path):
    assert "shuffle" not in Rule().config()  # keys of earlier results stay
    assert Rule(shuffle=False).config() == Rule().config() | {"shuffle": False}
    assert Rule(shuffle=False, order="start").config() == Rule().config() | {"shuffle": False, "order": "start"}
    settings = ReproduceSettings(
        store=str(reaching[0]), output=str(tmp_path / "o"), name="t", page=str(tmp_path / "page.md"),
        eit=EITTable(models=["mlp"], seeds=[1], rule=Rule(epochs=1, shuffle=False)),
    )  # fmt: skip
    assert read_all(reproduce(settings))["mlp"][0].config["rule"]["shuffle"] is False
    page = (tmp_path / "page.md").read_text()
    assert "1 epochs for every model. Windows come trial by trial, unshuffled." in page
    assert "Not run yet" not in page
    assert "`reproduce/eit-chewie-T6-by-start`) has not been run here." in page


def test_table_in_order_of_start_has_its_own_keys(reaching, tmp_path):
    found = {}
    for order in ("trial", "start"):
        output, page = str(tmp_path / order), str(tmp_path / f"{order}.md")
        settings = ReproduceSettings(
            store=str(reaching[0]), output=output, name=f"t-by-{order}", page=page,
            eit=EITTable(models=["mlp"], seeds=[1], rule=Rule(epochs=2, shuffle=False, order=order), controls=0),
        )  # fmt: skip
        found[order] = read_all(reproduce(settings))["mlp"][0]
    assert found["start"].key != found["trial"].key
    page = (tmp_path / "start.md").read_text()
    assert "2 epochs for every model. Windows come start by start, unshuffled." in page
    assert "has not been run here" not in page


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"order": "start"}, "order is 'start' and shuffle is true: set shuffle to false"),
        ({"order": "random", "shuffle": False}, "order is 'random': expected one of trial, start"),
    ],
)
def test_order_that_cannot_be_kept_is_rejected(rule, message):
    with pytest.raises(ConfigError, match=message):
        Rule(**rule)


def test_training_length_is_chosen_without_test_trials(reaching, monkeypatch):
    from finetune.reproduce.eit import decoding

    train, _ = split(read_trials(find_recording(Catalog.open(Store(reaching[0])), "Chewie")))
    seen = []
    figures = iter([0.1, 0.3, 0.5, 0.4, 0.2, 0.2, 0.2, 0.2])

    def figure(model, cuts):
        seen.append(len(cuts))
        return next(figures)

    monkeypatch.setattr(decoding, "validate", figure)
    trained = []
    epoch = decoding._Training.epoch
    monkeypatch.setattr(decoding._Training, "epoch", lambda self: (trained.append(len(self.x)), epoch(self))[1])
    rule = Rule(max_epochs=10, patience=3, smooth=2)
    _, detail = fit(lambda: MLPDecoder(MLPDecoderConfig(n_units=8)), train, 2, rule, 0)
    # means of two: 0.2, 0.4, 0.45, 0.3, ...: the fourth epoch is the best, and three more pass without a better one
    assert detail["epochs"] == 4
    assert seen == [6 * 6] * 7
    assert trained == [26 * 6] * 7 + [32 * 6] * 4
    _, detail = fit(lambda: MLPDecoder(MLPDecoderConfig(n_units=8)), train, 2, Rule(epochs=2), 0)
    assert detail == {"epochs": 2, "validation": []}


def test_validation_of_masked_bins_does_not_depend_on_draws(reaching):
    from finetune.reproduce.eit.decoding import MODELS

    train, _ = split(read_trials(find_recording(Catalog.open(Store(reaching[0])), "Chewie")))
    model, windows = MODELS["ndt"](8, 2), cut(train, 2)
    state = torch.get_rng_state()
    assert validate(model, windows) == validate(model, windows)
    assert torch.equal(torch.get_rng_state(), state)
