"""Each kind of finding of `foundation doctor`, produced on this machine if possible, otherwise from made-up data."""

import errno
import http.server
import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
from collections import namedtuple
from dataclasses import replace
from functools import partial

import pytest
from packaging.requirements import Requirement

from foundation.cli.commands import COMMANDS, main
from foundation.cli.doctor import folder_checks, machine_checks, package_checks
from foundation.cli.doctor.credential_checks import credential_findings
from foundation.cli.doctor.device_checks import Device, device_findings
from foundation.cli.doctor.doctor_settings import DoctorSettings
from foundation.cli.doctor.examination import Examination, examine
from foundation.cli.doctor.finding import BROKEN, NOTE, OK, WARNING, Finding
from foundation.cli.doctor.machine_checks import GIB, Limits, check_clock, check_space, limit_findings
from foundation.cli.doctor.network_checks import (
    check_certificates,
    check_hosts,
    check_offline,
    check_proxies,
    check_ray,
    check_slurm,
    check_tracking,
)
from foundation.cli.doctor.package_checks import Requirements
from foundation.common.errors import ConfigError

GOOD = Limits(
    memory=64 * GIB,
    free_memory=32 * GIB,
    memory_limit=None,
    cores=8,
    core_limit=None,
    shared=8 * GIB,
    files=65536,
    most_files=65536,
)
CPU = Device(torch="2.13.0+cpu", threads=4)
GPU = Device(
    torch="2.13.0",
    cuda="13.0",
    names=("NVIDIA H200",),
    capabilities=((9, 0),),
    memory=(140 * GIB,),
    architectures=("sm_80", "sm_90"),
    driver="580.65",
)
WANTED = Requirements(
    ">=3.11",
    {
        "": [Requirement("numpy>=2,<3"), Requirement("torch>=2.8")],
        "train": [Requirement("deepspeed>=0.19,<0.20"), Requirement("mlflow-skinny>=3")],
        "dev": [Requirement("pytest")],
    },
)
HERE = {"numpy": "2.4.6", "torch": "2.13.0+cpu", "deepspeed": "0.19.8", "mlflow-skinny": "3.17.2"}


def states(findings) -> dict[str, list[str]]:
    """Subjects of the findings by state; findings that are ok come last."""
    found: dict[str, list[str]] = {}
    for finding in findings:
        if finding.state != OK:
            found.setdefault(finding.state, []).append(finding.subject)
    return found


def installed(**changed):
    versions = HERE | {name.replace("_", "-"): version for name, version in changed.items()}
    return lambda name: versions.get(name, "")


@pytest.fixture
def no_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.fixture
def server():
    """An HTTP server that answers with the status in its path: ``http://127.0.0.1:port/503``."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(int(self.path.split("/")[1]))
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://me:password@127.0.0.1:{listening.server_port}"
        listening.shutdown()


# Python and packages


@pytest.mark.parametrize("version", ["3.10.14", "3.14.0"])
def test_python_outside_the_requirement_is_broken(version):
    assert package_checks.check_python("<3.14,>=3.11", version).state == BROKEN
    assert package_checks.check_python("<3.14,>=3.11", "3.13.0").state == OK


def test_fulfilled_requirements_are_ok():
    findings = package_checks.check_requirements(WANTED, [], installed())
    assert [(finding.subject, finding.state) for finding in findings] == [("packages", OK), ("extra train", OK)]


def test_missing_core_package_is_broken():
    (finding, _) = package_checks.check_requirements(WANTED, [], installed(numpy=""))
    assert (finding.state, finding.mend) == (BROKEN, "pip install neural-foundation")
    assert finding.text == "numpy is not installed"


def test_missing_extra_is_a_note_or_broken_if_required():
    check = partial(package_checks.check_requirements, WANTED, installed=installed(deepspeed=""))
    finding = check([])[1]
    assert (finding.state, finding.mend) == (NOTE, "pip install 'neural-foundation[train]'")
    users = [name for name, command in COMMANDS.items() if command.extra == "train"]
    assert finding.text == f"deepspeed is not installed (for `foundation` {', '.join(users)})"
    assert check(["train"])[1].state == BROKEN


def test_version_out_of_bounds_is_broken_and_states_the_bounds():
    findings = package_checks.check_requirements(WANTED, [], installed(deepspeed="0.20.1"))
    assert states(findings) == {BROKEN: ["extra train"]}
    assert findings[1].text in (f"deepspeed 0.20.1 (required {s})" for s in (">=0.19,<0.20", "<0.20,>=0.19"))


def test_untested_versions_are_a_note(tmp_path):
    file = tmp_path / "constraints.txt"
    file.write_text("# tested\ntorch==2.13.0\nnumpy==2.4.6\nabsent==1\n")
    check = partial(package_checks.check_constraints, file, HERE)
    assert check(installed()).state == OK  # +cpu is the same version
    finding = check(installed(numpy="2.3.0"))
    assert finding.state == NOTE
    assert "1 not as tested (in brackets): numpy 2.3.0 (2.4.6)" in finding.text
    assert str(file) in finding.mend


def test_unmet_requirements_of_packages_are_warnings():
    real = package_checks.installed_version
    assert package_checks.check_conflicts(["zarr", "transformers"], real) == []
    old = package_checks.check_conflicts(["zarr"], lambda name: "1.0" if name == "numpy" else real(name))
    assert states(old) == {WARNING: ["versions"] * len(old)}
    assert any(f.text.startswith("zarr ") and f.text.endswith("installed is 1.0") for f in old)
    absent = package_checks.check_conflicts(["zarr"], lambda name: "" if name == "numcodecs" else real(name))
    assert "zarr needs numcodecs, which is not installed" in [finding.text for finding in absent]


def test_imports_that_fail_crash_or_hang_are_broken(tmp_path):
    (tmp_path / "damaged.py").write_text("raise ImportError('libdamaged.so: no such file')")
    (tmp_path / "crashing.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGILL)")
    (tmp_path / "hanging.py").write_text("import time\ntime.sleep(60)")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}

    def check(*names, seconds=60.0):
        return package_checks.check_imports({name: name for name in names}, seconds, environment)

    assert [finding.state for finding in check("json", "csv")] == [OK]
    failed, crashed = check("json", "damaged", "crashing", "csv")
    assert failed.text == "damaged does not import (ImportError libdamaged.so: no such file)"
    assert crashed.text == "crashing ends the process when imported (SIGILL)"
    assert crashed.mend == "pip install --force-reinstall crashing"
    (hung,) = check("json", "hanging", seconds=2.0)
    assert hung.text == "hanging takes longer than 2 s to import"


def test_package_that_is_not_installed_is_a_warning(monkeypatch):
    monkeypatch.setattr(package_checks, "DISTRIBUTION", "neural-foundation-that-is-not-installed")
    assert states(package_checks.package_findings([], imports=False)) == {WARNING: ["packages"]}


# Device


@pytest.mark.parametrize(
    ("device", "state", "text"),
    [
        (CPU, OK, "no GPU"),
        (GPU, OK, "1 GPU: NVIDIA H200 (CUDA 13.0)"),
        (Device(error="OSError: libcudart.so"), BROKEN, "does not import"),
        (replace(CPU, driver="550.54"), WARNING, "built without CUDA"),
        (replace(CPU, amd=True), WARNING, "built without ROCm"),
        (replace(GPU, names=(), capabilities=(), memory=()), BROKEN, "cannot use the GPU with NVIDIA driver 580.65"),
        (replace(GPU, names=(), environment={"CUDA_VISIBLE_DEVICES": ""}), NOTE, "hides every GPU"),
        (replace(GPU, capabilities=((7, 0),)), BROKEN, "holds no code for NVIDIA H200 (sm_70): sm_80, sm_90"),
        (replace(GPU, memory=(4 * GIB,)), NOTE, "4 GiB of memory"),
        (replace(CPU, environment={"DS_ACCELERATOR": "cuda"}), BROKEN, "no GPU to use"),
        (replace(GPU, environment={"DS_ACCELERATOR": "cpu"}), WARNING, "leaves the GPU unused"),
        (replace(GPU, environment={"DS_ACCELERATOR": "xpu"}), WARNING, "'xpu'"),
        (replace(CPU, environment={"OMPI_COMM_WORLD_SIZE": "4"}), WARNING, "MPI started this process"),
        (replace(CPU, environment={"OMPI_COMM_WORLD_SIZE": "4", "RANK": "0"}), OK, "no GPU"),
    ],
)
def test_device_and_pytorch_build(device, state, text):
    findings = device_findings(device)
    assert list(states(findings)) == ([] if state == OK else [state])
    assert any(text in finding.text for finding in findings if finding.state == state)


# Machine


@pytest.mark.parametrize(
    ("changed", "state", "subject", "text"),
    [
        ({}, OK, "", ""),
        ({"memory": 2 * GIB}, WARNING, "memory", "2.0 GiB may be used;"),
        ({"memory_limit": 2 * GIB}, WARNING, "memory", "2.0 GiB may be used by the limit of this container or job"),
        ({"free_memory": GIB}, WARNING, "memory", "1.0 GiB of 64 are free"),
        ({"core_limit": 2.0}, WARNING, "cores", "8 cores are visible"),
        ({"shared": 64 * 2**20}, WARNING, "shared memory", "64 MiB"),
        ({"shared": None}, OK, "", ""),
        ({"files": 2048}, NOTE, "open files", "2,048 files"),
        ({"files": 256}, WARNING, "open files", "256 files"),
    ],
)
def test_machine_limits(changed, state, subject, text):
    findings = limit_findings(replace(GOOD, **changed))
    assert states(findings) == ({} if state == OK else {state: [subject]})
    assert any(text in finding.text for finding in findings)


def test_machine_limits_have_remedies():
    def mend(**changed):
        return next(f.mend for f in limit_findings(replace(GOOD, **changed)) if f.state != OK)

    assert mend(core_limit=2.0) == "export OMP_NUM_THREADS=2"
    assert mend(files=2048) == "ulimit -n 65536"
    assert mend(files=2048, most_files=2048) == "raise nofile in /etc/security/limits.conf"


def test_memory_limit_of_a_control_group_is_read(tmp_path):
    (tmp_path / "memory.max").write_text("2147483648\n")
    assert machine_checks._memory_limit(tmp_path) == 2 * GIB
    (tmp_path / "memory.max").write_text("max\n")
    assert machine_checks._memory_limit(tmp_path) is None


@pytest.mark.parametrize(("free", "state"), [(50 * GIB, OK), (2 * GIB, WARNING), (GIB // 8, BROKEN)])
def test_full_disk(free, state, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(machine_checks.shutil, "disk_usage", lambda _: usage(100 * GIB, 0, free))
    assert check_space(tmp_path / "not" / "yet").state == state


def test_wrong_clock(tmp_path):
    now = 1.8e9
    assert check_clock(now, now + 1).state == OK
    assert check_clock(now, None).state == OK
    assert check_clock(0.0, 0.0).state == BROKEN
    finding = check_clock(now, now - 90)
    assert (finding.state, "differs by -90 s" in finding.text) == (WARNING, True)
    assert machine_checks.file_time(tmp_path) is not None
    assert list(tmp_path.iterdir()) == []


# Folders


@pytest.fixture
def blocked(tmp_path):
    """A folder that not even root can create, because a file is in its place."""
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "folder"


@pytest.mark.parametrize(
    ("variable", "subject"),
    [
        ("HOME", "home"),
        ("FOUNDATION_LOG", "log"),
        ("FOUNDATION_CHECKPOINT_CACHE", "checkpoint cache"),
        ("HF_HOME", "hub cache"),
        ("TMPDIR", "temporary folder"),
        ("NUMBA_CACHE_DIR", "numba cache"),
    ],
)
def test_folder_without_write_access(variable, subject, blocked, tmp_path, monkeypatch):
    for name in ("FOUNDATION_LOG", "FOUNDATION_CHECKPOINT_CACHE", "HF_HOME", "HF_HUB_CACHE", "NUMBA_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "TMPDIR"):
        monkeypatch.setenv(name, str(tmp_path))
    assert states(folder_checks.folder_findings(tmp_path)) == {}
    monkeypatch.setenv(variable, str(blocked / "log.txt" if variable == "FOUNDATION_LOG" else blocked))
    findings = folder_checks.folder_findings(tmp_path)
    assert states(findings) == {WARNING: [subject]}
    assert all(variable in finding.mend for finding in findings if finding.state != OK)


def test_no_temporary_folder_is_broken(monkeypatch):
    def none():
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(folder_checks.tempfile, "gettempdir", none)
    assert folder_checks.check_temporary().state == BROKEN


def test_no_folder_for_compiled_loops(blocked, monkeypatch):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("HOME", str(blocked))
    assert folder_checks.check_compiled(blocked).state == OK  # with temporary files
    monkeypatch.setattr(folder_checks.tempfile, "gettempdir", lambda: str(blocked))
    assert folder_checks.check_compiled(blocked).state == WARNING


@pytest.mark.parametrize(
    ("number", "subject"), [(errno.ENOLCK, "locks"), (errno.ENOTSUP, "locks"), (errno.EROFS, "folder")]
)
def test_file_system_without_locks_is_broken(number, subject, tmp_path, monkeypatch):
    import fcntl

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    assert folder_checks.check_locks(tmp_path).state == OK
    monkeypatch.setattr(fcntl, "flock", refuse)
    finding = folder_checks.check_locks(tmp_path)
    assert (finding.state, finding.subject) == (BROKEN, subject)


def test_file_that_hides_a_package_is_a_warning(tmp_path):
    assert folder_checks.check_hidden(tmp_path) == []
    (tmp_path / "random.py").write_text("")
    (finding,) = folder_checks.check_hidden(tmp_path)
    assert (finding.state, finding.text[:36]) == (WARNING, "random in the working folder hides t")


# Network and servers


@pytest.mark.parametrize(
    ("environment", "state"),
    [
        ({}, OK),
        ({"HTTPS_PROXY": "http://me:password@proxy:3128"}, WARNING),
        ({"https_proxy": "http://proxy:3128", "no_proxy": "localhost,127.0.0.1,.lab"}, OK),
        ({"https_proxy": "http://proxy:3128", "NO_PROXY": "*"}, OK),
        ({"https_proxy": "proxy:3128", "no_proxy": "*"}, WARNING),
    ],
)
def test_proxies(environment, state):
    (finding,) = check_proxies(environment)
    assert finding.state == state
    assert "password" not in str(finding)


def test_certificates_and_offline_switches(tmp_path):
    assert check_certificates({"SSL_CERT_FILE": str(tmp_path)}) == []
    assert states(check_certificates({"AWS_CA_BUNDLE": str(tmp_path / "none.pem")})) == {BROKEN: ["certificates"]}
    assert check_offline({"HF_HUB_OFFLINE": "0"}) == []
    (finding,) = check_offline({"HF_HUB_OFFLINE": "1", "FOUNDATION_OFFLINE": "on"})
    assert (finding.state, finding.mend) == (NOTE, "unset FOUNDATION_OFFLINE HF_HUB_OFFLINE to fetch others")


def test_mlflow_file(tmp_path, blocked):
    file = tmp_path / "mlflow.db"
    check = partial(check_tracking, patience=1.0)
    assert check("").state == OK
    assert check(f"sqlite:///{file}").state == OK
    assert not file.exists()
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE runs (id INTEGER)")
    connection.close()
    assert check(f"sqlite:///{file}").state == OK
    file.write_text("not a database, but long enough to have a header of one " * 20)
    assert check(f"sqlite:///{file}").state == BROKEN
    assert check(f"sqlite:///{blocked}/mlflow.db").state == BROKEN
    assert check(f"file://{tmp_path}").state == OK
    assert check(str(blocked)).state == BROKEN
    assert check("databricks").state == NOTE


def test_mlflow_server(server, no_port, monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    check = partial(check_tracking, patience=2.0)
    found = {path: check(f"{server}/{path}") for path in ("200", "401", "503")}
    assert {path: finding.state for path, finding in found.items()} == {"200": OK, "401": OK, "503": WARNING}
    away = check(f"http://me:password@127.0.0.1:{no_port}")
    assert (away.state, f"http://127.0.0.1:{no_port} does not answer" in away.text) == (WARNING, True)
    database = check(f"postgresql+sqlite3://me:password@127.0.0.1:{no_port}/mlflow")  # any installed module is a driver
    assert database.state == WARNING
    undriven = check("postgresql+nodriver://me:password@host/mlflow")
    assert (undriven.state, undriven.mend) == (BROKEN, "pip install nodriver")
    assert "password" not in "".join(map(str, [*found.values(), away, database, undriven]))


def test_unreachable_ray_cluster_and_cluster_without_token(no_port):
    assert check_ray({}, 1.0) == []
    assert check_ray({"RAY_ADDRESS": "auto", "RAY_AUTH_MODE": "token"}, 1.0) == []
    assert states(check_ray({"RAY_ADDRESS": f"127.0.0.1:{no_port}"}, 1.0)) == {WARNING: ["ray"]}
    assert states(check_ray({"RAY_ADDRESS": f"ray://127.0.0.1:{no_port}"}, 1.0)) == {WARNING: ["ray"]}
    assert states(check_ray({"RAY_AUTH_MODE": "disabled"}, 1.0)) == {WARNING: ["ray"]}


def test_programs_for_several_hosts_and_slurm():
    assert check_hosts(lambda _: "/usr/bin/it").state == OK
    finding = check_hosts(lambda name: None if name == "pdsh" else name)
    assert (finding.state, finding.mend) == (NOTE, "apt-get install pdsh")
    assert check_slurm({}, lambda _: None) == []
    assert check_slurm({}, lambda name: name)[0].state == OK
    assert check_slurm({"SLURM_JOB_ID": "7"}, lambda name: name)[0].state == OK
    assert check_slurm({"SLURM_JOB_ID": "7"}, lambda _: None)[0].state == BROKEN


# Credentials


def test_credentials_are_named_without_their_values(tmp_path):
    file = tmp_path / "token"
    file.write_text("hf_secret")
    file.chmod(0o600)
    (finding,) = credential_findings({"HF_TOKEN": "hf_secret"}, [file, tmp_path / "none"])
    assert (finding.state, finding.text) == (OK, f"HF_TOKEN, {file}")
    assert credential_findings({}, [])[0].state == OK


def test_invalid_credentials(tmp_path):
    file = tmp_path / "token"
    file.write_text("hf_secret")
    file.chmod(0o644)
    findings = credential_findings({"DANDI_API_KEY": "secret\n", "AWS_ACCESS_KEY_ID": "secret"}, [file])
    assert states(findings) == {WARNING: ["credentials"] * 3}
    blank, half, readable = findings
    assert blank.mend == "set DANDI_API_KEY without it"
    assert half.text == "AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not"
    assert readable.mend == f"chmod 600 {file}"
    assert "secret" not in "".join(map(str, findings)).lower().replace("aws_secret_access_key", "")


# The command


def test_every_problem_has_a_remedy():
    with pytest.raises(ValueError, match="mend is ''"):
        Finding("disk", WARNING, "full")
    with pytest.raises(ValueError, match="mend is 'buy one'"):
        Finding("disk", OK, "fine", "buy one")
    with pytest.raises(ValueError, match="state is 'bad'"):
        Finding("disk", "bad", "full", "buy one")


def test_exit_status_is_1_if_anything_is_broken():
    note, broken = Finding("a", NOTE, "b", "c"), Finding("d", BROKEN, "e", "f")
    assert Examination([], {}, [note]).ok
    assert not Examination([], {}, [note, broken]).ok
    text = str(Examination(["first"], {}, [note, broken, Finding("g", OK, "h")]))
    assert text.splitlines()[-6:] == ["broken  d: e; f", "", "note  a: b; c", "", "in order: g", text.splitlines()[-1]]
    assert text.endswith("1 broken, no warnings, 1 note")


def test_failing_check_becomes_a_finding_and_others_run(monkeypatch):
    def no_proc(*_):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "/proc/meminfo")

    monkeypatch.setattr(machine_checks.psutil, "virtual_memory", no_proc)
    examination = examine(DoctorSettings(imports=False))
    assert "memory and disk could not be read" in examination.lines[1]
    (finding,) = [finding for finding in examination.findings if finding.subject == "machine"]
    assert (finding.state, "/proc/meminfo" in finding.text) == (WARNING, True)
    assert "credentials" in {finding.subject for finding in examination.findings}


def test_unknown_extra_is_refused():
    with pytest.raises(ConfigError, match=r"extras holds 'trian': expected some of .*train"):
        examine(DoctorSettings(extras=["trian"], imports=False))


def test_json_output_has_the_same_exit_status(tmp_path, blocked, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["doctor", "--json", "--imports", "false", "--folder", str(tmp_path)]
    status = main(words)
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] == (status == 0) == (not any(f["state"] == BROKEN for f in found["findings"]))
    assert found["packages"]["core"]["torch"]
    assert {"python", "packages", "versions", "device", "disk", "clock", "mlflow", "credentials"} <= {
        finding["subject"] for finding in found["findings"]
    }
    assert main([*words, "--tracking_uri", f"sqlite:///{blocked}/mlflow.db"]) == 1
    broken = [f for f in json.loads(capsys.readouterr().out)["findings"] if f["state"] == BROKEN]
    assert [finding["subject"] for finding in broken] == ["mlflow"]


def test_doctor_runs_without_an_importable_torch(tmp_path):
    """A damaged PyTorch is a common reason to run the doctor."""
    (tmp_path / "torch.py").write_text("raise OSError('libtorch_cpu.so: cannot open shared object file')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from foundation.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "doctor", "--imports", "false"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "torch: does not import (OSError: libtorch_cpu.so: cannot open shared object file)" in done.stdout
