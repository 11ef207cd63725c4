# %% [markdown]
# # Your own file
#
# You have an NWB file with sorted units and want to see how a pretrained model represents them. This tutorial shows
# what is read from the file, and embeds its neurons with `eit-tiny`, a checkpoint that comes with the package. It needs
# no GPU, no network and no training.
#
# Put the path of your file below. If there is no file, the script simulates one, so that it runs everywhere: a network
# of 20 neurons of five firing modes, whose animal reaches to targets while awake and then sleeps.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import foundation
from ingest.run.explain import explain

FOLDER = Path("nwb")
if not FOLDER.exists():
    foundation.simulate_izhikevich(
        foundation.SimulateSettings(output=str(FOLDER), networks=2, neurons=20, seconds=240, wake=24, nrem=16, rem=10)
    )
path = sorted(FOLDER.rglob("*.nwb"))[0]

# %% [markdown]
# ## What is read?
#
# NWB leaves much to the laboratory: which table holds the units, and how columns are called. `explain` lists every
# object of the file with its meaning, or with the reason why it is left out. If something of yours is missing, [a
# recipe](../recipes.md) of a few lines names it. On the command line: `foundation ingest --explain mine.nwb`.

# %%
print(explain(str(path)))

# %% [markdown]
# ## Read and look
#
# A `Recording` holds units, spikes, behaviour and intervals; all times are seconds from the session's start.

# %%
recording = foundation.read_nwb(path)
print(recording.n_units, "units,", recording.n_spikes, "spikes,", recording.labels)

figure, (above, below) = plt.subplots(2, sharex=True, figsize=(8, 4.5), height_ratios=(3, 1), layout="constrained")
trains = [recording.spikes.train(unit) for unit in range(recording.n_units)]
above.eventplot([train[train < 60] for train in trains], linewidths=0.2, colors="black")
above.set(ylabel="unit", title=f"{recording.subject.id}, the first minute")
velocity = recording.behavior["velocity"]
seconds = velocity.start + np.arange(len(velocity.data)) / velocity.rate
speed = np.linalg.norm(velocity.data, axis=1)
below.plot(seconds[seconds < 60], speed[seconds < 60], linewidth=0.8)
below.set(xlabel="seconds", ylabel=f"speed ({velocity.unit})", xlim=(0, 60))
figure.savefig("own_nwb_file_activity.png", dpi=90)

# %% [markdown]
# ![A raster of 20 units over a minute, and the speed of the hand below it.](pictures/own_nwb_file_activity.png)
#
# ## Embed every neuron
#
# `load_model` takes a name, a folder or a URL. The checkpoint stores its bin width, the length of its windows and its
# transform of counts, so there is nothing to choose. The table has a row for each unit.

# %%
model = foundation.load_model("eit-tiny")
table = model.embed(recording)
print(table.drop(["recording", "embedding"]).to_pandas().head())

# %% [markdown]
# ## What do neighbours have in common?
#
# Two principal components of the embeddings, coloured by cell type from the file. Look for clusters, and be suspicious:
# firing rate alone separates many units, so the second panel is coloured by rate.

# %%
embedding_ND = np.array(table["embedding"].to_pylist())
centred_ND = embedding_ND - embedding_ND.mean(0)
axes_N2 = centred_ND @ np.linalg.svd(centred_ND, full_matrices=False)[2][:2].T

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.6), layout="constrained")
kinds = np.array([kind or "unknown" for kind in table["cell_type"].to_pylist()])
for kind in np.unique(kinds):
    left.scatter(*axes_N2[kinds == kind].T, label=kind)
left.legend(title="cell type", fontsize="small")
points = right.scatter(*axes_N2.T, c=np.log10(table["rate"].to_numpy()))
figure.colorbar(points, label="log10 of spikes a second")
for axis in (left, right):
    axis.set(xlabel="component 1", ylabel="component 2")
figure.savefig("own_nwb_file_embedding.png", dpi=90)

# %% [markdown]
# ![Two components of the embeddings, coloured by cell type and by firing rate.](pictures/own_nwb_file_embedding.png)
#
# ## Next steps
#
# A picture is not a result. [A decoder to take home](take_home.md) scores decoding from embeddings beside firing rates
# and shuffled labels. The card of [eit-tiny](../eit-tiny.md) describes its training data.
