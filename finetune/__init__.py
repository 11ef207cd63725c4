"""From a pretrained checkpoint and labels to scores, heads and a report."""

from finetune.settings import FinetuneSettings, FullSettings, ReportSettings, WindowSettings

__all__ = ["FinetuneSettings", "FullSettings", "ReportSettings", "WindowSettings"]
