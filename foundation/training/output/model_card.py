"""The model card beside the weights."""

from __future__ import annotations

from transformers import PreTrainedModel

from foundation.common.output.pages import markdown_table
from foundation.common.output.printable import printable
from foundation.models.encoder import CLASS
from foundation.store.catalog import Catalog
from foundation.training.pretrain_settings import PretrainSettings
from foundation.version import __version__

ABOUT = {
    "EIT": """A per-neuron transformer: each unit's dynamics first, then units interact. It takes activity of any
population and gives an embedding per unit and time (`h_BNTD`), per unit (`z_BND`) and for the population (`p_BTD`).""",
    "PopulationMLP": """A perceptron over the units of one population, bin by bin: it takes activity of the population
that it was made for, in the order of its units, and no other.""",
    "SwapVAEModel": """A population's bin as content and style, and the bin again from the two. It takes activity of the
population that it was made for, in the order of its units, and no other.""",
}


def model_card(settings: PretrainSettings, catalog: Catalog, last: dict[str, float], model: PreTrainedModel) -> str:
    """Return the model card as Markdown with the hub's header: the model, its training data, and how to load it."""
    kind = type(model).__name__
    naming, argument = ("", "") if kind == "EIT" else (f"from foundation.models import {kind}\n", f", {kind}")
    own = getattr(model.config, CLASS, None)
    if own is not None:
        naming, argument = "", f', "{own}"'
    records = catalog.records
    subjects = set(records.texts("subject"))
    species = sorted({printable(name) for name in records.texts("species") if name}) or ["not given"]
    licences = sorted({printable(name) for name in records.texts("source.licence") if name}) or ["see the recordings"]
    hours = sum(records.numbers("duration").tolist()) / 3600
    units = int(records.numbers("n_units").sum())
    widths = ", ".join(f"{w:g} s" for w in settings.data.bin_widths)
    figures = markdown_table(["", ""], [[name, f"{value:.4g}"] for name, value in sorted(last.items())])
    return f"""---
library_name: transformers
license: apache-2.0
tags: [neuroscience, neural-population, {model.config.model_type}]
---

# {kind} pretrained with {settings.objective.title}

{ABOUT.get(kind, "See the architecture's own documentation.")}{_own_class(own)}

```python
from foundation.hub.checkpoints import load_model
{naming}model = load_model("path/to/this/folder"{argument})
```

## What it has seen

{len(records)} recordings of {len(subjects)} subjects ({", ".join(species)}), {units:,} units, {hours:.1f} h.
Licences of the recordings: {", ".join(licences)}. Bin widths: {widths}; a token is
{getattr(model.config, "patch_length", 1)} bins.{_held_out(settings)}

## How it was trained

{settings.steps} steps of up to {settings.data.tokens_per_step:,} neuron-tokens, seed {settings.seed},
{settings.precision}, foundation {__version__}. The whole configuration is in `settings.yaml` of the run. Figures of the
last step:

{figures}

## Limits

The model has not seen recordings, species or bin widths unlike those above. Evaluate it on your own labels, beside a
baseline on firing rates.
{_streams(settings, model)}"""


def _own_class(own: str | None) -> str:
    """Return the note about a model with a custom class."""
    if own is None:
        return ""
    return f"""

Its class is `{own}`, which is not part of this software: loading it takes the package or the file of that name, and
`--trust {own}` on the command line."""


def _held_out(settings: PretrainSettings) -> str:
    """Return the note about held-out time."""
    spans = [span for found in settings.data.held_out_time.values() for span in found]
    if not spans:
        return ""
    seconds = sum(end - start for start, end in spans)
    return (
        f" Of {len(settings.data.held_out_time)} of the recordings {seconds:,.0f} s in all were held out of training\n"
        "(`data.held_out_time` in `settings.yaml`)."
    )


def _streams(settings: PretrainSettings, model: PreTrainedModel) -> str:
    """Return the notes about a model with a population stream."""
    if not getattr(model.config, "population_layers", 0):
        return ""
    known = """
The population stream (`p_BTD`) knows the units of the recordings above, and reads no others until they have rows
(`add_populations`).
"""
    if settings.objective.title not in ("masked", "decoding"):
        return known
    return f"""{known}
The unit stream was not trained: `{settings.objective.title}` alone trains the population stream, and embeddings of
units (`z_BND` and `h_BNTD`) come from random weights. To train both streams, sum it with an objective of units, such as
NeurPIR.
"""
