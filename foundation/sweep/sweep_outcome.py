"""What a sweep comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from foundation.sweep.power_law import Fit
from foundation.sweep.sweep_settings import SweepSettings
from foundation.sweep.sweep_trial import Measured


@dataclass(frozen=True)
class Outcome:
    """Trials, and the law that fits them.

    Args:
        settings: of the sweep.
        measured: the trials.
        fit: the law; None where they are too few.
    """

    settings: SweepSettings
    measured: Sequence[Measured]
    fit: Fit | None

    def __str__(self) -> str:
        return "\n".join([trial_table(self.measured, self.fit), "", law_text(self.fit)])


def trial_table(measured: Sequence[Measured], fit: Fit | None) -> str:
    """A line for each trial, in Markdown."""
    lines = ["| width | parameters | recordings | neuron-tokens | seed | steps | loss | law |"]
    lines.append("|---:|---:|---:|---:|---:|---:|---:|---:|")
    for m in sorted(measured, key=lambda m: (m.parameters, m.tokens, m.trial.seed)):
        law = f"{fit.law(m.parameters, m.tokens):.4f}" if fit is not None else "-"
        lines.append(
            f"| {m.trial.width} | {m.parameters:,} | {m.trial.recordings} | {m.tokens:,} | {m.trial.seed} "
            f"| {m.steps:,} | {m.loss:.4f} | {law} |"
        )
    return "\n".join(lines)


def law_text(fit: Fit | None) -> str:
    """The law in words and numbers."""
    if fit is None:
        return (
            "Too few trials for a law: it has five numbers, and needs eight points, of three sizes and three amounts."
        )
    law = fit.law
    lines = [
        f"L(N, D) = {law.floor:.4f} + {law.model_scale:.4g} / N^{law.alpha:.3f} "
        f"+ {law.data_scale:.4g} / D^{law.beta:.3f}",
        "",
        "| | fitted | 95 % of the bootstrap |",
        "|---|---:|---:|",
    ]
    for name, title in (
        ("floor", "E, nats a bin"),
        ("alpha", "alpha, of parameters"),
        ("beta", "beta, of neuron-tokens"),
    ):
        low, high = fit.intervals[name]
        lines.append(f"| {title} | {getattr(law, name):.4f} | {low:.4f} to {high:.4f} |")
    return "\n".join(lines)
