"""Checkpoints on a hub, through huggingface_hub's own client and a local hub."""

import os
import socket
import subprocess
import sys

import pytest

from foundation.common.errors import CheckpointError
from foundation.common.files.locks import file_lock
from foundation.hub import load_model, resolve
from foundation.hub.huggingface_checkpoints import hub_cache

REPO = "lab/eit"


@pytest.fixture
def commit(hub, contents):
    return hub.commit(REPO, contents)


def watched_sockets(monkeypatch):
    """Addresses of connections from now on; each connection fails."""
    opened = []

    def connect(self, address):
        opened.append(address)
        raise OSError("no connection is expected")

    monkeypatch.setattr(socket.socket, "connect", connect)
    return opened


def test_branch_is_resolved_to_its_commit(hub, commit, sha256, contents):
    found = resolve(f"hf://{REPO}")
    assert (found.kind, found.revision, found.digest) == ("huggingface", commit, sha256)
    assert (found.folder / "README.md").is_file()
    assert load_model(f"hf://{REPO}@main").config.dim == 32
    newer = hub.commit(REPO, contents | {"config.json": contents["config.json"] + b" "})
    assert resolve(f"hf://{REPO}@main").revision == newer
    assert resolve(f"hf://{REPO}@{commit}").digest == sha256


def test_pinned_commit_in_the_cache_opens_no_socket(commit, sha256, monkeypatch):
    resolve(f"hf://{REPO}@{commit}")
    opened = watched_sockets(monkeypatch)
    assert resolve(f"hf://{REPO}@{commit}").digest == sha256
    assert load_model(f"hf://{REPO}@{commit}").config.dim == 32
    assert opened == []


@pytest.mark.parametrize("switch", ["HF_HUB_OFFLINE", "FOUNDATION_OFFLINE"])
def test_cache_is_searched_before_an_offline_error(commit, sha256, monkeypatch, switch):
    monkeypatch.setenv(switch, "1")
    with pytest.raises(CheckpointError, match=rf"hf://{REPO}@main is not in the cache .*foundation pull"):
        resolve(f"hf://{REPO}")
    monkeypatch.delenv(switch)
    resolve(f"hf://{REPO}")
    monkeypatch.setenv(switch, "1")
    opened = watched_sockets(monkeypatch)
    found = resolve(f"hf://{REPO}")
    assert (found.digest, found.revision) == (sha256, commit)
    assert load_model(f"hf://{REPO}@{commit}").config.dim == 32
    assert opened == []


def test_unreachable_hub_uses_the_last_known_commit(hub, commit):
    resolve(f"hf://{REPO}")
    hub.close()
    assert resolve(f"hf://{REPO}").revision == commit


def test_broken_download_resumes(hub, commit, sha256):
    hub.cuts = 2
    assert resolve(f"hf://{REPO}@{commit}").digest == sha256
    assert hub.cuts == 0


def test_wrong_bytes_are_refused_and_not_kept(hub, commit, sha256):
    hub.wrong = True
    with pytest.raises(CheckpointError, match=r"model\.safetensors of .* has other bytes than the hub states .*again"):
        resolve(f"hf://{REPO}@{commit}")
    hub.wrong = False
    assert resolve(f"hf://{REPO}@{commit}").digest == sha256


def test_small_files_are_also_verified(hub, commit, monkeypatch):
    real = type(hub).files

    def files(self, repo, revision):
        if "resolve" in self.asked[-1]:
            return {name: b" " * len(content) for name, content in real(self, repo, revision).items()}
        return real(self, repo, revision)

    monkeypatch.setattr(type(hub), "files", files)
    with pytest.raises(CheckpointError, match=r"config\.json of .* has other bytes than the hub states"):
        resolve(f"hf://{REPO}@{commit}")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "training_args.PT", "modeling_eit.py", "sub/head.pkl"])
def test_repository_with_pickles_or_code_is_refused(hub, contents, name):
    hub.commit(REPO, contents | {name: b"x"})
    with pytest.raises(CheckpointError, match=rf"holds {name} .*without pickles and code.*copy those two"):
        resolve(f"hf://{REPO}")
    assert not any(path.name == "model.safetensors" for path in hub_cache().rglob("*"))


def test_config_with_remote_code_is_refused(hub, contents):
    config = contents["config.json"].replace(b"{", b'{"auto_map": {"AutoModel": "evil--code"},', 1)
    hub.commit(REPO, contents | {"config.json": config})
    with pytest.raises(CheckpointError, match="auto_map is not allowed"):
        load_model(f"hf://{REPO}")


def test_missing_files_are_named(hub, commit, contents):
    hub.commit("lab/empty", {"README.md": b"# nothing"})
    with pytest.raises(CheckpointError, match=r"holds no checkpoint: .* it has README\.md"):
        resolve("hf://lab/empty")
    with pytest.raises(CheckpointError, match=r"lab/eit has no revision 'v9': name one"):
        resolve(f"hf://{REPO}@v9")
    with pytest.raises(CheckpointError, match=r"no such repository, or it is private or gated.*hf auth login"):
        resolve("hf://lab/none")


def test_model_in_a_subfolder_of_a_repository(hub, contents, sha256):
    hub.commit(REPO, {f"large/model/{name}": content for name, content in contents.items()})
    found = resolve(f"hf://{REPO}/large")
    assert (found.digest, found.folder.parts[-2:]) == (sha256, ("large", "model"))
    assert found.revision in hub.repos[REPO]["commits"]


def test_lock_of_the_client_is_awaited_and_its_owner_named(commit, monkeypatch, contents):
    import hashlib

    monkeypatch.setenv("FOUNDATION_LOCK_SECONDS", "0.05")
    blob = hashlib.sha256(contents["model.safetensors"]).hexdigest()
    lock = hub_cache() / ".locks" / "models--lab--eit" / f"{blob}.lock"
    lock.parent.mkdir(parents=True)
    with file_lock(lock), pytest.raises(CheckpointError, match=rf"locked by process {os.getpid()} on .*wait for it"):
        resolve(f"hf://{REPO}@{commit}")


def test_concurrent_pulls_fetch_once(hub, commit, sha256):
    code = "import sys; from foundation.hub import resolve; print(resolve(sys.argv[1]).digest)"
    words = [sys.executable, "-c", code, f"hf://{REPO}@{commit}"]
    running = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=os.environ) for _ in range(2)]
    assert [process.communicate(timeout=120)[0].strip() for process in running] == [sha256, sha256]
    assert sum(asked.startswith("GET") and asked.endswith("model.safetensors") for asked in hub.asked) == 1


def test_files_in_the_client_s_cache_are_readable_by_others(commit):
    before = os.umask(0o022)
    try:
        folder = resolve(f"hf://{REPO}@{commit}").folder
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o044 for path in folder.iterdir()} == {0o044}
    assert {path.stat().st_mode & 0o055 for path in hub_cache().rglob("*") if path.is_dir()} == {0o055}
