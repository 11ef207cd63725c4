"""Models that EIT is measured against, one file each. All but CEBRA are transformers models."""

from foundation.models.baselines.cebra import CEBRAEncoder, CEBRASettings
from foundation.models.baselines.decoder import Decoder, DecoderConfig, DecoderOutput
from foundation.models.baselines.lolcat import LOLCAT, LOLCATConfig
from foundation.models.baselines.ndt import NDT, NDTConfig
from foundation.models.baselines.published import EITPublished, EITPublishedConfig
from foundation.models.baselines.simple import GRUDecoder, GRUDecoderConfig, MLPDecoder, MLPDecoderConfig
from foundation.models.baselines.snippets import Timescale, interval_histograms, snippet_batch

__all__ = [
    "CEBRAEncoder",
    "CEBRASettings",
    "Decoder",
    "DecoderConfig",
    "DecoderOutput",
    "EITPublished",
    "EITPublishedConfig",
    "GRUDecoder",
    "GRUDecoderConfig",
    "LOLCAT",
    "LOLCATConfig",
    "MLPDecoder",
    "MLPDecoderConfig",
    "NDT",
    "NDTConfig",
    "Timescale",
    "interval_histograms",
    "snippet_batch",
]
