"""Configs by name, and the errors for wrong names."""

import pytest

from foundation.common.errors import ConfigError
from foundation.common.settings.resources import config_names, find_config


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """The working folder, with one config of the user."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-run.yaml").write_text("steps: 3\n")
    return tmp_path


def message(name: str, folder: str = "") -> str:
    with pytest.raises(ConfigError) as error:
        find_config(name, folder)
    return str(error.value)


@pytest.mark.parametrize("name", ["pretrain/demo", "pretrain/demo.yaml", "configs/pretrain/demo.yaml"])
def test_shipped_config_is_found_from_any_folder(name, own_folder):
    assert find_config(name).name == "demo.yaml"


def test_own_file_takes_precedence(own_folder):
    assert find_config("my-run.yaml").read_text() == "steps: 3\n"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("my-run.yml", "Did you mean 'my-run.yaml'?"),
        ("pretrain/dem", "Did you mean 'pretrain/demo'?"),
        ("two-streams", "Did you mean 'pretrain/two-streams'?"),
    ],
)
def test_misspelt_name_suggests_the_nearest(name, meant, own_folder):
    assert meant in message(name)


def test_folder_of_shipped_configs_lists_its_names(own_folder):
    listed = message("pretrain/")
    assert all(name in listed for name in config_names("pretrain"))
    assert "Did you mean" not in listed
    assert "recipes/" not in listed


def test_other_names_list_the_folders(own_folder):
    listed = message("qqqqqqqq")
    assert "benchmark/, " in listed
    assert "pretrain/demo" not in listed


def test_name_cannot_leave_the_config_folder(own_folder):
    (own_folder / "outside.yaml").write_text("steps: 3\n")
    assert "neither a file nor a shipped name" in message("pretrain/../../outside")
