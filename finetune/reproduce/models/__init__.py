"""Models compared with EIT, one file each. All but CEBRA are transformers models."""

from finetune.reproduce.cebra_settings import CEBRASettings
from finetune.reproduce.models.cebra_encoder import CEBRAEncoder
from finetune.reproduce.models.decoder import Decoder, DecoderConfig, DecoderOutput
from finetune.reproduce.models.lolcat import LOLCAT, LOLCATConfig
from finetune.reproduce.models.ndt_decoder import NDT, NDTConfig
from finetune.reproduce.models.published_eit import EITPublished, EITPublishedConfig
from finetune.reproduce.models.simple_decoders import GRUDecoder, GRUDecoderConfig, MLPDecoder, MLPDecoderConfig
from finetune.reproduce.models.snippets import Timescale, interval_histograms, snippet_batch

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
