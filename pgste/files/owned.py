# SPDX-License-Identifier: MIT
"""Names of what is set up on a machine for a while, which tell whose it is.

``pgste-[KIND-]PID-START-SPACE-NUMBER``: a process id, the start time of that process (field 22 of
/proc/PID/stat, clock ticks since boot), the number of its pid namespace with that of its machine,
and a number of its own.  A process id alone may be another process's by now; with the start time
it is not.  What has an owner that is gone (SIGKILL leaves no time to clean up) is litter; of an
owner in another pid namespace (a container), or on another machine that shares a folder with this
one, nobody here can tell.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import stat
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "NAME",
    "Owned",
    "clean_folders",
    "new_folder",
    "new_name",
    "own_folders",
    "space",
    "start_of",
    "told",
]

NAME = re.compile(r"pgste-(?:([a-z]+)-)?(\d+)-(\d+)-(\d+)-(\d+)")
_numbers = itertools.count(1)


def start_of(pid: int) -> int | None:
    """Start time of a process; None if it is gone, or a zombie with no thread left."""
    try:
        # The name in parentheses may hold anything, parentheses and blanks included.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        if fields[0] in "ZX" and len(os.listdir(f"/proc/{pid}/task")) <= 1:
            return None
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(fields[19])


def space() -> int:
    """Number of our pid namespace, with one that tells machines of different names apart.

    The first namespace has the same number everywhere.
    """
    machine = zlib.crc32(os.uname().nodename.encode(errors="surrogateescape"))
    return os.stat("/proc/self/ns/pid").st_ino ^ machine


def new_name(kind: str = "") -> str:
    """A name for something of this process, which no other thing has."""
    pid = os.getpid()
    return f"pgste-{kind and kind + '-'}{pid}-{start_of(pid)}-{space()}-{next(_numbers)}"


@dataclass(frozen=True)
class Owned:
    """What a name tells."""

    kind: str
    pid: int
    start: int
    owner: str
    """``"alive"``, ``"dead"``, or ``"elsewhere"``: in another pid namespace or machine."""


def told(name: str) -> Owned | None:
    """What a name tells; None if it is none of ours."""
    found = NAME.fullmatch(name)
    if found is None:
        return None
    pid, start, where = int(found[2]), int(found[3]), int(found[4])
    owner = "elsewhere"
    if where == space():
        owner = "alive" if start_of(pid) == start else "dead"
    return Owned(found[1] or "", pid, start, owner)


def new_folder(kind: str) -> Path:
    """A new folder for temporary files, which only this user may enter."""
    while True:
        folder = Path(tempfile.gettempdir()).resolve() / new_name(kind)
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:  # somebody took the name on purpose
            continue
        return folder


def own_folders(kind: str, place: Path) -> Iterator[tuple[Path, Owned]]:
    """Folders of a kind that this user's processes, dead or alive, have at a place."""
    try:
        with os.scandir(place) as entries:
            names = [entry.name for entry in entries if entry.name.startswith(f"pgste-{kind}-")]
    except OSError:  # not there, or not for us
        return
    for name in names:
        found = told(name)
        if found and found.kind == kind and _is_own_folder(place / name):
            yield place / name, found


def clean_folders(kind: str) -> None:
    """Remove temporary folders of a kind that this user's processes left when they were killed.

    What cannot be removed stays.
    """
    for folder, found in own_folders(kind, Path(tempfile.gettempdir())):
        if found.owner == "dead":
            shutil.rmtree(folder, ignore_errors=True)


def _is_own_folder(path: Path) -> bool:
    """Whether it is a folder, no link to one, and this user's."""
    try:
        status = path.lstat()
    except OSError:  # gone
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
