"""A small global batch and every objective on it, for golden losses and for tests across processes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import partial
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from foundation.data import WindowBatch, pad_windows
from foundation.data.augmentations import Augmentation
from foundation.data.covariate_settings import SurroundSettings
from foundation.data.labels import LabelShape
from foundation.data.steps.step import StepContext
from foundation.models import EIT, EITConfig
from foundation.models.batch_norm import GlobalBatchNorm
from foundation.models.parts.made_rows import IDENTITY
from foundation.objectives import (
    Decoding,
    DecodingSettings,
    MaskedSettings,
    MYOWSettings,
    NDTSettings,
    NeurPIRSettings,
    NuCLRSettings,
    Objective,
    ObjectiveSettings,
    SwapVAESettings,
    VICRegSettings,
    build_objective,
    own_model,
)

DIM, PATCH, WINDOWS, UNITS = 8, 2, 7, 6
LABELS = LabelShape(sessions=2, values=3, classes=(4, 2))
RECORDING_B = torch.tensor([0, 0, 1, 0, 1, 1, 0])
DROPOUT = Augmentation("neuron_dropout", share=0.3)
HALF = Augmentation("unit_subsampling", share=0.5)
NOISE = Augmentation("noise", size=0.3, chance=0.7)
SMALL_MYOW = {
    "projector": [12, 6], "predictor": 10, "mined_projector": [7, 5], "mined_predictor": 6, "mined_weight": 0.7,
    "mined_from": 0.0, "mined_until": 0.0, "exclusion": 5.0, "augmentations": [DROPOUT],
    "candidate_augmentations": [NOISE],
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """An objective and its test encoder."""

    settings: ObjectiveSettings
    # tokens; mlp: batch norm inside, one number of units; streams: EIT with rows of units; streams_made: made rows too
    encoder: str = "tokens"


CASES = {
    "neurpir": Case(ObjectiveSettings("neurpir", neurpir=NeurPIRSettings(2, 4, projector=[16, 8]))),
    "neurpir_surround": Case(
        ObjectiveSettings(
            "neurpir",
            neurpir=NeurPIRSettings(
                2, 4, projector=[16, 8], statistics="within", surround=SurroundSettings(dim=2, pool=2)
            ),
        )
    ),
    "neurpir_infonce": Case(
        ObjectiveSettings("neurpir", neurpir=NeurPIRSettings(2, 4, projector=[16, 8], loss="infonce", temperature=0.2))
    ),
    "vicreg_units": Case(
        ObjectiveSettings(
            "vicreg",
            vicreg=VICRegSettings(segments=1, min_tokens=4, max_tokens=4, expander=[16, 8], augmentations=[DROPOUT]),
        )
    ),
    "vicreg_population": Case(
        ObjectiveSettings(
            "vicreg",
            vicreg=VICRegSettings(
                level="population", min_tokens=2, max_tokens=4, expander=[8, 6], augmentations=[NOISE]
            ),
        )
    ),
    "myow": Case(ObjectiveSettings("myow", myow=MYOWSettings(**SMALL_MYOW)), encoder="mlp"),
    "myow_units": Case(
        ObjectiveSettings(
            "myow",
            myow=MYOWSettings(**(SMALL_MYOW | {"level": "units", "min_tokens": 2, "max_tokens": 4, "projector": []})),
        )
    ),
    "byol": Case(ObjectiveSettings("byol", myow=MYOWSettings(**SMALL_MYOW)), encoder="mlp"),
    "swap_vae": Case(
        ObjectiveSettings(
            "swap_vae",
            swap_vae=SwapVAESettings(units=UNITS, content=3, style=4, hidden=9, hertz=True, augmentations=[DROPOUT]),
        )
    ),
    "ndt": Case(ObjectiveSettings("ndt", ndt=NDTSettings(2, 4))),
    "ndt_time": Case(ObjectiveSettings("ndt", ndt=NDTSettings(4, 4, hide="time", units=UNITS)), encoder="mlp"),
    "nuclr": Case(ObjectiveSettings("nuclr", nuclr=NuCLRSettings(2, 4, hidden=9, out=7, augmentations=[HALF]))),
    "nuclr_released": Case(
        ObjectiveSettings("nuclr", nuclr=NuCLRSettings(2, 4, hidden=9, out=7, released_form=True, augmentations=[HALF]))
    ),
    "masked": Case(ObjectiveSettings("masked", masked=MaskedSettings(2, 4)), encoder="streams"),
    "masked_made": Case(
        ObjectiveSettings("masked", masked=MaskedSettings(2, 4, made_windows=0.5)), encoder="streams_made"
    ),
    "decoding": Case(ObjectiveSettings("decoding", decoding=DecodingSettings(min_tokens=2, max_tokens=4)), "streams"),
    "sum": Case(
        ObjectiveSettings(
            weights={"neurpir": 1.0, "ndt": 0.5},
            neurpir=NeurPIRSettings(2, 4, projector=[16, 8]),
            ndt=NDTSettings(2, 4),
        )
    ),
}


class TokenEncoder(nn.Module):
    """An encoder with the interface of EIT, so small that its golden losses concern only these tests."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(patch_length=PATCH)
        self.read_in = nn.Linear(PATCH, DIM)
        self.others = nn.Linear(DIM, DIM)

    def forward(self, x_BNT, mask_BN, mask_BT, dt_B, modality_B, **_):
        mask_BN = torch.ones_like(x_BNT[:, :, 0], dtype=torch.bool) if mask_BN is None else mask_BN
        mask_BT = torch.ones_like(x_BNT[:, 0], dtype=torch.bool) if mask_BT is None else mask_BT
        tokens_BT = mask_BT.unflatten(1, (-1, PATCH)).all(-1)
        there = (mask_BN[:, :, None] & tokens_BT[:, None, :])[..., None]
        h = self.read_in(3 * x_BNT.clamp(min=0).log1p().unflatten(-1, (-1, PATCH))) * there
        others = h.sum(1, keepdim=True) / mask_BN.sum(1).clamp(min=1)[:, None, None, None]
        h = torch.tanh(h + self.others(others)) * there
        z = h.sum(2) / tokens_BT.sum(1).clamp(min=1)[:, None, None]
        p = h.sum(1) / mask_BN.sum(1).clamp(min=1)[:, None, None]
        return SimpleNamespace(h_BNTD=h, z_BND=z, p_BTD=p)


class PopulationEncoder(nn.Module):
    """A perceptron over one population, with a batch norm inside; one token per window."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(patch_length=PATCH)
        self.first, self.norm, self.last = nn.Linear(UNITS, 9), GlobalBatchNorm(9), nn.Linear(9, DIM)

    def forward(self, x_BNT, mask_BN, mask_BT, dt_B, modality_B, **_):
        x_BTN = x_BNT.unflatten(-1, (-1, PATCH)).sum(-1).transpose(1, 2)
        h = self.norm(self.first(x_BTN).flatten(0, 1)).relu()
        return SimpleNamespace(p_BTD=self.last(h).unflatten(0, x_BTN.shape[:2]))


def two_streams(made_rows: bool = False) -> EIT:
    """A small EIT with a population stream for ten units of each of two recordings."""
    model = EIT(EITConfig(dim=DIM, heads=2, individual_layers=1, interaction_layers=0, patch_length=PATCH,
                          population_layers=1, made_rows=made_rows))  # fmt: skip
    identities = {"a": torch.randn(10, IDENTITY), "b": torch.randn(10, IDENTITY)} if made_rows else None
    model.add_populations({"a": torch.linspace(-1, 2, 10), "b": torch.linspace(1, 3, 10)}, identities)
    return model


ENCODERS = {
    "tokens": TokenEncoder,
    "mlp": PopulationEncoder,
    "streams": two_streams,
    "streams_made": partial(two_streams, made_rows=True),
}


def build(case: Case, dtype: torch.dtype = torch.float32, seed: int = 0) -> tuple[nn.Module, Objective]:
    """Encoder and objective with weights from a seed."""
    torch.manual_seed(seed)
    model = own_model(case.settings) or ENCODERS[case.encoder]()
    model = model.to(torch.float64)
    objective = build_objective(case.settings, DIM, model)
    if isinstance(objective, Decoding):
        objective.add_sessions(LABELS)
    objective = objective.to(torch.float64)
    for module in (model, objective):  # the same numbers in every dtype
        for p in module.parameters():
            if p.requires_grad:
                p.data.copy_(p.data + 0.05 * torch.randn(p.shape, dtype=torch.float32))
    return model.to(dtype), objective.to(dtype)


def global_batch(
    objective: Objective, case: Case, step: int, dtype: torch.dtype = torch.float32
) -> tuple[list[WindowBatch], StepContext]:
    """Seven windows of two recordings, of unequal sizes if the encoder allows it."""
    spec = objective.view_spec
    rng = np.random.default_rng([5, step])
    same = case.encoder == "mlp" or case.settings.name == "swap_vae"
    n_units = [UNITS if same else int(rng.integers(4, 9)) for _ in range(WINDOWS)]
    rates = [rng.gamma(2.0, 1.0, (n, 1)) for n in n_units]
    views = []
    starts = rng.uniform(0, 40, WINDOWS).round(1)
    for k in range(spec.views + spec.candidates):
        lengths = [
            PATCH * (spec.max_tokens if same else int(rng.integers(spec.min_tokens, spec.max_tokens + 1)))
            for _ in n_units
        ]
        x = [
            1.0 * rng.poisson(rate * rng.gamma(4.0, 0.25), (len(rate), t))
            for rate, t in zip(rates, lengths, strict=True)
        ]
        views.append(
            pad_windows(
                x,
                bin_widths=[0.1] * WINDOWS,
                starts=list(starts + 0.2 * k if k < spec.views else rng.uniform(0, 40, WINDOWS).round(1)),
                modalities=[0] * WINDOWS,
                bins_per_token=PATCH,
            )
        )
        views[-1].x_BNT = views[-1].x_BNT.to(dtype)
        units_BN = torch.arange(views[-1].mask_BN.shape[1]).expand_as(views[-1].mask_BN)
        views[-1].unit_BN = units_BN.masked_fill(~views[-1].mask_BN, -1).int()
        if case.encoder.startswith("streams"):
            row_BN = 10 * RECORDING_B[:, None] + torch.arange(views[-1].mask_BN.shape[1])
            views[-1].population_row_BN = row_BN.masked_fill(~views[-1].mask_BN, -1)
        if case.settings.name == "decoding":
            add_labels(views[-1], rng)
    surround = None
    if spec.surround is not None:
        e = rng.normal(size=(spec.views, WINDOWS, spec.surround.features))
        surround = torch.from_numpy(e.astype(np.float32))
    context = StepContext(
        item_B=torch.arange(WINDOWS),
        recording_B=RECORDING_B,
        seed=3,
        step=step,
        steps=20,
        surround_VBS=surround,
        bins_per_token=PATCH,
    )
    return views, context


def add_labels(view: WindowBatch, rng: np.random.Generator) -> None:
    """Labels of two sessions: some are missing, one window has no labelled session, tokens have different weights."""
    size = len(view), view.mask_BT.shape[1] // PATCH
    value_BTK = rng.normal(size=(*size, LABELS.values)).astype(np.float32)
    value_BTK[rng.random(value_BTK.shape) < 0.2] = np.nan
    class_BTC = np.stack([rng.integers(-1, count, len(view)) for count in LABELS.classes], axis=-1)
    session_B = RECORDING_B.clone()
    session_B[3] = -1
    view.session_B, view.value_BTK = session_B, torch.from_numpy(value_BTK).to(view.x_BNT.dtype)
    view.value_BTK[3] = torch.nan
    class_BTC[3] = -1
    view.class_BTC = torch.from_numpy(class_BTC)[:, None].repeat(1, size[1], 1)
    view.weight_BT = torch.from_numpy(rng.choice([0.1, 1.0, 5.0], size)).to(view.x_BNT.dtype)


def share(
    views: list[WindowBatch], context: StepContext, rank: int, world: int
) -> tuple[list[WindowBatch], StepContext]:
    """The windows of one of several processes."""
    rows = torch.arange(WINDOWS)[rank::world]

    def of(view: WindowBatch) -> WindowBatch:
        known = {f.name: getattr(view, f.name) for f in fields(view)}
        return WindowBatch(**{name: value[rows] for name, value in known.items() if value is not None})

    surround = None if context.surround_VBS is None else context.surround_VBS[:, rows]
    mine = StepContext(
        context.item_B[rows], context.recording_B[rows], context.seed, context.step, context.steps, surround,
        context.bins_per_token,
    )  # fmt: skip
    return [of(view) for view in views], mine


def train(case: Case, steps: int, dtype: torch.dtype) -> list[float]:
    """Losses of some AdamW steps with moving averages."""
    model, objective = build(case, dtype)
    trained = [p for p in [*model.parameters(), *objective.parameters()] if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=3e-3)
    found = []
    for step in range(steps):
        views, context = global_batch(objective, case, step, dtype)
        terms = objective(model, views, context)
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        objective.after_step(model, context.progress)
        found.append(float(terms["loss"].detach()))
    return found
