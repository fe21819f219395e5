# SPDX-License-Identifier: MIT
"""Recording of the page allocator's events of this machine, and import of perf.data.

The events ``kmem:mm_page_alloc`` and ``kmem:mm_page_free`` are read as the kernel's binary
ring-buffer pages from each CPU's ``trace_pipe_raw`` and decoded in C (src_c/trace/ring.c) by the
kernel's own format files; the streams of the CPUs are merged by time.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pgste._engine.trace import RingDecoder
from pgste.errors import ArgumentError, TraceError
from pgste.live import ending, leftovers
from pgste.live.damon import Damon, Monitor, Monitoring
from pgste.live.tracefs import Instance, TraceFs
from pgste.traces.damon import with_regions
from pgste.traces.dat import merge, ring_layout
from pgste.traces.trace import Trace

Progress = Callable[[int, int, float], object]
"""Called with (events so far, events lost so far, seconds)."""

POLL_SECONDS = 0.05
GRACE_SECONDS = 3.0


@dataclass(frozen=True)
class Accesses:
    """Where the accesses of a recording are from."""

    own: bool
    """Whether DAMON was set up for it; else somebody else's was listened to."""
    monitoring: Monitoring
    """Its intervals, and how many regions it may have."""
    ranges: tuple[tuple[int, int], ...]
    """Physical addresses that it watched: first byte, byte behind the last."""
    snapshots: int
    regions: int
    """In all snapshots."""
    lost: int
    """Regions that the kernel could not keep because its buffers were full."""
    problem: str | None
    """Why there are no accesses of them in the trace, if there are none."""


@dataclass(frozen=True)
class Recording:
    """A trace, and how it came about."""

    trace: Trace
    lost: int
    """Events that the kernel could not keep because its buffers were full."""
    seconds: float
    """How long events were let in."""
    cpus: int
    exit_status: int | None
    """Of the command; None without one, minus the signal if one ended it."""
    interrupted: bool
    """Whether Ctrl-C (or SIGTERM, SIGHUP, SIGQUIT) ended the recording."""
    accesses: Accesses | None = None
    """If they were asked for."""


class _Streams:
    """Decodes what the CPUs' buffers hold, as it comes."""

    def __init__(self, instance: Instance) -> None:
        header, formats = instance.formats()
        layout = ring_layout(header, formats, big_endian=sys.byteorder == "big")
        self.instance = instance
        self.decoders = {cpu: RingDecoder(layout) for cpu, _ in instance.fds}
        self.parts: dict[int, list[tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]]] = {
            cpu: [] for cpu, _ in instance.fds
        }
        self.events = 0

    def drain(self) -> None:
        """Read and decode all pages that are there now."""
        for cpu, fd in self.instance.fds:
            decoder = self.decoders[cpu]
            pages = []
            while page := self.instance.read_page(fd, decoder.page_bytes):
                pages.append(page)
                if len(pages) == 256:
                    self._decode(cpu, pages)
                    pages = []
            if pages:
                self._decode(cpu, pages)

    def _decode(self, cpu: int, pages: list[bytes]) -> None:
        events, times = self.decoders[cpu].decode(b"".join(pages))
        self.parts[cpu].append((events, times))
        self.events += len(events)

    def counters(self) -> dict[str, int]:
        sums: dict[str, int] = {}
        for decoder in self.decoders.values():
            for name, value in decoder.counters.items():
                sums[name] = sums.get(name, 0) + value
        return sums

    def trace(self, lost: int) -> Trace:
        streams = [
            (
                np.concatenate([events for events, _ in parts]),
                np.concatenate([times for _, times in parts]),
            )
            for _, parts in sorted(self.parts.items())
            if parts
        ]
        events, times = merge(streams)
        # The buffers' statistics also know of losses that no page tells: the last ones.
        counters = self.counters()
        counters["lost"] = max(lost, counters.get("lost", 0))
        return Trace(events, times, format="record", counters=counters)


def record(
    command: Sequence[str] = (),
    *,
    pid: int | None = None,
    comm: str | None = None,
    seconds: float | None = None,
    buffer_kb: int = 8192,
    access: bool | Monitoring = False,
    stdout: int | None = None,
    progress: Progress | None = None,
) -> Recording:
    """Record while a command runs, or without one until Ctrl-C or for some seconds.

    It records the events of all processes but this one; `pid` narrows that down to a process
    and the children it starts, `comm` to tasks of a name (``*`` stands for anything), which hides
    what the rest of the machine does with the same pages: frees by others are then missing.

    `access` records accesses as well, by DAMON (`pgste.live.damon`); what it tells of regions
    becomes loads of pages by a model (`pgste.traces.damon`).  At the end it waits for the snapshot
    that covers the end, up to one and a half aggregation intervals.

    The command's output goes where this process's goes, or to the descriptor `stdout`.

    Ctrl-C, SIGTERM, SIGHUP and SIGQUIT end the recording; the command gets the signal too, and
    what was recorded until then is returned.  Any number may record at once: each has a tracing
    instance of its own, and sees what the others do as it sees all processes.

    Raises:
        Refused: the kernel does not allow it; the text says what is missing.
        ArgumentError: no such process, a bad name.
        OSError: the command cannot be started.

    What dead recorders have left is removed first.  Whatever happens, the tracing instance is
    removed, and tracefs unmounted if this mounted it; SIGKILL alone leaves that to the next run.
    The command is the caller's: it outlives a recorder that was killed.
    """
    if seconds is not None and not seconds > 0:
        raise ArgumentError(f"seconds must be above 0, not {seconds}")
    if not isinstance(access, (bool, Monitoring)):
        raise ArgumentError(f"access: {access!r} is neither a bool nor Monitoring")
    leftovers.clean()
    signals: list[int] = []
    with (
        _process(pid) as ended,
        ending.heard(signals.append),
        TraceFs() as root,
        Instance(
            root,
            buffer_kb=buffer_kb,
            pids=[] if pid is None else [pid],
            comm=comm,
            skip_pids=[os.getpid()],
        ) as instance,
        _monitor(root, access, buffer_kb) as monitor,
    ):
        streams = _Streams(instance)
        if monitor is not None:
            monitor.start()
        instance.start()
        started = time.monotonic()
        child = None
        try:
            if command:
                child = subprocess.Popen(list(command), stdout=stdout)
            _wait(streams, monitor, child, ended, seconds, signals, started, progress)
        finally:
            if child is not None:
                _end(child, signals[-1] if signals else 0)
            instance.stop()
            took = time.monotonic() - started
        streams.drain()
        lost = instance.lost()
        cpus = len(instance.fds)
        if monitor is not None:
            monitor.finish(time.monotonic(), lambda: signals)
    trace, accesses = streams.trace(lost), None
    if monitor is not None:
        trace, accesses = _touched(trace, monitor)
    return Recording(
        trace=trace,
        lost=max(lost, streams.counters().get("lost", 0)),
        seconds=took,
        cpus=cpus,
        exit_status=child.returncode if child is not None else None,
        interrupted=bool(signals),
        accesses=accesses,
    )


@contextmanager
def _monitor(root: Path, access: bool | Monitoring, buffer_kb: int) -> Iterator[Monitor | None]:
    """What tells accesses, if they were asked for."""
    if access is False:
        yield None
        return
    with Monitor(root, Damon(None if access is True else access), buffer_kb) as monitor:
        yield monitor


def _touched(trace: Trace, monitor: Monitor) -> tuple[Trace, Accesses]:
    """The trace with accesses, as far as DAMON told of its pages."""
    damon, problem, nr = monitor.damon, None, (0, 0)
    try:
        regions = monitor.regions()
        nr = regions.snapshots, regions.told
        trace = with_regions(trace, regions)
    except TraceError as error:
        problem = error.reason
    if not nr[0]:
        problem = "DAMON told of no aggregation interval in that time"
    return trace, Accesses(
        damon.own, damon.monitoring, tuple(damon.ranges), *nr, monitor.lost, problem
    )


@contextmanager
def _process(pid: int | None) -> Iterator[int | None]:
    """A descriptor of the process, if one is named; ArgumentError if there is none such."""
    if pid is None:
        yield None
        return
    try:
        fd = os.pidfd_open(pid)
    except (OSError, OverflowError):
        raise ArgumentError(f"pid: there is no process {pid}") from None
    try:
        yield fd
    finally:
        os.close(fd)


def _wait(
    streams: _Streams,
    monitor: Monitor | None,
    child: subprocess.Popen[bytes] | None,
    ended: int | None,
    seconds: float | None,
    signals: Sequence[int],
    started: float,
    progress: Progress | None,
) -> None:
    """Drain the buffers until the command, the process or the time is at its end.

    ended: a descriptor of a process (pidfd_open(2)), which shows its end even before its parent
    has taken notice.
    """
    while not signals:
        passed = time.monotonic() - started
        if seconds is not None and passed >= seconds:
            return
        if child is not None:
            try:
                child.wait(POLL_SECONDS)
                return
            except subprocess.TimeoutExpired:
                pass
        elif ended is not None:
            if select.select([ended], [], [], POLL_SECONDS)[0]:
                return
        else:
            time.sleep(POLL_SECONDS)
        streams.drain()
        if monitor is not None:
            monitor.drain()
        if progress is not None:
            progress(streams.events, streams.instance.lost(), time.monotonic() - started)


def _end(child: subprocess.Popen[bytes], got: int) -> None:
    """A command that still runs gets our signal, or SIGTERM, and in the end SIGKILL."""
    if child.poll() is None:
        child.send_signal(got or signal.SIGTERM)
        try:
            child.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


class _Folder:
    """A temporary folder that goes with the block, or with what ends the program in it."""

    def __init__(self) -> None:
        self.path = Path(tempfile.gettempdir()).resolve() / leftovers.new_name("perf")

    def __enter__(self) -> Path:
        ending.set_up(self, lambda: self.path.mkdir(0o700))
        return self.path

    def __exit__(self, *_: object) -> None:
        self.remove()

    def remove(self) -> None:
        with ending.step():
            if ending.holds(self):
                leftovers.remove_folder(self.path)
                ending.forget(self)


def import_perf(path: str | os.PathLike[str]) -> Trace:
    """Read a perf.data file by way of ``perf script``.

    ValueError if the file has no page allocator events or perf cannot read it, with perf's own
    words; FileNotFoundError if perf is not installed or there is no such file.
    """
    if shutil.which("perf") is None:
        raise FileNotFoundError("perf is not installed; it is needed to read perf.data")
    if not Path(path).exists():
        raise FileNotFoundError(f"no such file: {os.fspath(path)}")
    with _Folder() as directory:
        text = directory / "script.txt"
        with open(text, "wb") as out:
            done = subprocess.run(
                ["perf", "script", "-i", os.fspath(path), "--force",
                 "-F", "comm,tid,cpu,time,event,trace"],
                stdout=out,
                stderr=subprocess.PIPE,
                check=False,
            )  # fmt: skip
        words = " ".join(done.stderr.decode(errors="replace").split())
        if done.returncode:
            raise ArgumentError(f"perf script cannot read {os.fspath(path)}: {words}")
        if not text.stat().st_size:
            raise ArgumentError(
                f"{os.fspath(path)} has no events; record with perf record -a "
                "-e kmem:mm_page_alloc -e kmem:mm_page_free"
            )
        return Trace.open(text)
