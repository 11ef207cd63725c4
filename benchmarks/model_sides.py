"""What benchmarks/model.py sets side by side: EIT, attention as the paper draws it, and torch_brain's POYO."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import psutil
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from finetune.reproduce.models import EITPublished, EITPublishedConfig
from finetune.reproduce.models.wide_attention import WideAttention
from foundation.models import EIT, EITConfig

RATE = 8.0  # Hz, of simulated units
MEAN_RATE = 3.0  # Hz, of the units of Chewie's recording


def windows(
    batch: int, n_units: int, n_bins: int, bin_width: float, seed: int = 0, rate: float = RATE
) -> dict[str, Any]:
    """Return Poisson counts of units with one rate, as EIT's input: all valid, so without masks."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "x_BNT": torch.poisson(torch.full((batch, n_units, n_bins), rate * bin_width), generator=generator),
        "mask_BN": None,
        "mask_BT": None,
        "dt_B": torch.full((batch,), bin_width),
        "modality_B": torch.zeros(batch, dtype=torch.int64),
    }


def step(model: nn.Module, given: dict[str, Any], bf16: bool = False) -> Callable[[], None]:
    """Forward and backward."""

    def run() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            out = model(**given)
        (out if isinstance(out, torch.Tensor) else out[0]).float().square().mean().backward()

    return run


def flops(model: nn.Module, given: dict[str, Any]) -> int:
    """Count FLOPs of forward and backward as they run: matrix products and attention, without recomputation."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        step(model, given)()
    return counter.get_total_flops()


def eit(name: str, **changes: Any) -> EIT:
    """Return a shipped size, in training mode."""
    torch.manual_seed(0)
    return EIT(EITConfig.named(name, **changes)).train()


class Drawn(nn.Module):
    """Attention as the paper draws it: Linear(16 -> 3 x 384), softmax attention, Linear(384 -> 16)."""

    def __init__(self, folded: WideAttention) -> None:
        super().__init__()
        self.heads, self.head_dim = folded.heads, folded.head_dim
        self.qkv, self.out = folded.qkv, folded.out

    def forward(self, x_BLD: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x_BLD.shape
        parts = self.qkv(x_BLD).chunk(3, dim=-1)
        q, k, v = (part.view(batch, length, self.heads, self.head_dim).transpose(1, 2) for part in parts)
        weights = (q @ k.transpose(-1, -2) * self.head_dim**-0.5).softmax(dim=-1)
        return self.out((weights @ v).transpose(1, 2).reshape(batch, length, -1))


def published(drawn: bool, dropout: float = 0.0) -> EITPublished:
    """Return the published EIT, 163 units and T = 2; with attention as drawn, or as implemented here."""
    torch.manual_seed(0)
    model = EITPublished(EITPublishedConfig(n_units=163, n_bins=2, dropout=dropout, head_dropout=dropout))
    if drawn:
        for block in (*model.individual.blocks, *model.interaction.blocks):
            block.attention = Drawn(block.attention)
    return model.train()


def training_step(drawn: bool) -> Callable[[], None]:
    """Time an Adam step of the published EIT on spike counts, with dropout: as drawn, or as implemented here."""
    model = published(drawn, dropout=0.5)
    if drawn:
        model.individual._repeats = lambda x_RT: False
        for name, module in list(model.named_modules()):
            if isinstance(module, nn.Dropout):
                model.set_submodule(name, nn.Dropout(module.p))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=not drawn)
    counts_BNT = windows(16, 163, 2, 0.1, rate=MEAN_RATE)["x_BNT"]
    generator = torch.Generator().manual_seed(1)
    x_BNT = counts_BNT * 10 - 10 * torch.rand(163, 1, generator=generator)  # Hz, less a mean of each unit's own
    labels_BT = torch.randint(0, 8, (16, 2), generator=generator)

    def run() -> None:
        optimizer.zero_grad()
        model(x_BNT, labels_BT).loss.backward()
        optimizer.step()

    return run


def poyo(parameters: int, n_units: int, seconds: float, dim: int, latents: int) -> tuple[nn.Module, int]:
    """Return a POYO with about as many parameters: a set of latents each 1/8 s (or half window)."""
    from torch_brain.models import POYO

    def build(depth: int) -> nn.Module:
        torch.manual_seed(0)
        model = POYO(
            sequence_length=seconds,
            latent_step=0.125 if seconds >= 1 else seconds / 2,
            num_latents_per_step=latents,
            dim=dim,
            dim_out=8,
            depth=depth,
            self_heads=max(1, dim // 64),
            dim_head=min(64, dim),
            ffn_dropout=0.0,
            lin_dropout=0.0,
        )
        model.unit_emb.initialize_vocab([f"u{i}" for i in range(n_units)])
        model.session_emb.initialize_vocab(["s"])
        return model.train()

    depths = range(1, 25)
    best = min(depths, key=lambda d: abs(sum(p.numel() for p in build(d).parameters()) - parameters))
    return build(best), best


def poyo_inputs(model: Any, x_BNT: torch.Tensor, bin_width: float, seconds: float) -> tuple[dict[str, Any], float]:
    """Return the same windows as POYO's input: a token per spike, two per unit; and tokens per window."""
    import numpy as np
    from torch_brain.batching import collate
    from torch_brain.data import ArrayDict, Data, IrregularTimeSeries

    rng = np.random.default_rng(0)
    items, n_tokens = [], 0
    for x_NT in x_BNT.numpy().astype(int):
        unit, place = np.nonzero(x_NT)
        repeats = x_NT[unit, place]
        unit, place = np.repeat(unit, repeats), np.repeat(place, repeats)
        times = (place + rng.uniform(0, 1, len(place))) * bin_width
        order = np.argsort(times)
        spikes = IrregularTimeSeries(timestamps=times[order], unit_index=unit[order], domain="auto")
        data = Data(
            spikes=spikes,
            units=ArrayDict(id=np.array([f"u{i}" for i in range(len(x_NT))])),
            session=Data(id="s"),
            domain=spikes.domain,
        )
        tokens = model.tokenize(data)
        n_tokens += len(times) + 2 * len(x_NT)
        tokens["output_timestamps"] = np.linspace(0, seconds, 10)
        items.append(tokens)
    batch = collate(items)
    names = (
        "input_unit_index", "input_timestamps", "input_token_type", "input_mask", "latent_index", "latent_timestamps",
        "session_index", "output_timestamps",
    )  # fmt: skip
    return {name: batch[name] for name in names}, n_tokens / len(items)


def one_population(n_units: int, name: str, points: int, tokens: int, threads: int) -> None:
    """Forward and backward of one window, in a process of its own: prints seconds and peak memory as JSON."""
    torch.set_num_threads(threads)
    patch = 20
    model = eit(name, inducing_points=points, patch_length=patch)
    model.gradient_checkpointing_enable()
    given = windows(1, n_units, tokens * patch, 0.005)
    process, done, seen = psutil.Process(), threading.Event(), [0]

    def watch() -> None:
        while not done.wait(0.002):
            seen.append(process.memory_info().rss)

    before = process.memory_info().rss
    watcher = threading.Thread(target=watch)
    watcher.start()
    began, worked = time.perf_counter(), time.process_time()
    step(model, given)()
    seconds, worked = time.perf_counter() - began, time.process_time() - worked
    done.set()
    watcher.join()
    print(json.dumps({"seconds": seconds, "cpu": worked, "mib": (max(seen) - before) / 2**20}))


if __name__ == "__main__":
    one_population(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
