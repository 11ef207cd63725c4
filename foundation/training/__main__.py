"""One process of a pretraining run, started by ``deepspeed --module foundation.training --config ...``."""

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
    """Pretrain a model on a store, in one of the processes that a launcher started."""
    pretrain(settings)
    # Without this a process may end, and abort, while others still communicate with it.
    distributed.barrier()
    leave_group()


if __name__ == "__main__":
    drop_working_folder()
    # DeepSpeed's launcher passes the local rank as the first argument; it is in the environment, too.
    arguments = [a for a in sys.argv[1:] if not a.startswith("--local_rank")]
    status = run_stage("python -m foundation.training", train, PretrainSettings, arguments)
    if status:
        # Other processes may have died during a message, so leaving the group cleanly could hang.
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
