# SPDX-License-Identifier: MIT
"""What live runs and sweeps set up on the machine: how it is found, told from litter, removed.

Every name tells its owner (`pgste.files.owned`).  A thing whose owner is gone (SIGKILL leaves no
time to clean up) is a leftover, and anybody may remove it; one whose owner lives is in use; of one
from another pid namespace (a container) nobody here can tell, so it is left alone.

`KINDS` is the table of what there is, in the order in which it is taken away.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pgste._engine import live
from pgste.files.owned import NAME, new_name, own_folders, told

__all__ = [
    "DAMON",
    "KINDS",
    "Kind",
    "Leftover",
    "clean",
    "find",
    "new_name",
    "remove_folder",
    "remove_group",
    "remove_instance",
    "remove_monitoring",
    "remove_mount",
    "remove_swap",
    "swap_areas",
    "watched_by",
]

DAMON = Path("/sys/kernel/mm/damon/admin")
TRIES = 100
PAUSE = 0.02


@dataclass(frozen=True)
class Leftover:
    """Something of a live run, a recording or a sweep on this machine, in use or not."""

    kind: str
    path: Path
    pid: int
    owner: str
    """``"alive"``, ``"dead"``, or ``"elsewhere"``: of another pid namespace."""
    age: float | None
    """Seconds; None if it cannot be told."""


# ---- finding -----------------------------------------------------------------------------


def _places(directories: Iterable[Path]) -> list[Path]:
    """Where files of ours may be."""
    all_ = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp"), *directories]
    return list(dict.fromkeys(place.resolve() for place in all_))


def _named(kind: str, places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        try:
            with os.scandir(place) as entries:
                names = [entry.name for entry in entries]
        except OSError:  # not there, or not for us
            continue
        for name in names:
            found = NAME.fullmatch(name)
            if found and (found[1] or "") == kind:
                yield place / name


def _unescaped(path: str) -> str:
    """A path as /proc writes it: blanks and backslashes are octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), path)


def swap_areas(swaps: str | None = None) -> dict[Path, tuple[int, int]]:
    """Files and devices with swap on: (bytes, bytes used). swaps: the text of /proc/swaps."""
    try:
        text = Path("/proc/swaps").read_text() if swaps is None else swaps
    except FileNotFoundError:  # a kernel without swap
        return {}
    areas = {}
    for line in text.splitlines()[1:]:
        path, _, size, used = line.split()[:4]
        areas[Path(_unescaped(path))] = (int(size) << 10, int(used) << 10)
    return areas


def _swap_files(places: list[Path]) -> Iterator[Path]:
    for path in swap_areas():
        name = path.name.removesuffix(" (deleted)")
        if (found := NAME.fullmatch(name)) and found[1] == "swap":
            yield path
    for path in _named("swap", places):
        if (target := _pointed_at(path)) is not None:
            yield target


def _pointed_at(path: Path) -> Path | None:
    """A swap file, or the one elsewhere that a link of its name in a temporary folder tells of.

    A link counts only if this user or root made it, since anybody may write to such a folder.
    """
    try:
        status = path.lstat()
        if not stat.S_ISLNK(status.st_mode):
            return path if stat.S_ISREG(status.st_mode) else None
        target = Path(os.readlink(path))
    except OSError:
        return None
    trusted = status.st_uid in (0, os.geteuid()) and target.name == path.name
    return target if trusted and target.is_absolute() else None


def _mounts(*kinds: str) -> list[tuple[str, Path, list[str]]]:
    """(kind, place, options) of mounts of some kinds."""
    found = []
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, kind, options = line.split()[:4]
        if kind in kinds:
            found.append((kind, Path(_unescaped(where)), options.split(",")))
    return found


def _groups(places: list[Path]) -> Iterator[Path]:
    for kind, where, options in _mounts("cgroup", "cgroup2"):
        if kind == "cgroup2" or "memory" in options:
            for directory, below, _ in os.walk(where):
                yield from _named("", [Path(directory)])
                below[:] = [name for name in below if not NAME.fullmatch(name)]


def _instances(places: list[Path]) -> Iterator[Path]:
    # All mounts show the same instances.
    seen = set()
    for _, where, _ in _mounts("tracefs"):
        for path in _named("", [where / "instances"]):
            if path.name not in seen:
                seen.add(path.name)
                yield path


def _tracefs(places: list[Path]) -> Iterator[Path]:
    for _, where, _ in _mounts("tracefs"):
        if NAME.fullmatch(where.name):
            yield where
    yield from _named("tracefs", places)


def _monitorings(places: list[Path]) -> Iterator[Path]:
    """Files that tell of a set-up of DAMON, of this user or root: others may not switch it off."""
    for path in _named("damon", places):
        with contextlib.suppress(OSError):
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and status.st_uid in (0, os.geteuid()):
                yield path


def watched_by(path: Path, admin: Path | None = None) -> Path | None:
    """The kdamond that a file tells of, by the update interval that stands in it; None if none."""
    try:
        with open(path) as file:
            signature = file.read(64).strip()
    except OSError:
        return None
    for kdamond in sorted(((admin or DAMON) / "kdamonds").glob("[0-9]*")):
        with contextlib.suppress(OSError):
            interval = kdamond / "contexts/0/monitoring_attrs/intervals/update_us"
            if signature and interval.read_text().strip() == signature:
                return kdamond
    return None


def _folders(places: list[Path]) -> Iterator[Path]:
    """Of recordings with perf, and of this user's sweeps."""
    yield from _named("perf", places)
    for place in places:
        for path, _ in own_folders("sweep", place):
            yield path


# ---- removing: all there is of it, and no harm if it is gone --------------------------------


def remove_swap(path: Path, places: Iterable[Path] = ()) -> None:
    """Switch a swap file off and remove it, with the link that tells of it.

    Raises `RefusedCall` if the kernel does not switch it off; the file is then still there.
    """
    while path in swap_areas():
        try:
            live.swap_off(os.fsencode(path))
        except live.RefusedCall as refused:
            # EINTR: a signal came, and what it left is still in swap.  Others may be quicker.
            if refused.errno != errno.EINTR and path in swap_areas():
                raise
    _unlink(path)
    for place in places or _places(()):
        if (place / path.name).is_symlink():
            (place / path.name).unlink(missing_ok=True)


def _unlink(path: Path) -> None:
    """Remove a file, if it is there; under a name that none can have there never was one."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        if error.errno not in (errno.ENAMETOOLONG, errno.ENOTDIR):
            raise


def _remove_directory(path: Path) -> None:
    """rmdir, while somebody who ended is still being taken down."""
    for attempt in range(TRIES):
        try:
            path.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY or attempt == TRIES - 1:
                raise
            time.sleep(PAUSE)


def remove_group(path: Path, home: Path | None = None) -> None:
    """Move whoever is left in a cgroup to another (default: that above) and remove it."""
    try:
        pids = (path / "cgroup.procs").read_text().split()
    except OSError:  # gone
        pids = []
    for pid in pids:
        try:
            ((home or path.parent) / "cgroup.procs").write_text(pid)
        except OSError:  # it has ended; if not, rmdir tells
            continue
    _remove_directory(path)


def remove_instance(path: Path) -> None:
    """Switch a tracing instance off and remove it."""
    with contextlib.suppress(OSError):  # gone, or not set up
        (path / "tracing_on").write_text("0")
    _remove_directory(path)


def remove_mount(path: Path) -> None:
    """Unmount a tracefs of ours and remove the folder it was mounted on."""
    while _mounted(path):
        try:
            live.unmount(os.fsencode(path))
        except live.RefusedCall:
            if _mounted(path):  # or else somebody was quicker
                raise
    _remove_directory(path)


def _mounted(path: Path) -> bool:
    return any(where == path for _, where, _ in _mounts("tracefs"))


def remove_monitoring(path: Path, admin: Path | None = None) -> None:
    """Switch off the DAMON that a file tells of, undo its set-up, and remove the file."""
    if (kdamond := watched_by(path, admin)) is not None:
        if (kdamond / "state").read_text().strip() == "on":
            (kdamond / "state").write_text("off")
        (kdamond.parent / "nr_kdamonds").write_text("0")
    _unlink(path)


def remove_folder(path: Path) -> None:
    """Remove a temporary folder."""
    shutil.rmtree(path, ignore_errors=True)
    if path.is_symlink() or path.exists():
        raise OSError(errno.ENOTEMPTY, "not all of it could be removed", str(path))


@dataclass(frozen=True)
class Kind:
    """A kind of thing: what it is called, how it is found and removed."""

    name: str
    find: Callable[[list[Path]], Iterator[Path]]
    remove: Callable[[Path], None]


KINDS = (
    Kind("swap file", _swap_files, remove_swap),
    Kind("cgroup", _groups, remove_group),
    Kind("tracing instance", _instances, remove_instance),
    Kind("tracefs mount", _tracefs, remove_mount),
    Kind("DAMON monitoring", _monitorings, remove_monitoring),
    Kind("temporary folder", _folders, remove_folder),
)


# ---- all of them ------------------------------------------------------------------------


def _leftover(kind: Kind, path: Path) -> Leftover:
    found = told(path.name.removesuffix(" (deleted)"))
    assert found is not None
    return Leftover(kind.name, path, found.pid, found.owner, _age(path, found.start))


def _age(path: Path, start: int) -> float | None:
    try:
        age = max(time.time() - path.stat().st_mtime, 0.0)
    except OSError:
        return None
    # The root of a file system has that one's time; nothing is older than its owner.
    since = time.clock_gettime(time.CLOCK_BOOTTIME) - start / os.sysconf("SC_CLK_TCK")
    return min(age, since) if since >= 0 else age


def find(directories: Iterable[str | os.PathLike[str]] = ()) -> list[Leftover]:
    """All that live runs have on this machine now, in the order in which it can be removed.

    directories: where to look for swap files beside the temporary folders. A swap file that is on
    is found wherever it is, and so is one whose link in the temporary folder is there.
    """
    places = _places(map(Path, directories))
    return [_leftover(kind, path) for kind in KINDS for path in dict.fromkeys(kind.find(places))]


def clean(
    directories: Iterable[str | os.PathLike[str]] = (),
) -> tuple[list[Leftover], list[tuple[Leftover, str]]]:
    """Remove what dead owners left: (what was removed, what was not and why).

    What belongs to a process that lives, or to another pid namespace, is never touched.
    """
    removed, failed = [], []
    remove = {kind.name: kind.remove for kind in KINDS}
    for leftover in find(directories):
        if leftover.owner != "dead":
            continue
        try:
            remove[leftover.kind](leftover.path)
            removed.append(leftover)
        except live.RefusedCall as refused:
            failed.append((leftover, _why(leftover, refused.errno)))
        except OSError as error:
            failed.append((leftover, _why(leftover, error.errno or errno.EIO)))
    return removed, failed


def _why(leftover: Leftover, code: int) -> str:
    if leftover.path.name.endswith(" (deleted)"):
        return "its file was deleted while it was on; it stays on until the machine restarts"
    return {
        errno.EPERM: "it takes root",
        errno.EACCES: "it takes root",
        errno.ENOMEM: "memory has no room for what is in it",
        errno.EBUSY: "somebody uses it",
    }.get(code, os.strerror(code))
