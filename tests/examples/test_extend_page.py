"""The Python examples of docs/extend.md run, and their classes fit their settings."""

import re
from pathlib import Path

import torch

from foundation.common.extensions.named_classes import check_class
from foundation.data import pad_windows

PAGE = Path(__file__).parents[2] / "docs" / "extend.md"


def test_examples_of_the_page_run():
    names = {}
    for example in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(compile(example, "example", "exec"), names)
    for kind, name in (("objective", "Alike"), ("model", "Rates"), ("sampler", "Trials"), ("recipe", "Waveforms")):
        check_class(kind, names[name], name)
    assert tuple(names["out"].z_BND.shape) == (1, 3, 16)
    objective = names["Alike"](names["AlikeSettings"](), dim=16)
    windows = [torch.arange(24.0).reshape(3, 8).numpy()] * 2
    view = pad_windows(windows, bin_widths=[0.1] * 2, starts=[0.0] * 2, modalities=[0] * 2, bins_per_token=4)
    assert {"loss", "spread"} <= objective(names["model"], [view, view]).keys()
