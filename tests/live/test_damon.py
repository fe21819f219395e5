"""Accesses by DAMON: set up on a tree like its sysfs, taken away whatever ends it; and for real."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from pgste.errors import ArgumentError
from pgste.files import owned
from pgste.live import Refused, leftovers
from pgste.live.damon import Damon, Monitoring, memory_ranges
from pgste.live.record import record

IOMEM = "00001000-0009fbff : System RAM\n000de000-000defff : AMZN\n00100000-bfffffff : System RAM\n"
RANGES = [(0x1000, 0x9FC00), (0x100000, 0xC0000000)]
CONTEXT = "kdamonds/0/contexts/0"
FILES = {
    "kdamonds/nr_kdamonds": "0",
    "kdamonds/0/state": "off",
    "kdamonds/0/pid": "-1",
    "kdamonds/0/contexts/nr_contexts": "0",
    f"{CONTEXT}/operations": "vaddr",
    f"{CONTEXT}/monitoring_attrs/intervals/sample_us": "5000",
    f"{CONTEXT}/monitoring_attrs/intervals/aggr_us": "100000",
    f"{CONTEXT}/monitoring_attrs/intervals/update_us": "1000000",
    f"{CONTEXT}/monitoring_attrs/nr_regions/min": "10",
    f"{CONTEXT}/monitoring_attrs/nr_regions/max": "1000",
    f"{CONTEXT}/targets/nr_targets": "0",
    f"{CONTEXT}/targets/0/regions/nr_regions": "0",
    f"{CONTEXT}/targets/0/regions/0/start": "0",
    f"{CONTEXT}/targets/0/regions/0/end": "0",
    f"{CONTEXT}/targets/0/regions/1/start": "0",
    f"{CONTEXT}/targets/0/regions/1/end": "0",
}
HOLD = """
import sys, time
from pathlib import Path
from pgste.live import damon
damon.memory_ranges = lambda: [(4096, 8192)]
with damon.Damon(admin=Path(sys.argv[1])) as one:
    print("up", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def admin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree like DAMON's sysfs when nobody uses it, taken for the real one."""
    root = tmp_path / "admin"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    monkeypatch.setattr("pgste.live.leftovers.DAMON", root)
    monkeypatch.setattr("pgste.live.damon.memory_ranges", lambda: RANGES)
    return root


def text(admin: Path, name: str) -> str:
    return (admin / name).read_text().strip()


def mine(pid: int) -> list[leftovers.Leftover]:
    found = leftovers.find()
    return [one for one in found if one.pid == pid and one.kind == "DAMON monitoring"]


def somebody_elses(admin: Path, **changes: str) -> None:
    """Set up by another, and on."""
    for name, value in {
        "kdamonds/nr_kdamonds": "1",
        "kdamonds/0/state": "on",
        "kdamonds/0/pid": "77",
        "kdamonds/0/contexts/nr_contexts": "1",
        f"{CONTEXT}/operations": "paddr",
        f"{CONTEXT}/targets/0/regions/0/end": "8192",
        **changes,
    }.items():
        (admin / name).write_text(value + "\n")


def test_set_up_and_taken_away(admin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    write = Damon._write

    def told(self: Damon, name: str, value: str) -> None:
        steps.append(name)
        write(self, name, value)

    monkeypatch.setattr(Damon, "_write", told)
    (admin / "kdamonds/0/pid").write_text("1234\n")
    with Damon(Monitoring(2000, 60_000, (20, 400))) as damon:
        assert (damon.own, damon.pid, damon.ranges) == (True, 1234, RANGES)
        assert damon.monitoring.most == 30
        attributes = f"{CONTEXT}/monitoring_attrs"
        expected = {
            "kdamonds/nr_kdamonds": "1",
            "kdamonds/0/contexts/nr_contexts": "1",
            f"{attributes}/intervals/sample_us": "2000",
            f"{attributes}/intervals/aggr_us": "60000",
            f"{attributes}/nr_regions/min": "20",
            f"{attributes}/nr_regions/max": "400",
            f"{CONTEXT}/operations": "paddr",
            f"{CONTEXT}/targets/nr_targets": "1",
            f"{CONTEXT}/targets/0/regions/nr_regions": "2",
            f"{CONTEXT}/targets/0/regions/0/start": "4096",
            f"{CONTEXT}/targets/0/regions/1/end": str(0xC0000000),
            "kdamonds/0/state": "on",
        }
        assert {name: text(admin, name) for name in expected} == expected
        assert steps[:3] == [
            "kdamonds/nr_kdamonds",
            "kdamonds/0/contexts/nr_contexts",
            f"{attributes}/intervals/update_us",
        ], "what is made is marked as ours before anything else"
        assert steps[-1] == "kdamonds/0/state"
        assert [one.owner for one in mine(os.getpid())] == ["alive"]
    assert text(admin, "kdamonds/0/state") == "off"
    assert text(admin, "kdamonds/nr_kdamonds") == "0"
    assert mine(os.getpid()) == []
    damon.remove()


def test_two_at_once_are_refused(admin: Path) -> None:
    with Damon():
        with pytest.raises(Refused, match=f"process {os.getpid()} records accesses"), Damon():
            pass
        assert text(admin, "kdamonds/0/state") == "on"
        with open(admin / "kdamonds/nr_kdamonds") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    (admin / "kdamonds/0/contexts/nr_contexts").write_text("0")  # as 0 kdamonds have none
    with open(admin / "kdamonds/nr_kdamonds") as file:  # another, between its first two steps
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(Refused, match="about to set it up"), Damon():
            pass
    assert mine(os.getpid()) == []
    with Damon() as damon:
        assert damon.own, "the lock is gone with its owner"


def test_somebody_elses_is_listened_to_and_left_alone(admin: Path) -> None:
    somebody_elses(admin)
    before = {name: text(admin, name) for name in FILES}
    with Damon(Monitoring(1000, 20_000)) as damon:
        assert (damon.own, damon.pid, damon.ranges[0]) == (False, 77, (0, 8192))
        assert damon.monitoring == Monitoring(5000, 100_000, (10, 1000)), "theirs"
    assert {name: text(admin, name) for name in FILES} == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({f"{CONTEXT}/operations": "vaddr"}, "watches the memory of programs"),
        ({"kdamonds/0/state": "off"}, "set it up and switched it off"),
    ],
)
def test_what_cannot_be_used(admin: Path, changes: dict[str, str], words: str) -> None:
    somebody_elses(admin, **changes)
    before = {name: text(admin, name) for name in FILES}
    with pytest.raises(Refused, match=words), Damon():
        pass
    assert {name: text(admin, name) for name in FILES} == before


def test_a_kernel_without_it(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="has no DAMON"), Damon(admin=tmp_path / "none"):
        pass


def test_a_step_that_fails_leaves_nothing(admin: Path) -> None:
    operations = admin / CONTEXT / "operations"
    operations.unlink()
    operations.mkdir()
    with pytest.raises(Refused, match="operations"), Damon():
        pass
    assert text(admin, "kdamonds/nr_kdamonds") == "0"
    assert text(admin, "kdamonds/0/state") == "off"
    assert mine(os.getpid()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_signals_leave_nothing_or_what_the_next_run_removes(
    admin: Path, number: signal.Signals
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(admin)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    assert text(admin, "kdamonds/0/state") == "on"
    leftovers.clean()
    assert text(admin, "kdamonds/0/state") == "on", "it is in use"
    process.send_signal(number)
    process.wait(20)
    if number == signal.SIGKILL:
        assert [one.owner for one in mine(process.pid)] == ["dead"]
        assert text(admin, "kdamonds/0/state") == "on"
        removed, failed = leftovers.clean()
        assert "DAMON monitoring" in {one.kind for one in removed}
        assert not failed
    assert text(admin, "kdamonds/0/state") == "off"
    assert text(admin, "kdamonds/nr_kdamonds") == "0"
    assert mine(process.pid) == []


def test_a_file_that_tells_of_nothing_switches_nothing_off(admin: Path) -> None:
    """Its DAMON is gone by now, and another's is there."""
    somebody_elses(admin)
    path = Path(tempfile.gettempdir()) / f"pgste-damon-{os.getpid()}-1-{owned.space()}-1"
    for content in ("1999999999999", "", "1000000 1"):
        path.write_text(content)
        leftovers.clean()
        assert not path.exists()
        assert text(admin, "kdamonds/0/state") == "on"


def test_memory_of_the_machine() -> None:
    assert memory_ranges(IOMEM) == RANGES
    with pytest.raises(Refused, match="root only"):
        memory_ranges("00000000-00000000 : System RAM\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"sample_us": 1}, "sample_us: 1 "),
        ({"aggregation_us": 100}, "aggregation_us: 100 "),
        ({"regions": (2, 9)}, "regions: 2 "),
        ({"regions": (20, 9)}, "regions: 9 "),
        ({"sample_us": 5e3}, "sample_us: 5000.0 "),
    ],
)
def test_bad_settings(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(words)):
        Monitoring(**arguments)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="access"):
        record(["true"], access="damon")  # type: ignore[arg-type]


# ---- this machine's ----

TOUCHES = """
import mmap, struct, sys, time
def huge():
    m = mmap.mmap(-1, 64 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    m.madvise(14)  # MADV_HUGEPAGE
    return m
cold, hot = huge(), huge()
def pfns(m):
    address = __import__("ctypes").addressof(__import__("ctypes").c_char.from_buffer(m))
    with open("/proc/self/pagemap", "rb", 0) as file:
        file.seek(address // 4096 * 8)
        return [w & (1 << 55) - 1 for (w,) in struct.iter_unpack("=Q", file.read(8 * (64 << 8)))]
for m in (cold, hot):
    m[::4096] = bytes(64 << 8)
until = time.monotonic() + float(sys.argv[1])
while time.monotonic() < until:
    hot[::4096] = bytes(64 << 8)
    time.sleep(0.05)
with open(sys.argv[2], "w") as file:
    for m in (cold, hot):
        print(*pfns(m), file=file)
"""


@pytest.mark.alone
@pytest.mark.skipif(os.geteuid() != 0, reason="takes root")
def test_pages_that_a_program_touches_again_and_again_stand_out(
    tracing: Path, tmp_path: Path
) -> None:
    """In huge pages: of 4 KiB pages that lie scattered, DAMON's regions do not tell one."""
    if "[never]" in Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text():
        pytest.skip("this kernel gives programs no huge pages")
    try:
        with Damon() as damon:
            interval, ranges, own = damon.monitoring.aggregation_us / 1e6, damon.ranges, damon.own
    except Refused as refused:
        pytest.skip(f"no DAMON here: {refused}")
    seconds = 3.4 * interval + 1
    if seconds > 30:
        pytest.skip(f"somebody else's DAMON tells once in {interval:g} s only")
    out = tmp_path / "pfns"
    done = record([sys.executable, "-c", TOUCHES, str(seconds), str(out)], access=True)
    told = done.accesses
    assert told is not None
    assert told.own == own
    assert told.problem is None, told.problem
    assert 3 <= told.snapshots <= 6 or own
    assert told.regions > told.snapshots
    counts = np.unique(done.trace.accesses >> np.uint64(8), return_counts=True)
    loads = dict(zip(*(column.tolist() for column in counts), strict=True))
    cold, hot = (
        [
            loads.get(pfn, 0)
            for pfn in map(int, line.split())
            if any(start <= pfn * 4096 < end for start, end in ranges)
        ]
        for line in out.read_text().splitlines()
    )
    if min(len(cold), len(hot)) < 1000:
        pytest.skip("somebody else's DAMON does not watch this program's memory")
    assert np.mean(hot) > 3 * np.mean(cold)
    assert np.mean(hot) > 0.3 * told.snapshots / 2
