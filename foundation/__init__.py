"""Pretrain once on the world's neural recordings, finetune anywhere.

The names below are imported on first use, so that ``import foundation`` is fast and does not import PyTorch.

    model = foundation.load_model("eit-tiny")
    table = model.embed(foundation.read_nwb("mine.nwb"))
"""

from typing import TYPE_CHECKING

from foundation.common.lazy import lazy_attributes
from foundation.common.processes.environment import prepare
from foundation.version import __version__

if TYPE_CHECKING:
    from finetune.finetune_job import finetune
    from finetune.finetune_settings import FinetuneSettings, ReportSettings
    from finetune.heads.decode import decode
    from finetune.heads.head_files import load_head
    from finetune.predict_job import predict
    from finetune.predict_settings import PredictSettings
    from finetune.report.html_report import report
    from foundation.common.errors import FoundationError
    from foundation.data.loading.loader import Loader
    from foundation.embedding.embedding_table import unit_table
    from foundation.embedding.frozen_embeddings import embed_units
    from foundation.hub.checkpoints import load_model
    from foundation.models.config import EITConfig
    from foundation.models.eit import EIT
    from foundation.store.catalog import Catalog
    from foundation.store.commit.recording_writer import write_recording
    from foundation.store.interval import Interval
    from foundation.store.recording import Recording
    from foundation.store.storage import Store
    from foundation.training.pretrain_job import pretrain
    from foundation.training.pretrain_settings import PretrainSettings
    from ingest.job import ingest
    from ingest.nwb.recording_file import read_nwb
    from ingest.run.ingest_settings import IngestSettings
    from ingest.simulate.simulate_job import simulate_izhikevich
    from ingest.simulate.simulate_settings import SimulateSettings

prepare()

__all__ = [
    "Catalog",
    "EIT",
    "EITConfig",
    "FinetuneSettings",
    "FoundationError",
    "IngestSettings",
    "Interval",
    "Loader",
    "PredictSettings",
    "PretrainSettings",
    "Recording",
    "ReportSettings",
    "SimulateSettings",
    "Store",
    "__version__",
    "decode",
    "embed_units",
    "finetune",
    "ingest",
    "load_head",
    "load_model",
    "predict",
    "pretrain",
    "read_nwb",
    "report",
    "simulate_izhikevich",
    "unit_table",
    "write_recording",
]
__getattr__ = lazy_attributes(
    __name__,
    {
        "finetune.finetune_job": ["finetune"],
        "finetune.finetune_settings": ["FinetuneSettings", "ReportSettings"],
        "finetune.heads.decode": ["decode"],
        "finetune.heads.head_files": ["load_head"],
        "finetune.predict_job": ["predict"],
        "finetune.predict_settings": ["PredictSettings"],
        "finetune.report.html_report": ["report"],
        "foundation.common.errors": ["FoundationError"],
        "foundation.data.loading.loader": ["Loader"],
        "foundation.embedding.embedding_table": ["unit_table"],
        "foundation.embedding.frozen_embeddings": ["embed_units"],
        "foundation.hub.checkpoints": ["load_model"],
        "foundation.models.config": ["EITConfig"],
        "foundation.models.eit": ["EIT"],
        "foundation.store.catalog": ["Catalog"],
        "foundation.store.commit.recording_writer": ["write_recording"],
        "foundation.store.interval": ["Interval"],
        "foundation.store.recording": ["Recording"],
        "foundation.store.storage": ["Store"],
        "foundation.training.pretrain_job": ["pretrain"],
        "foundation.training.pretrain_settings": ["PretrainSettings"],
        "ingest.job": ["ingest"],
        "ingest.nwb.recording_file": ["read_nwb"],
        "ingest.run.ingest_settings": ["IngestSettings"],
        "ingest.simulate.simulate_job": ["simulate_izhikevich"],
        "ingest.simulate.simulate_settings": ["SimulateSettings"],
    },
)


def __dir__() -> list[str]:
    """Return all names, so that completion shows names that were not imported yet."""
    return sorted({*globals(), *__all__})
