"""`pgste.live.Memory` on this kernel: madvise(2) and the pagemap do what their manuals say."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pgste import Guest
from pgste._engine.live import Mapping
from pgste.errors import (
    ArgumentError,
    ArgumentTypeError,
    GfnError,
    GuestClosedError,
    PgsteError,
    StateError,
    UnknownNameError,
)
from pgste.live import Advice, Counts, Memory, Refused, State, why_refused
from pgste.live.check import BATCH, one_cpu
from pgste.live.pressure import SwapFile

PAGES = 256
WORDS = mmap.PAGESIZE // 4


@pytest.fixture(autouse=True)
def _one_cpu() -> Iterator[None]:
    """Pages that wait in another CPU's queue would be out of reach of MADV_PAGEOUT."""
    with one_cpu():
        yield


# ---- content and residency ----


def test_new_memory_holds_nothing_and_a_store_brings_one_page() -> None:
    with Memory(PAGES) as memory:
        assert memory.count() == Counts(present=0, zero=0, swapped=0, none=PAGES, huge=0)
        memory.write(7, 0xDEADBEEF)
        assert memory.count() == Counts(present=1, zero=0, swapped=0, none=PAGES - 1, huge=0)
        assert memory.words(7, 3).tolist() == [[0xDEADBEEF, 0, 0]]
        assert memory.mincore().nonzero()[0].tolist() == [7]


def test_a_load_of_nothing_reads_zero_from_the_shared_page() -> None:
    with Memory(PAGES) as memory:
        assert memory.read(range(4)).tolist() == [0] * 4
        states = memory.states(range(5))
        assert (states[:4] & State.PRESENT).all()
        assert states[4] == 0
        if memory.count().zero:  # PAGEMAP_SCAN tells
            assert memory.count() == Counts(0, 4, 0, PAGES - 4, 0)


def test_content_is_bytes_of_the_mapping() -> None:
    with Memory(2) as memory:
        memory.write([0, 1], [0x04030201, 0x08070605], offset=12)
        raw = ctypes.string_at(memory.address, 2 * memory.page_bytes)
        where = raw.index((0x04030201).to_bytes(4, sys.byteorder))
        assert where == 12
        assert raw[memory.page_bytes + 12 :][:4] == (0x08070605).to_bytes(4, sys.byteorder)
        assert memory.words(1, WORDS)[0].nonzero()[0].tolist() == [3]


def test_dontneed_gives_the_page_back_at_once_and_reads_zero() -> None:
    with Memory(PAGES, "madv_dontneed") as memory:
        memory.write(slice(None), 5)
        memory.free(range(10, 20))
        assert memory.count().none == 10
        assert memory.read(range(9, 21)).tolist() == [5] + [0] * 10 + [5]


def test_none_tells_the_kernel_nothing() -> None:
    with Memory(PAGES, "none") as memory:
        memory.write(slice(None), 5)
        memory.free(slice(None))
        assert memory.count().present == PAGES
        assert (memory.read(slice(None)) == 5).all()
        assert memory.stats().hints == 0


def test_free_is_lazy_old_data_until_discard_then_zero() -> None:
    with Memory(PAGES) as memory:
        memory.write(slice(None), 9)
        memory.free(range(64))
        assert (memory.read(range(64)) == 9).all(), "a lazyfree page is still readable"
        assert memory.mincore().all(), "and resident for mincore (C5)"
        memory.page_out(range(64))
        memory.page_out(range(64))  # those that were queued at the first
        assert memory.count().none == 64
        assert (memory.read(range(64)) == 0).all()


def test_store_after_free_keeps_the_whole_page() -> None:
    """A store re-arms the page: its old bytes stay too (C4), and no discard loses it (C3)."""
    with Memory(PAGES) as memory:
        memory.write(slice(None), np.arange(1, PAGES + 1))
        memory.free(slice(None))
        kept = range(0, PAGES, 3)
        memory.write(kept, 77, offset=64)
        gone = [gfn for gfn in range(PAGES) if gfn not in kept]
        memory.page_out(slice(None))
        memory.page_out(gone)
        words = memory.words(slice(None), 17)
        assert words[::3, 0].tolist() == [gfn + 1 for gfn in kept]
        assert (words[::3, 16] == 77).all()
        assert not words[gone].any()


def test_free_of_a_swapped_page_drops_it_at_once(swap_file: SwapFile) -> None:
    with Memory(PAGES) as memory:
        memory.write(slice(None), 3)
        assert memory.page_out() == PAGES
        assert memory.count() == Counts(0, 0, PAGES, 0, 0)
        memory.free(range(PAGES // 2))
        assert memory.count() == Counts(0, 0, PAGES // 2, PAGES // 2, 0)
        assert memory.read(slice(None)).tolist() == [0] * (PAGES // 2) + [3] * (PAGES // 2)


def test_swapped_content_comes_back(swap_file: SwapFile) -> None:
    tags = np.random.default_rng(1).integers(1, 1 << 32, size=PAGES, dtype=np.uint32)
    with Memory(PAGES) as memory:
        memory.write(slice(None), tags)
        memory.write(slice(None), tags[::-1], offset=mmap.PAGESIZE - 4)
        memory.page_out()
        assert memory.count().swapped == PAGES
        memory.page_in(range(10))
        assert memory.count().swapped == PAGES - 10
        assert (memory.read(slice(None)) == tags).all()
        assert (memory.read(slice(None), mmap.PAGESIZE - 4) == tags[::-1]).all()


@pytest.mark.usefixtures("no_swap")
def test_without_swap_page_out_leaves_ordinary_pages() -> None:
    with Memory(PAGES) as memory:
        memory.write(slice(None), 1)
        assert memory.page_out() == 0
        assert memory.count().present == PAGES


@pytest.mark.usefixtures("flags")
def test_lazyfree_pages_by_kernel_flags_and_by_smaps() -> None:
    with Memory(PAGES) as memory:
        memory.write(slice(None), 1)
        memory.free(range(100))
        lazy = np.count_nonzero(memory.states(flags=True) & State.LAZYFREE)
        assert 100 - BATCH <= lazy <= 100
        assert memory.smaps()["LazyFree"] == lazy * memory.page_bytes
        assert memory.smaps()["Rss"] == PAGES * memory.page_bytes


def test_smaps_of_neighbours_are_told_apart() -> None:
    with Memory(512) as first, Memory(512) as second:
        first.write(slice(None), 1)
        second.write(range(3), 1)
        assert first.smaps()["Rss"] == 512 * first.page_bytes
        assert second.smaps()["Rss"] == 3 * second.page_bytes


def test_huge_pages_show() -> None:
    with Memory(1024, huge=True) as memory:
        memory.write(0, 1)
        if memory.count().huge != 512:
            pytest.skip("the kernel gives no transparent huge pages here")
        assert memory.count().present == 512
        assert (memory.states(range(512)) & State.HUGE).all()
        memory.advise(Advice.DONTNEED, range(8))
        assert memory.count().present == 504


# ---- calls ----


def test_contiguous_blocks_are_one_call() -> None:
    with Memory(PAGES, "madv_dontneed", vector=False) as memory:
        memory.free([0, 4, 8], order=2)
        assert (memory.stats().hints, memory.stats().hint_pages) == (1, 12)
        memory.free([20, 24, 32], order=2)
        assert (memory.stats().hints, memory.stats().hint_pages) == (3, 24)


def test_vectored_calls_do_what_single_ones_do() -> None:
    rng = np.random.default_rng(5)
    with Memory(PAGES, vector=True) as one, Memory(PAGES, vector=False) as many:
        for _ in range(20):
            gfns = np.flatnonzero(rng.random(PAGES) < 0.4)
            for memory in (one, many):
                memory.write(slice(None), 1)
                memory.advise(Advice.DONTNEED, gfns)
            assert (one.read(slice(None)) == many.read(slice(None))).all()
            assert one.read(gfns).sum() == 0
            assert one.read(slice(None)).sum() == PAGES - gfns.size
        scattered = range(0, PAGES, 2)
        calls = one.advise(Advice.DONTNEED, scattered)
        assert many.advise(Advice.DONTNEED, scattered) == PAGES // 2
        assert calls in (1, PAGES // 2 + 1), "one call, or all of them after a refusal"


def test_more_runs_than_one_vector_holds() -> None:
    with Memory(4096) as memory:
        memory.write(slice(None), 1)
        memory.advise(Advice.DONTNEED, range(0, 4096, 2))
        assert memory.read(slice(None)).tolist() == [0, 1] * 2048


def test_scan_and_page_by_page_agree(swap_file: SwapFile) -> None:
    rng = np.random.default_rng(6)
    with Memory(2048, scan=True) as scan, Memory(2048, scan=False) as pages:
        for memory in (scan, pages):
            memory.write(np.arange(0, 2048, 3), 1)
            memory.page_out(np.arange(0, 1024, 3))
        assert scan.count() == pages.count()
        assert scan.count().swapped == 342
        gfns = rng.integers(2048, size=500)
        bits = State.PRESENT | State.SWAPPED
        assert ((scan.states(gfns) & bits) == (pages.states(gfns) & bits)).all()


def test_states_take_gfns_in_any_order_and_type() -> None:
    with Memory(PAGES) as memory:
        memory.write([3, 5], 1)
        expected = [bool(gfn in (3, 5)) for gfn in (5, 4, 3, 3)]
        for dtype in (np.uint8, np.int16, np.uint32, np.int64, np.uint64):
            states = memory.states(np.array([5, 4, 3, 3], dtype=dtype))
            assert [bool(state & State.PRESENT) for state in states] == expected
        assert memory.states(3).tolist() == memory.states([3]).tolist()
        assert memory.states([]).tolist() == []


# ---- the guest's view ----


def test_frees_and_allocs_are_counted_as_a_guest_counts_them() -> None:
    with Memory(64, "madv_free") as memory:
        guest = Guest(64, mechanism="madv_free")
        for side in (memory, guest):
            side.free([0, 8], order=3)
            side.free([3, 3, 20])
            side.alloc(range(2, 6))
            side.alloc_page(2)
            side.free_page(63)
        ours, theirs = vars(memory.stats()), guest.stats()
        for name in ("pages_freed", "pages_allocated", "double_frees", "double_allocs"):
            assert ours[name] == theirs[name], name
        assert (memory.is_free() == guest.is_free()).all()
        assert memory.is_free([0, 2, 20]).tolist() == [True, False, True]


def test_strict_refuses_and_changes_nothing() -> None:
    with Memory(16, "madv_dontneed", strict=True) as memory:
        memory.write(slice(None), 1)
        memory.free(3)
        with pytest.raises(StateError):
            memory.free([2, 3])
        with pytest.raises(StateError):
            memory.free([5, 5])
        with pytest.raises(StateError):
            memory.alloc(2)
        assert memory.is_free().nonzero()[0].tolist() == [3]
        assert memory.read(slice(None)).sum() == 15


# ---- what the kernel refuses (spec C8) ----


def refusal(memory: Memory, advice: Advice, gfns: Any = slice(None)) -> Refused:
    with pytest.raises(Refused) as caught:
        memory.advise(advice, gfns)
    return caught.value


@pytest.mark.parametrize("advice", [Advice.FREE, Advice.DONTNEED, Advice.COLD, Advice.PAGEOUT])
def test_locked_memory_refuses(advice: Advice) -> None:
    with Memory(8, locked=True) as memory:
        memory.write(slice(None), 4)
        refused = refusal(memory, advice, range(2, 5))
        assert refused.errno == errno.EINVAL
        assert (refused.gfn, refused.pages) == (2, 3)
        assert f"madvise(MADV_{advice.name}) of gfns 2 .. 4" in str(refused)
        assert "locked" in refused.why
        assert (memory.read(slice(None)) == 4).all()


def test_locked_memory_may_be_dropped_with_the_advice_for_it() -> None:
    with Memory(8, locked=True) as memory:
        memory.write(slice(None), 4)
        memory.advise(Advice.DONTNEED_LOCKED, range(4))
        assert memory.read(slice(None)).tolist() == [0] * 4 + [4] * 4


def test_lazy_free_is_for_anonymous_memory_only() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"\x2a\0\0\0" * (8 * WORDS))
        file.flush()
        with Memory(8, backing="file", file=file) as memory:
            assert (memory.read(slice(None)) == 42).all()
            refused = refusal(memory, Advice.FREE)
            assert refused.errno == errno.EINVAL
            assert "file memory" in refused.why
            memory.write(3, 1)
            memory.advise(Advice.DONTNEED)
            assert (memory.read(slice(None)) == 42).all(), "the private copy is gone (C6)"
    with Memory(8, backing="shared") as memory:
        assert "shared memory" in refusal(memory, Advice.FREE).why
        memory.write(slice(None), 6)
        memory.advise(Advice.DONTNEED)
        assert (memory.read(slice(None)) == 6).all(), "shared memory keeps its content"


def test_a_hole_is_refused_after_the_mapped_parts_are_done() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    with Memory(16, "madv_dontneed") as memory:
        memory.write(slice(None), 1)
        page = memory.page_bytes
        hole = ctypes.c_void_p(memory.address + 4 * page)
        assert libc.munmap(hole, ctypes.c_size_t(page)) == 0
        refused = refusal(memory, Advice.DONTNEED, range(16))
        assert refused.errno == errno.ENOMEM
        assert "not mapped" in refused.why
        assert memory.read([0, 3, 5, 15]).tolist() == [0, 0, 0, 0]


@contextmanager
def pool_of_huge_pages(number: int) -> Iterator[None]:
    path = Path("/proc/sys/vm/nr_hugepages")
    before = path.read_text()
    try:
        path.write_text(str(number))
    except OSError as error:
        pytest.skip(f"no pool of huge pages here: {error}")
    try:
        if int(path.read_text()) < number:
            pytest.skip("the kernel has no huge pages to spare")
        yield
    finally:
        path.write_text(before)


def test_pool_pages_refuse_all_but_dontneed() -> None:
    with pool_of_huge_pages(2), Memory(513, backing="hugetlb") as memory:
        assert len(memory) == 1024, "rounded up to whole huge pages"
        memory.write([0, 512], 1)
        for advice in (Advice.FREE, Advice.COLD, Advice.PAGEOUT):
            refused = refusal(memory, advice)
            assert refused.errno == errno.EINVAL
            assert "huge pages of the pool" in refused.why
        refused = refusal(memory, Advice.DONTNEED, range(1, 512))
        assert refused.errno == errno.EINVAL
        assert "must begin at a huge page" in refused.why
        memory.advise(Advice.DONTNEED, range(512, 1000))  # its end is rounded down: nothing
        assert memory.read([0, 512]).tolist() == [1, 1]
        memory.advise(Advice.DONTNEED, range(512, 1024))
        assert memory.read([0, 512]).tolist() == [1, 0]


def test_pool_without_pages_is_refused() -> None:
    free = Path("/proc/meminfo").read_text().split("HugePages_Free:")[1].split()[0]
    with pytest.raises(Refused) as caught:
        Memory((int(free) + 1) * 512, backing="hugetlb")
    assert caught.value.errno == errno.ENOMEM
    assert f"the pool has {free} free huge pages" in caught.value.why


def test_more_than_the_address_space() -> None:
    with pytest.raises(Refused) as caught:
        Memory(1 << 40)
    assert caught.value.errno == errno.ENOMEM
    assert caught.value.call == "mmap"


def in_child(body: Callable[[], str], uid: int | None = None, memlock: int | None = None) -> str:
    """What body returns in a forked child, perhaps without rights."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if memlock is not None:
                import resource

                resource.setrlimit(resource.RLIMIT_MEMLOCK, (memlock, memlock))
            if uid is not None:
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
                # Without this /proc/self would stay root's, as if for a set-user-id program.
                ctypes.CDLL(None).prctl(4, 1)  # PR_SET_DUMPABLE
            answer = body()
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(write, answer.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        answer = file.read()
    os.waitpid(pid, 0)
    return answer


@pytest.mark.skipif(os.geteuid() != 0, reason="giving up root needs root")
def test_locking_without_rights_says_so() -> None:
    def body() -> str:
        Memory(64, locked=True)
        return "locked"

    assert "EPERM" in in_child(body, uid=65534, memlock=0)
    answer = in_child(body, uid=65534, memlock=4096)
    assert "ENOMEM" in answer
    assert "RLIMIT_MEMLOCK" in answer


@pytest.mark.skipif(os.geteuid() != 0, reason="giving up root needs root")
def test_all_but_the_mapping_is_locked() -> None:
    """Of it pages can still be dropped; what is mapped later is locked as it is touched."""

    def body() -> str:
        mapping = Mapping(512)
        mapping.lock_others()
        before = locked_kib()
        mapping.load(slice(None))
        mapping.advise(slice(None), Advice.DONTNEED)
        own = locked_kib() - before
        later = mmap.mmap(-1, 1 << 21)
        later.write(b"x" * (1 << 21))
        return f"{before > 1000}, {own < 1024}, {locked_kib() - before >= 1 << 11}"

    assert in_child(body) == "True, True, True"
    assert "RefusedCall" in in_child(body, uid=65534, memlock=0)


def locked_kib() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmLck:")[1].split()[0])


@pytest.mark.skipif(os.geteuid() != 0, reason="giving up root needs root")
def test_flags_without_rights_say_so() -> None:
    def body() -> str:
        with Memory(4) as memory:
            memory.write(0, 1)
            memory.states(flags=True)
        return "read"

    answer = in_child(body, uid=65534)
    assert answer.startswith("Refused")
    assert "root" in answer


def test_memory_is_not_for_a_child() -> None:
    with Memory(4) as memory:
        memory.write(0, 1)
        answer = in_child(lambda: str(memory.read(0)))
        assert answer.startswith("PgsteError")
        assert memory.read(0).tolist() == [1]


def test_every_errno_has_a_reason() -> None:
    """The errnos that madvise(2) lists but that cannot be brought about at will."""
    for code in (errno.EAGAIN, errno.EBADF, errno.EPERM, errno.EIO, errno.EFAULT, errno.EBUSY):
        why = why_refused("madvise(MADV_FREE)", code, "anonymous", False)
        assert why != os.strerror(code)
        assert len(why) > 15


# ---- arguments ----


@pytest.mark.parametrize(
    ("arguments", "error", "named"),
    [
        ((0,), ArgumentError, "pages"),
        ((-1,), ArgumentError, "pages"),
        (((1 << 40) + 1,), ArgumentError, "pages"),
        ((1.5,), ArgumentTypeError, "pages"),
        ((True,), ArgumentTypeError, "pages"),
        ((4, "cmma"), UnknownNameError, "mechanism"),
    ],
)
def test_bad_memory(arguments: tuple[Any, ...], error: type[PgsteError], named: str) -> None:
    with pytest.raises(error, match=named):
        Memory(*arguments)


def test_bad_backing() -> None:
    with pytest.raises(UnknownNameError, match="backing"):
        Memory(4, backing="tape")
    with pytest.raises(ArgumentError, match="file"):
        Memory(4, backing="file")


@pytest.mark.parametrize(
    ("gfns", "error"),
    [
        (16, GfnError),
        (-1, GfnError),
        ([0, 16], GfnError),
        (np.array([-1]), GfnError),
        (range(10, 17), GfnError),
        (1.0, ArgumentTypeError),
        ([0.5], ArgumentTypeError),
        ("3", ArgumentTypeError),
        (np.zeros((2, 2), dtype=np.int64), ArgumentError),
    ],
)
def test_bad_gfns_change_nothing(gfns: Any, error: type[PgsteError]) -> None:
    with Memory(16, "madv_dontneed") as memory:
        memory.write(slice(None), 1)
        calls: list[Callable[[], Any]] = [
            lambda: memory.free(gfns),
            lambda: memory.alloc(gfns),
            lambda: memory.write(gfns, 2),
            lambda: memory.read(gfns),
            lambda: memory.states(gfns),
            lambda: memory.mincore(gfns),
            lambda: memory.advise(Advice.DONTNEED, gfns),
        ]
        for call in calls:
            with pytest.raises(error):
                call()
        assert (memory.read(slice(None)) == 1).all()
        assert not memory.is_free().any()
        assert memory.stats().hints == 0


def test_bad_order_tags_offset() -> None:
    with Memory(16) as memory:
        for order in (-1, 40):
            with pytest.raises(ArgumentError, match="order"):
                memory.free(0, order=order)
        with pytest.raises(GfnError):
            memory.free(9, order=3)
        for tags in (-1, 1 << 32, [1, 2, 3]):
            with pytest.raises(ArgumentError, match="tags"):
                memory.write([0, 1], tags)
        with pytest.raises(ArgumentTypeError, match="tags"):
            memory.write(0, 1.5)
        for offset in (2, -4, memory.page_bytes):
            with pytest.raises(ArgumentError, match="offset"):
                memory.write(0, 1, offset=offset)
            with pytest.raises(ArgumentError, match="offset"):
                memory.read(0, offset=offset)
        assert memory.count().none == 16


def test_closed_memory() -> None:
    memory = Memory(4)
    memory.close()
    memory.close()
    with pytest.raises(GuestClosedError):
        memory.read(0)
    with pytest.raises(GuestClosedError):
        memory.count()
    with pytest.raises(GuestClosedError):
        memory.free(0)


def test_it_goes_away_with_its_owner() -> None:
    """A program that maps, fills and forgets a thousand memories ends with little of them."""
    program = (
        "from pgste.live import Memory\n"
        "for _ in range(1000): Memory(256).write(slice(None), 1)\n"
        # not ru_maxrss, which a program inherits from who started it
        "status = open('/proc/self/status').read()\n"
        "print(status.split('VmHWM:')[1].split()[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 200_000  # KiB; all of them would be 1,000,000
