"""Settings of `foundation doctor`."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class DoctorSettings:
    """Settings of `foundation doctor`: its checks, and the form of its output.

    Args:
        json: print JSON for programs instead of lines for people.
        extras: extras that this machine must have, such as ``[train, ingest]``; a missing one counts as broken.
        imports: import every installed package, which takes some seconds and finds damaged ones.
        folder: place for stores and runs; space, locks and clock are checked there.
        tracking_uri: MLflow store to try; null: $MLFLOW_TRACKING_URI.
        patience: seconds to wait for a server.
    """

    json: bool = False
    extras: list[str] = field(default_factory=list)
    imports: bool = True
    folder: str = "."
    tracking_uri: str | None = None
    patience: float = 3.0
