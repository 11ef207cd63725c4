"""What the tables of decoded behaviour were to reach, fixed before their runs."""

from __future__ import annotations

from dataclasses import dataclass

from finetune.reproduce.decoding.decoding_settings import TRANSFER

FLOOR = "rate"


@dataclass(frozen=True)
class Aim:
    """What a row was to reach, fixed before the runs.

    Args:
        label, subject, row: which.
        at_least: the least figure; None: a paired interval above ``over``.
        over: the row that it should exceed.
        not_below: the row may also be as good as ``over``: its paired interval is not below 0.
        by: the least gain over ``over``.
    """

    label: str
    subject: str
    row: str
    at_least: float | None = None
    over: str = FLOOR
    not_below: bool = False
    by: float = 0.0


REACH_AIMS = (
    Aim("velocity", "Chewie", "frozen_apart", at_least=0.81),
    Aim("velocity", "Mihi", "frozen_apart", at_least=0.91),
    Aim("velocity", "Chewie", "finetuned", at_least=0.84),
    Aim("velocity", "Mihi", "finetuned", at_least=0.925),
    Aim("velocity", "Chewie", "finetuned", over="profile"),
    Aim("velocity", "Mihi", "finetuned", over="profile"),
    Aim("velocity", "Chewie", "finetuned", over="gru"),
    Aim("velocity", "Mihi", "finetuned", over="gru"),
    Aim("velocity", "Chewie", "few_20", over="few_20_scratch", by=0.10),
    Aim("position", "Chewie", "frozen_apart"),
    Aim("direction", "Chewie", "frozen_apart", not_below=True),
    Aim("direction", "Mihi", "frozen_apart", not_below=True),
)
# Table -> what it was to reach.
AIMS = {
    "decoding-reach": REACH_AIMS,
    "decoding-random-targets": tuple(
        Aim(label, subject, "frozen_apart", over=over)
        for label in ("velocity", "position")
        for subject in ("targets01", "targets02")
        for over in (FLOOR, "gru")
    ),
    "decoding-tracks": tuple(
        Aim("position", subject, "frozen_apart", over=over)
        for subject in ("rat-linear-track", "rat-w-maze")
        for over in (FLOOR, "gru", "place")
    ),
    "decoding-reach-causal": tuple(
        Aim("velocity", subject, row, over=over)
        for subject in ("Chewie", "Mihi")
        for row, over in (("frozen_apart", FLOOR), ("finetuned", FLOOR), ("finetuned", "gru_causal"))
    ),
    **{
        name: tuple(
            Aim("velocity", subject, f"transfer_{trials}", over=f"transfer_{trials}_rate")
            for subject in subjects
            for trials in TRANSFER
        )
        for name, subjects in (("decoding-transfer", ("Chewie", "Mihi")), ("decoding-transfer-networks", ("net07",)))
    },
}
