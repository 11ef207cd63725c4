"""One process of a pretraining run: what ``deepspeed --module foundation.training --config ...`` starts."""

import logging
import os
import sys

from torch import distributed

from foundation.common.processes.environment import drop_working_folder
from foundation.common.settings.command import run_stage
from foundation.training.distributed.engine import leave_group
from foundation.training.pretrain_job import pretrain
from foundation.training.pretrain_settings import PretrainSettings


def train(settings: PretrainSettings) -> None:
    """Pretrain a model on a store, as one of the processes that a launcher started."""
    pretrain(settings)
    # Without this a process may end while others still talk to it, and abort.
    distributed.barrier()
    leave_group()


if __name__ == "__main__":
    drop_working_folder()
    # DeepSpeed's launcher puts the process's place on the machine first; the environment says it too.
    arguments = [a for a in sys.argv[1:] if not a.startswith("--local_rank")]
    status = run_stage("python -m foundation.training", train, PretrainSettings, arguments)
    if status:
        # Others may be gone in the middle of a message: leaving their group in good order could take for ever.
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
