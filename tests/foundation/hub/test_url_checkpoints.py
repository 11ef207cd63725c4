"""Checkpoints behind URLs: fetched once, resumed, verified, and available without a network."""

import json
import os
import subprocess
import sys
import time

import fsspec
import pytest

from foundation.common.errors import CheckpointError
from foundation.common.files.locks import file_lock
from foundation.hub import load_model, resolve, url_checkpoints
from foundation.hub.checkpoint_cache import held_digests, key_of

PULL = "import sys; from foundation.hub import resolve; print(resolve(sys.argv[1]).digest)"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(url_checkpoints, "FIRST_PAUSE", 0.01)


def weights_asked(web):
    return [span for verb, path, span in web.asked if verb == "GET" and path.endswith(".safetensors") and span]


def test_url_is_fetched_once_and_works_offline(web, sha256, cache):
    url = f"{web.url}/eit"
    found = resolve(url)
    assert (found.kind, found.digest, found.folder) == ("url", sha256, cache / sha256)
    assert (found.folder / "README.md").is_file()
    sent = web.sent
    assert load_model(url).config.dim == 32
    assert web.sent == sent, "the same version is not fetched again"
    web.close()
    assert resolve(url).folder == found.folder
    assert load_model(url).config.dim == 32


def test_offline_mode_sends_no_request(web, sha256, monkeypatch):
    url = f"{web.url}/eit"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(
        CheckpointError, match=r"is not in the cache, and connections are switched off .*foundation pull"
    ):
        resolve(url)
    assert web.asked == []
    monkeypatch.delenv("HF_HUB_OFFLINE")
    resolve(url)
    web.asked.clear()
    monkeypatch.setenv("FOUNDATION_OFFLINE", "1")
    assert resolve(url).digest == sha256
    assert web.asked == []


def test_pinned_digest_in_the_cache_sends_no_request(web, sha256, tmp_path):
    registry = tmp_path / "lab.yaml"
    registry.write_text(f"checkpoints: {{lab: {{url: '{web.url}/eit', sha256: '{sha256}'}}}}")
    assert resolve("lab", registry).digest == sha256
    web.asked.clear()
    assert load_model("lab", registry=registry).config.dim == 32
    assert web.asked == []


def test_changed_file_is_fetched_again(web, sha256):
    url = f"{web.url}/eit"
    resolve(url)
    config = json.loads(web.files["eit/config.json"])
    web.files["eit/config.json"] = json.dumps(config | {"note": "new"}).encode()
    assert resolve(url).digest != sha256
    assert len(held_digests()) == 2


@pytest.mark.parametrize("ranges", [True, False])
def test_broken_download_resumes(web, sha256, ranges, monkeypatch):
    monkeypatch.setattr(url_checkpoints, "BLOCK", 1 << 14)
    web.cut_from = 100_000 if ranges else 0
    web.cuts, web.ranges = (3, True) if ranges else (1, False)
    size = len(web.files["eit/model.safetensors"])
    assert resolve(f"{web.url}/eit").digest == sha256
    assert web.cuts == 0
    if ranges:
        assert web.sent < 2 * size, "what had come was not fetched again"


def test_next_process_resumes_a_killed_download(web, sha256, monkeypatch):
    weights = web.files["eit/model.safetensors"]
    monkeypatch.setattr(url_checkpoints, "BLOCK", 1 << 12)
    monkeypatch.setattr(url_checkpoints, "ATTEMPTS", 1)
    web.cuts, web.cut_from = 10**6, 100_000
    with pytest.raises(CheckpointError, match="cannot fetch"):
        resolve(f"{web.url}/eit")
    part = next((p for p in held_parts() if p.name == "model.safetensors"), None)
    assert part is not None
    have = part.stat().st_size
    assert 0 < have < len(weights)
    web.cuts, web.sent = 0, 0
    web.asked.clear()
    assert resolve(f"{web.url}/eit").digest == sha256
    assert min(int(span.removeprefix("bytes=").split("-")[0]) for span in weights_asked(web)) == have
    assert held_parts() == []


def held_parts():
    from foundation.hub.checkpoint_cache import cache_folder

    return sorted(path for path in (cache_folder() / "parts").rglob("*") if path.is_file())


def test_wrong_bytes_are_refused_and_not_kept(web, sha256, tmp_path, contents):
    registry = tmp_path / "lab.yaml"
    registry.write_text(f"checkpoints: {{lab: {{url: '{web.url}/eit', sha256: '{sha256}'}}}}")
    web.files["eit/model.safetensors"] = contents["model.safetensors"][:-1] + b"\x00"
    with pytest.raises(CheckpointError, match=rf"expected {sha256}, as the registry .*lab\.yaml says"):
        resolve("lab", registry)
    assert held_digests() == []
    assert held_parts() == []
    web.files["eit/model.safetensors"] = contents["model.safetensors"]
    assert resolve("lab", registry).digest == sha256


def test_changed_bytes_in_the_cache_are_detected(web, sha256, cache):
    found = resolve(f"{web.url}/eit")
    weights = found.folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(CheckpointError, match=rf"{sha256} has other bytes than when it was .*remove that folder"):
        load_model(f"{web.url}/eit")
    weights.unlink()
    (cache / f".{sha256}.00.part").mkdir()
    assert load_model(f"{web.url}/eit").config.dim == 32
    assert not (cache / f".{sha256}.00.part").exists()


def test_server_error_is_not_a_missing_checkpoint(web):
    web.status = 503
    with pytest.raises(CheckpointError, match=r"cannot fetch http://.*: .*503"):
        resolve(f"{web.url}/eit")
    web.status = 404
    with pytest.raises(CheckpointError, match="no checkpoint at 'http://"):
        resolve(f"{web.url}/eit")


def test_secrets_of_a_url_are_neither_shown_nor_kept(web, cache):
    web.files.clear()
    with pytest.raises(CheckpointError) as caught:
        resolve(f"{web.url.replace('://', '://me:hunter2@')}/eit?token=abc")
    assert "hunter2" not in str(caught.value)
    assert "abc" not in str(caught.value)
    for path in cache.rglob("*"):
        assert "hunter2" not in path.name
        assert path.is_dir() or "hunter2" not in path.read_text()


def test_concurrent_pulls_fetch_once(web, sha256, cache):
    url, size = f"{web.url}/eit", len(web.files["eit/model.safetensors"])
    words = [sys.executable, "-c", PULL, url]
    running = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=os.environ) for _ in range(2)]
    assert [process.communicate(timeout=120)[0].strip() for process in running] == [sha256, sha256]
    assert web.sent < 1.5 * size
    assert [path.name for path in cache.iterdir() if len(path.name) == 64] == [sha256]


def test_lock_timeout_names_the_owner(web, cache, monkeypatch):
    monkeypatch.setenv("FOUNDATION_LOCK_SECONDS", "0.05")
    lock = cache / "locks" / key_of(f"{web.url}/eit")
    lock.parent.mkdir(parents=True)
    owner = {"pid": 4711, "user": "ada", "host": "gpu1", "since": "2026-01-01T00:00:00+00:00"}
    with file_lock(lock):
        lock.write_text(json.dumps(owner))
        began = time.monotonic()
        with pytest.raises(CheckpointError, match=r"locked by process 4711 of ada on gpu1, since 2026.*wait for it"):
            resolve(f"{web.url}/eit")
        assert time.monotonic() - began < 5
        lock.write_text("")
        with pytest.raises(CheckpointError, match=f"locked by process {os.getpid()} on "):
            resolve(f"{web.url}/eit")
    assert resolve(f"{web.url}/eit").kind == "url"


def test_cache_files_are_readable_like_their_folder(web, cache, sha256):
    cache.mkdir()
    cache.chmod(0o775)
    before = os.umask(0o077)
    try:
        resolve(f"{web.url}/eit")
    finally:
        os.umask(before)
    modes = {path.relative_to(cache).parts[0]: path.stat().st_mode & 0o777 for path in cache.iterdir()}
    assert modes == {"locks": 0o775, "names": 0o775, "parts": 0o775, sha256: 0o775}
    assert {path.stat().st_mode & 0o777 for path in cache.rglob("*") if path.is_file()} == {0o664}


def test_cache_of_other_users_is_read_without_writing(web, cache, sha256):
    url = f"{web.url}/eit"
    resolve(url)
    folders = [cache, *(path for path in cache.rglob("*") if path.is_dir())]
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*")}
    for path in folders:
        path.chmod(0o555)
    try:
        assert load_model(url).config.dim == 32
        assert {path: path.stat().st_mtime_ns for path in cache.rglob("*")} == before
        if os.getuid():
            web.files["eit/config.json"] += b" "
            with pytest.raises(CheckpointError, match="FOUNDATION_CHECKPOINT_CACHE"):
                resolve(url)
    finally:
        for path in folders:
            path.chmod(0o755)
    assert held_digests() == [sha256]


def test_cache_path_that_is_a_file_is_named(web, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FOUNDATION_CHECKPOINT_CACHE", str(tmp_path / "file"))
    with pytest.raises(CheckpointError, match=r"the cache of checkpoints, '.*file', cannot be written"):
        resolve(f"{web.url}/eit")


def test_bucket_is_fetched_and_works_offline(bucket, contents, sha256, monkeypatch):
    fs = fsspec.filesystem("s3", skip_instance_cache=True)
    for name, content in contents.items():
        fs.pipe_file(f"{bucket}/run/model/{name}", content)
    url = f"{bucket}/run"
    assert resolve(url).digest == sha256
    assert load_model(f"{url}/model").config.dim == 32
    with pytest.raises(CheckpointError, match="no checkpoint at 's3://"):
        resolve(f"{bucket}/none")
    monkeypatch.setenv("FOUNDATION_OFFLINE", "1")
    assert resolve(url).digest == sha256
