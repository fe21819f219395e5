# SPDX-License-Identifier: MIT
"""Accesses of this machine by DAMON over physical addresses, while something is recorded.

DAMON is set up through its sysfs (Documentation/admin-guide/mm/damon/usage.rst), and what it finds
is read from the event ``damon:damon_aggregated`` in a tracing instance of our own.

There is one set-up on a machine, and it cannot be changed while a kernel thread of it runs.  So:

* If nobody uses DAMON, it is set up for the recording, and taken away again.
* If somebody else's DAMON watches physical addresses, it is listened to, with its intervals and its
  range of memory; nothing of it is changed.
* If a recording has DAMON set up, or somebody else has it set up and switched off, it is refused.
"""

from __future__ import annotations

import errno
import fcntl
import os
import random
import re
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from pgste.errors import ArgumentError, PgsteError
from pgste.live import ending, leftovers
from pgste.live.leftovers import find, new_name, remove_monitoring, watched_by
from pgste.live.refused import Refused
from pgste.live.tracefs import Instance
from pgste.traces.damon import LINE_OF_REGION, Regions, Snapshots

__all__ = ["Damon", "Monitor", "Monitoring", "memory_ranges"]

EVENT = "damon/damon_aggregated"
POLL_SECONDS = 0.05
_RANGE = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) : System RAM$", re.MULTILINE)
_SIGNATURES = 1_000_000_000_000
"""The update interval tells whose a set-up is: 11 to 22 days, and no two the same."""


@dataclass(frozen=True)
class Monitoring:
    """How DAMON looks; the defaults are those of damo."""

    sample_us: int = 5_000
    """Between two looks at a page of each region."""
    aggregation_us: int = 100_000
    """Between two snapshots of all regions."""
    regions: tuple[int, int] = (10, 1000)
    """At least and at most so many."""

    def __post_init__(self) -> None:
        low, high = self.regions
        for name, value, least in (
            ("sample_us", self.sample_us, 100),
            ("aggregation_us", self.aggregation_us, self.sample_us),
            ("regions", low, 3),
            ("regions", high, low),
        ):
            if (
                isinstance(value, bool)
                or not isinstance(value, int)
                or not least <= value < 1 << 31
            ):
                raise ArgumentError(f"{name}: {value!r} is not in {least} .. 2^31 - 1")

    @property
    def most(self) -> int:
        """Samples in an aggregation interval."""
        return self.aggregation_us // self.sample_us


def memory_ranges(iomem: str | None = None) -> list[tuple[int, int]]:
    """First byte and byte behind the last of each range of memory. iomem: text of /proc/iomem."""
    text = Path("/proc/iomem").read_text() if iomem is None else iomem
    found = [(int(start, 16), int(end, 16) + 1) for start, end in _RANGE.findall(text)]
    if not any(start for start, _ in found):
        raise Refused(errno.EACCES, "read /proc/iomem", "addresses of memory are for root only")
    return found


def _text(path: Path) -> str:
    return path.read_text().strip()


class Damon:
    """DAMON over physical addresses for the length of a ``with`` block, set up or listened to.

    Raises (on entering): `Refused`, which says what is missing, or who has it.
    """

    def __init__(self, monitoring: Monitoring | None = None, admin: Path | None = None) -> None:
        self.monitoring = monitoring or Monitoring()
        self.admin = admin or leftovers.DAMON
        self.own = False
        self.pid = -1
        """The kernel's thread."""
        self.ranges: list[tuple[int, int]] = []
        self._marker: Path | None = None
        self._lock = -1

    def __enter__(self) -> Damon:
        if not self.admin.is_dir():
            raise Refused(
                errno.ENOENT, f"look into {self.admin}", "this kernel has no DAMON (it takes "
                "CONFIG_DAMON_PADDR and CONFIG_DAMON_SYSFS)",
            )  # fmt: skip
        kdamonds = sorted((self.admin / "kdamonds").glob("[0-9]*"))
        running = [path for path in kdamonds if _text(path / "state") == "on"]
        if running:
            self._listen(running)
            return self
        if any(_text(path / "contexts/nr_contexts") != "0" for path in kdamonds):
            raise Refused(
                errno.EBUSY, "DAMON", "somebody has set it up and switched it off; a recording "
                f"would undo that (damo stop, or write 0 to {self.admin}/kdamonds/nr_kdamonds)",
            )  # fmt: skip
        self.ranges = memory_ranges()
        ending.set_up(self, self._set_up)
        self.own = True
        return self

    # ---- somebody else's -----------------------------------------------------------------

    def _listen(self, running: list[Path]) -> None:
        for left in find():
            if left.kind == "DAMON monitoring" and watched_by(left.path, self.admin):
                why = f"process {left.pid} records accesses; wait for it to end"
                raise Refused(errno.EBUSY, "DAMON", why)
        for path in running:
            context = path / "contexts/0"
            if _text(context / "operations") == "paddr":
                break
        else:
            raise Refused(
                errno.EBUSY, "DAMON", "somebody else's watches the memory of programs, and it "
                "cannot be changed while it runs; recording needs one of physical addresses",
            )  # fmt: skip
        intervals = context / "monitoring_attrs/intervals"
        limits = context / "monitoring_attrs/nr_regions"
        self.monitoring = Monitoring(
            int(_text(intervals / "sample_us")),
            int(_text(intervals / "aggr_us")),
            (int(_text(limits / "min")), int(_text(limits / "max"))),
        )
        regions = sorted((context / "targets/0/regions").glob("[0-9]*"))
        self.ranges = [(int(_text(one / "start")), int(_text(one / "end"))) for one in regions]
        self.pid = int(_text(path / "pid"))

    # ---- our own -------------------------------------------------------------------------

    def _set_up(self) -> None:
        self._take_lock()
        signature = str(_SIGNATURES + random.SystemRandom().randrange(_SIGNATURES))
        self._marker = Path(tempfile.gettempdir()).resolve() / new_name("damon")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(os.open(self._marker, flags, 0o600), "w") as marker:
            marker.write(signature)
        kdamond, context = "kdamonds/0", "kdamonds/0/contexts/0"
        attributes, target = f"{context}/monitoring_attrs", f"{context}/targets/0"
        steps = [
            ("kdamonds/nr_kdamonds", "1"),
            (f"{kdamond}/contexts/nr_contexts", "1"),
            (f"{attributes}/intervals/update_us", signature),
            (f"{attributes}/intervals/aggr_us", str(self.monitoring.aggregation_us)),
            (f"{attributes}/intervals/sample_us", str(self.monitoring.sample_us)),
            (f"{attributes}/nr_regions/max", str(self.monitoring.regions[1])),
            (f"{attributes}/nr_regions/min", str(self.monitoring.regions[0])),
            (f"{context}/operations", "paddr"),
            (f"{context}/targets/nr_targets", "1"),
            (f"{target}/regions/nr_regions", str(len(self.ranges))),
        ]
        for i, (start, end) in enumerate(self.ranges):
            steps.append((f"{target}/regions/{i}/start", str(start)))
            steps.append((f"{target}/regions/{i}/end", str(end)))
        for name, value in [*steps, (f"{kdamond}/state", "on")]:
            self._write(name, value)
        self.pid = int(_text(self.admin / kdamond / "pid"))

    def _take_lock(self) -> None:
        """One recording sets it up at a time; the lock goes with the process."""
        path = self.admin / "kdamonds/nr_kdamonds"
        self._lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            self._lock = -1
            why = "another recording of accesses is about to set it up, or to take it away"
            raise Refused(errno.EBUSY, "DAMON", why) from None

    def _write(self, name: str, value: str) -> None:
        path = self.admin / name
        try:
            path.write_text(value)
        except OSError as error:
            code = error.errno or errno.EIO
            why = {
                errno.EACCES: "it needs root",
                errno.EPERM: "it needs root",
                errno.EBUSY: "somebody else has just switched DAMON on",
                errno.EINVAL: "this kernel's DAMON does not take it (CONFIG_DAMON_PADDR?)",
                errno.ENOENT: "this kernel's DAMON has no such file",
            }.get(code, os.strerror(code))
            raise Refused(code, f"write {value!r} to {path}", why) from None

    def __exit__(self, *_: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Switch it off and take it away if this has set it up; twice does no harm."""
        with ending.step():
            if not ending.holds(self):
                return
            if self._marker is not None:
                remove_monitoring(self._marker, self.admin)
                self._marker = None
            if self._lock >= 0:
                os.close(self._lock)
                self._lock = -1
            ending.forget(self)


class Monitor:
    """Damon, and the snapshots that it tells, while a ``with`` block runs."""

    def __init__(self, root: Path, damon: Damon, buffer_kb: int = 8192) -> None:
        self.root = root
        self.damon = damon
        self.buffer_kb = buffer_kb
        self.lost = 0
        self._rest = b""
        self._stack = ExitStack()

    def __enter__(self) -> Monitor:
        with ExitStack() as stack:
            self.damon = stack.enter_context(self.damon)
            self.instance = stack.enter_context(
                Instance(
                    self.root,
                    buffer_kb=self.buffer_kb,
                    pids=[self.damon.pid],
                    events=[EVENT],
                    text=True,
                )
            )
            told = self.damon.monitoring
            self.snapshots = Snapshots(told.most, told.aggregation_us * 1000)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def start(self) -> None:
        """Let snapshots in."""
        self.instance.start()

    def drain(self) -> None:
        """Take what was told until now."""
        *lines, self._rest = (self._rest + self.instance.read_text()).split(b"\n")
        for line in lines:
            if found := LINE_OF_REGION.match(line):
                try:
                    self.snapshots.line(found)
                except ValueError as error:
                    raise PgsteError(f"DAMON tells what cannot be: {error}") from error

    def finish(self, since: float, stop: Callable[[], object]) -> None:
        """Wait for the snapshot that covers a moment of CLOCK_MONOTONIC, or for `stop`."""
        until = time.monotonic() + 1.5 * self.damon.monitoring.aggregation_us / 1e6
        while not stop() and time.monotonic() < until:
            self.drain()
            if self.snapshots.last_ns() >= since * 1e9:
                break
            time.sleep(POLL_SECONDS)
        self.instance.stop()
        self.drain()
        self.lost = self.instance.lost()

    def regions(self) -> Regions:
        """What was told; call it at the end."""
        return self.snapshots.regions()
