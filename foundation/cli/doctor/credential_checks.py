"""Credentials that are set, and those that cannot be right. Their values are never printed."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from foundation.cli.doctor.finding import OK, WARNING, Finding
from foundation.cli.doctor.folder_checks import home

# Variables -> what they give access to.
SECRETS = {
    "AWS_ACCESS_KEY_ID": "S3",
    "AWS_SECRET_ACCESS_KEY": "S3",
    "DANDI_API_KEY": "embargoed dandisets",
    "EMBER_DANDI_API_KEY": "embargoed dandisets of EMBER",
    "HF_TOKEN": "the Hugging Face hub",
    "LINC_API_KEY": "embargoed dandisets of LINC",
    "MLFLOW_TRACKING_PASSWORD": "MLflow",
    "MLFLOW_TRACKING_TOKEN": "MLflow",
    "MLFLOW_TRACKING_USERNAME": "MLflow",
    "RAY_AUTH_TOKEN": "Ray",
}
PAIRS = (("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"))


def token_files(environment: Mapping[str, str], own: Path | None) -> list[Path]:
    """Return files in which libraries keep credentials, whether they exist or not.

    Args:
        environment: variables, some of which name such a file.
        own: the home folder.
    """
    places = [
        environment[n]
        for n in ("AWS_SHARED_CREDENTIALS_FILE", "HF_TOKEN_PATH", "RAY_AUTH_TOKEN_PATH")
        if n in environment
    ]
    below = (".aws/credentials", ".cache/huggingface/token", ".ray/auth_token", ".netrc")
    return [*map(Path, places), *([own / name for name in below] if own else [])]


def credential_findings(environment: Mapping[str, str], files: list[Path] | None = None) -> list[Finding]:
    """Check credentials by their names, their first and last characters, and the permissions of their files.

    Args:
        environment: variables.
        files: files with credentials; by default those of the libraries that read them.
    """
    findings = []
    present = [name for name in SECRETS if environment.get(name)]
    for name in present:
        if environment[name] != environment[name].strip():
            text = f"{name} begins or ends with a blank or a line end, so that {SECRETS[name]} will refuse it"
            findings.append(Finding("credentials", WARNING, text, f"set {name} without it"))
    for one, other in PAIRS:
        if bool(environment.get(one)) != bool(environment.get(other)):
            there, absent = (one, other) if environment.get(one) else (other, one)
            text = f"{there} is set and {absent} is not"
            findings.append(Finding("credentials", WARNING, text, f"set both for {SECRETS[one]}, or neither"))
    kept = [file for file in (token_files(environment, home()) if files is None else files) if file.is_file()]
    for file in kept:
        if os.name == "posix" and file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
            text = f"other users can read {file}"
            findings.append(Finding("credentials", WARNING, text, f"chmod 600 {file}"))
    names = [*present, *map(str, kept)]
    return findings or [Finding("credentials", OK, ", ".join(names) if names else "none, none needed for open data")]
