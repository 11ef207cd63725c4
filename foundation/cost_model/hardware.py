"""Rates of a device, a node and the network between nodes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any

import yaml

from foundation.common.errors import ConfigError
from foundation.common.settings.resources import config_names, find_config
from foundation.common.settings.setting_limits import NonNegative, between, check_limits, finite, one_of
from foundation.common.work import Work

HERE = "this-machine"
Rate = Annotated[float, finite(low_too=False)]


@dataclass(frozen=True)
class Hardware:
    """Rates in the units of a data sheet: FLOP/s, bytes, bytes per second, seconds.

    Args:
        name: of the device.
        source: source of the figures.
        kind: ``gpu``, or ``cpu`` (a device is then one process).
        matmul_fp32: FLOP/s of matrix products in fp32, without TF32, as in training.
        matmul_bf16: FLOP/s of dense matrix products in bf16.
        share: share of the rates of products and memory that training reaches; 1 if they were measured.
        memory: bytes of a device.
        memory_bandwidth: bytes/s between a device and its memory.
        call_seconds: seconds to start one operation.
        host_bandwidth: bytes/s between a device and the memory of its node, each way; for offload.
        host_memory: bytes of a node, per device.
        host_memory_bandwidth: bytes/s of a node's memory, per device.
        node_bandwidth: bytes/s that a device sends to others of its node while it receives at the same rate.
        network_bandwidth: the same to other nodes, per device.
        network_seconds: seconds for one message to reach another node.
        store_bandwidth: bytes/s that a device's process reads from the store, compressed.
        store_seconds: seconds to the first byte of a read.
        store_reads: concurrent reads of each process.
        decode_bandwidth: decoded bytes/s of one process that reads recordings.
        open_seconds: CPU seconds to open a recording.
        outline_seconds: CPU seconds to draw the outline of a window: recording, bin width, lengths.
        draw_seconds: CPU seconds to draw the rest of a window: start and units.

    Raises:
        ConfigError: if a value is invalid.
    """

    name: str
    source: str
    kind: Annotated[str, one_of("gpu", "cpu")] = "gpu"
    matmul_fp32: Rate = 1e13
    matmul_bf16: Rate = 1e14
    share: Annotated[float, finite(low_too=False), between(0, 1)] = 1.0
    memory: Rate = 8e10
    memory_bandwidth: Rate = 1e12
    call_seconds: NonNegative = 0.0
    host_bandwidth: Rate = 2e10
    host_memory: Rate = 1e11
    host_memory_bandwidth: Rate = 2e10
    node_bandwidth: Rate = 1e11
    network_bandwidth: Rate = 1e10
    network_seconds: NonNegative = 0.0
    store_bandwidth: Rate = 1e9
    store_seconds: NonNegative = 0.0
    store_reads: Annotated[int, finite(low_too=False)] = 1
    decode_bandwidth: Rate = 3e8
    open_seconds: NonNegative = 3e-3
    outline_seconds: NonNegative = 1e-6
    draw_seconds: NonNegative = 7e-5

    def __post_init__(self) -> None:
        check_limits(self, f"hardware {self.name}: ")

    def seconds(self, work: Work, precision: str = "fp32") -> float:
        """Return the seconds that one device needs for a piece of work.

        A GPU launches operations while it works on earlier ones, so the longer of the two times counts. A CPU does not,
        so the times add up.

        Example:
            >>> machine = Hardware("x", "none", matmul_fp32=1e12, matmul_bf16=2e12, memory_bandwidth=1e11)
            >>> machine.seconds(Work(flops=1e12, moved=5e10))
            1.5
        """
        rate = self.matmul_bf16 if precision == "bf16" else self.matmul_fp32
        working = work.flops / (rate * self.share) + work.moved / (self.memory_bandwidth * self.share)
        starting = work.calls * self.call_seconds
        return max(working, starting) if self.kind == "gpu" else working + starting


def hardware_names() -> list[str]:
    """Return the names of the shipped descriptions, and ``this-machine``.

    Example:
        >>> "h100" in hardware_names()
        True
    """
    return [*(name.removeprefix("hardware/") for name in config_names("hardware")), HERE]


def load_hardware(name: str) -> Hardware:
    """Return a shipped description by name, or one from a YAML file; for ``this-machine`` see `measure`.

    Raises:
        ConfigError: if there is no hardware of that name, a key is unknown, or a value is invalid.

    Example:
        >>> load_hardware("a100").kind
        'gpu'
    """
    try:
        file = find_config(name, "hardware")
    except ConfigError as error:
        raise ConfigError(
            f"hardware is {name!r}: expected a YAML file, or one of {', '.join(hardware_names())}"
        ) from error
    try:
        given: Any = yaml.safe_load(file.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"hardware {name!r} is not a YAML file ({error})") from error
    known = {field.name: field for field in dataclasses.fields(Hardware)}
    if not isinstance(given, dict) or not {"name", "source"} <= set(given):
        raise ConfigError(f"hardware {name!r} lacks name or source: expected both; keys are {', '.join(known)}")
    strange = sorted(set(map(str, given)) - set(known))
    if strange:
        raise ConfigError(f"hardware {name!r} has the key {strange[0]!r}: expected {', '.join(known)}")
    texts = ("name", "source", "kind")
    return Hardware(**{key: value if key in texts else _number(value) for key, value in given.items()})


def _number(value: Any) -> Any:
    """Convert a text such as 1e12, which YAML does not read as a number because its exponent has no sign."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
