import inspect
import subprocess
import sys

import pytest
import yaml

from foundation.cli.commands import COMMANDS, _load, docstring, main, overview
from foundation.common.errors import ConfigError
from foundation.common.settings.command import build_parser, parse
from foundation.common.settings.resources import config_names, find_config
from foundation.training import PretrainSettings, pretrain


def settings_of(*arguments: str) -> PretrainSettings:
    return parse(build_parser("foundation pretrain", pretrain, PretrainSettings), PretrainSettings, list(arguments))


NEEDED = ("--store", "s", "--output", "o")


def test_option_overrides_file_and_file_overrides_default(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("steps: 7\nseed: 3\nmodel:\n  dim: 32\n  heads: 2\n")
    settings = settings_of(*NEEDED, "--config", str(file), "--model.dim", "128", "--steps=9")
    assert (settings.steps, settings.seed, settings.log_every) == (9, 3, 5)
    assert (settings.model.dim, settings.model.heads, settings.model.patch_length) == (128, 2, 4)


def test_option_overrides_every_config_wherever_it_stands(tmp_path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("steps: 7\nseed: 3\noutput: elsewhere\n")
    second.write_text("seed: 4\n")
    for configs in (["--config", str(first), "--config", str(second)], [f"--config={first}", f"--config={second}"]):
        settings = settings_of("--steps", "9", *NEEDED, *configs)
        assert (settings.steps, settings.seed, settings.output) == (9, 4, "o")
        assert settings == settings_of(*configs, "--steps", "9", *NEEDED)


def test_yaml_float_in_exponent_form_is_a_float(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("optimizer:\n  learning_rate: 1e-4\n  clip: 5e0\n")
    settings = settings_of(*NEEDED, "--config", str(file))
    assert settings.optimizer.learning_rate == 1e-4
    assert settings_of(*NEEDED, "--optimizer.learning_rate", "3e-4").optimizer.learning_rate == 3e-4


def test_shipped_config_is_found_with_and_without_folder_and_extension():
    plain = settings_of(*NEEDED, "--config", "pretrain/demo")
    assert plain == settings_of(*NEEDED, "--config", "configs/pretrain/demo.yaml")
    assert plain == settings_of(*NEEDED, "--config=pretrain/demo.yaml")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--modle.dim", "3"], ["modle.dim"]),
        (["--model.dim", "many"], ["model.dim is 'many': expected a whole number\n"]),
        (["--data.max_units", "x"], ["data.max_units is 'x': expected a whole number"]),
        (["--data.bin_widths", "0.1"], ["data.bin_widths is '0.1': expected a list in brackets, such as [a, b]"]),
        (["--model.dim", "0"], ["dim is 0", "at least 1"]),
        (["--model.heads", "5"], ["dim is 64 and heads 5"]),
        (["--precision", "fp8"], ["'fp8'", "fp32, bf16"]),
        (["--data.bin_widths", "[0.0]"], ["bin_widths is [0.0]", "0.0001 to 3600"]),
        (["--objective.neurpir.vicreg.eps", "-1"], ["eps is -1", "above 0"]),
        (["--config", "pretrain/nothing"], ["'pretrain/nothing'", "pretrain/demo"]),
    ],
)
def test_invalid_settings_name_key_value_and_allowed_values(tmp_path, capsys, arguments, expected):
    store, output = tmp_path / "store", tmp_path / "output"
    status = main(["pretrain", "--store", str(store), "--output", str(output), *arguments])
    message = capsys.readouterr().err
    assert status == 2
    for part in expected:
        assert part in message, message
    assert "Traceback" not in message
    assert not store.exists()
    assert not output.exists()


def test_hyphens_in_option_names_are_accepted():
    settings = settings_of(*NEEDED, "--optimizer.learning-rate", "3e-4", "--log-every=7")
    assert (settings.optimizer.learning_rate, settings.log_every) == (3e-4, 7)


def test_unknown_key_in_a_file_is_refused(tmp_path, capsys):
    file = tmp_path / "mine.yaml"
    file.write_text("model:\n  dimm: 32\n")
    assert main(["pretrain", *NEEDED, "--config", str(file)]) == 2
    assert "dimm" in capsys.readouterr().err


def test_missing_option_is_named(capsys):
    assert main(["pretrain", "--store", "s"]) == 2
    assert "output" in capsys.readouterr().err


def test_print_config_output_can_be_used_as_config(tmp_path, capsys):
    assert main(["pretrain", *NEEDED, "--config", "pretrain/demo", "--seed", "5", "--print_config"]) == 0
    printed = capsys.readouterr().out
    assert yaml.safe_load(printed)["seed"] == 5
    (tmp_path / "again.yaml").write_text(printed)
    again = settings_of("--config", str(tmp_path / "again.yaml"))
    assert again == settings_of(*NEEDED, "--config", "pretrain/demo", "--seed", "5")


def test_failure_prints_one_line_and_logs_the_traceback(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FOUNDATION_LOG", str(tmp_path / "log.txt"))
    assert main(["catalog", str(tmp_path / "nothing")]) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[0].startswith("foundation catalog: there is no store at")
    assert lines[1] == f"The traceback is in {tmp_path / 'log.txt'}"
    assert "Traceback" in (tmp_path / "log.txt").read_text()


def test_catalog_lists_and_verifies_a_store(small_store, capsys):
    assert main(["catalog", "--verify", str(small_store)]) == 0
    printed = capsys.readouterr().out
    assert "4 recordings of 4 subjects, 48 units" in printed
    assert "every array has its digest" in printed


def test_missing_and_unknown_command_exit_2(capsys):
    assert main([]) == 2
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert name in printed
        assert command.summary in printed
    assert main(["pretrian"]) == 2
    assert "'pretrian'" in capsys.readouterr().err
    assert main(["simulate", "izhikevic"]) == 2
    assert "simulate izhikevich" in capsys.readouterr().err


def test_help_works_as_a_command(capsys):
    assert main(["help"]) == 0
    assert capsys.readouterr().out.strip() == overview(COMMANDS)
    assert main(["help", "catalog"]) == 0
    asked = capsys.readouterr().out
    assert main(["catalog", "--help"]) == 0
    assert capsys.readouterr().out == asked


@pytest.mark.parametrize("words", [["simulate", "--help"], ["simulate", "-h"], ["help", "simulate"]])
def test_group_of_commands_lists_its_members(words, capsys):
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "simulate izhikevich  simulate labelled populations" in printed
    assert "pretrain" not in printed.replace("Pretrain once", "")


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["pretrian", "--store", "s"], "pretrain"),
        (["ingset"], "ingest"),
        (["catalogue", "my/store"], "catalog"),
        (["Finetune"], "finetune"),
        (["simulate", "izikevich"], "simulate izhikevich"),
        (["help", "docter"], "doctor"),
    ],
)
def test_misspelt_command_suggests_the_nearest(words, meant, capsys):
    assert main(words) == 2
    assert f"did you mean `foundation {meant}`?" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_describes_its_options(name, capsys):
    assert main([*name.split(), "--help"]) == 0
    printed = capsys.readouterr().out
    assert f"usage: foundation {name}" in printed
    assert "(type: " in printed


def test_sorting_commands_name_their_extra():
    sorting = {name: command.extra for name, command in COMMANDS.items() if ".sorting." in command.function}
    assert set(sorting.values()) == {"sorting"}, sorting


HELPS = """
import sys
from foundation.cli.commands import COMMANDS, main
for name in COMMANDS:
    assert main([*name.split(), "--help"]) == 0
    heavy = "torch deepspeed ray mlflow transformers pynwb hdmf numba zarr pandas matplotlib sklearn".split()
    print(name, *[package for package in heavy if package in sys.modules], sep=": ", file=sys.stderr)
"""


def test_help_imports_no_slow_packages():
    done = subprocess.run([sys.executable, "-P", "-c", HELPS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_begins_with_the_docstring_of_the_function(name):
    command = COMMANDS[name]
    assert docstring(command.function) == inspect.getdoc(_load(command.function))


def test_python_m_foundation_runs_the_command():
    command = [sys.executable, "-m", "foundation", "doctor", "--imports", "false"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for word in ("foundation ", "torch ", "deepspeed ", "ray ", "nothing is broken"):
        assert word in done.stdout


def test_config_names_cannot_leave_the_config_folder():
    with pytest.raises(ConfigError, match="no config"):
        find_config("../pyproject")
    assert "pretrain/demo" in config_names()


SETTINGS = {"pretrain": "pretrain", "ingest": "ingest", "finetune": "finetune", "simulate": "simulate izhikevich"}
SETTINGS |= {"reproduce": "reproduce", "sweep": "sweep", "pack": "pack"}
SETTINGS |= {"objective": "pretrain", "model": "pretrain"}  # parts of a pretraining run
SETTINGS |= {"simulate/voltage": "simulate voltage", "reproduce/sorting": "reproduce sorting"}


@pytest.mark.parametrize(
    "name", [n for n in config_names() if not n.startswith(("recipes/", "hardware/", "checkpoints/", "benchmark/"))]
)
def test_every_shipped_config_is_accepted_by_its_command(name, capsys):
    taker = SETTINGS.get(name) or SETTINGS[name.split("/")[0]]
    rest = {"pretrain": NEEDED, "finetune": ("--checkpoint", "c", *NEEDED), "ingest": ("--input", "i", "--store", "s")}
    rest |= {"reproduce": ("--store", "s", "--output", "o", "--name", "n"), "sweep": NEEDED}
    rest |= {"pack": ("--checkpoint", "c", "--output", "o")}
    words = [*taker.split(), *rest.get(taker, ()), "--config", name, "--print_config"]
    assert main(words) == 0, (COMMANDS[taker], capsys.readouterr().err)
