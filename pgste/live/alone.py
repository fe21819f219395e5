# SPDX-License-Identifier: MIT
"""One live run at a time on a machine: swap is the machine's, and so are the times it takes.

The lock is an flock(2) on a file that every Linux has, so that there is no lock file to be left.
Recordings need none: each has a tracing instance of its own.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pgste.live import leftovers
from pgste.live.refused import Refused

__all__ = ["alone", "holder"]

LOCK = "/proc/meminfo"
_mine = threading.local()


def holder() -> int | None:
    """The process that has a live run now; None if there is none that can be seen."""
    status = os.stat(LOCK)
    where = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    with open("/proc/locks") as file:
        for line in file:
            # number: FLOCK ADVISORY WRITE pid device:inode start end
            fields = line.split()
            if fields[1] == "FLOCK" and fields[-3] == where and fields[-4] != "0":
                return int(fields[-4])
    return None


@contextmanager
def alone(swap_directory: str | os.PathLike[str] | None = None) -> Iterator[None]:
    """Be the only live run, with what dead ones left on the machine removed first.

    Within such a block the same thread may enter others.

    Args:
        swap_directory: where dead runs may have left swap files beside the temporary folders.

    Raises `Refused` (EBUSY) if another process, or another thread, is in a live run.
    """
    if getattr(_mine, "depth", 0):
        yield
        return
    with open(LOCK, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = holder()
            who = "another process" if pid is None else f"process {pid}"
            why = (
                f"{who} is in one; two would change swap and memory under each other; wait for "
                "it to end"
            )
            raise Refused(errno.EBUSY, "a second live run", why) from None
        _mine.depth = 1
        try:
            leftovers.clean([] if swap_directory is None else [swap_directory])
            yield
        finally:
            _mine.depth = 0
