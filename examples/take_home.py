# %% [markdown]
# # A decoder to take home
#
# Fit heads on a pretrained model, read their scores, and apply one to a new recording. The labels here are the firing
# modes of the neurons; with your own files, they are the labels in your units table and behaviour.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pyarrow.parquet as pq

import foundation

if not Path("nwb").exists():
    foundation.simulate_izhikevich(
        foundation.SimulateSettings(output="nwb", networks=2, neurons=20, seconds=240, wake=24, nrem=16, rem=10)
    )
foundation.ingest(foundation.IngestSettings(input="nwb", store="store", workers=0))

# %% [markdown]
# ## Fit and score
#
# `tasks` chooses what is decoded; by default, everything that the store has labels for. Two folds and few resamples
# keep this short; the defaults take longer and give narrower intervals. On the command line: `foundation finetune
# --checkpoint eit-tiny --input mine.nwb --output heads`.

# %%
settings = foundation.FinetuneSettings(
    checkpoint="eit-tiny",
    store="store",
    output="heads",
    tasks=["cell_type"],
    mode="probe",
    folds=2,
    bootstrap=200,
    random_weights=False,
)
evaluation = foundation.finetune(settings)

# %% [markdown]
# ## What does the score mean?
#
# A score is compared with baselines that need no model. *Firing rates* are the floor: rate and intervals between
# spikes, with the same readout. *Shuffled labels* show the score of meaningless labels; *always the same* is the
# commonest class. If the interval of the model reaches down to the floor, this test does not show that the model adds
# anything. Two animals are two independent samples, so the intervals here are wide for any method.

# %%
result = evaluation.results[0]
print(f"{result.title}: {result.value:.2f}, firing rates {result.reference('rate'):.2f}; {result.split}")
rows = {"rates and model": "both", "firing rates": "rate", "always the same": "majority", "shuffled labels": "shuffled"}
scores = {"model": result.score} | {name: result.references[row] for name, row in rows.items()}
figure, axis = plt.subplots(figsize=(6, 2.8), layout="constrained")
for place, (name, score) in enumerate(scores.items()):
    value = score.metrics[result.metric]
    axis.plot([score.low or value, score.high or value], [place, place], color="black", linewidth=1)
    axis.plot(value, place, "o", color="tab:blue" if name == "model" else "tab:gray")
axis.set(yticks=range(len(scores)), yticklabels=list(scores), xlim=(0, 1), xlabel=f"{result.metric}, 95 % interval")
axis.invert_yaxis()
figure.savefig("take_home_scores.png", dpi=90)

# %% [markdown]
# ![The score of the model beside firing rates and controls, with intervals.](pictures/take_home_scores.png)
#
# ## Take it home
#
# The scores come from cross-validation; the head itself is then fitted to all labelled neurons and saved as two files
# without code. It stores the digest of its checkpoint, and refuses another one.

# %%
head = foundation.load_head("heads/cell_type")
print(head.title, head.classes, "read from:", [block.source for block in head.blocks])
print(sorted(path.name for path in Path("heads/cell_type").iterdir()))

# %% [markdown]
# ## Apply it to a new recording
#
# This is another network, as if recorded tomorrow. A head of neurons reads any recording; a head of labels over time
# fits only the population that it was fitted to, unless it is [calibrated](../heads.md#another-population). On the
# command line: `foundation predict --head heads/cell_type --input tomorrow.nwb --output cell-types.parquet`.

# %%
if not Path("tomorrow").exists():
    foundation.simulate_izhikevich(
        foundation.SimulateSettings(
            output="tomorrow", networks=1, neurons=20, seconds=240, wake=24, nrem=16, rem=10, seed=7, name="new"
        )
    )
foundation.predict(foundation.PredictSettings(head="heads/cell_type", input="tomorrow", output="cell-types.parquet"))
predicted = pq.read_table("cell-types.parquet")
print(predicted.to_pandas().head())

# %% [markdown]
# This file contains the truth, so the prediction can be checked. Twenty neurons are few: look at the picture rather
# than the percentage.

# %%
truth = foundation.read_nwb(next(Path("tomorrow").rglob("*.nwb"))).units.text("cell_type")
named = np.array(predicted["cell_type"].to_pylist())
counts_CC = np.array([[np.sum((truth == a) & (named == b)) for b in head.classes] for a in head.classes])
print(f"{np.mean(truth == named):.0%} of {len(truth)} neurons")
figure, axis = plt.subplots(figsize=(4, 3.6), layout="constrained")
axis.imshow(counts_CC, cmap="Blues")
for row, column in np.ndindex(*counts_CC.shape):
    axis.text(column, row, counts_CC[row, column], ha="center", va="center")
axis.set(xlabel="predicted", ylabel="true", title="a network never seen")
axis.set(xticks=range(5), xticklabels=head.classes, yticks=range(5), yticklabels=head.classes)
figure.savefig("take_home_confusion.png", dpi=90)

# %% [markdown]
# ![True and predicted firing modes of 20 neurons.](pictures/take_home_confusion.png)
#
# ## A page to share
#
# One HTML file with scores, controls and a map of the neurons; it needs neither a network nor other files.

# %%
foundation.report(foundation.ReportSettings(runs=["heads"], output="report.html"))
print(f"report.html, {Path('report.html').stat().st_size / 1e6:.1f} MB")
