"""A campaign of mutated NWB files: ``python campaign.py --first 0 --count 50 --report report.json``.

Every file is made from its number and ingested by a process with limits. Whatever is not as it should be is reported
with its number; ``--first NUMBER --count 1 --keep FOLDER`` does that one again and keeps its files.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from goods import make_canary, make_goods

HERE = Path(__file__).parent
SECONDS = 60.0
"""Seconds that a file may take; a hang is what takes longer."""
STARTING = 300.0
"""Seconds until a new process is ready: it reads the good files first, which may compile."""


class Child:
    """A process that ingests mutated files, started again when one has killed it."""

    def __init__(self, arguments: list[str]) -> None:
        self.arguments = arguments
        self.process: subprocess.Popen | None = None

    def ask(self, seed: int) -> dict:
        fresh = self.process is None
        if fresh:
            command = [sys.executable, str(HERE / "child.py"), *self.arguments]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            self.process = subprocess.Popen(command, text=True, **pipes)
            self.errors: list[str] = []
            self.reader = threading.Thread(target=self._drain, args=(self.process, self.errors), daemon=True)
            self.reader.start()
        process, answers = self.process, queue.Queue()
        threading.Thread(target=lambda: answers.put(process.stdout.readline()), daemon=True).start()
        hung = False
        try:
            process.stdin.write(f"{seed}\n")
            process.stdin.flush()
            answer = answers.get(timeout=SECONDS + (STARTING if fresh else 0))
        except BrokenPipeError:
            answer = ""
        except queue.Empty:
            answer, hung = "", True
        if answer:
            return json.loads(answer)
        process.kill()
        code = process.wait()
        self.process = None
        self.reader.join(10)
        stderr = "".join(self.errors)
        answer = {"seed": seed, "what": "", "note": "", "wrong": []}
        if not hung and code == 1 and "Timeout (" in stderr and seed % 4 == 0:
            # Bytes that were changed can send HDF5 into an endless loop; the worker's own limit then ends it.
            return answer | {"status": "given up"}
        wrong = f"took more than {SECONDS:g} s" if hung else f"the process died with status {code}: {stderr[-2000:]}"
        return answer | {"status": "hung" if hung else "died", "wrong": [wrong]}

    @staticmethod
    def _drain(process: subprocess.Popen, errors: list[str]) -> None:
        for line in process.stderr:
            errors.append(line)
            del errors[:-500]

    def close(self) -> None:
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait(30)


def run(first: int, count: int, processes: int, folder: Path) -> list[dict]:
    """Every mutation from ``first`` on; answers in their order."""
    goods = make_goods(folder / "good")
    seeds: queue.Queue[int] = queue.Queue()
    for seed in range(first, first + count):
        seeds.put(seed)
    answers: list[dict] = []

    def work(k: int) -> None:
        place = folder / f"mutated{k}"
        outside = folder / f"outside{k}" / "canary.nwb"
        for made in (place, outside.parent):
            made.mkdir()
        make_canary(outside)
        child = Child([str(place), str(outside), *map(str, goods)])
        while True:
            try:
                seed = seeds.get_nowait()
            except queue.Empty:
                break
            began = time.monotonic()
            answer = child.ask(seed)
            answers.append(answer | {"seconds": round(time.monotonic() - began, 2)})
        child.close()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(processes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(answers, key=lambda answer: answer["seed"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    if options.keep:
        os.environ["FUZZ_KEEP"] = "1"
    with tempfile.TemporaryDirectory() as temporary:
        began = time.monotonic()
        answers = run(options.first, options.count, options.processes, options.keep or Path(temporary))
    report = {
        "outcomes": dict(Counter(answer["status"] for answer in answers)),
        "wrong": [answer for answer in answers if answer["wrong"]],
        "slowest": max((answer["seconds"] for answer in answers), default=0.0),
        "seconds": round(time.monotonic() - began, 1),
        "answers": answers,
    }
    if options.report:
        options.report.write_text(json.dumps(report, indent=1))
    for answer in report["wrong"]:
        print(answer)
    print({key: report[key] for key in ("outcomes", "slowest", "seconds")}, f"{len(report['wrong'])} wrong")


if __name__ == "__main__":
    main()
