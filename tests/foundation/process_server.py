"""Forks processes from one that has imported the packages already: imports take longer than most of their tests.

``python process_server.py FOLDER`` reads a JSON line for each process that is wanted, ``{"number", "environment",
"words", "errors"}``, and writes its pid; when the process ends, its status is in ``FOLDER/<number>``. ``words`` are
what stands after ``python`` on a command line: ``-m module`` or a script, and its arguments.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import runpy
import select
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

PAUSE = 0.02  # seconds between two checks for ended processes


def main(folder: Path) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # packages print while they are imported

    import deepspeed  # noqa: F401
    import mlflow  # noqa: F401

    import foundation.training.distributed.deepspeed_state
    import foundation.training.pretrain_job  # noqa: F401

    numbers: dict[int, int] = {}
    while True:
        asked, _, _ = select.select([sys.stdin], [], [], PAUSE)
        note_ends(folder, numbers)
        if not asked:
            continue
        if not (line := sys.stdin.readline()):
            return
        order = json.loads(line)
        pid = os.fork()
        if not pid:
            become(order)
        numbers[pid] = order["number"]
        print(pid, file=answers, flush=True)


def note_ends(folder: Path, numbers: dict[int, int]) -> None:
    """Write down the statuses of processes that have ended."""
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            pid, status = found
            part = folder / f"{numbers[pid]}.part"
            part.write_text(str(os.waitstatus_to_exitcode(status)))
            part.rename(folder / str(numbers[pid]))


def become(order: dict) -> NoReturn:
    """Run the request in this process, as a new Python would."""
    os.environ.clear()
    os.environ.update(order["environment"])
    nothing, errors = os.open(os.devnull, os.O_RDWR), os.open(order["errors"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream, descriptor in enumerate((nothing, nothing, errors)):
        os.dup2(descriptor, stream)
    words, status = order["words"], 0
    try:
        if words[0] == "-m":
            sys.argv = words[1:]
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = words
            sys.path.insert(0, str(Path(words[0]).parent))
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    # Python's own exit, without clearing all modules, which takes a second.
    threading._shutdown()
    atexit._run_exitfuncs()
    logging.shutdown()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
