"""Lines of the tracking queue: read, sent to MLflow, and those among them found that it refuses for good."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from foundation.common.mlflow_run import Run, flatten

log = logging.getLogger(__name__)
Line = dict[str, Any]
# Answers of MLflow that stay the same however often it is asked. Those on who may ask are none: a token is renewed.
REFUSALS = (
    "BAD_REQUEST",
    "INVALID_PARAMETER_VALUE",
    "INVALID_STATE",
    "MALFORMED_REQUEST",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_DOES_NOT_EXIST",
)
PASSING = (401, 403, 407, 408, 409, 425, 429)  # of the HTTP statuses from 400 to 499, those that may pass


def is_refusal(error: Exception) -> bool:
    """Whether an error is a server's answer that will not change; one of a server that is away is none.

    Example:
        >>> from mlflow.exceptions import RestException
        >>> codes = ("INVALID_PARAMETER_VALUE", "RESOURCE_EXHAUSTED", "INTERNAL_ERROR", "PERMISSION_DENIED")
        >>> [is_refusal(RestException({"error_code": code})) for code in codes]
        [True, False, False, False]
    """
    code = getattr(error, "error_code", None)
    if code is not None:
        return code in REFUSALS
    status = getattr(getattr(error, "response", None), "status_code", None)  # of artifacts, which go by plain HTTP
    return isinstance(status, int) and 400 <= status < 500 and status not in PASSING


def read_lines(queue: Path, start: int, most: int = 1 << 60) -> tuple[list[Line], int]:
    """Whole lines from a place in the queue on, and where the last of them ends."""
    lines: list[Line] = []
    with open(queue, "rb") as file:
        file.seek(start)
        for raw in file:
            if not raw.endswith(b"\n") or len(lines) >= most:
                break
            start += len(raw)
            try:
                lines.append(json.loads(raw))
            except ValueError:  # cut off by a crash, and written on by the next run
                log.warning("%s holds a line that is damaged", queue)
    return lines, start


def send(run: Run, lines: list[Line]) -> None:
    """Send lines together, all metrics first."""
    run.metric_lines([line for line in lines if line["kind"] == "metrics"])
    for line in lines:
        if line["kind"] == "params":
            run.params(line["values"])
        elif line["kind"] == "files" and Path(line["path"]).exists():
            run.files(Path(line["path"]), line["folder"])
        elif line["kind"] == "status":
            run.close(line["status"])


def send_singly(run: Run, lines: list[Line]) -> dict[str, Exception]:
    """Send lines one by one, and of a line that is refused each value by itself.

    Returns:
        What was refused, and why. The rest has been sent.
    """
    refused: dict[str, Exception] = {}
    for line in lines:
        try:
            send(run, [line])
        except Exception as error:
            if not is_refusal(error):
                raise
            parts = _parts(line)
            refused |= send_singly(run, parts) if len(parts) > 1 else {_name(line): error}
    return refused


def _parts(line: Line) -> list[Line]:
    return [{**line, "values": {name: value}} for name, value in flatten(line.get("values", {})).items()]


def _name(line: Line) -> str:
    if line["kind"] in ("metrics", "params"):
        return f"{line['kind'].removesuffix('s')} {next(iter(flatten(line['values'])), '')!r}"
    return f"file {line['path']}" if line["kind"] == "files" else f"status {line['status']}"
