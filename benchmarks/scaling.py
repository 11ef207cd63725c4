"""Plans for 8, 64 and 1,024 GPUs on an archive of 10^6 recordings: the tables of docs/scaling.md.

python benchmarks/scaling.py                  # writes them into docs/scaling.md
python benchmarks/scaling.py --check          # compares them with the prediction
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from foundation.common.files.locks import write_whole
from foundation.common.output.pages import MarkdownPage
from foundation.common.settings.command import build_parser, parse
from foundation.cost_model import Plan, PlanSettings, step_seconds
from foundation.cost_model.cost_plan import plan
from foundation.cost_model.cost_table import si
from foundation.cost_model.reading_cost import Reading

PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"
BEGIN, END = "<!-- begin -->\n", "<!-- end -->\n"
NODES = (1, 8, 128)
COMMON = "--config pretrain/demo --gpus 8 --precision bf16 --steps 100000 --data.workers 8"
RUNS = {
    "eit-base": "--config model/eit-base --model.patch_length 20 --data.tokens_per_step 65536",
    "eit-large": "--config model/eit-large --model.patch_length 20 --zero_stage 1",
}
HEAD = ["GPUs", "windows a step", "fullest over mean", "TFLOP of a process", "memory of a device", "of it activations",
        "memory of a node", "sent by a process", "read by a process", "reads"]  # fmt: skip
TIMES = ["GPUs", "encoder", "objective", "optimiser", "network", "drawing", "store", "step", "neuron-tokens/s",
         "FLOP utilisation", "bottleneck", "once windows come in time"]  # fmt: skip


def planned(options: str, nodes: int) -> Plan:
    """Return the plan of ``foundation plan`` for some options."""
    arguments = [*options.split(), "--nodes", str(nodes)]
    return plan(parse(build_parser("plan", plan, PlanSettings), PlanSettings, arguments))


def size(found: Plan) -> list[str]:
    cost, read = found.cost, found.cost.reading
    fits = "" if cost.memory <= found.hardware.memory else " (does not fit)"
    node = cost.host_memory * found.settings.gpus
    fits_node = "" if cost.host_memory <= found.hardware.host_memory else " (does not fit)"
    return [
        f"{cost.world:,}", f"{found.windows:,}", f"{found.imbalance:.2f}", f"{cost.flops / 1e12:.3g}",
        si(cost.memory, "B") + fits, si(cost.activations, "B"), si(node, "B") + fits_node,
        si(cost.gradients_sent + cost.rows_sent, "B"), si(read.stored, "B"), f"{read.reads:,.0f}",
    ]  # fmt: skip


def times(found: Plan) -> list[str]:
    s = found.seconds
    # The same step where drawing and reading cost nothing: what would be the bottleneck next.
    nothing = Reading()
    kept_up = step_seconds(replace(found.cost, reading=nothing), found.run, found.hardware, found.settings.gpus)
    parts = (s.encoder, s.objective, s.optimizer, s.network + s.hidden, s.drawing, s.store)
    return [
        f"{found.cost.world:,}", *(si(part, "s") for part in parts),
        si(s.step, "s"), si(found.rate, ""), f"{found.utilisation:.1%}", s.bottleneck,
        f"{si(kept_up.step, 's')}, {kept_up.bottleneck}",
    ]  # fmt: skip


def tables() -> MarkdownPage:
    """Return the rendered part of the page."""
    page = MarkdownPage()
    for name, options in RUNS.items():
        found = [planned(f"{COMMON} {options}", nodes) for nodes in NODES]
        first = found[0]
        page.heading(
            f"{name}, {first.cost.parameters / 1e6:,.0f} M parameters, ZeRO {first.run.zero_stage}, bf16, H100", level=3
        )
        page.say(
            f"`foundation plan {COMMON} {options} --nodes {NODES[-1]}`, and with "
            f"{' and '.join(str(n) for n in NODES[:-1])} nodes."
        )
        page.table(HEAD, [size(one) for one in found])
        page.table(TIMES, [times(one) for one in found])
    nodes = NODES[-1]
    options = f"{COMMON} {RUNS['eit-large']}"
    rows = []
    for stage in range(4):
        one = planned(options.replace("--zero_stage 1", f"--zero_stage {stage}"), nodes)
        states, network = one.cost.states, one.seconds.network + one.seconds.hidden
        rows.append(
            [str(stage), *(si(b, "B") for b in (states.weights, states.gradients, states.optimizer, states.buffers)),
             si(one.cost.gradients_sent, "B"), si(one.cost.rows_sent, "B"), si(network, "s")]
        )  # fmt: skip
    page.heading(f"ZeRO on {nodes * 8:,} GPUs, eit-large", level=3)
    page.table(
        ["ZeRO", "weights", "gradients", "optimiser", "buffers", "sent: gradients, weights", "sent: rows", "network"],
        rows,
    )
    return page


def rendered() -> str:
    """Return the page with new tables."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{tables().text}\n{END}{rest.split(END)[1]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; end with 1 where the page is not up to date"
    )
    arguments = parser.parse_args()
    page = rendered()
    if arguments.check:
        same = page == PAGE.read_text(encoding="utf-8")
        print("docs/scaling.md is up to date" if same else "docs/scaling.md is not: python benchmarks/scaling.py")
        return 0 if same else 1
    write_whole(PAGE, page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
