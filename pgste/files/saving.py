# SPDX-License-Identifier: MIT
"""The one way in which this package writes a file: whole or not at all.

The content goes to a temporary file in the folder of the target, which then takes the target's
name.  As long as a save runs it holds a lock (flock(2)) on its temporary file; the kernel drops
the lock when the process ends, however it ends.  A temporary file that no one has locked is thus
litter of a save that was killed, and the next save into that folder removes it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable
from typing import IO

__all__ = ["save"]

# Random names: no two saves share one, and none depends on the length of the target's.
_PREFIX, _SUFFIX = ".pgste-save-", ".tmp"
_TEMPORARY = re.compile(r"\.pgste-save-[0-9a-f]{24}\.tmp")
_MOST_LINKS = 40  # as the kernel (MAXSYMLINKS)


def save(path: str | os.PathLike[str], write: Callable[[IO[bytes]], object]) -> None:
    """Write a file, whole or not at all.

    Symbolic links are followed, and what they point to is replaced.  A new file has the mode that
    the umask gives; one that was there keeps its mode and, where that is allowed, its owner.
    Pipes, terminals and other character devices, and descriptors (``/dev/stdout``,
    ``/dev/fd/3``), get the bytes written to them.

    Parameters
    ----------
    path : str or path
        The target.
    write : callable
        Writes the content to the binary file that it is given, which can seek.

    Raises
    ------
    OSError
        With the errno of what failed and the path.  What was there is as it was, and nothing is
        left beside it.  Folders, block devices and sockets are refused, and a file that may not
        be written to.
    """
    name = os.fspath(path)
    try:
        target = _follow(os.path.abspath(name))
        if isinstance(target, int):
            with os.fdopen(os.dup(target), "wb") as file:
                _write_through(file, write)
            return
        old = _status(target)
        if old is None or stat.S_ISREG(old.st_mode):
            _replace(target, old, write)
        elif stat.S_ISFIFO(old.st_mode) or stat.S_ISCHR(old.st_mode):
            with open(target, "wb") as file:
                _write_through(file, write)
        elif stat.S_ISDIR(old.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        else:
            raise OSError(errno.EINVAL, "a block device or socket is not written to")
    except OSError as error:
        if error.errno is None or error.filename == name:
            raise
        raise OSError(error.errno, error.strerror, name) from error


def _follow(path: str) -> str | int:
    """Where the symbolic links of a path lead; a number for a descriptor of this process."""
    for _ in range(_MOST_LINKS):
        folder, base = os.path.split(path)
        folder = os.path.realpath(folder)
        path = os.path.join(folder, base)
        if folder == f"/proc/{os.getpid()}/fd" and base.isdecimal():
            return int(base[:9])
        if not os.path.islink(path):
            return path
        path = os.path.join(folder, os.readlink(path))
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _write_through(file: IO[bytes], write: Callable[[IO[bytes]], object]) -> None:
    """To what cannot seek: the content is made elsewhere, then copied."""
    with tempfile.TemporaryFile() as made:
        write(made)
        made.seek(0)
        shutil.copyfileobj(made, file)
    file.flush()


def _replace(target: str, old: os.stat_result | None, write: Callable[[IO[bytes]], object]) -> None:
    if old is not None and not os.access(target, os.W_OK, effective_ids=True):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    folder = os.path.dirname(target)
    _remove_litter(folder)
    descriptor, temporary = _create(folder, 0o666 if old is None else 0o600)
    try:
        # The descriptor stays open, and so locked, until the file has its name.
        with os.fdopen(os.dup(descriptor), "wb") as file:
            write(file)
            file.flush()
        if old is not None:
            if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                with contextlib.suppress(OSError):
                    os.fchown(descriptor, old.st_uid, old.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(old.st_mode))
        os.fsync(descriptor)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    finally:
        os.close(descriptor)
    _sync_folder(folder)


def _create(folder: str, mode: int) -> tuple[int, str]:
    """A new temporary file, locked, and its name."""
    while True:
        path = os.path.join(folder, f"{_PREFIX}{os.urandom(12).hex()}{_SUFFIX}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, mode)
        try:
            if _lock(descriptor) is not False and os.fstat(descriptor).st_nlink:
                return descriptor, path
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(path)
            os.close(descriptor)
            raise
        # Another save came between, and takes it for litter: it is left to that one.
        os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Whether the file is now locked; None where the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _remove_litter(folder: str) -> None:
    """Remove temporary files of saves that ended without removing them; never an error."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        names = [entry.path for entry in entries if _TEMPORARY.fullmatch(entry.name)]
        for name in names:
            with contextlib.suppress(OSError):
                _remove_if_unused(name)


def _remove_if_unused(path: str) -> None:
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode) and _lock(descriptor):
            os.unlink(path)
    finally:
        os.close(descriptor)


def _sync_folder(folder: str) -> None:
    """Make the new name last; some file systems do not sync folders, and say EINVAL."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return  # a folder that may be written to and not read
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EROFS):
            raise
    finally:
        os.close(descriptor)
