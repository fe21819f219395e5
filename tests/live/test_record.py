"""Recording on this machine: right, complete or says what is lost, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pgste._engine.trace import TextDecoder
from pgste.errors import ArgumentError
from pgste.live import Refused
from pgste.live.record import _Streams, import_perf, record
from pgste.live.tracefs import Instance, mounted_at
from pgste.traces import Trace
from pgste.traces.dat import merge

pytestmark = pytest.mark.alone  # it measures the kernel

FILL = "import mmap; m = mmap.mmap(-1, 40 << 20); m[::4096] = bytes(10240)"


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", *arguments]


def pgste(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pgste.cli", *arguments]


def instances(root: Path, pid: int) -> list[str]:
    """Tracing instances of a process; others may be recording too."""
    return [path.name for path in (root / "instances").glob(f"pgste-{pid}-*")]


def test_what_a_command_does_is_recorded(tracing: Path) -> None:
    told: list[tuple[int, int, float]] = []
    recording = record(command(FILL), progress=lambda *args: told.append(args))
    assert recording.exit_status == 0
    assert not recording.interrupted
    assert recording.lost == 0
    summary = recording.trace.summary()
    # 40 MiB, all of which the command touches and gives back at its end.
    assert summary["pages_allocated"] >= 10240
    assert summary["frees_of_allocated"] >= 10240
    assert recording.cpus == os.cpu_count()
    assert told == sorted(told), "progress only grows; a fast command may end before any"


def test_binary_pages_say_what_the_kernels_own_text_says(tracing: Path) -> None:
    """One buffer read twice: as text by the kernel, then as pages by us."""
    with Instance(tracing, buffer_kb=4096, skip_pids=[os.getpid()]) as instance:
        streams = _Streams(instance)
        instance.start()
        subprocess.run(command(FILL), check=True)
        instance.stop()
        assert instance.directory is not None
        text = (instance.directory / "trace").read_bytes()
        streams.drain()
        assert instance.lost() == 0
        parts = [
            (np.concatenate([e for e, _ in part]), np.concatenate([t for _, t in part]))
            for _, part in sorted(streams.parts.items())
            if part
        ]
    theirs, times, used = TextDecoder().feed(text, end=True)
    assert used == len(text)
    ours, our_times = merge(parts)
    assert len(ours) == len(theirs) > 5000
    # Text has microseconds; events of the same one may come in either order between CPUs.
    assert sorted(ours.tolist()) == sorted(theirs.tolist())
    assert (np.abs(our_times.astype(np.int64) - times.astype(np.int64)) <= 1000).mean() > 0.99
    assert (ours == theirs).mean() > 0.9


def test_lost_events_are_told(tracing: Path) -> None:
    recording = record(command(FILL + "; m[::4096] = bytes(10240)"), buffer_kb=8)
    assert recording.lost > 1000, "40 MiB do not fit into a buffer of 8 KiB a CPU"
    assert recording.trace.counters["lost"] == recording.lost


def test_filter_by_name(tracing: Path) -> None:
    assert len(record(command(FILL), comm="no-such-task").trace) == 0
    name = Path(sys.executable).resolve().name[:15]
    mine = record(command(FILL), comm=name[:3] + "*").trace
    assert mine.summary()["pages_allocated"] >= 10240


def test_filter_by_process_follows_its_children(tracing: Path) -> None:
    program = f"import subprocess, sys, time; time.sleep(1); subprocess.run({command(FILL)!r})"
    tenfold = FILL.replace("40 <<", "400 <<").replace("10240", "102400")
    busy = f"import time; time.sleep(1.2); {tenfold}"
    with subprocess.Popen(command(program)) as process, subprocess.Popen(command(busy)):
        recording = record(pid=process.pid)
    # The child's 10240 and what Python takes, but not the other process's 102400.
    assert 10_240 <= recording.trace.summary()["pages_allocated"] < 50_000
    assert recording.exit_status is None


def test_for_some_seconds(tracing: Path) -> None:
    started = time.monotonic()
    recording = record(seconds=0.3)
    assert 0.3 <= recording.seconds < 2
    assert time.monotonic() - started < 5


def test_command_that_cannot_start(tracing: Path) -> None:
    with pytest.raises(FileNotFoundError):
        record(["/no/such/command"])
    assert instances(tracing, os.getpid()) == []


def test_status_of_the_command_comes_through(tracing: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out.pgt")
    done = subprocess.run(
        pgste("record", "-o", out, "--", *command("raise SystemExit(7)")), check=False
    )
    assert done.returncode == 7
    assert len(Trace.open(out)) > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(tracing: Path, tmp_path: Path, number: int) -> None:
    out, mark = tmp_path / "out.pgt", tmp_path / "mark"
    program = f"import os, time; open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    process = subprocess.Popen(
        pgste("record", "-o", str(out), "--", *command(program)),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 20
    while not (mark.exists() and mark.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    there = instances(tracing, process.pid)
    process.send_signal(number)
    stdout, _ = process.communicate(timeout=20)
    assert len(there) == 1
    assert process.returncode == 130
    assert "interrupted" in stdout
    assert instances(tracing, process.pid) == []
    assert len(Trace.open(out)) > 0
    assert not Path(f"/proc/{mark.read_text()}").exists(), "the command is gone too"


def test_other_users_of_tracing_are_not_disturbed(tracing: Path) -> None:
    names = ["tracing_on", "current_tracer", "events/kmem/mm_page_alloc/enable", "trace_clock"]
    before = [(tracing / name).read_text() for name in names]
    record(command("pass"))
    assert [(tracing / name).read_text() for name in names] == before


def test_the_mount_of_another_recorder_is_not_used() -> None:
    """It would vanish with that one, and our instance could not be removed any more."""
    other = "nodev /tmp/pgste-tracefs-x tracefs rw 0 0\n"
    assert mounted_at(other) is None
    kept = other + "tracefs /sys/kernel/tracing tracefs rw 0 0\n"
    assert mounted_at(kept) == Path("/sys/kernel/tracing")


@pytest.mark.skipif(os.geteuid() != 0, reason="giving up root needs root")
def test_without_rights_it_says_what_is_missing() -> None:
    def message() -> str:
        try:
            record(["true"])
        except Refused as refused:
            return str(refused)
        return "recorded"

    said = unprivileged(message)
    assert "needs root" in said
    assert "tracefs" in said or "tracing" in said


def unprivileged(body: Callable[[], str]) -> str:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
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


def test_bad_arguments(tracing: Path) -> None:
    for arguments in (
        {"seconds": 0},
        {"buffer_kb": 1, "seconds": 1},
        {"comm": 'a"b', "seconds": 1},
        {"comm": "a-name-of-16-let", "seconds": 1},
        {"pid": 1 << 22 | 1},
    ):
        with pytest.raises(ArgumentError):
            record(**arguments)
    assert instances(tracing, os.getpid()) == []


# ---- perf.data ----


def perf() -> str:
    found = shutil.which("perf")
    if not found:
        pytest.skip("perf is not installed")
    return found


def test_import_of_perf_data(tracing: Path, tmp_path: Path) -> None:
    data = tmp_path / "perf.data"
    done = subprocess.run(
        [perf(), "record", "-q", "-a", "-o", str(data), "-e", "kmem:mm_page_alloc",
         "-e", "kmem:mm_page_free", "--", *command(FILL)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"perf cannot record here: {done.stderr.strip()[:200]}")
    trace = import_perf(data)
    assert trace.format == "perf"
    assert trace.summary()["pages_allocated"] >= 10240


def test_import_of_something_else(tmp_path: Path) -> None:
    perf()
    other = tmp_path / "other"
    other.write_text("no perf data")
    with pytest.raises(ValueError, match="perf script cannot read"):
        import_perf(other)
    with pytest.raises(FileNotFoundError):
        import_perf(tmp_path / "nothing")
