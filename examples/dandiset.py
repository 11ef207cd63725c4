# %% [markdown]
# # A dandiset
#
# From an archive to a store: list what a dandiset holds, take a part of it, look at what came. The address names an
# archive, a dandiset, a version and, where not all of it is wanted, a folder, a file or a glob.
#
# This one has recordings of monkeys that reach to targets. An archive of your own laboratory is described by its name
# and the address of its API ([sources](../sources.md#your-own-archives)); the tests of this script write such a
# description into `archive.json`, of an archive on the same machine, so that they need no network. The pictures on
# this page are of that.

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
# ## What is there?
#
# Nothing is downloaded to list assets. Filters work on what the archive says of them: subject, session, species, size.
# On the command line: `foundation ingest --dry_run --input dandi://...`.

# %%
filters = AssetFilters(max_size=2_000_000_000, max_assets=4)
for asset in find_assets(DANDISET, filters, ARCHIVES):
    print(f"{asset.path:60} {asset.size / 1e6:8.1f} MB")

# %% [markdown]
# ## Ingest
#
# Each file becomes a recording of the store, or a line that says why not; no file stops another. Run it again, and
# finished files are skipped: this is also how an interrupted ingest continues. `workers=0` reads the files in this
# process; without it, Ray reads one for each CPU.

# %%
settings = foundation.IngestSettings(
    input=DANDISET, store="dandiset-store", archives=ARCHIVES, filters=filters, workers=0
)
report = foundation.ingest(settings)
print(report)

# %% [markdown]
# ## What came?
#
# The catalog has a row for each recording. `where` takes the expressions of `foundation catalog --where`. Archive,
# version and licence stay with each recording, for the citation.

# %%
catalog = foundation.Catalog.open(foundation.Store("dandiset-store"))
for record in catalog.records:
    print(
        f"{record.subject:24} {record.n_units} units, {record.duration:.0f} s, {record.labels}, {record.source.licence}"
    )
print(len(catalog.where("n_units > 10 and duration > 60")), "of them are large enough")

# %% [markdown]
# ## A first look at all of it
#
# A store is read by windows, so nothing has to fit into memory. Here: how fast units fire in each recording, and where
# `eit-tiny` puts them. Recordings that lie apart differ in something, if only in their rates or in who recorded them:
# a split by animal, as `foundation finetune` makes it, is the way to find out whether it matters.

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
# ## Where to go on
#
# [Ingest](../ingest.md) has clusters, retries and reports; [recipes](../recipes.md) what to do where a column has a
# name of its own; [quality](../quality.md) how units and recordings are chosen. The store is what
# [pretraining](cluster.md) reads.
