"""The report of a machine before a run: ``python -m foundation.training.launch.host_report FILE``."""

from __future__ import annotations

import json
import os
import sys

import torch

from foundation.version import __version__


def host_report(config: str) -> dict[str, object]:
    """Return versions, GPUs, and whether this machine can read a file.

    Example:
        >>> host_report("/nowhere")["sees_config"]
        False
    """
    return {
        "foundation": __version__,
        "torch": torch.__version__,
        "gpus": torch.cuda.device_count(),
        "sees_config": os.path.isfile(config) and os.access(config, os.R_OK),
    }


if __name__ == "__main__":
    print(json.dumps(host_report(sys.argv[1])))
