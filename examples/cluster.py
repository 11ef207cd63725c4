# %% [markdown]
# # Pretraining, from a laptop to a cluster
#
# The same settings train in one process, in several processes on one machine, and on many machines. This run is small
# enough for a laptop: two processes and a dozen steps. For a cluster you change only the number of processes and the
# names of the machines.

# %%
import json
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt

import foundation
from foundation.data import DataSettings
from foundation.objectives import NeurPIRSettings, ObjectiveSettings
from foundation.training import ModelSettings

if not Path("nwb").exists():
    foundation.simulate_izhikevich(
        foundation.SimulateSettings(output="nwb", networks=2, neurons=20, seconds=240, wake=24, nrem=16, rem=10)
    )
foundation.ingest(foundation.IngestSettings(input="nwb", store="store", workers=0))

# %% [markdown]
# ## Settings
#
# You can also set every field in a YAML file; `foundation pretrain --config pretrain/demo --print_config` prints one.
# Invalid values are refused here, before anything starts. `tokens_per_step` is the budget of a step over all processes;
# the windows of a step do not depend on the number of processes.

# %%
settings = foundation.PretrainSettings(
    store="store",
    output="run",
    steps=12,
    processes=2,
    checkpoint_every=6,
    log_every=1,
    model=ModelSettings(dim=32, heads=2, patch_length=20),
    data=DataSettings(bin_widths=[0.005], tokens_per_step=8192, min_windows=4, max_units=16),
    objective=ObjectiveSettings(neurpir=NeurPIRSettings(min_tokens=6, max_tokens=16, projector=[64, 64])),
)

# %% [markdown]
# ## Run
#
# With more than one process this starts DeepSpeed's launcher and waits for it. The command line does the same, on this
# machine and on others:
#
# ```bash
# foundation pretrain --config my-run.yaml --processes 2
# foundation pretrain --config my-run.yaml --hosts node-1,node-2 --processes 8 --restarts 3
# ```
#
# [Clusters](../clusters.md) describes Slurm, Kubernetes and the clouds. To resume a killed run from its newest intact
# checkpoint, give the same command again; for a finished run, the command logs this and does nothing.

# %%
folder = foundation.pretrain(settings)
print(folder, sorted(path.name for path in folder.iterdir()))

# %% [markdown]
# ## Did it learn, or collapse?
#
# The loss alone does not show this. `rankme` is the effective number of dimensions of the embeddings: near 1, every
# unit has the same embedding, and the run has collapsed.

# %%
lines = [json.loads(line) for line in Path("run", "metrics.jsonl").read_text().splitlines()]
lines = [line for line in lines if "loss" in line]
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
left.plot([line["step"] for line in lines], [line["loss"] for line in lines])
left.set(xlabel="step", ylabel="loss")
right.plot([line["step"] for line in lines], [line["rankme"] for line in lines])
right.set(xlabel="step", ylabel="rankme", ylim=(0, None))
figure.savefig("cluster.png", dpi=90)

# %% [markdown]
# ![Loss and effective rank over the steps of the run.](pictures/cluster.png)
#
# ## Before the large run
#
# `foundation plan` estimates the cost of a step on machines that you do not have yet, and its bottleneck:
#
# ```bash
# foundation plan --config pretrain/demo --nodes 16 --gpus 8
# ```
#
# The checkpoint works with any number of processes, and without any of this: it is a folder with a config and weights.

# %%
model = foundation.load_model("run")
recording = next(iter(foundation.Catalog.open(foundation.Store("store"))))
print(model.embed(recording).num_rows, "units;", replace(settings, processes=1).identity() == settings.identity())
