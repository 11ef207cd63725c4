"""The command: its output, refused settings, and plans for more devices."""

from dataclasses import replace

import pytest
import torch
import yaml

from foundation.cli.commands import main
from foundation.common.errors import ConfigError
from foundation.common.settings.resources import config_names
from foundation.common.work import Work
from foundation.cost_model import ArchiveSettings, Hardware, PlanSettings, load_hardware
from foundation.cost_model.cost_plan import plan
from foundation.cost_model.cost_table import table
from foundation.cost_model.hardware import hardware_names
from foundation.training import ModelSettings
from foundation.training.pretrain_settings import EngineSettings

LARGE = ModelSettings(dim=1024, heads=16, individual_layers=8, interaction_layers=8)


def test_every_shipped_run_is_planned_with_a_bottleneck(capsys):
    for name in config_names("pretrain"):
        assert main(["plan", "--config", name, "--nodes", "16", "--gpus", "8"]) == 0
        printed = capsys.readouterr().out
        assert "16 nodes of 8 x h100: 128 processes" in printed
        assert "\nbottleneck: " in printed
        for line in ("forward", "memory of a device", "network, gradients and weights", "store", "time of a step"):
            assert f"\n  {line} " in printed


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--nodes", "0"], ["nodes is 0", "at least 1"]),
        (["--gpus", "-8"], ["gpus is -8", "at least 1"]),
        (["--nodes", "many"], ["nodes is 'many'", "a whole number"]),
        (["--nodes", "9000"], ["nodes is 9000 and gpus 8", "at most 65536"]),
        (["--hardware", "abacus"], ["'abacus'", "h100", "this-machine"]),
        (["--batch", "node"], ["batch is 'node'", "one of device, step"]),
        (["--batch", "step", "--nodes", "16"], ["nodes is 16", "data.min_windows=4", "batch: device"]),
        (["--archive.rate", "0"], ["archive.rate is 0", "above 0"]),
        (["--archive.recordings", "0"], ["archive.recordings is 0", "at least 1"]),
        (["--objective.name", "swap_vae"], ["'swap-vae'", "brings its own encoder"]),
        (["--engine.offload", "cpu"], ["engine.offload is 'cpu'", "zero_stage 1, 2 or 3"]),
        (["--config", "hardware/nothing"], ["'hardware/nothing'"]),
    ],
)
def test_invalid_plans_are_refused_with_allowed_values(capsys, arguments, expected):
    assert main(["plan", "--config", "pretrain/demo", *arguments]) == 2
    message = capsys.readouterr().err
    for part in expected:
        assert part.replace("swap-vae", "swap_vae") in message, message
    assert "Traceback" not in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: x", "lacks name or source: expected both"),
        ("[1, 2]", "lacks name or source: expected both"),
        ("name: x\nsource: y\ntflops: 3", "'tflops': expected name, source"),
        ("name: x\nsource: y\nmemory: lots", "memory is 'lots': expected a finite number above 0"),
        ("name: x\nsource: y\nmemory: 0", "memory is 0: expected a finite number above 0"),
        ("name: x\nsource: y\nmemory: .nan", "memory is nan: expected a finite number"),
        ("name: x\nsource: y\ncall_seconds: -1", "call_seconds is -1: expected a finite number from 0"),
        ("name: x\nsource: y\nshare: 1.5", "share is 1.5: expected 0 to 1"),
        ("name: x\nsource: y\nkind: tpu", "kind is 'tpu': expected one of gpu, cpu"),
        ("name: [", "is not a YAML file"),
    ],
)
def test_invalid_description_is_refused(tmp_path, text, expected):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=expected.replace("[", r"\[")):
        load_hardware(str(file))


def test_every_shipped_description_names_its_source_and_loads(tmp_path):
    names = hardware_names()
    assert {"a100", "h100", "h200", "this-machine"} <= set(names)
    for name in set(names) - {"this-machine"}:
        found = load_hardware(name)
        assert found.name == name
        assert "data sheet" in found.source
        assert found.matmul_bf16 > found.matmul_fp32
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"name": "mine", "source": "me"}) + "memory: 1e9\n")  # YAML reads 1e9 as text
    assert load_hardware(str(file)).memory == 1e9


def test_more_devices_share_memory_and_send_more():
    one = PlanSettings(model=LARGE, zero_stage=3, precision="bf16", nodes=1, gpus=8)
    few, many = plan(one), plan(replace(one, nodes=16))
    assert many.cost.states.weights == few.cost.states.weights / 16
    assert many.cost.rows_sent > 10 * few.cost.rows_sent
    assert many.cost.objective.work.flops > 10 * few.cost.objective.work.flops  # every process computes it for all
    assert many.cost.forward.flops < 2 * few.cost.forward.flops
    assert many.neuron_tokens == pytest.approx(16 * few.neuron_tokens, rel=0.05)
    assert many.run.data.tokens_per_step == 16 * few.run.data.tokens_per_step


def test_step_that_does_not_fit_is_reported():
    settings = PlanSettings(model=LARGE, gpus=1)
    small = plan(settings)
    assert small.fits
    data = replace(settings.data, tokens_per_step=settings.data.tokens_per_step * 32)
    large = plan(replace(settings, data=data))
    assert not large.fits
    assert "does not fit into 80 GB" in table(large)
    assert "engine.activation_checkpointing" in table(large)
    again = plan(replace(settings, data=data, engine=EngineSettings(activation_checkpointing=True)))
    assert again.cost.activations < large.cost.activations / 4
    assert again.cost.recomputed.flops > 0.6 * again.cost.forward.flops
    assert again.cost.model_flops == large.cost.model_flops


@pytest.mark.parametrize(
    ("changes", "bottleneck"),
    [
        ({}, "compute (encoder)"),
        ({"node_bandwidth": 1e6}, "network"),
        ({"store_seconds": 60.0}, "store"),
        ({"store_bandwidth": 1e3}, "store"),
        ({"decode_bandwidth": 1e3}, "store"),
        ({"outline_seconds": 10.0}, "drawing"),
        ({"draw_seconds": 10.0}, "store"),
    ],
)
def test_slowest_part_is_the_bottleneck(tmp_path, changes, bottleneck):
    base = {"name": "mine", "source": "me", "kind": "gpu", "matmul_fp32": 1e12, "memory": 1e15}
    base |= {"store_bandwidth": 1e12, "decode_bandwidth": 1e12, "open_seconds": 0.0}
    base |= {"draw_seconds": 0.0, "outline_seconds": 0.0}
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(base | changes))
    found = plan(PlanSettings(hardware=str(file), nodes=1, gpus=8, archive=ArchiveSettings(recordings=1000)))
    assert found.seconds.bottleneck == bottleneck
    assert found.seconds.step >= max(found.seconds.compute, found.seconds.store)


def test_gpu_launches_overlap_with_work_and_cpu_launches_add_up():
    machine = Hardware("x", "none", matmul_fp32=1e12, matmul_bf16=2e12, memory_bandwidth=1e12, call_seconds=0.01)
    work = Work(flops=1e12, moved=1e12, calls=100)
    assert machine.seconds(work) == 2.0
    assert machine.seconds(work, "bf16") == 1.5
    assert replace(machine, kind="cpu").seconds(work) == 3.0
    assert replace(machine, share=0.5).seconds(work) == 4.0
    assert machine.seconds(Work(flops=1e6, calls=100)) == 1.0


def test_this_machine_is_measured_with_one_process_per_device():
    found = plan(PlanSettings(gpus=2, hardware="this-machine"))
    assert "2 processes" in found.hardware.source
    assert found.hardware.kind == ("gpu" if torch.cuda.is_available() else "cpu")
    assert 1e8 < found.hardware.matmul_fp32 < 1e15
    assert 1e7 < found.hardware.memory_bandwidth < 1e13
    assert found.hardware.node_bandwidth > 1e5
    assert found.cost.gradients_sent > 0
    assert found.seconds.network > 0
