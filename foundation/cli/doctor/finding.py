"""Findings of checks: their state, and how to fix a problem."""

from __future__ import annotations

from dataclasses import dataclass

OK, NOTE, WARNING, BROKEN = "ok", "note", "warning", "broken"
STATES = (BROKEN, WARNING, NOTE, OK)


@dataclass(frozen=True)
class Finding:
    """One result of a check.

    Args:
        subject: what was checked, in a word or two.
        state: ``ok``; ``note``: something optional is missing; ``warning``: some work is slower or will fail;
            ``broken``: commands fail.
        text: the finding.
        mend: what to do; empty if and only if the state is ``ok``.

    Raises:
        ValueError: if the state is unknown, or if a finding that is not ``ok`` has no `mend`.

    Example:
        >>> print(Finding("disk", WARNING, "2 GiB are free", "delete old runs"))
        disk: 2 GiB are free; delete old runs
    """

    subject: str
    state: str
    text: str
    mend: str = ""

    def __post_init__(self) -> None:
        if self.state not in STATES:
            raise ValueError(f"state is {self.state!r}: expected one of {', '.join(STATES)}")
        if (self.state == OK) != (not self.mend):
            raise ValueError(f"mend is {self.mend!r} for state {self.state!r}: only a finding in order has none")

    def __str__(self) -> str:
        return f"{self.subject}: {self.text}" + (f"; {self.mend}" if self.mend else "")
