"""From a pretrained checkpoint and labels to scores, heads and a report."""

from finetune.finetune_settings import FinetuneSettings, FullSettings, GRUSettings, ReportSettings, WindowSettings

__all__ = ["FinetuneSettings", "FullSettings", "GRUSettings", "ReportSettings", "WindowSettings"]
