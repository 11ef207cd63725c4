"""EIT on the CPU: share of the matrix-product rate, the published shape, POYO, torch.compile, thousands of units.

    python benchmarks/model.py                 # writes docs/benchmarks/model.md
    python benchmarks/model.py --rounds 3 --most-units 1000 --page /tmp/page.md
    python benchmarks/model.py --parts published --page docs/benchmarks/published-eit.md

Needs `pip install -e '.[bench,interop]'`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import Page, Ratio, in_turns, ratio_of
from model_sides import MEAN_RATE, eit, flops, poyo, poyo_inputs, published, step, training_step, windows

PATCH, TOKENS, UNITS, BIN = 20, 32, 64, 0.005  # as configs/pretrain/demo.yaml
EDGE = 2048
PARTS = ("shares", "published", "poyo", "compiled", "populations")
POPULATIONS = (100, 300, 1000, 3000, 10_000, 20_000)


def verdict(ratio: Ratio, target: float) -> str:
    """Return whether a claim holds, by the lower end of its interval."""
    return f"{'holds' if ratio.holds(target) else 'does not hold'} (at least {target:g})"


def shares(page: Page, rounds: int, sizes: list[str]) -> None:
    """Forward and backward of each size as a share of the best matrix product."""
    page.heading("Share of the matrix-product rate")
    given = windows(1, UNITS, TOKENS * PATCH, BIN)
    models = {name: eit(name, patch_length=PATCH) for name in sizes}
    left, right = torch.randn(2, EDGE, EDGE)
    halves = left.bfloat16(), right.bfloat16()
    sides = {"product": lambda: left @ right, "product bf16": lambda: halves[0] @ halves[1]}
    for name, model in models.items():
        sides[name], sides[f"{name} bf16"] = step(model, given), step(model, given, bf16=True)
    times = in_turns(sides, rounds=rounds)
    rows = []
    for name, model in models.items():
        count = flops(model, given)
        for kind in ("", " bf16"):
            best = np.full(rounds, times[f"product{kind}"].min())
            took = times[f"{name}{kind}"]
            share = ratio_of(best * count / (2 * EDGE**3), took)
            asked = verdict(share, 0.5) if not kind and name != "eit-tiny" else "-"
            rate = count / np.median(took) / 1e9
            rows.append([name, kind.strip() or "fp32", count / 1e9, float(np.median(took)), rate, str(share), asked])
    page.say(
        f"One window of {UNITS} units and {TOKENS} tokens of {PATCH} bins. FLOPs are those of the model's matrix "
        f"products and attention, forward and backward, counted by torch as they run. The share is of the best of "
        f"{rounds} products of two {EDGE} x {EDGE} matrices, taken in turns with the models: "
        f"{2 * EDGE**3 / times['product'].min() / 1e9:.0f} GFLOP/s in fp32 and "
        f"{2 * EDGE**3 / times['product bf16'].min() / 1e9:.0f} in bf16. bf16 is autocast: weights stay fp32."
    )
    page.table(["size", "precision", "GFLOP", "s", "GFLOP/s", "share (95 % interval)", "target 0.5"], rows)


def published_shape(page: Page, rounds: int) -> None:
    """Measure the published EIT, with attention as drawn and folded."""
    page.heading("The published shape")
    ours, drawn = published(drawn=False), published(drawn=True)
    torch.manual_seed(1)
    x_BNT, labels = torch.randn(16, 163, 2), torch.randint(0, 8, (16, 2))
    apart = float((ours(x_BNT).logits_BTC - drawn(x_BNT).logits_BTC).abs().max())
    rows = []
    sides = {
        f"{name}/{kind}": lambda m=model, i=i: m(x_BNT, labels)[i].backward() if i == 0 else m(x_BNT, labels)
        for name, model in (("ours", ours), ("drawn", drawn))
        for i, kind in enumerate(("forward and backward", "forward"))
    }
    for which, shape in (("individual", (16 * 163, 2, 16)), ("interaction", (32, 163, 16))):
        x = torch.randn(shape, requires_grad=True)
        for name, model in (("ours", ours), ("drawn", drawn)):
            layer = getattr(model, which).blocks[0].attention
            sides[f"{name}/attention of the {which} module"] = lambda a=layer, x=x: a(x).square().sum().backward()
    sides["ours/a step of training"], sides["drawn/a step of training"] = training_step(False), training_step(True)
    times = in_turns(sides, rounds=rounds)
    for kind in [side.removeprefix("ours/") for side in sides if side.startswith("ours/")]:
        ratio = ratio_of(times[f"drawn/{kind}"], times[f"ours/{kind}"])
        medians = [float(np.median(times[f"{name}/{kind}"])) * 1e3 for name in ("drawn", "ours")]
        rows.append([kind, *medians, str(ratio), verdict(ratio, 2.0)])
    page.say(
        "Batch 16, T = 2, 163 units, width 16, 6 heads of 64: the whole model, both modules and heads, dropout off, "
        "random numbers for activity. In the published form, attention computes queries, keys and values of width 3 x "
        "384; here the weight matrices are multiplied first (`WideAttention`). The parameters are the same, and "
        f"outputs differ by {apart:.1e} at most. A training "
        f"step has dropout, Adam and windows of spike counts at {MEAN_RATE:g} Hz, about the rate of the recordings in "
        "the results. At that rate most single-unit windows of a batch repeat, so the individual module is computed "
        "once for each distinct window; dropout masks are drawn faster, and Adam is fused."
    )
    page.table(["", "as published, ms", "here, ms", "times faster (95 % interval)", "target 2"], rows)


def against_poyo(page: Page, rounds: int) -> None:
    """Measure POYO with the same number of parameters on the same windows."""
    page.heading("POYO")
    rows = []
    paper = published(drawn=False)
    torch.manual_seed(1)
    given = windows(16, 163, 2, 0.1)
    rows.append(beside("EIT as published, T = 2", paper, {"x_BNT": given["x_BNT"]}, 0.1, 0.2, 32, 326, rounds))
    for name, patch, dim in (("eit-tiny", 200, 64), ("eit-tiny", 20, 64), ("eit-small", 200, 256)):
        given = windows(4, 163, round(1 / BIN), BIN)
        ours, tokens = eit(name, patch_length=patch), 163 * round(1 / BIN) // patch
        rows.append(beside(f"{name}, patch {patch}", ours, given, BIN, 1.0, dim, tokens, rounds))
    page.say(
        "Forward and backward on the same simulated windows of 163 units of 8 Hz: 16 of 2 bins of 0.1 s for EIT as "
        "published (the shape in the results on reaching), and 4 of 1 s for the others. EIT makes a token per unit "
        "and patch and gives an embedding of each; POYO makes a token per spike, two per unit, and squeezes them into "
        "latents (16 each 1/8 s, or each half of 0.2 s), so its layers see far fewer positions: the two do not compute "
        "the same thing. *At most* is the ratio that EIT would reach if its FLOPs ran at the machine's best rate for "
        f"products of two {EDGE} x {EDGE} matrices, measured in the same turns. Where it is below 3, faster code "
        "cannot reach 3 in fp32; only fewer operations can."
    )
    head = ["EIT", "M parameters, EIT / POYO", "EIT's tokens a window", "POYO's tokens a window", "EIT, GFLOP a window"]
    head += ["EIT, windows/s", "POYO, windows/s", "EIT over POYO (95 % interval)", "at most", "target 3"]
    page.table(head, rows)


def beside(
    name: str, ours: Any, given: dict[str, Any], width: float, seconds: float, dim: int, tokens: int, rounds: int
) -> list[Any]:
    """Return a row: EIT and a POYO with as many parameters on the same windows."""
    batch, count = len(given["x_BNT"]), sum(p.numel() for p in ours.parameters())
    theirs, depth = poyo(count, 163, seconds, dim, 16)
    inputs, their_tokens = poyo_inputs(theirs, given["x_BNT"], width, seconds)
    our_step = step(ours, given)
    if "mask_BN" not in given:
        labels = torch.zeros(given["x_BNT"].shape[::2], dtype=torch.int64)

        def our_step() -> None:
            ours(given["x_BNT"], labels).loss.backward()

    left, right = torch.randn(2, EDGE, EDGE)
    sides = {"ours": our_step, "theirs": step(theirs, inputs), "product": lambda: left @ right}
    times = in_turns(sides, rounds=rounds)
    ratio = ratio_of(times["theirs"], times["ours"])
    work = flops(ours, given) / batch
    their_rate = batch / float(np.median(times["theirs"]))
    return [
        name,
        f"{count / 1e6:.2f} / {sum(p.numel() for p in theirs.parameters()) / 1e6:.2f}",
        tokens,
        f"{their_tokens:,.0f} and {inputs['latent_index'].shape[1]} latents, depth {depth}",
        work / 1e9,
        batch / float(np.median(times["ours"])),
        their_rate,
        str(ratio),
        2 * EDGE**3 / float(times["product"].min()) / work / their_rate,
        verdict(ratio, 3.0),
    ]


def compiled(page: Page, rounds: int, names: tuple[str, ...] = ("eit-tiny", "eit-small")) -> None:
    """Measure `torch.compile` beside the plain model."""
    page.heading("torch.compile")
    given, rows = windows(1, UNITS, TOKENS * PATCH, BIN), []
    for name in names:
        model = eit(name, patch_length=PATCH)
        faster = torch.compile(model)
        began = time.perf_counter()
        step(faster, given)()
        first = time.perf_counter() - began
        times = in_turns({"as it is": step(model, given), "compiled": step(faster, given)}, rounds=rounds)
        medians = [float(np.median(times[side])) * 1e3 for side in ("as it is", "compiled")]
        rows.append([name, *medians, str(ratio_of(times["as it is"], times["compiled"])), first])
    page.say("Forward and backward of the windows of the first table, in fp32; the first step compiles, with gcc.")
    page.table(["size", "not compiled, ms", "compiled, ms", "times faster (95 % interval)", "first step, s"], rows)


def populations(page: Page, most: int, threads: int, points: int = 32, tokens: int = 10) -> None:
    """Time and memory of eit-small against the number of units."""
    page.heading("Thousands of units")
    rows, found = [], []
    script = str(Path(__file__).with_name("model_sides.py"))
    for n_units in [n for n in POPULATIONS if n <= most]:
        arguments = [str(n_units), "eit-small", str(points), str(tokens), str(threads)]
        done = subprocess.run([sys.executable, script, *arguments], check=True, capture_output=True, text=True)
        usage = json.loads(done.stdout.splitlines()[-1])
        found.append((n_units, usage["seconds"], usage["cpu"], usage["mib"]))
        rows.append([*found[-1], usage["cpu"] / n_units * 1e3, usage["mib"] / n_units])
    page.table(["units", "s", "CPU s", "MiB above the start", "CPU ms a unit", "MiB a unit"], rows)
    n, *columns = np.array(found).T
    if len(n) > 2:
        fits = [np.corrcoef(n, y)[0, 1] ** 2 for y in columns]
        slopes = [np.polyfit(np.log(n[n >= 300]), np.log(y[n >= 300]), 1)[0] for y in columns]
        page.say(
            f"eit-small with {points} inducing points, one window of {tokens} patches, forward and backward with "
            f"gradient checkpointing, each in a process of its own. A straight line explains {fits[0]:.2%} of the "
            f"variance of time, {fits[1]:.2%} of that of CPU time and {fits[2]:.2%} of that of memory; from 300 units "
            f"on they grow as units to the power {slopes[0]:.2f}, {slopes[1]:.2f} and {slopes[2]:.2f}."
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of every side")
    parser.add_argument("--most-units", type=int, default=20_000)
    parser.add_argument("--sizes", nargs="*", default=["eit-tiny", "eit-small", "eit-base"])
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=PARTS, help="of the page")
    parser.add_argument("--page", default="docs/benchmarks/model.md", help="where the page goes")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    command = f"python benchmarks/model.py --rounds {arguments.rounds} --threads {arguments.threads}"
    if arguments.parts != list(PARTS):
        command += f" --parts {' '.join(arguments.parts)} --page {arguments.page}"
    page = Page("Speed of EIT on the CPU", command, ("torch", "transformers", "torch_brain"))
    page.say(f"{arguments.threads} threads on every side; medians of {arguments.rounds} rounds in turns.")
    if "shares" in arguments.parts:
        shares(page, arguments.rounds, arguments.sizes)
    if "published" in arguments.parts:
        published_shape(page, arguments.rounds)
    if "poyo" in arguments.parts:
        against_poyo(page, arguments.rounds)
    if "compiled" in arguments.parts:
        compiled(page, arguments.rounds)
    if "populations" in arguments.parts:
        populations(page, arguments.most_units, arguments.threads)
    page.not_measured(
        [
            "GPUs: bf16, compiled, FLOP utilisation and peak memory of `base` and `large` on one",
            "eit-large",
            "other window lengths and batch sizes",
        ]
    )
    page.write(arguments.page)


if __name__ == "__main__":
    main()
