"""PyTorch and the GPU: whether they are compatible, and what DeepSpeed needs."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from foundation.cli.doctor.finding import BROKEN, NOTE, OK, WARNING, Finding

DRIVER = Path("/proc/driver/nvidia/version")
LEAST_MEMORY = 8 * 2**30
READ = ("CUDA_VISIBLE_DEVICES", "DS_ACCELERATOR", "RANK", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")


@dataclass(frozen=True)
class Device:
    """PyTorch's and the system's information about GPUs.

    Args:
        error: why PyTorch does not import; empty if it does.
        torch: its version.
        cuda, rocm: the version for which PyTorch was built; empty if none.
        names, capabilities, memory: of each GPU that PyTorch can use; ``(8, 0)``; bytes.
        architectures: for which PyTorch holds code, such as ``sm_80``.
        driver: version of NVIDIA's driver; empty without one.
        amd: whether the system has an AMD GPU.
        threads: of PyTorch on the CPU.
    """

    error: str = ""
    torch: str = ""
    cuda: str = ""
    rocm: str = ""
    names: tuple[str, ...] = ()
    capabilities: tuple[tuple[int, int], ...] = ()
    memory: tuple[int, ...] = ()
    architectures: tuple[str, ...] = ()
    driver: str = ""
    amd: bool = False
    threads: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        if self.error:
            return "PyTorch does not import"
        if self.names:
            names = ", ".join(sorted(set(self.names)))
            return f"{len(self.names)} GPU: {names} ({f'CUDA {self.cuda}' if self.cuda else f'ROCm {self.rocm}'})"
        return f"no GPU: everything runs on the CPU, in {self.threads} thread{'s' * (self.threads != 1)}"


def read_device() -> Device:
    """Return the device of this machine."""
    driver, amd = _driver(), Path("/dev/kfd").exists()
    environment = {name: os.environ[name] for name in READ if name in os.environ}
    try:
        import torch

        usable = torch.cuda.is_available()
        count = torch.cuda.device_count() if usable else 0
        return Device(
            torch=torch.__version__,
            cuda=torch.version.cuda or "",
            rocm=getattr(torch.version, "hip", None) or "",
            names=tuple(torch.cuda.get_device_name(i) for i in range(count)),
            capabilities=tuple(torch.cuda.get_device_capability(i) for i in range(count)),
            memory=tuple(torch.cuda.get_device_properties(i).total_memory for i in range(count)),
            architectures=tuple(torch.cuda.get_arch_list()) if usable else (),
            threads=torch.get_num_threads(),
            environment=environment,
            driver=driver,
            amd=amd,
        )
    except Exception as error:
        return Device(error=f"{type(error).__name__}: {error}", environment=environment, driver=driver, amd=amd)


def _driver() -> str:
    """Return the version of NVIDIA's driver, ``unknown`` if only its devices exist, or an empty text."""
    try:
        found = re.search(r"Kernel Module\D*([\d.]+)", DRIVER.read_text())
    except OSError:
        return "unknown" if Path("/dev/nvidiactl").exists() else ""
    return found[1] if found else "unknown"


def device_findings(device: Device) -> list[Finding]:
    """Check PyTorch's and the system's information about GPUs."""
    if device.error:
        reason = " ".join(device.error.split())[:200]
        return [Finding("torch", BROKEN, f"does not import ({reason})", "pip install --force-reinstall torch")]
    findings = _gpu(device) or [Finding("device", OK, str(device))]
    return [*findings, _deepspeed(device)]


def _deepspeed(device: Device) -> Finding:
    """Check DeepSpeed's environment; it needs no compiler, because optimisers are PyTorch's, and no MPI."""
    accelerator = device.environment.get("DS_ACCELERATOR", "")
    launched = next((name for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE") if name in device.environment), "")
    if launched and "RANK" not in device.environment:
        text = f"MPI started this process ({launched} is set), and training would run in each process for itself"
        return Finding("deepspeed", WARNING, text, "start with `foundation pretrain --processes`, torchrun or srun")
    if accelerator and accelerator not in ("cpu", "cuda"):
        text = f"DS_ACCELERATOR is {accelerator!r}: foundation trains on cpu and cuda"
        return Finding("deepspeed", WARNING, text, "unset DS_ACCELERATOR")
    if accelerator == "cuda" and not device.names:
        text = "DS_ACCELERATOR is 'cuda', and PyTorch has no GPU to use"
        return Finding("deepspeed", BROKEN, text, "unset DS_ACCELERATOR")
    if accelerator == "cpu" and device.names:
        text = "DS_ACCELERATOR is 'cpu', so DeepSpeed leaves the GPU unused"
        return Finding("deepspeed", WARNING, text, "unset DS_ACCELERATOR")
    return Finding("deepspeed", OK, "needs no compiler and no MPI")


def _gpu(device: Device) -> list[Finding]:
    built = device.cuda or device.rocm
    hidden = device.environment.get("CUDA_VISIBLE_DEVICES")
    if not device.names and device.driver and hidden is not None and hidden.strip() in ("", "-1"):
        text = f"CUDA_VISIBLE_DEVICES is {hidden!r}, which hides every GPU"
        return [Finding("device", NOTE, text, "unset CUDA_VISIBLE_DEVICES to use them")]
    if not device.names and device.driver and not device.cuda:
        text = f"this machine has an NVIDIA GPU, and torch {device.torch} was built without CUDA"
        return [
            Finding("device", WARNING, text, "install a build with CUDA: pytorch.org/get-started lists the commands")
        ]
    if not device.names and device.driver:
        text = f"torch {device.torch} (CUDA {device.cuda}) cannot use the GPU with NVIDIA driver {device.driver}"
        mend = (
            "update the driver, or install a build of torch for an older CUDA; `nvidia-smi` shows what the driver takes"
        )
        return [Finding("device", BROKEN, text, mend)]
    if not device.names and device.amd and not device.rocm:
        text = f"this machine has an AMD GPU, and torch {device.torch} was built without ROCm"
        return [
            Finding("device", WARNING, text, "install a build with ROCm: pytorch.org/get-started lists the commands")
        ]
    findings = []
    for name, (major, minor) in sorted(set(zip(device.names, device.capabilities, strict=False))):
        if device.cuda and device.architectures and not _has_code(major, minor, device.architectures):
            text = (
                f"torch {device.torch} holds no code for {name} (sm_{major}{minor}): {', '.join(device.architectures)}"
            )
            mend = f"install a build of torch that lists sm_{major}{minor} (CUDA {built} does not)"
            findings.append(Finding("device", BROKEN, text, mend))
    for name, size in sorted(set(zip(device.names, device.memory, strict=False))):
        if size < LEAST_MEMORY:
            text = f"{name} has {size / 2**30:.0f} GiB of memory"
            findings.append(Finding("device", NOTE, text, "give pretraining a smaller --data.tokens_per_step"))
    return findings


def _has_code(major: int, minor: int, architectures: tuple[str, ...]) -> bool:
    """Return True if PyTorch runs on a GPU: with code for its generation, or code that the driver compiles for it.

    Example:
        >>> _has_code(8, 6, ("sm_80",)), _has_code(7, 0, ("sm_80",)), _has_code(9, 0, ("compute_80",))
        (True, False, True)
    """
    for name in architectures:
        found = re.match(r"(sm|compute)_(\d+)(\d)", name)
        if found is None:
            continue
        kind, has_major, has_minor = found[1], int(found[2]), int(found[3])
        if kind == "sm" and has_major == major and has_minor <= minor:
            return True
        if kind == "compute" and (has_major, has_minor) <= (major, minor):
            return True
    return False
