"""Objectives of pretraining: one file each, one registry."""

from typing import TYPE_CHECKING

from foundation.common.lazy import lazy_attributes

if TYPE_CHECKING:
    from foundation.objectives.base import Objective
    from foundation.objectives.build import OBJECTIVES, build_objective, objective_cost, own_model
    from foundation.objectives.combined import WeightedSum
    from foundation.objectives.decoding import Decoding
    from foundation.objectives.masked import Masked
    from foundation.objectives.masked_settings import DecodingSettings, MaskedSettings, NDTSettings
    from foundation.objectives.method_settings import (
        MYOWSettings,
        NeurPIRSettings,
        NuCLRSettings,
        SwapVAESettings,
        VICRegSettings,
        VICRegWeights,
    )
    from foundation.objectives.myow import BYOL, MYOW
    from foundation.objectives.ndt import NDT
    from foundation.objectives.neurpir import NeurPIR
    from foundation.objectives.nuclr import NuCLR
    from foundation.objectives.objective_settings import ObjectiveSettings
    from foundation.objectives.parts.objective_cost import ObjectiveCost, StepRows
    from foundation.objectives.parts.rows import check_rows, counted_units, embed_rows
    from foundation.objectives.swap_vae import SwapVAE
    from foundation.objectives.vicreg import VICReg

__all__ = [
    "BYOL",
    "Decoding",
    "DecodingSettings",
    "MYOW",
    "MYOWSettings",
    "Masked",
    "MaskedSettings",
    "NDT",
    "NDTSettings",
    "NeurPIR",
    "NeurPIRSettings",
    "NuCLR",
    "NuCLRSettings",
    "OBJECTIVES",
    "Objective",
    "ObjectiveCost",
    "ObjectiveSettings",
    "StepRows",
    "SwapVAE",
    "SwapVAESettings",
    "VICReg",
    "VICRegSettings",
    "VICRegWeights",
    "WeightedSum",
    "build_objective",
    "check_rows",
    "counted_units",
    "embed_rows",
    "objective_cost",
    "own_model",
]
__getattr__ = lazy_attributes(
    __name__,
    {
        "foundation.objectives.base": ["Objective"],
        "foundation.objectives.build": ["OBJECTIVES", "build_objective", "objective_cost", "own_model"],
        "foundation.objectives.combined": ["WeightedSum"],
        "foundation.objectives.decoding": ["Decoding"],
        "foundation.objectives.masked": ["Masked"],
        "foundation.objectives.masked_settings": ["DecodingSettings", "MaskedSettings", "NDTSettings"],
        "foundation.objectives.method_settings": [
            "MYOWSettings",
            "NeurPIRSettings",
            "NuCLRSettings",
            "SwapVAESettings",
            "VICRegSettings",
            "VICRegWeights",
        ],
        "foundation.objectives.myow": ["BYOL", "MYOW"],
        "foundation.objectives.ndt": ["NDT"],
        "foundation.objectives.neurpir": ["NeurPIR"],
        "foundation.objectives.nuclr": ["NuCLR"],
        "foundation.objectives.objective_settings": ["ObjectiveSettings"],
        "foundation.objectives.parts.objective_cost": ["ObjectiveCost", "StepRows"],
        "foundation.objectives.parts.rows": ["check_rows", "counted_units", "embed_rows"],
        "foundation.objectives.swap_vae": ["SwapVAE"],
        "foundation.objectives.vicreg": ["VICReg"],
    },
)
