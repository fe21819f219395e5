# SPDX-License-Identifier: MIT
"""A tracing instance of our own in the kernel's tracefs, and nothing left of it afterwards.

An instance (a directory below ``instances``) has buffers, events, filters and switches of its
own, so other users of tracing are not disturbed, and removing it restores everything.  Facts:
Documentation/trace/ftrace.rst and events.rst of the kernel.
"""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from pgste._engine import live
from pgste.errors import ArgumentError
from pgste.live import ending
from pgste.live.leftovers import new_name, remove_instance, remove_mount
from pgste.live.refused import Refused

OWN_MOUNT = "pgste-tracefs-"
EVENTS = ("kmem/mm_page_alloc", "kmem/mm_page_free")


def mounted_at(mounts: str | None = None) -> Path | None:
    """Where tracefs is mounted to stay; None if nowhere.  mounts: the text of /proc/mounts.

    What another recorder has mounted for itself does not count: it will go with it.
    """
    for line in (Path("/proc/mounts").read_text() if mounts is None else mounts).splitlines():
        _, where, kind = line.split()[:3]
        if kind == "tracefs" and OWN_MOUNT not in where:
            return Path(where.replace("\\040", " "))
    return None


class TraceFs:
    """tracefs, where it is mounted, or mounted for the length of a ``with`` block.

    Raises (on entering): `Refused`, which says what is missing.
    """

    def __init__(self) -> None:
        self._own: Path | None = None

    def __enter__(self) -> Path:
        found = mounted_at()
        if found:
            return found
        where = Path(tempfile.gettempdir()).resolve() / new_name("tracefs")
        self._own = where
        ending.set_up(self, self._mount)
        return where

    def _mount(self) -> None:
        assert self._own is not None
        self._own.mkdir(0o700)
        try:
            live.mount(b"nodev", os.fsencode(self._own), b"tracefs")
        except live.RefusedCall as refused:
            why = {
                errno.EPERM: "tracefs is not mounted, and mounting it needs root (CAP_SYS_ADMIN); "
                "run as root, or let root do: mount -t tracefs nodev /sys/kernel/tracing",
                errno.ENODEV: "this kernel has no tracefs (CONFIG_TRACING)",
            }.get(refused.errno, os.strerror(refused.errno))
            raise Refused(refused.errno, "mount of tracefs", why) from None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.remove()

    def remove(self) -> None:
        """Unmount what this mounted; twice does no harm."""
        with ending.step():
            if self._own is not None and ending.holds(self):
                # Without the mount an instance that lost its block could not be removed any more.
                for thing in ending.things():
                    if isinstance(thing, Instance) and thing.root == self._own:
                        thing.remove()
                remove_mount(self._own)
                self._own = None
                ending.forget(self)


class Instance:
    """A tracing instance that records the page allocator's events into per-CPU buffers.

    Args:
        root: where tracefs is.
        buffer_kb: size of the ring buffer of each CPU.
        pids: only events of these processes and of the children that they start.
        comm: only events of tasks of this name; ``*`` stands for anything.
        skip_pids: no events of these processes.
        events: others than the page allocator's, by their folders below ``events``.
        text: read events as the kernel prints them (`read_text`), not the CPUs' binary pages.

    Raises (on entering): `Refused` with the file that could not be written and why; the
    instance is then gone again.
    """

    def __init__(
        self,
        root: Path,
        *,
        buffer_kb: int = 8192,
        pids: Sequence[int] = (),
        comm: str | None = None,
        skip_pids: Sequence[int] = (),
        events: Sequence[str] = EVENTS,
        text: bool = False,
    ) -> None:
        if buffer_kb < 8:
            raise ArgumentError(f"buffer_kb must be at least 8, not {buffer_kb}")
        if comm is not None and (not comm or len(comm) > 15 or set(comm) & set('"\\\n')):
            raise ArgumentError(
                f"comm must be a task name of 1 .. 15 characters without quotes, not {comm!r}"
            )
        self.root = root
        self.buffer_kb = buffer_kb
        self.pids = list(pids)
        self.comm = comm
        self.skip_pids = list(skip_pids)
        self.events = list(events)
        self.text = text
        self.directory: Path | None = None
        self.fds: list[tuple[int, int]] = []

    def __enter__(self) -> Instance:
        for event in self.events:
            if not (self.root / "events" / event).exists():
                if os.geteuid() != 0:
                    raise Refused(
                        errno.EACCES, f"look into {self.root}", "reading trace events needs root"
                    )
                raise Refused(
                    errno.ENOENT,
                    f"event {event.replace('/', ':')}",
                    "this kernel does not have it (CONFIG_EVENT_TRACING)",
                )
        self.directory = self.root / "instances" / new_name()
        ending.set_up(self, self._set_up)
        return self

    def _set_up(self) -> None:
        assert self.directory is not None
        try:
            self.directory.mkdir()
        except OSError as error:
            raise self._refused(error, f"mkdir {self.directory}") from None
        self.write("tracing_on", "0")
        # Times of different CPUs must be comparable, since the streams are merged by them.
        self.write("trace_clock", "mono")
        self.write("buffer_size_kb", str(self.buffer_kb))
        if self.pids:
            self.write("options/event-fork", "1")
            self.write("set_event_pid", " ".join(map(str, self.pids)))
        if self.skip_pids:
            self.write("set_event_notrace_pid", " ".join(map(str, self.skip_pids)))
        for event in self.events:
            if self.comm is not None:
                operator = "~" if "*" in self.comm else "=="
                self.write(f"events/{event}/filter", f'comm {operator} "{self.comm}"')
            self.write(f"events/{event}/enable", "1")
        if self.text:
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
            self.fds.append((-1, os.open(self.directory / "trace_pipe", flags)))
            return
        for cpu in sorted((self.directory / "per_cpu").iterdir(), key=lambda path: path.name):
            number = int(cpu.name.removeprefix("cpu"))
            fd = os.open(cpu / "trace_pipe_raw", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            self.fds.append((number, fd))
        self.fds.sort()

    def write(self, name: str, text: str) -> None:
        """Write a file of the instance; `Refused` if the kernel does not take it."""
        path = self._path(name)
        try:
            path.write_text(text)
        except OSError as error:
            raise self._refused(error, f"write {text!r} to {path}") from None

    def _path(self, name: str) -> Path:
        if self.directory is None:
            raise ArgumentError("the tracing instance is not set up, or gone")
        return self.directory / name

    def _refused(self, error: OSError, call: str) -> Refused:
        code = error.errno or errno.EIO
        why = {
            errno.EACCES: "it needs root (or write permission on tracefs)",
            errno.EPERM: "it needs root, and a kernel that is not locked down (see "
            "/sys/kernel/security/lockdown)",
            errno.EROFS: "tracefs is mounted read-only (a container?)",
            errno.ENOENT: "this kernel's tracing has no such file",
            errno.ENOMEM: f"the kernel has no memory for buffers of {self.buffer_kb} KiB a CPU",
            errno.ENOSPC: "the kernel has no room for another tracing instance",
        }.get(code, os.strerror(code))
        return Refused(code, call, why)

    # ---- recording -----------------------------------------------------------------------

    def start(self) -> None:
        """Let events in."""
        self.write("tracing_on", "1")

    def stop(self) -> None:
        """Let no more events in; what is in the buffers can still be read."""
        self.write("tracing_on", "0")

    def formats(self) -> tuple[str, list[str]]:
        """Texts of events/header_page and of the format files of the events."""
        events = self.root / "events"
        return (
            (events / "header_page").read_text(),
            [(events / name / "format").read_text() for name in EVENTS],
        )

    def read_page(self, fd: int, page_bytes: int) -> bytes:
        """The next ring-buffer page of a CPU, empty when there is none just now."""
        try:
            return os.read(fd, page_bytes)
        except BlockingIOError:
            return b""

    def read_text(self) -> bytes:
        """What the kernel has printed since the last time; lines may be cut anywhere."""
        return b"".join(iter(lambda: self.read_page(self.fds[0][1], 1 << 16), b""))

    def lost(self) -> int:
        """Events that the kernel could not keep, by the statistics of its buffers."""
        lost = 0
        for stats in self._path("per_cpu").glob("cpu*/stats"):
            text = stats.read_text()
            for name in ("overrun", "dropped events"):
                found = re.search(rf"^{name}: (\d+)", text, re.MULTILINE)
                lost += int(found[1]) if found else 0
        return lost

    # ---- the end -------------------------------------------------------------------------

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.remove()

    def remove(self) -> None:
        """Close the buffers and remove the instance with all of its settings."""
        with ending.step():
            while self.fds:
                os.close(self.fds.pop()[1])
            if self.directory is None or not ending.holds(self):
                return
            try:
                remove_instance(self.directory)
            except OSError as error:
                raise self._refused(error, f"rmdir {self.directory}") from None
            self.directory = None
            ending.forget(self)
