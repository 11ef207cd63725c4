"""The page of a sweep: its runs, results and limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import yaml

from foundation.common.files.locks import write_whole
from foundation.common.output.pages import MarkdownPage
from foundation.objectives.objective_settings import SETTINGS_OF
from foundation.sweep.power_law import HUBER, Fit
from foundation.sweep.sweep_outcome import Outcome, law_text, trial_table
from foundation.sweep.sweep_picture import picture
from foundation.sweep.sweep_trial import Measured
from foundation.version import __version__

PLACES = ("store", "output", "page", "runs", "tracking_uri", "workers", "gpus", "address")
WHAT = """Each row is a model trained from random weights. N is the number of parameters of its encoder, D the number of
neuron-tokens (one token of one neuron) in its training recordings. Every trial goes through its recordings {passes},
so the number of steps grows with the data. The loss is that of the objective `{objective}` on
{held_out} held-out recordings, on the same windows for every trial of a seed. For masked modelling it is the Poisson
loss per hidden bin, in nats, up to a constant that no model can change. `law` is the loss of the fitted law."""
LIMITS = """- The models have {least:,} to {most:,} parameters and saw {few:,} to {many:,} neuron-tokens. Foundation
  models are thousands of times larger. These trials do not show that the law or its exponents hold for
  them; do not plan large models by it.
- The populations are simulated: at most {recordings} small networks of one kind. Real populations vary more,
  so the loss may fall at another rate with real recordings.
- One learning rate and one schedule serve all sizes, and {seeds}.
- The trial with the least data takes {steps} steps, the one with the most {most_steps:,}. At the short end the loss
  depends on how fast a model learns as much as on the amount of data.
- The law's form is taken from the literature on language (arXiv 2203.15556, section 3.3). A good fit is no proof of
  this form: it has five parameters, and the losses here span only a factor of {span:.3f}."""


def write_page(outcome: Outcome) -> Path:
    """Write the page, and its picture beside it."""
    page = Path(outcome.settings.page or Path(outcome.settings.output) / "scaling.md")
    shown = page.with_suffix(".png")
    write_whole(shown, picture(outcome.measured, outcome.fit))
    write_whole(page, render(outcome, shown.name))
    return page


def render(outcome: Outcome, shown: str) -> str:
    """Return the page in Markdown; ``shown`` is the picture's path relative to the page."""
    settings, measured = outcome.settings, outcome.measured
    sizes, amounts = [m.parameters for m in measured], [m.tokens for m in measured]
    losses, seeds = [m.loss for m in measured], len(settings.seeds)
    reported = {name: value for name, value in asdict(settings).items() if name not in PLACES}
    names = list(settings.objective.weights or [settings.objective.name])
    kept = {"name", "weights"} | {SETTINGS_OF.get(name, "settings") for name in names}
    reported["objective"] = {key: value for key, value in reported["objective"].items() if key in kept}
    limits = LIMITS.format(
        least=min(sizes), most=max(sizes), few=min(amounts), many=max(amounts),
        recordings=max(m.trial.recordings for m in measured),
        seeds="each point was trained once" if seeds == 1 else f"each point was trained {seeds} times",
        steps=min(m.steps for m in measured), most_steps=max(m.steps for m in measured),
        span=max(losses) / min(losses),
    )  # fmt: skip
    passes = "once" if settings.passes == 1 else f"{settings.passes:g} times"
    what = WHAT.format(passes=passes, objective=" + ".join(names), held_out=measured[0].held_out)
    page = MarkdownPage("Loss against size and data")
    page.say(
        f"Rendered by `foundation sweep`, version {__version__}: {len(measured)} trials, which took "
        f"{sum(m.seconds for m in measured) / 60:.0f} minutes in all.",
        what,
    )
    page.picture(shown, "Loss against neuron-tokens and against parameters")
    page.heading("The law")
    page.say(law_text(outcome.fit), *_remarks(outcome.fit, measured))
    page.heading("Limits of these results")
    page.say(limits)
    page.heading("Trials")
    page.say(trial_table(measured, outcome.fit))
    page.heading("Settings")
    page.code(yaml.safe_dump(reported, sort_keys=False, default_flow_style=None, width=110).strip(), "yaml")
    return page.text


def _remarks(fit: Fit | None, measured: Sequence[Measured]) -> list[str]:
    """Return a paragraph on the numbers of a law."""
    if fit is None:
        return []
    found = [
        f"Fitted on the logarithm of the loss, by least squares with Huber's loss for errors beyond {HUBER:g}, as in "
        "arXiv 2203.15556. It was chosen because plain least squares followed the smallest trial of a first campaign. "
        f"Half of the trials lie within {100 * fit.law.error:.1f} % of the law. The interval is the middle 95 % of "
        f"{fit.resamples} fits to trials drawn with replacement."
    ]
    law = fit.law
    terms = (
        ("alpha", "size", [law.model_scale / m.parameters**law.alpha for m in measured]),
        ("beta", "data", [law.data_scale / m.tokens**law.beta for m in measured]),
    )
    for name, what, parts in terms:
        low, high = fit.intervals[name]
        drop = max(parts) - min(parts)
        if drop < max(law.error, 0.001) * law.floor:
            found.append(f"By the law the loss hardly changes with {what}: {name} is not determined.")
        elif high - low > getattr(law, name):
            found.append(
                f"The interval of {name} is wider than {name} itself: these trials cannot show how fast the loss falls "
                f"with {what}."
            )
    if fit.largest is not None:
        one, predicted = fit.largest
        found.append(
            f"Fitted without the largest size and the largest amount, the law predicts {predicted:.4f} for the trial "
            f"that has both; its loss was {one.loss:.4f} ({100 * (predicted / one.loss - 1):+.2f} %)."
        )
    return found
