# SPDX-License-Identifier: MIT
"""Fuzzes the readers of trace files through `pgste.Trace.open`.

    python -m fuzz.readers [-runs=N] [-max_total_time=SECONDS] [-seed=N] [-max_len=N]
        [-artifact_prefix=PREFIX] [FOLDER or FILE...]

With atheris, where it is installed, the options are those of libFuzzer and what is found new is
kept in the first folder; without it a mutator without coverage takes its place.  Promised is,
for any bytes whatever:

- a trace, or `pgste.TraceError` with an offset in the file; no other exception;
- with a budget of BUDGET_BYTES no more than MEMORY_BYTES of memory (for xz XZ_BYTES more) and
  CPU_SECONDS of time, for files of at most 20 kB;
- of a trace: events that are events, times that do not go back, accesses that are accesses and
  lie between events, a summary or `TraceError`.

Progress is asked for as well, and has to stay in its bounds.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from fuzz.mutate import Mutator, plain_change

atheris: Any = None
if __name__ == "__main__":  # tests that import this are not to be instrumented
    with contextlib.suppress(ImportError):
        atheris = importlib.import_module("atheris")

with atheris.instrument_imports(include=["pgste"]) if atheris else contextlib.nullcontext():
    import numpy as np

    import pgste
    from pgste.traces import Budget

BUDGET_BYTES = 16 << 20
MEMORY_BYTES = 40 << 20  # what the budget does not count is Python's own
XZ_BYTES = 66 << 20  # more for xz: what its decoder takes for a file of xz -9
CPU_SECONDS = 2.0
MAX_LEN = 20_000


BUDGET = Budget(memory_bytes=BUDGET_BYTES)


class Finding(Exception):
    """The reader broke a promise."""


def _out_of_time(signum: int, frame: FrameType | None) -> None:
    raise Finding(f"more than {CPU_SECONDS} s of CPU time")


def _address_space() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


@contextlib.contextmanager
def budget(memory_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    start = time.process_time()
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + memory_bytes, hard))
    before = signal.signal(signal.SIGPROF, _out_of_time)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        yield
    except MemoryError as error:
        raise Finding(f"more than {memory_bytes >> 20} MiB of memory") from error
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    if time.process_time() - start > CPU_SECONDS:
        raise Finding("more CPU time than a signal could stop")


def _check_progress(done: int, total: int) -> None:
    if not 0 <= done <= total:
        raise Finding(f"progress: {done} of {total}")


def _check_trace(trace: pgste.Trace) -> None:
    order = trace.order.astype(np.uint64)
    if len(trace.time) != len(trace) or len(trace.events) != len(trace):
        raise Finding("arrays of different lengths")
    if (trace.kind > 1).any() or (order > 39).any():
        raise Finding("a kind or order that does not exist")
    if (trace.pfn + (np.uint64(1) << order) > np.uint64(1 << 56)).any():
        raise Finding("a block above 2^56")
    if (trace.time[1:] < trace.time[:-1]).any():
        raise Finding("time goes back")
    if len(trace.accesses) != len(trace.places):
        raise Finding("accesses without places")
    if (trace.accesses & np.uint64(254) != 2).any():
        raise Finding("an access that is no load or store of one page")
    if (trace.places[1:] < trace.places[:-1]).any() or (trace.places > len(trace)).any():
        raise Finding("a place that goes back or lies behind the end")
    if any(not isinstance(count, int) for count in trace.counters.values()):
        raise Finding("a counter that is no int")
    if not isinstance(repr(trace), str):
        raise Finding("no repr")


class Target:
    """Opens each input as a file in memory, without a name that could be left behind.

    libFuzzer ends the process on its own, in the middle of `atheris.Fuzz`.
    """

    def __init__(self) -> None:
        self.file = os.memfd_create("pgste-fuzz")
        self.path = f"/proc/self/fd/{self.file}"

    def close(self) -> None:
        os.close(self.file)

    def __call__(self, data: bytes) -> None:
        os.truncate(self.file, 0)
        os.pwrite(self.file, data, 0)
        progress = _check_progress if len(data) % 2 else None
        try:
            with budget(MEMORY_BYTES + XZ_BYTES * data.startswith(b"\xfd7zXZ\0")):
                trace = pgste.Trace.open(self.path, progress, budget=BUDGET)
        except pgste.TraceError as error:
            if error.path != self.path or not error.reason or not str(error):
                raise Finding(f"an error without path or reason: {error!r}") from error
            if error.offset is not None and error.offset < 0:
                raise Finding(f"an error before the file: {error}") from error
        else:
            _check_trace(trace)
            with budget(MEMORY_BYTES), contextlib.suppress(pgste.TraceError):
                if trace.summary(BUDGET)["events"] != len(trace):
                    raise Finding("a summary of other events")


# ---- without atheris ------------------------------------------------------------------------


def _options(argv: list[str]) -> tuple[dict[str, str], list[Path]]:
    options, paths = {}, []
    for arg in argv:
        if arg.startswith("-"):
            name, _, value = arg[1:].partition("=")
            options[name] = value
        else:
            paths.append(Path(arg))
    return options, paths


def _inputs(paths: list[Path]) -> list[bytes]:
    files = [f for p in paths for f in (sorted(p.iterdir()) if p.is_dir() else [p])]
    return [file.read_bytes() for file in files if file.is_file()]


def plain_fuzz(target: Any, argv: list[str], packed: bool = True) -> int:
    """The corpus as it is, then changed files; the changes follow from the seed alone.

    packed: changes are made behind checksums and compression, too.
    """
    options, paths = _options(argv)
    corpus = _inputs(paths) or [b""]
    runs = int(options.get("runs", -1))
    end = time.monotonic() + float(options.get("max_total_time") or 1e9)
    if runs < 0 and not options.get("max_total_time"):
        runs = 1000
    choose = random.Random(int(options.get("seed", 1)))
    behind = Mutator(lambda data, size: plain_change(data, size, choose))
    max_len = int(options.get("max_len", MAX_LEN))
    done = 0
    while runs < 0 or done < runs + len(corpus):
        data = corpus[done] if done < len(corpus) else choose.choice(corpus)
        if done >= len(corpus):
            if time.monotonic() >= end:
                break
            for _ in range(1 + choose.randrange(4)):
                if packed:
                    data = behind(data, max_len, choose.getrandbits(32))
                else:
                    data = plain_change(data, max_len, choose)
        try:
            target(data)
        except BaseException as error:
            name = options.get("artifact_prefix", "") + "crash-" + hashlib.sha1(data).hexdigest()
            Path(name).write_bytes(data)
            print(f"Uncaught Python exception: {error!r}\nTest unit written to {name}")
            raise
        done += 1
    print(f"stat::number_of_executed_units: {done}")
    return 0


def fuzz(target: Any, argv: list[str], atheris: Any, program: Path, packed: bool = False) -> int:
    """Run a target, under atheris if it is there; `program` is what libFuzzer starts anew."""
    if atheris is None:
        return plain_fuzz(target, argv[1:], packed)
    if not any(arg.startswith("-max_len=") for arg in argv):
        argv = [*argv, f"-max_len={MAX_LEN}"]
    argv = [str(program), *argv[1:]]
    # looked up late: atheris puts its own in place when it starts
    mutator = Mutator(lambda data, size: bytes(atheris.Mutate(data, size)))
    options = {"custom_mutator": mutator} if packed else {}
    atheris.Setup(argv, target, **options)
    atheris.Fuzz()  # does not come back
    return 0


if __name__ == "__main__":
    sys.exit(fuzz(Target(), sys.argv, atheris, Path(__file__).parent / "read", packed=True))
