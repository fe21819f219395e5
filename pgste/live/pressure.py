# SPDX-License-Identifier: MIT
"""Memory pressure on demand: a swap file, and a limit by a memory cgroup (version 1 or 2).

Both are context managers that take away what they set up, on errors too.  They need root.
Facts: swapon(2), the swap header as mkswap(8) writes it (union swap_header of the kernel's
include/linux/swap.h), and the kernel's admin-guide on cgroup-v1/memory and cgroup-v2.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from pgste._engine import live
from pgste.errors import ArgumentError
from pgste.live import ending
from pgste.live.leftovers import (
    find,
    new_name,
    remove_group,
    remove_swap,
    swap_areas,
)
from pgste.live.refused import Refused

SWAP_MAGIC = b"SWAPSPACE2"


def swap_bytes() -> tuple[int, int]:
    """(total, free) bytes of swap of the machine."""
    with open("/proc/meminfo") as file:
        text = file.read()
    total, free = (
        re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE) for name in ("SwapTotal", "SwapFree")
    )
    return (int(total[1]) * 1024 if total else 0, int(free[1]) * 1024 if free else 0)


def other_swap() -> tuple[int, int]:
    """(total, free) bytes of swap without the swap files of other live runs, which will go."""
    others = {left.path for left in find() if left.kind == "swap file" and left.pid != os.getpid()}
    areas = [area for path, area in swap_areas().items() if path not in others]
    return sum(total for total, _ in areas), sum(total - used for total, used in areas)


class SwapFile:
    """A swap file that is on inside the ``with`` block, and gone after it.

    Args:
        size_bytes: at least 10 pages; rounded down to whole pages.
        directory: where the file is made (default: the directory for temporary files). The file
            system must be one that can hold swap: tmpfs and overlayfs cannot.

    Raises (on entering): `Refused` with the reason; the file is removed then.
    """

    def __init__(self, size_bytes: int, directory: str | os.PathLike[str] | None = None) -> None:
        page = os.sysconf("SC_PAGE_SIZE")
        if size_bytes < 10 * page:
            raise ArgumentError(f"size_bytes must be at least {10 * page}, not {size_bytes}")
        self.pages = size_bytes // page
        self.directory = Path(directory) if directory else Path(tempfile.gettempdir())
        self.path: Path | None = None

    def __enter__(self) -> SwapFile:
        self.path = self.directory.resolve() / new_name("swap")
        ending.set_up(self, self._set_up)
        return self

    def _set_up(self) -> None:
        assert self.path is not None
        self._tell()
        with open(self.path, "xb", 0) as file:
            self._format(file.fileno())
        self._on()

    def _tell(self) -> None:
        """Where it cannot be found by looking, a link in the temporary folder leads to it."""
        assert self.path is not None
        temporary = Path(tempfile.gettempdir()).resolve()
        if temporary != self.path.parent:
            (temporary / self.path.name).symlink_to(self.path)

    def _on(self) -> None:
        assert self.path is not None
        while self.path not in swap_areas():
            try:
                live.swap_on(os.fsencode(self.path))
                return
            except live.RefusedCall as refused:
                if refused.errno != errno.EINTR:
                    raise Refused(refused.errno, "swapon", self._why(refused.errno)) from None

    def _format(self, fd: int) -> None:
        page = os.sysconf("SC_PAGE_SIZE")
        os.fchmod(fd, 0o600)
        # Real blocks, written: swap files may have neither holes nor unwritten extents left
        # to chance on every file system.
        chunk = bytes(1 << 20)
        left = self.pages * page
        while left:
            left -= os.write(fd, chunk[: min(left, len(chunk))])
        # Bytes 0-1023 are free for a boot block; then version, last page, number of bad pages.
        header = bytearray(page)
        struct.pack_into("=III", header, 1024, 1, self.pages - 1, 0)
        header[-len(SWAP_MAGIC) :] = SWAP_MAGIC
        os.pwrite(fd, header, 0)
        os.fsync(fd)

    def _why(self, code: int) -> str:
        return {
            errno.EPERM: "switching swap on needs root (CAP_SYS_ADMIN), or the kernel has as "
            "many swap files as it can",
            errno.EINVAL: f"the file system of {self.directory} cannot hold a swap file; choose "
            "another directory",
            errno.ENOMEM: "the kernel has no memory for the swap map",
            errno.ENOSYS: "this kernel has no swap",
        }.get(code, os.strerror(code))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.off()

    def off(self) -> None:
        """Switch it off and remove the file; twice does no harm."""
        with ending.step():
            if self.path is None or not ending.holds(self):
                return
            try:
                remove_swap(self.path)
            except live.RefusedCall as refused:
                why = {
                    errno.ENOMEM: f"memory has no room for what is in it; {self.path} stays on",
                    errno.EPERM: f"it takes root; {self.path} stays on",
                }.get(refused.errno, os.strerror(refused.errno))
                raise Refused(refused.errno, "swapoff", why) from None
            self.path = None
            ending.forget(self)

    remove = off


@dataclass(frozen=True)
class Hierarchy:
    """Where the memory controller is: its version, its mount point, our group below it."""

    version: int
    mount: Path
    group: str

    @property
    def directory(self) -> Path:
        """Directory of our own group."""
        return self.mount / self.group.lstrip("/")


def find_hierarchy(mountinfo: str | None = None, cgroup: str | None = None) -> Hierarchy | None:
    """The memory controller as this process sees it; None if there is none.

    mountinfo and cgroup are the texts of /proc/self/mountinfo and /proc/self/cgroup.
    """
    mountinfo = Path("/proc/self/mountinfo").read_text() if mountinfo is None else mountinfo
    cgroup = Path("/proc/self/cgroup").read_text() if cgroup is None else cgroup
    groups = {}
    for line in cgroup.splitlines():
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(","):
            groups[name] = path
    found: dict[int, Hierarchy] = {}
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        root, mount = left.split()[3:5]
        kind, options = right.split()[0], right.split()[-1].split(",")
        if kind == "cgroup" and "memory" in options and "memory" in groups:
            found[1] = Hierarchy(1, Path(mount), _below(groups["memory"], root))
        elif kind == "cgroup2" and "" in groups:
            unified = Hierarchy(2, Path(mount), _below(groups[""], root))
            listed = unified.directory / "cgroup.controllers"
            if listed.exists() and "memory" in listed.read_text().split():
                found[2] = unified
    return found.get(2) or found.get(1)


def _below(group: str, root: str) -> str:
    """The group's path as seen under a mount whose root is not the hierarchy's."""
    if root != "/" and (group + "/").startswith(root + "/"):
        return group[len(root) :] or "/"
    return group


def _numbers(text: str) -> dict[str, int]:
    """A file of names and numbers, one a line."""
    return {name: int(value) for name, value in (line.split() for line in text.splitlines())}


class MemoryLimit:
    """A memory cgroup below our own with a limit; processes enter it one by one.

    ``with MemoryLimit(64 << 20) as limit: limit.enter()`` puts this process under the limit and
    brings it back at the end.  Only memory that is first touched inside is charged to it.

    Args:
        limit_bytes: the most memory that the group may hold (page cache of its own included).
        hierarchy: for tests; found by itself otherwise.

    Raises (on entering the block): `Refused`, naming the file that could not be written.
    """

    FILES = {  # noqa: RUF012
        1: {
            "limit": "memory.limit_in_bytes",
            "usage": "memory.usage_in_bytes",
            "peak": "memory.max_usage_in_bytes",
        },
        2: {"limit": "memory.max", "usage": "memory.current", "peak": "memory.peak"},
    }

    def __init__(self, limit_bytes: int, hierarchy: Hierarchy | None = None) -> None:
        if limit_bytes < 1 << 20:
            raise ArgumentError(f"limit_bytes must be at least 1 MiB, not {limit_bytes}")
        self.limit_bytes = limit_bytes
        self.hierarchy = hierarchy
        self.directory: Path | None = None

    def __enter__(self) -> MemoryLimit:
        self.hierarchy = self.hierarchy or find_hierarchy()
        if self.hierarchy is None:
            raise Refused(
                errno.ENOENT, "memory cgroup", "no memory controller is mounted on this machine"
            )
        parent = self.hierarchy.directory
        self.directory = parent / new_name()
        ending.set_up(self, self._set_up)
        return self

    def _set_up(self) -> None:
        assert self.directory is not None
        try:
            self.directory.mkdir()
        except OSError as error:
            raise self._refused(error, f"mkdir {self.directory}") from None
        self._enable_controller(self.directory.parent)
        self._write(self._file("limit"), str(self.limit_bytes))

    def _enable_controller(self, parent: Path) -> None:
        if self._file("limit").exists():
            return
        control = parent / "cgroup.subtree_control"
        self._write(control, "+memory")
        if not self._file("limit").exists():
            raise Refused(errno.ENOENT, f"write {control}", "the group got no memory controller")

    def _file(self, name: str) -> Path:
        assert self.hierarchy is not None
        if self.directory is None:
            raise ArgumentError("the memory limit is not set up, or gone")
        return self.directory / self.FILES[self.hierarchy.version][name]

    def _refused(self, error: OSError, call: str) -> Refused:
        code = error.errno or errno.EIO
        why = {
            errno.EACCES: "it needs root, or a group that was delegated to this user",
            errno.EPERM: "it needs root, or a group that was delegated to this user",
            errno.EROFS: "the cgroup file system is mounted read-only (a container?)",
            errno.EBUSY: "the group above has processes of its own, which version 2 forbids for a "
            "group that limits others; start in an empty group (systemd-run --scope)",
        }.get(code, os.strerror(code))
        return Refused(code, call, why)

    def _write(self, path: Path, text: str) -> None:
        try:
            path.write_text(text)
        except OSError as error:
            raise self._refused(error, f"write {path}") from None

    def enter(self, pid: int = 0) -> None:
        """Move a process (default: this one) into the group."""
        assert self.hierarchy is not None
        pid = pid or os.getpid()
        self._write(self._file("limit").parent / "cgroup.procs", str(pid))

    def set(self, limit_bytes: int) -> None:
        """Another limit; whoever is in the group may call this."""
        self._write(self._file("limit"), str(limit_bytes))
        self.limit_bytes = limit_bytes

    def empty(self) -> None:
        """Let the kernel reclaim all that the group holds and can do without."""
        assert self.hierarchy is not None
        if self.hierarchy.version == 1:
            self._write(self._file("limit").with_name("memory.force_empty"), "0")
            return
        while (usage := self.usage()) > 0:
            try:
                self._file("limit").with_name("memory.reclaim").write_text(str(usage))
            except OSError as error:
                if error.errno == errno.EAGAIN:  # it could not reclaim as much as that
                    return
                raise self._refused(error, "write memory.reclaim") from None

    def usage(self) -> int:
        """Bytes charged to the group now."""
        return int(self._file("usage").read_text())

    def peak(self) -> int | None:
        """The most bytes that were charged at once; None where the kernel does not count them.

        Version 2 has memory.peak since Linux 5.19.
        """
        try:
            return int(self._file("peak").read_text())
        except FileNotFoundError:
            return None

    def swap_allowed(self) -> int | None:
        """The most bytes of swap that the group may have; None if nothing limits it.

        In version 2 each group above may limit it too (memory.swap.max); in version 1 nothing here
        looks at what is above.
        """
        assert self.hierarchy is not None
        assert self.directory is not None
        if self.hierarchy.version == 1:
            return None
        limits = []
        group = self.directory
        while group != self.hierarchy.mount and self.hierarchy.mount in group.parents:
            with contextlib.suppress(FileNotFoundError):  # a kernel without swap
                text = (group / "memory.swap.max").read_text().strip()
                if text != "max":
                    limits.append(int(text))
            group = group.parent
        return min(limits, default=None)

    def stat(self) -> dict[str, int]:
        """memory.stat of the group."""
        return _numbers(self._file("limit").with_name("memory.stat").read_text())

    def oom_kills(self) -> int:
        """Processes of the group that the kernel has killed because it could hold no more."""
        assert self.hierarchy is not None
        name = {1: "memory.oom_control", 2: "memory.events"}[self.hierarchy.version]
        return _numbers(self._file("limit").with_name(name).read_text()).get("oom_kill", 0)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.remove()

    def remove(self) -> None:
        """Move whoever is left back to our own group and remove the group; twice is no harm."""
        with ending.step():
            if self.directory is None or self.hierarchy is None or not ending.holds(self):
                return
            try:
                remove_group(self.directory, self.hierarchy.directory)
            except OSError as error:
                raise self._refused(error, f"rmdir {self.directory}") from None
            self.directory = None
            ending.forget(self)
