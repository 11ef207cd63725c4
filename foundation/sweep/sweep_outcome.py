"""Result of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from foundation.common.output.pages import markdown_table
from foundation.sweep.power_law import Fit
from foundation.sweep.sweep_settings import SweepSettings
from foundation.sweep.sweep_trial import Measured


@dataclass(frozen=True)
class Outcome:
    """Trials, and the law that fits them.

    Args:
        settings: of the sweep.
        measured: the trials.
        fit: the law; None if there are too few trials.
    """

    settings: SweepSettings
    measured: Sequence[Measured]
    fit: Fit | None

    def __str__(self) -> str:
        return "\n".join([trial_table(self.measured, self.fit), "", law_text(self.fit)])


def trial_table(measured: Sequence[Measured], fit: Fit | None) -> str:
    """Return a table in Markdown with a line for each trial."""
    head = ["width", "parameters", "recordings", "neuron-tokens", "seed", "steps", "loss", "law"]
    rows = []
    for m in sorted(measured, key=lambda m: (m.parameters, m.tokens, m.trial.seed)):
        law = f"{fit.law(m.parameters, m.tokens):.4f}" if fit is not None else "-"
        rows.append(
            [m.trial.width, f"{m.parameters:,}", m.trial.recordings, f"{m.tokens:,}", m.trial.seed, f"{m.steps:,}",
             f"{m.loss:.4f}", law]
        )  # fmt: skip
    return markdown_table(head, rows, right=len(head))


def law_text(fit: Fit | None) -> str:
    """Return the law in words and numbers."""
    if fit is None:
        return (
            "Too few trials for a law: it has five numbers, and needs eight points, of three sizes and three amounts."
        )
    law = fit.law
    rows = []
    for name, title in (
        ("floor", "E, nats a bin"),
        ("alpha", "alpha, of parameters"),
        ("beta", "beta, of neuron-tokens"),
    ):
        low, high = fit.intervals[name]
        rows.append([title, f"{getattr(law, name):.4f}", f"{low:.4f} to {high:.4f}"])
    formula = (
        f"L(N, D) = {law.floor:.4f} + {law.model_scale:.4g} / N^{law.alpha:.3f} "
        f"+ {law.data_scale:.4g} / D^{law.beta:.3f}"
    )
    return f"{formula}\n\n{markdown_table(['', 'fitted', '95 % of the bootstrap'], rows, right=2)}"
