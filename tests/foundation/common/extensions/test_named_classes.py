"""Custom classes by name: where they are found, and the errors if they are not."""

import sys

import pytest

from foundation.common.errors import CheckpointError, ConfigError
from foundation.common.extensions import named_classes
from foundation.common.extensions.named_classes import class_path, entry_points, find_class
from foundation.common.extensions.search_folders import inherit, inherited, search_folders, searching
from foundation.common.extensions.trusted_names import trusted_class, trusts

OBJECTIVE = """
from foundation.data import ViewSpec
from foundation.objectives import Objective


class Whole(Objective):
    view_spec = ViewSpec(1, 1, 1)

    def losses(self, model, views, context):
        return {}, None


class Half(Objective):
    view_spec = ViewSpec(1, 1, 1)


class Other:
    pass


def function():
    pass
"""
MODEL = """
from pathlib import Path

Path({mark!r}).write_text("ran")
from foundation.models import Encoder, EncoderConfig


class OwnConfig(EncoderConfig):
    model_type = {kind!r}


class Own(Encoder):
    config_class = OwnConfig

    def forward(self, x_BNT, mask_BN, mask_BT, dt_B, modality_B):
        return self.output(x_BNT[..., None], mask_BN, mask_BT)
"""


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A lab's working folder; its modules and its import path are removed afterwards."""
    for module in (search_folders.__module__, named_classes.__name__):
        for name in ("_added", "_asked", "_files"):
            if hasattr(sys.modules[module], name):
                monkeypatch.setattr(sys.modules[module], name, type(getattr(sys.modules[module], name))())
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_class_is_found_by_module_by_file_and_beside_the_yaml(lab):
    write(lab, "losses_here.py", OBJECTIVE)
    write(lab, "elsewhere/losses_there.py", OBJECTIVE)
    for name in ("losses_here:Whole", "losses_here.py:Whole", f"{lab}/losses_here.py:Whole"):
        assert class_path(find_class("objective", name, "objective.name")) == "losses_here:Whole"
    with pytest.raises(ConfigError, match=r"no module 'losses_there'.*installed packages.*install its package"):
        find_class("objective", "losses_there:Whole", "objective.name")
    with searching([lab / "elsewhere"]):
        assert find_class("objective", "losses_there:Whole", "objective.name").__name__ == "Whole"
        variables = inherited()
    assert str(lab / "elsewhere") in variables["FOUNDATION_PATH"]


def test_search_folders_reach_a_process_without_inherited_environment(lab, monkeypatch):
    with searching([lab / "elsewhere"], ["mylab"]):
        variables = inherited()
    monkeypatch.setenv("FOUNDATION_PATH", "")
    monkeypatch.setenv("FOUNDATION_TRUST", "")
    monkeypatch.chdir("/")
    assert lab not in search_folders()
    inherit(variables)
    assert {lab, lab / "elsewhere"} <= set(search_folders())
    assert trusts("mylab.models:Own")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("broken_a:A", r"importing broken_a fails: ZeroDivisionError: division by zero \(.*broken_a.py:2\)"),
        ("broken_a.py:A", r"broken_a.py fails: ZeroDivisionError: division by zero \(.*broken_a.py:2\)"),
        ("broken_b:A", r"SyntaxError.*\(.*broken_b.py:1\)"),
        (
            "broken_c:A",
            r"importing broken_c fails: ModuleNotFoundError: No module named 'no_such_package' .*_c.py:1\)",
        ),
        ("broken_d:A", r"importing broken_d fails: SystemExit"),
        ("losses_e:Whol", r"losses_e.py has no 'Whol'; did you mean 'Whole'\?"),
        ("losses_e.py:Whol", r"losses_e.py has no 'Whol'; did you mean 'Whole'\?"),
        ("losses_e:Nothing", r"has no 'Nothing'; it has Whole, Half, Other"),
        (
            "losses_e:Half",
            r"does not define losses: expected what the docstring of foundation.objectives.base.Obj",
        ),
        ("losses_e:Other", r"a subclass of object: expected a subclass of Objective"),
        ("losses_e:function", r"which is a function: expected a subclass of Objective"),
        ("none_there.py:A", r"there is no file 'none_there.py'; searched .*"),
        ("json.py:A", r"a module 'json' exists already .*give the file another name"),
        ("neurpri", r"'neurpri': expected package.module:Class, .*foundation.objectives \(none is installed\)"),
    ],
)
def test_errors_are_reported_in_one_line(lab, name, message):
    write(lab, "broken_a.py", "x = 1\nx / 0\n")
    write(lab, "broken_b.py", "def :\n")
    write(lab, "broken_c.py", "import no_such_package\n")
    write(lab, "broken_d.py", "import sys\nsys.exit(3)\n")
    write(lab, "losses_e.py", OBJECTIVE)
    write(lab, "json.py", OBJECTIVE)
    with pytest.raises(ConfigError, match=message) as raised:
        find_class("objective", name, "objective.name")
    assert str(raised.value).startswith(f"objective.name is '{name}'")
    assert "\n" not in str(raised.value)


def test_file_in_the_working_folder_never_replaces_a_package(lab):
    write(lab, "random.py", "raise RuntimeError('the wrong one')\n")
    write(lab, "foundation.py", "raise RuntimeError('the wrong one')\n")
    write(lab, "losses_f.py", f"import random\nrandom.random()\n{OBJECTIVE}")
    assert find_class("objective", "losses_f:Whole", "objective.name").__name__ == "Whole"


def install(folder, point, value, group):
    """Write the files that pip creates for a package with an entry point."""
    write(folder, "mylab-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: mylab\nVersion: 1.0\n")
    write(folder, "mylab-1.0.dist-info/entry_points.txt", f"[{group}]\n{point} = {value}\n")


def test_installed_packages_register_classes_but_the_working_folder_does_not(lab):
    site = lab / "site-packages"
    write(site, "losses_g.py", OBJECTIVE)
    install(site, "whole", "losses_g:Whole", "foundation.objectives")
    install(lab, "stray", "losses_g:Whole", "foundation.objectives")
    sys.path.append(str(site))
    assert class_path(find_class("objective", "whole", "objective.name")) == "losses_g:Whole"
    with pytest.raises(ConfigError, match="no module 'no_such'"):
        find_class("objective", "no_such:A", "objective.name")  # the working folder is searched from now on
    assert entry_points("objective") == {"whole": "losses_g:Whole"}


def test_untrusted_class_of_a_checkpoint_is_not_imported(lab):
    mark = lab / "mark"
    write(lab, "models_h.py", MODEL.format(mark=str(mark), kind="models_h"))
    folder = lab / "downloaded"
    folder.mkdir()

    def load(path="models_h:Own"):
        return trusted_class("model", path, "downloaded", folder)

    message = r"holds a model of class 'models_h:Own'.*would run its code: install the package.*--trust models_h:Own"
    with pytest.raises(CheckpointError, match=message):
        load()
    with searching([], ["models_h2", "models_h:Other", "os"]), pytest.raises(CheckpointError, match=message):
        load()
    with pytest.raises(CheckpointError, match="would run its code; there is no module 'models_none' in installed"):
        load("models_none:Own")
    for hostile in ("os:system", "subprocess:Popen", "models_h.py:Own", "../models_h:Own", 7, ["models_h:Own"]):
        with pytest.raises(CheckpointError, match=r"would run its code|expected package.module:Class"):
            load(hostile)
    assert not mark.exists()
    with searching([], ["models_h"]):
        assert load().__name__ == "Own"
    assert mark.read_text() == "ran"
    load()  # as if settings of this process had named it


def test_trusted_class_that_is_missing_is_named(lab):
    with searching([], ["models_i"]), pytest.raises(CheckpointError, match="cannot be imported; there is no module"):
        trusted_class("model", "models_i:Own", "downloaded", lab / "downloaded")


def test_code_inside_a_checkpoint_is_never_run(lab, monkeypatch):
    mark = lab / "mark"
    folder = lab / "downloaded"
    write(folder, "models_j.py", MODEL.format(mark=str(mark), kind="models_j"))
    write(folder, "models_k/__init__.py", MODEL.format(mark=str(mark), kind="models_k"))
    monkeypatch.chdir(folder)
    for name in ("models_j", "models_k"):
        with searching([], [name]), pytest.raises(CheckpointError, match="lies in the folder of the checkpoint"):
            trusted_class("model", f"{name}:Own", ".", folder)
    assert not mark.exists()


def test_entry_point_of_an_installed_package_is_trusted(lab):
    site = lab / "site-packages"
    write(site, "models_l.py", MODEL.format(mark=str(lab / "mark"), kind="models_l"))
    install(site, "own", "models_l:Own", "foundation.models")
    sys.path.append(str(site))
    assert trusted_class("model", "models_l:Own", "downloaded", lab / "downloaded").__name__ == "Own"
