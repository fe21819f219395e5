"""Version 2 of cgroups: on a tree like cgroupfs, where a machine has the controller in version 1.

The tree is plain files, so what the kernel would do is done by hand where a test needs it: a group
has the files of its controllers as soon as it is made, and its numbers change.  What is tested is
which files are read and written, in which order, and what is made of them.  Facts:
Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from pgste.files.owned import NAME
from pgste.live import Refused
from pgste.live.counters import COUNTERS, GROUP, MACHINE, Counters
from pgste.live.leftovers import clean, remove_group
from pgste.live.pressure import Hierarchy, MemoryLimit, find_hierarchy
from pgste.live.replay import scale
from pgste.live.worker import _check_swap
from pgste.traces import Trace

MIB = 1 << 20
# memory.stat of Linux 6.1 and 6.18 in version 2, shortened; 6.18 counts swap by group.
STAT = {"anon": 4096, "file": 8192, "pgfault": 70, "pgmajfault": 7, "pglazyfreed": 5}
STAT_OF_6_18 = {**STAT, "pswpin": 11, "pswpout": 13, "workingset_refault_anon": 3}
EVENTS = "low 0\nhigh 0\nmax 31\noom 1\noom_kill {}\noom_group_kill 0\n"


def lines(numbers: dict[str, int]) -> str:
    return "".join(f"{name} {value}\n" for name, value in numbers.items())


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The mount of a hierarchy of version 2 with a group "here" of our own."""
    make, remove = Path.mkdir, Path.rmdir

    def mkdir(self: Path, *arguments: object, **options: object) -> None:
        make(self, *arguments, **options)  # type: ignore[arg-type]
        if tmp_path in self.parents and NAME.fullmatch(self.name):
            fill(self, "memory" in (self.parent / "cgroup.subtree_control").read_text())

    def rmdir(self: Path) -> None:
        if tmp_path in self.parents:
            shutil.rmtree(self)  # cgroupfs lets a group with files go
        else:
            remove(self)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    monkeypatch.setattr(Path, "rmdir", rmdir)
    monkeypatch.setattr("pgste.live.leftovers.TRIES", 2)
    (tmp_path / "here").mkdir()
    fill(tmp_path / "here", memory=False)
    (tmp_path / "here/cgroup.subtree_control").write_text("memory\n")
    return tmp_path


def fill(group: Path, memory: bool) -> None:
    (group / "cgroup.procs").write_text("")
    (group / "cgroup.controllers").write_text("cpu memory\n")
    (group / "cgroup.subtree_control").write_text("")
    if memory:
        (group / "memory.max").write_text("max\n")
        (group / "memory.swap.max").write_text("max\n")
        (group / "memory.current").write_text("123456\n")
        (group / "memory.peak").write_text("234567\n")
        (group / "memory.reclaim").write_text("")
        (group / "memory.stat").write_text(lines(STAT_OF_6_18))
        (group / "memory.events").write_text(EVENTS.format(0))


def here(root: Path) -> Hierarchy:
    return Hierarchy(2, root, "/here")


def test_the_files_of_version_2(root: Path) -> None:
    with MemoryLimit(64 * MIB, here(root)) as limit:
        group = limit.directory
        assert group is not None
        assert group.parent == root / "here"
        assert (group / "memory.max").read_text() == str(64 * MIB)
        limit.enter(4321)
        assert (group / "cgroup.procs").read_text() == "4321"
        limit.set(32 * MIB)
        assert (group / "memory.max").read_text() == str(32 * MIB)
        assert limit.limit_bytes == 32 * MIB
        assert limit.usage() == 123456
        assert limit.peak() == 234567
        (group / "memory.peak").unlink()
        assert limit.peak() is None, "before Linux 5.19"
        assert limit.stat() == STAT_OF_6_18
        assert limit.oom_kills() == 0
        (group / "memory.events").write_text(EVENTS.format(2))
        assert limit.oom_kills() == 2
    assert not group.exists()
    # whoever was in it is in our own group again
    assert (root / "here/cgroup.procs").read_text() == "4321"


def test_the_swap_of_a_group_is_limited_by_nobody_else(root: Path) -> None:
    """A group whose parent forbids swap could not swap at all: it is said, not measured."""
    with MemoryLimit(64 * MIB, here(root)) as limit:
        assert limit.swap_allowed() is None
        assert limit.directory is not None
        (limit.directory / "memory.swap.max").write_text("0\n")
        assert limit.swap_allowed() == 0
        (limit.directory / "memory.swap.max").write_text("max\n")
        (root / "here/memory.swap.max").write_text("8192\n")
        assert limit.swap_allowed() == 8192
        scaled = scale(Trace.from_arrays([0, 0, 0], [5, 6, 7], [0, 0, 0]), 1 << 20)
        with pytest.raises(Refused, match=r"8 KiB of swap.*takes up to"):
            _check_swap(limit, scaled)
        (root / "here/memory.swap.max").write_text(f"{1 << 30}\n")
        _check_swap(limit, scaled)


def test_emptying_asks_for_what_is_used_until_nothing_goes(root: Path) -> None:
    with MemoryLimit(64 * MIB, here(root)) as limit:
        group = limit.directory
        assert group is not None
        asked: list[str] = []
        write = Path.write_text

        def reclaims(self: Path, text: str) -> int:
            done = write(self, text)
            if self.name == "memory.reclaim":
                asked.append(text)
                left = {1: "4096", 2: "0"}[len(asked)]
                write(group / "memory.current", left + "\n")
            return done

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "write_text", reclaims)
            limit.empty()
        assert asked == ["123456", "4096"]


@pytest.mark.parametrize(
    ("code", "ends"), [(errno.EAGAIN, True), (errno.EPERM, False), (errno.ENOENT, False)]
)
def test_emptying_ends_where_the_kernel_cannot(root: Path, code: int, ends: bool) -> None:
    write = Path.write_text

    def refuses(self: Path, text: str) -> int:
        if self.name == "memory.reclaim":
            raise OSError(code, os.strerror(code))
        return write(self, text)

    with MemoryLimit(64 * MIB, here(root)) as limit, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "write_text", refuses)
        if ends:
            limit.empty()
        else:
            with pytest.raises(Refused, match=r"memory\.reclaim"):
                limit.empty()


def test_whose_a_counter_is(root: Path) -> None:
    with MemoryLimit(64 * MIB, here(root)) as limit:
        group = limit.directory
        assert group is not None
        counters = Counters(limit)
        of_group = {key for key, scope in counters.scope.items() if scope == GROUP}
        assert of_group == {"swap_outs", "pages_read", "lazyfree_discards", "refaults"}
        more = {**STAT_OF_6_18, "pswpout": 113, "pglazyfreed": 6, "pgmajfault": 9}
        (group / "memory.stat").write_text(lines(more))
        since = counters.since()
        assert (since["swap_outs"], since["pages_read"], since["lazyfree_discards"]) == (100, 0, 1)
        # a kernel that does not count swap by group: the machine's, and it says so
        (group / "memory.stat").write_text(lines(STAT))
        older = Counters(limit)
        assert older.scope["swap_outs"] == MACHINE
        assert older.scope["lazyfree_discards"] == GROUP
        assert set(older.scope) <= set(COUNTERS)


def test_a_group_above_that_gives_no_memory_controller(root: Path) -> None:
    (root / "here/cgroup.subtree_control").write_text("")
    write = Path.write_text

    def busy(self: Path, text: str) -> int:
        if self.name == "cgroup.subtree_control":
            raise OSError(errno.EBUSY, "busy")
        return write(self, text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "write_text", busy)
        with (
            pytest.raises(Refused, match="which version 2 forbids"),
            MemoryLimit(MIB, here(root)),
        ):
            pass
    assert not [path for path in (root / "here").iterdir() if path.is_dir()]


def test_a_leftover_of_version_2_goes(root: Path) -> None:
    (root / "here/cgroup.procs").write_text("")
    path = root / "here/pgste-1-1-1-1"
    path.mkdir()
    (path / "cgroup.procs").write_text("")
    remove_group(path)
    assert not path.exists()


def v2_here() -> Hierarchy | None:
    found = find_hierarchy()
    return found if found and found.version == 2 else None


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root")
def test_a_real_group_of_version_2(machine: None) -> None:
    """What the other tests of this file have from a text, from the kernel."""
    hierarchy = v2_here()
    if hierarchy is None:
        where = find_hierarchy()
        pytest.skip(
            "this machine has the memory controller in version 1"
            if where
            else "this machine has no memory controller"
        )
    try:
        with MemoryLimit(64 * MIB) as limit:
            assert limit.usage() >= 0
            assert {"anon", "pgfault"} <= set(limit.stat())
            assert limit.oom_kills() == 0
            assert Counters(limit).scope["lazyfree_discards"] == GROUP
            limit.empty()
    except Refused as refused:
        pytest.skip(f"no group of version 2 here: {refused}")
    clean()
