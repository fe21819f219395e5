# SPDX-License-Identifier: MIT
"""A system call that the kernel refused: which, for which pages, and why as far as can be told."""

from __future__ import annotations

import errno
import os
import re

from pgste.errors import PgsteError

__all__ = ["EHWPOISON", "Refused", "why_refused"]

EHWPOISON = 133
"""The errno of a page with a memory error; the module errno lacks it."""


class Refused(PgsteError, OSError):
    """The kernel refused a system call: which, for which pages, and why."""

    def __init__(self, code: int, call: str, why: str, gfn: int = 0, pages: int = 0) -> None:
        where = f" of gfns {gfn} .. {gfn + pages - 1}" if pages else ""
        name = errno.errorcode.get(code, str(code))
        super().__init__(code, f"{call}{where} refused ({name}): {why}")
        self.message = str(self.args[1])
        self.call = call
        self.why = why
        self.gfn = gfn
        self.pages = pages

    def __str__(self) -> str:
        return self.message


def why_refused(call: str, code: int, backing: str, locked: bool) -> str:
    """The reason of an errno of madvise(2), mmap(2) or mlock2(2), as far as it can be told."""
    if call == "mmap":
        if code == errno.ENOMEM and backing == "hugetlb":
            free = _hugetlb_free()
            return f"the pool has {free} free huge pages (see /proc/sys/vm/nr_hugepages)"
        return {
            errno.ENOMEM: "the address space, or the limit on it, has no room for the mapping",
            errno.EACCES: "the file is not open for reading",
            errno.ENODEV: "the file cannot be mapped",
            errno.EBADF: "a file mapping needs an open file",
        }.get(code, os.strerror(code))
    if call == "mlock2":
        return {
            errno.ENOMEM: "more than RLIMIT_MEMLOCK allows to lock",
            errno.EPERM: "locking needs CAP_IPC_LOCK or an RLIMIT_MEMLOCK above 0",
        }.get(code, os.strerror(code))
    if call == "/proc/kpageflags":
        return f"{os.strerror(code)}; it takes root (CAP_SYS_ADMIN)"
    if call == "/proc/self/pagemap":
        return f"{os.strerror(code)}; residency cannot be told without this file"
    return _why_madvise(call, code, backing, locked)


def _why_madvise(call: str, code: int, backing: str, locked: bool) -> str:
    takes_no_locked = ("MADV_FREE", "MADV_DONTNEED)", "MADV_COLD", "MADV_PAGEOUT")
    if code == errno.EINVAL:
        if locked and any(name in call for name in takes_no_locked):
            return "the mapping is locked in memory; only MADV_DONTNEED_LOCKED drops such pages"
        if backing == "hugetlb" and "MADV_DONTNEED" in call:
            return "a range of huge pages must begin at a huge page"
        if backing == "hugetlb":
            return "the mapping consists of huge pages of the pool, which this advice leaves out"
        if "MADV_FREE" in call and backing != "anonymous":
            return f"MADV_FREE is for private anonymous memory only, and this is {backing} memory"
        return "this kernel does not know the advice, or not for this mapping"
    return {
        errno.ENOMEM: "a part of the range is not mapped; the mapped parts have been processed, "
        "or memory ran out while pages were populated",
        errno.EAGAIN: "the kernel is short of a resource for the moment",
        errno.EBADF: "the mapping has no file, and the kernel no swap, to read ahead from",
        errno.EPERM: "the process lacks a capability for this advice",
        errno.EIO: "a page could not be read from or written to its device",
        errno.EFAULT: "a page could not be populated",
        EHWPOISON: "a page of the range has a hardware memory error",
        errno.EBUSY: "a huge page could not be assembled: pages are in use",
    }.get(code, os.strerror(code))


def _hugetlb_free() -> int:
    with open("/proc/meminfo") as file:
        found = re.search(r"^HugePages_Free:\s+(\d+)", file.read(), re.MULTILINE)
    return int(found[1]) if found else 0
