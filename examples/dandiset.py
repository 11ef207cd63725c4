# %% [markdown]
# # A dandiset
#
# From an archive to a store: list the files of a dandiset, ingest some of them, and look at the result. The address
# names an archive, a dandiset, a version and, for a part of the dandiset, a folder, a file or a glob.
#
# This dandiset has recordings of monkeys that reach to targets. You can describe an archive of your own laboratory by
# its name and the address of its API ([sources](../sources.md#your-own-archives)). The tests of this script run without
# a network: they write such a description into `archive.json`, for an archive on the same machine. The pictures on this
# page are from that archive.

# %%
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import foundation
from ingest.sources import Archive, AssetFilters, find_assets

DANDISET, ARCHIVES = "dandi://dandi/000688@0.250122.1735/sub-C", []
if Path("archive.json").exists():
    described = json.loads(Path("archive.json").read_text())
    DANDISET, ARCHIVES = described.pop("dandiset"), [Archive(**described)]

# %% [markdown]
# ## List the files
#
# Listing downloads nothing. Filters use the archive's metadata: subject, session, species, size.
# On the command line: `foundation ingest --dry_run --input dandi://...`.

# %%
filters = AssetFilters(max_size=2_000_000_000, max_assets=4)
for asset in find_assets(DANDISET, filters, ARCHIVES):
    print(f"{asset.path:60} {asset.size / 1e6:8.1f} MB")

# %% [markdown]
# ## Ingest
#
# Each file becomes a recording in the store, or a line with the reason why not; a failed file does not stop the others.
# Run it again, and finished files are skipped: an interrupted ingest continues in the same way. `workers=0` reads the
# files in this process; without it, Ray reads one file per CPU.

# %%
settings = foundation.IngestSettings(
    input=DANDISET, store="dandiset-store", archives=ARCHIVES, filters=filters, workers=0
)
report = foundation.ingest(settings)
print(report)

# %% [markdown]
# ## Look at the catalog
#
# The catalog has a row for each recording. `where` takes the same expressions as `foundation catalog --where`. Archive,
# version and licence stay with each recording, for the citation.

# %%
catalog = foundation.Catalog.open(foundation.Store("dandiset-store"))
for record in catalog.records:
    print(
        f"{record.subject:24} {record.n_units} units, {record.duration:.0f} s, {record.labels}, {record.source.licence}"
    )
print(len(catalog.where("n_units > 10 and duration > 60")), "of them are large enough")

# %% [markdown]
# ## Plot all recordings
#
# A store is read in windows, so nothing has to fit into memory as a whole. The plot shows the firing rates of each
# recording, and the embeddings of its units. Recordings that lie apart differ in something, perhaps only in their rates
# or in the laboratory; to find out whether it matters, split by animal, as `foundation finetune` does.

# %%
model = foundation.load_model("eit-tiny")
names, rates, embeddings = [], [], []
for recording in catalog:
    table = model.embed(recording, max_windows=16)
    names.append(recording.record.subject.rpartition("/")[2])
    rates.append(table["rate"].to_numpy())
    embeddings.append(np.array(table["embedding"].to_pylist()))

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.6), layout="constrained")
left.boxplot(rates, tick_labels=names)
left.set(ylabel="spikes a second", yscale="log", title="firing rates")
mean_D = np.concatenate(embeddings).mean(0)
axes_D2 = np.linalg.svd(np.concatenate(embeddings) - mean_D, full_matrices=False)[2][:2].T
for name, embedding_ND in zip(names, embeddings, strict=True):
    right.scatter(*((embedding_ND - mean_D) @ axes_D2).T, label=name, s=18)
right.set(xlabel="component 1", ylabel="component 2", title="embeddings")
right.legend(fontsize="small")
figure.savefig("dandiset.png", dpi=90)

# %% [markdown]
# ![Firing rates of each recording, and two components of the embeddings of all units.](pictures/dandiset.png)
#
# ## Next steps
#
# [Ingest](../ingest.md) describes clusters, retries and reports, [recipes](../recipes.md) describe columns with other
# names, and [quality](../quality.md) explains how to choose units and recordings. [Pretraining](cluster.md) reads the
# store.
