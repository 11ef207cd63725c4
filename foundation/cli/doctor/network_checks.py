"""Proxies, certificates, offline switches, the MLflow store, Ray's cluster, other hosts and Slurm."""

from __future__ import annotations

import http.client
import importlib.util
import shutil
import socket
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from foundation.cli.doctor.finding import BROKEN, NOTE, OK, WARNING, Finding
from foundation.cli.doctor.folder_checks import why_not_writable
from foundation.common.credentials import without_secrets_in_url

OFFLINE = ("FOUNDATION_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
CERTIFICATES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE")
DRIVERS = {"postgresql": "psycopg2", "mysql": "MySQLdb", "mssql": "pyodbc"}
PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
Which = Callable[[str], str | None]


def check_proxies(environment: Mapping[str, str]) -> list[Finding]:
    """Check proxies: connections to MLflow, Ray and S3 servers on this machine must bypass them."""
    given = {
        name: value for name, value in environment.items() if name.lower() in ("http_proxy", "https_proxy") and value
    }
    if not given:
        return [Finding("proxies", OK, "none")]
    names = ", ".join(sorted(given))
    bare = [name for name, value in given.items() if "://" not in value]
    if bare:
        text = f"{', '.join(sorted(bare))} names no scheme, which some programs need"
        return [Finding("proxies", WARNING, text, "begin the proxy's address with http://")]
    spared = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    hosts = {host.strip() for host in spared.split(",")}
    if "*" not in hosts and not {"localhost", "127.0.0.1"} <= hosts:
        text = f"{names} also {'holds' if len(given) == 1 else 'hold'} for servers on this machine"
        return [
            Finding("proxies", WARNING, text, "export no_proxy=localhost,127.0.0.1 with the hosts of your own network")
        ]
    return [Finding("proxies", OK, names)]


def check_certificates(environment: Mapping[str, str]) -> list[Finding]:
    """Find variables that name a file of certificates that cannot be read."""
    lost = [name for name in CERTIFICATES if environment.get(name) and not Path(environment[name]).exists()]
    return [
        Finding(
            "certificates", BROKEN, f"{name} is {environment[name]!r}: no such file", f"unset {name}, or correct it"
        )
        for name in lost
    ]


def check_offline(environment: Mapping[str, str]) -> list[Finding]:
    """Find switches that forbid connections."""
    on = [name for name in OFFLINE if environment.get(name, "").upper() in ("1", "ON", "YES", "TRUE")]
    if not on:
        return []
    text = f"{', '.join(on)} {'is' if len(on) == 1 else 'are'} on: checkpoints come only from the cache and from files"
    return [Finding("offline", NOTE, text, f"unset {' '.join(on)} to fetch others")]


def check_tracking(uri: str, patience: float) -> Finding:
    """Try an MLflow store: an SQLite file, a database server, a folder or a server.

    Args:
        uri: MLflow's URI; empty if none is set.
        patience: seconds to wait for a server.
    """
    if not uri:
        return Finding("mlflow", OK, "MLFLOW_TRACKING_URI is not set: an SQLite file beside each run's folder")
    shown = without_secrets_in_url(uri)
    parts = urlsplit(uri)
    kind, _, driver = parts.scheme.partition("+")
    if kind in ("http", "https"):
        return _tracking_server(uri, shown, patience)
    if kind == "sqlite":
        return _sqlite(Path(unquote(uri.partition(":///")[2])), shown)
    if kind in DRIVERS:
        module = driver or DRIVERS[kind]
        if importlib.util.find_spec(module) is None:
            text = f"{shown} needs the package {module}, which is not installed"
            return Finding("mlflow", BROKEN, text, f"pip install {module}")
        return _port("mlflow", shown, parts.hostname or "localhost", parts.port or PORTS[kind], patience)
    if kind in ("", "file") and uri != "databricks":
        folder = Path(unquote(parts.path))
        reason = why_not_writable(folder)
        if reason:
            text = f"{folder} cannot be written to ({reason})"
            return Finding("mlflow", BROKEN, text, "name another with MLFLOW_TRACKING_URI")
        return Finding("mlflow", OK, str(folder))
    return Finding("mlflow", NOTE, f"{shown} is not tried", "make a short run and look for it in the store")


def _tracking_server(uri: str, shown: str, patience: float) -> Finding:
    """Ask a tracking server for its health, without a password: a refusal also shows that it answers."""
    parts = urlsplit(uri)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    address = f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}/health"
    try:
        with urllib.request.urlopen(address, timeout=patience) as answer:
            status = answer.status
    except urllib.error.HTTPError as error:
        status = error.code
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        text = f"{shown} does not answer ({reason}); runs keep their entries and send them later"
        return Finding("mlflow", WARNING, text, "start the server, or correct MLFLOW_TRACKING_URI")
    if status >= 500:
        text = f"{shown} answers with status {status}"
        return Finding("mlflow", WARNING, text, "look at the server's log")
    return Finding("mlflow", OK, f"{shown} answers")


def _sqlite(file: Path, shown: str) -> Finding:
    mend = "name another file with MLFLOW_TRACKING_URI=sqlite:////absolute/path/mlflow.db"
    reason = why_not_writable(file.parent)
    if reason:
        return Finding("mlflow", BROKEN, f"the folder of {shown} cannot be written to ({reason})", mend)
    if file.exists():
        try:
            connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True, timeout=1)
            try:
                connection.execute("SELECT name FROM sqlite_master LIMIT 1").fetchall()
            finally:
                connection.close()
        except sqlite3.Error as error:
            return Finding("mlflow", BROKEN, f"{shown} cannot be read ({error})", mend)
    return Finding("mlflow", OK, shown)


def _port(subject: str, shown: str, host: str, port: int, patience: float) -> Finding:
    try:
        socket.create_connection((host, port), timeout=patience).close()
    except OSError as error:
        text = f"{shown} does not answer on port {port} ({error.strerror or error})"
        return Finding(subject, WARNING, text, "start the server, or correct its address")
    return Finding(subject, OK, f"{shown} answers")


def check_ray(environment: Mapping[str, str], patience: float) -> list[Finding]:
    """Try the Ray cluster that the environment names, and judge how Ray's processes authenticate."""
    findings = []
    mode = environment.get("RAY_AUTH_MODE", "")
    if mode and mode.lower() != "token":
        text = f"RAY_AUTH_MODE is {mode!r}: any program that reaches Ray can run code as you"
        findings.append(Finding("ray", WARNING, text, "unset RAY_AUTH_MODE, or set it to token"))
    address = environment.get("RAY_ADDRESS", "")
    if address and address not in ("auto", "local"):
        parts = urlsplit(address if "://" in address else f"ray://{address}")
        if parts.hostname:
            default = 8265 if parts.scheme in ("http", "https") else 10001 if "://" in address else 6379
            shown = without_secrets_in_url(address)
            findings.append(_port("ray", f"RAY_ADDRESS {shown}", parts.hostname, parts.port or default, patience))
    return findings


def check_hosts(which: Which = shutil.which) -> Finding:
    """Check whether pretraining can be started on several hosts by ssh."""
    absent = [
        (program, package) for program, package in (("ssh", "openssh-client"), ("pdsh", "pdsh")) if not which(program)
    ]
    if absent:
        text = f"{' and '.join(program for program, _ in absent)} not found, needed by `foundation pretrain --hosts`"
        return Finding("several hosts", NOTE, text, f"apt-get install {' '.join(package for _, package in absent)}")
    return Finding("several hosts", OK, "ssh and pdsh")


def check_slurm(environment: Mapping[str, str], which: Which = shutil.which) -> list[Finding]:
    """Check Slurm if it is installed: whether jobs can be submitted, and whether a job can start its processes."""
    job = environment.get("SLURM_JOB_ID", "")
    if job and not which("srun"):
        text = f"this is job {job}, and srun is not found, which starts the processes of a run"
        return [Finding("slurm", BROKEN, text, "load Slurm's module, or mount its programs into the container")]
    if job:
        return [Finding("slurm", OK, f"job {job}")]
    return [Finding("slurm", OK, "jobs are submitted with infra/slurm/pretrain.sbatch")] if which("sbatch") else []


def network_findings(environment: Mapping[str, str], tracking_uri: str | None, patience: float) -> list[Finding]:
    """Check network, servers and clusters.

    Args:
        environment: variables.
        tracking_uri: MLflow store; None: $MLFLOW_TRACKING_URI.
        patience: seconds to wait for a server.
    """
    return [
        *check_proxies(environment),
        *check_certificates(environment),
        *check_offline(environment),
        check_tracking(tracking_uri or environment.get("MLFLOW_TRACKING_URI", ""), patience),
        *check_ray(environment, patience),
        check_hosts(),
        *check_slurm(environment),
    ]
