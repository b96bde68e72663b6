"""One side of a comparison: prepares a work, then does it as often as it is told on standard input.

    python worker.py ours|theirs ROW DATA

Answers are lines of JSON: first what a repeat is (``amount`` of ``unit``, ``flops``, ``bytes``), then wall and
processor time for every number of repeats received.
"""

import importlib
import json
import os
import sys
import time
from pathlib import Path

import torch


def main() -> None:
    """Serve until standard input ends."""
    package, row, data = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")  # whatever a package prints goes to stderr
    os.dup2(2, 1)
    torch.set_num_threads(1)
    work = importlib.import_module(package).prepare(row, Path(data))
    for _ in range(2):
        work.repeat()
    described = {"amount": work.amount, "unit": work.unit, "flops": work.flops, "bytes": work.bytes}
    print(json.dumps(described), file=answers, flush=True)
    for line in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(int(line)):
            work.repeat()
        spent = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        print(json.dumps(spent), file=answers, flush=True)


if __name__ == "__main__":
    main()
