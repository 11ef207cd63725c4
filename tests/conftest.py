"""Shared by all tests: no network, separate logs, small recordings, and an S3 bucket."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from foundation.store import Catalog, Interval, Recording, Source, Spikes, Store, Subject, Units, write_recording

_bucket_numbers = itertools.count()
LOOPBACK = ("127.", "::1", "localhost", "0.0.0.0")


# Folders whose tests start services that there can be one of on a machine, and the group in which they run in turn.
IN_TURN = {
    "tests/ingest/cluster": "ray",
    "tests/ingest/run": "ray",
    "tests/foundation/common/processes": "ray",
    "tests/foundation/sweep": "ray",
    "tests/foundation/training/launch": "launcher",
    "tests/examples": "launcher",
}
# Groups that take longest, the longest first. They begin first: one that began last would run on alone at the end.
BEGIN_FIRST = (
    "ray",
    "launcher",
    "tests/test_readme.py",
    "tests/foundation/training/monitor/test_stopping.py",
    "tests/foundation/training/monitor/test_tracker.py",
    "tests/ingest/fuzz/test_fuzz.py",
    "tests/foundation/training/test_pretrain.py",
    "tests/foundation/training/update/test_accumulation.py",
    "tests/foundation/training/distributed/test_processes.py",
    "tests/foundation/training/distributed/test_worlds.py",
    "tests/foundation/training/test_objectives.py",
    "tests/foundation/training/checkpoint/test_s3.py",
    "tests/foundation/objectives/test_objective_processes.py",
    "tests/foundation/training/monitor/test_quiet_steps.py",
    "tests/finetune/tasks/test_own_tasks.py",
    "tests/finetune/test_finetune.py",
    "tests/test_wheel.py",
    "tests/docs/test_site.py",
    "tests/examples/test_tutorials.py",
    "tests/test_shipped_checkpoints.py",
    "tests/foundation/models/test_eit_options.py",
    "tests/finetune/heads/test_head_files.py",
)


def group_of(file: str) -> str:
    """Return the group of a file's tests, which run in one process: the file, or the shared service that it uses."""
    return next((name for folder, name in IN_TURN.items() if file.startswith(f"{folder}/")), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Keep the tests of a file in one process, as they share fixtures, and those of services in one after another.

    xdist's own groups (``--dist loadgroup``) have no effect with pytest 9.2: xdist 3.8 writes them where ids no longer
    are, and each test goes to any process.
    """
    from xdist.scheduler import LoadScopeScheduling

    class InGroups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid.split("::", 1)[0])

    return InGroups(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_modifyitems(items):
    """Put the slowest groups first (``--no-loadscope-reorder`` keeps them there)."""
    place_of = {group: place for place, group in enumerate(BEGIN_FIRST)}
    items.sort(key=lambda item: place_of.get(group_of(item.nodeid.split("::", 1)[0]), len(place_of)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Write a test's output in plain text, because xdist processes cannot pass on lone surrogates."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(autouse=True, scope="session")
def no_network():
    """Make a connection to any other machine an error."""
    real = socket.socket.connect

    def connect(self, address):
        if isinstance(address, tuple) and not str(address[0]).startswith(LOOPBACK):
            own = socket.gethostbyname(socket.gethostname())
            if address[0] != own:
                raise OSError(f"tests stay on this machine, and this one asked for {address}")
        return real(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect)
        yield


@pytest.fixture(autouse=True)
def no_server_left_behind():
    """Fail tests that leave the address of an MLflow server behind, to which others in the process would send runs."""
    names = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
    before = [os.environ.get(name) for name in names]
    yield
    after = [os.environ.get(name) for name in names]
    assert after == before, (
        f"the test changed {', '.join(names)}: use monkeypatch.setenv, mlflow.set_tracking_uri(None)"
    )


@pytest.fixture(autouse=True, scope="session")
def own_log(tmp_path_factory):
    os.environ["FOUNDATION_LOG"] = str(tmp_path_factory.mktemp("log") / "foundation.log")


@pytest.fixture(autouse=True, scope="session")
def own_checkpoint_cache(tmp_path_factory):
    """Keep fetched checkpoints in the test's folder, and ignore the user's own registry."""
    folder = tmp_path_factory.mktemp("checkpoints")
    os.environ["FOUNDATION_CHECKPOINT_CACHE"] = str(folder)
    os.environ["XDG_CONFIG_HOME"] = str(folder / "config")
    for name in ("FOUNDATION_CHECKPOINTS", "FOUNDATION_REGISTRY", "FOUNDATION_OFFLINE", "HF_HUB_OFFLINE"):
        os.environ.pop(name, None)


def poisson_recording(seed: int, n_units: int = 12, seconds: float = 60.0, **changes) -> Recording:
    """A population of Poisson units whose rates span a decade, on a 0.1 ms grid."""
    rng = np.random.default_rng(seed)
    rates = np.geomspace(2.0, 30.0, n_units)
    trains = [np.sort(np.round(rng.uniform(0, seconds, rng.poisson(r * seconds)), 4)) for r in rates]
    parts = {
        "source": Source(path=f"sub-{seed}.nwb", digest=f"{seed:064x}"),
        "subject": Subject(f"mouse{seed}", species="Mus musculus"),
        "session": f"session{seed}",
        "units": Units(n_units, {"cell_type": np.where(rates > 10, "fast", "slow")}),
        "domain": Interval.single(0.0, seconds),
        "spikes": Spikes.from_trains(trains),
    }
    return Recording(**(parts | changes))


@pytest.fixture
def poisoned_folder(tmp_path) -> Path:
    """A working folder with files named like the packages; importing one creates a file ``imported``."""
    folder = tmp_path / "my_analysis"
    folder.mkdir()
    for name in ("foundation", "ingest", "finetune"):
        (folder / f"{name}.py").write_text(f"open({str(folder / 'imported')!r}, 'a').write('{name} ')\n")
    return folder


@pytest.fixture(scope="session")
def s3_server():
    """The URL of an S3 server that lives as long as the tests of a process."""
    moto = pytest.importorskip("moto.server", reason="moto is not installed: pip install 'moto[server]'")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_server, monkeypatch):
    """The URL of a new bucket, without connections that another test opened to another server."""
    boto3 = pytest.importorskip("boto3", reason="boto3 is not installed: pip install 'moto[server]'")
    import s3fs

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    s3fs.S3FileSystem.clear_instance_cache()
    name = f"bucket{next(_bucket_numbers)}"
    boto3.client("s3", endpoint_url=s3_server).create_bucket(Bucket=name)
    yield f"s3://{name}"
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(scope="session")
def make_recording():
    """Build recordings of Poisson units."""
    return poisson_recording


@pytest.fixture(scope="session")
def small_store(tmp_path_factory) -> Path:
    """A store of four recordings of twelve units; tests only read it."""
    path = tmp_path_factory.mktemp("store") / "store"
    store = Store(path, create=True)
    for seed in range(4):
        write_recording(store, poisson_recording(seed))
    Catalog.build(store).save()
    return path


@pytest.fixture(scope="session")
def store_digest():
    """Compare stores by their bytes."""
    return digest_of_store


@pytest.fixture(scope="session")
def empty_runs(tmp_path_factory) -> Path:
    """An MLflow database without runs: creating its tables takes two seconds, copying it none."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("runs") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


def digest_of_store(path: Path | str, leave_out: tuple[str, ...] = ("ingest-report.json",)) -> dict[str, str]:
    """Name -> sha256 of every file of a local store, hidden ones too; except the report, which holds times."""
    root = Path(path)
    files = sorted(p for p in root.rglob("*") if p.is_file() and p.name not in leave_out)
    return {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real recordings; tests that use it are skipped if it is missing."""
    folder = os.environ.get("FOUNDATION_DATA")
    if not folder:
        pytest.skip("FOUNDATION_DATA is not set: it names the folder of real recordings")
    return Path(folder)


@pytest.fixture(scope="session")
def browser(tmp_path_factory) -> Iterator:
    """A headless Chromium, driven by Selenium; tests that use it are skipped if it is missing.

    Files that pages offer for download land in ``browser.downloads``.
    """
    driver = shutil.which("chromedriver")
    if shutil.which("chromium") is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed: a page is tried out in a browser")
    from selenium import webdriver

    folder = tmp_path_factory.mktemp("downloads")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(word)
    options.add_experimental_option("prefs", {"download.default_directory": str(folder)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    chrome.downloads = folder
    yield chrome
    chrome.quit()


@pytest.fixture
def open_page(browser):
    """Open a page in a window of a given size; return console errors and requests that left the page."""

    def opened(page: Path, width: int = 1440, height: int = 1000) -> list[str]:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        for kind in ("browser", "performance"):  # what pages before this one left
            browser.get_log(kind)
        browser.get(page.as_uri())
        return wrong_in(browser)

    return opened


@pytest.fixture
def wrong_in_page(browser):
    """Return console errors and requests that left the page since the last call."""
    return lambda: wrong_in(browser)


def wrong_in(browser) -> list[str]:
    wrong = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            address = message["params"]["request"]["url"]
            if not address.startswith(("file:", "data:", "blob:", "about:")):
                wrong.append(f"asked for {address}")
    return wrong
