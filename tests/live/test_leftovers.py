"""Things are known by their owners: dead, alive or elsewhere; clean removes the first kind only."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import cast

import pytest

from live.machine import _open, machine_alone
from pgste._engine import live
from pgste.cli.leftovers import _age
from pgste.files.owned import NAME, new_name, space, start_of
from pgste.live import Refused, ending, worker
from pgste.live.alone import alone, holder
from pgste.live.leftovers import (
    Leftover,
    clean,
    find,
    remove_swap,
    swap_areas,
)
from pgste.live.pressure import SwapFile, other_swap, swap_bytes

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="takes root")
TEMPORARY = Path(tempfile.gettempdir())

ALL = """
import sys, time
from pgste.live.pressure import MemoryLimit, SwapFile
from pgste.live.record import _Folder
from pgste.live.tracefs import Instance, TraceFs
with TraceFs() as root, Instance(root, buffer_kb=64), _Folder(), MemoryLimit(64 << 20) as limit:
    limit.enter()
    with SwapFile(1 << 20, sys.argv[1]):
        print("up", flush=True)
        time.sleep(60)
"""


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pgste.cli", *words], capture_output=True, text=True, check=False,
        env={**os.environ, "COLUMNS": "80"},
    )  # fmt: skip


def python(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=False
    )


def of(pid: int) -> list[Leftover]:
    return [left for left in find() if left.pid == pid]


def named(pid: int, start: int | None, space: int, number: int = 1) -> Path:
    return TEMPORARY / f"pgste-swap-{pid}-{start}-{space}-{number}"


@pytest.fixture
def made() -> Iterator[list[Path]]:
    """Files that go with the test."""
    paths: list[Path] = []
    yield paths
    for path in paths:
        path.unlink(missing_ok=True)


def test_names_tell_their_owner() -> None:
    found = NAME.fullmatch(new_name("swap"))
    assert found is not None
    assert found[1] == "swap"
    assert int(found[2]) == os.getpid()
    assert int(found[3]) == start_of(os.getpid())
    assert new_name() != new_name()
    assert NAME.fullmatch(new_name()) is not None
    for other in ("pgste-swap-x8k2", f"pgste-{os.getpid()}-123", "pgste-perf-ab12cd"):
        assert NAME.fullmatch(other) is None


def test_a_process_of_any_name() -> None:
    program = "open('/proc/self/comm', 'w').write(') R 1 ('); print(open('/proc/self/stat').read())"
    program += "; from pgste.files.owned import start_of; import os; print(start_of(os.getpid()))"
    stat, _, start = python(program).stdout.strip().partition("\n\n")
    assert ") R 1 (" in stat
    assert stat.rpartition(")")[2].split()[19] == start


@pytest.mark.usefixtures("machine")
def test_dead_alive_and_elsewhere(made: list[Path]) -> None:
    pid, start, where = os.getpid(), start_of(os.getpid()), space()
    assert start is not None
    alive, reused, elsewhere = (
        named(pid, start, where),
        named(pid, start - 1, where),  # the process id is another process's by now
        named(pid, start - 1, where + 1),
    )
    made += [alive, reused, elsewhere]
    for path in made:
        path.write_bytes(b"")
    assert {left.path: left.owner for left in of(pid) if left.path in made} == {
        alive: "alive", reused: "dead", elsewhere: "elsewhere"
    }  # fmt: skip
    removed, failed = clean()
    assert reused in {left.path for left in removed}
    assert not any(left.path == reused for left, _ in failed)
    assert [path.exists() for path in made] == [True, False, True]


def test_a_zombie_is_dead() -> None:
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert start_of(process.pid) is None
    process.wait()
    assert start_of(process.pid) is None


@ROOT
@pytest.mark.usefixtures("machine")
def test_only_links_of_ours_are_followed(made: list[Path], tmp_path: Path) -> None:
    """Anybody may write to a temporary folder; root must not remove what they point at."""
    link = named(1, 1, space())
    good, other_name = tmp_path / link.name, tmp_path / "precious"
    good.write_bytes(b"")
    other_name.write_bytes(b"")
    made.append(link)
    link.symlink_to(other_name)
    clean()
    assert other_name.exists()
    link.unlink()
    link.symlink_to(good)
    os.chown(link, 65534, 65534, follow_symlinks=False)
    clean()
    assert good.exists()
    os.chown(link, 0, 0, follow_symlinks=False)
    clean()
    assert not good.exists()
    assert not link.is_symlink()


@ROOT
@pytest.mark.usefixtures("machine")
def test_what_sigkill_leaves_is_listed_and_removed(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", ALL, str(tmp_path)], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    if process.stdout.readline() != "up\n":
        pytest.skip(f"not all can be set up here: {process.communicate()[1][-300:]}")
    kinds = {left.kind for left in of(process.pid)}
    assert {"swap file", "cgroup", "tracing instance", "temporary folder"} <= kinds
    assert run("live", "clean").returncode == 0
    assert {left.kind for left in of(process.pid)} == kinds, "it lives, so all of it stays"
    assert {left.owner for left in of(process.pid)} == {"alive"}
    ages = [left.age for left in of(process.pid)]
    assert all(age is not None and age < 60 for age in ages), ages
    process.kill()
    process.communicate()
    assert {left.owner for left in of(process.pid)} == {"dead"}
    areas, swap = swap_areas(), other_swap()
    assert any(f"-{process.pid}-" in path.name for path in areas)
    assert swap[0] < swap_bytes()[0], "it is not taken for the machine's own"

    done = run("live", "clean", "--dry-run")
    assert done.returncode == 0
    assert done.stdout.count("dead") == len(kinds)
    assert "would be removed" in done.stdout
    assert str(process.pid) in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert {left.kind for left in of(process.pid)} == kinds

    done = run("live", "clean", "--json")
    rows = [row for row in json.loads(done.stdout)["found"] if row["pid"] == process.pid]
    assert done.returncode == 0
    assert {row["kind"] for row in rows} == kinds
    assert all(row["removed"] and row["owner"] == "dead" for row in rows)
    assert of(process.pid) == []
    assert not list(tmp_path.iterdir())
    assert "left behind" in run("live", "clean").stdout or of(process.pid) == []


@ROOT
@pytest.mark.usefixtures("no_swap")
def test_the_next_run_removes_what_was_left(tmp_path: Path) -> None:
    """A dead run's swap is no reason to skip the check without swap."""
    program = ALL.replace("time.sleep(60)", "import os; os.kill(os.getpid(), 9)")
    done = python(program, str(tmp_path))
    if "up" not in done.stdout:
        pytest.skip(f"not all can be set up here: {done.stderr[-300:]}")
    assert swap_bytes()[0]
    again = run("live", "check", "--ops", "2000", "--swap", "off", "--json")
    assert again.returncode == 0, again.stderr
    data = json.loads(again.stdout)
    assert len(data["runs"]) == 2
    assert data["skipped"] == []
    assert not swap_bytes()[0]
    assert not any(left.owner == "dead" for left in find())


@pytest.mark.usefixtures("machine")
def test_what_cannot_be_removed_is_told(made: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = named(1, 1, space(), 77)
    made.append(path)
    path.write_bytes(b"")

    def refuse(path: Path) -> None:
        raise PermissionError(errno.EPERM, "no")

    monkeypatch.setattr(Path, "unlink", lambda self, missing_ok=False: refuse(self))
    _, failed = clean()
    monkeypatch.undo()
    assert ("it takes root") in [why for left, why in failed if left.path == path]


def test_ages() -> None:
    assert [_age(s) for s in (None, 0.4, 119, 120, 7200, 172800)] == [
        "?", "0 s", "119 s", "2 min", "2 h", "2 d"
    ]  # fmt: skip


# ---- signals -----------------------------------------------------------------------------


@ROOT
def test_swapoff_that_a_signal_interrupts_is_made_again(
    swap_file: SwapFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def interrupted(path: bytes) -> None:
        calls.append(path)
        if len(calls) < 3:
            raise live.RefusedCall(errno.EINTR)
        off(path)

    off = live.swap_off
    monkeypatch.setattr(live, "swap_off", interrupted)
    path = swap_file.path
    assert path is not None
    remove_swap(path)
    assert len(calls) == 3
    assert path not in swap_areas()


class Nothing:
    """A thing that sets up nothing."""

    gone = False

    def remove(self) -> None:
        with ending.step():
            self.gone = True
            ending.forget(self)


@pytest.mark.parametrize("directory", ["9" * 5000, "9" * 300, "9/" * 2040, "file/below", "none"])
def test_a_swap_file_in_a_folder_that_cannot_be(directory: str, tmp_path: Path) -> None:
    """It is not kept as set up, and the link that tells of it goes as well."""
    (tmp_path / "file").write_bytes(b"")
    swap = SwapFile(1 << 20, tmp_path / directory)
    before = set(TEMPORARY.glob("pgste-swap-*"))
    with pytest.raises(OSError):  # noqa: PT011
        swap.__enter__()
    assert not ending.holds(swap)
    assert set(TEMPORARY.glob("pgste-swap-*")) <= before


def test_what_went_wrong_first_is_told() -> None:
    class Stays(Nothing):
        def remove(self) -> None:
            raise OSError("it cannot be removed")

    def fail() -> None:
        raise KeyError("not made")

    thing = Stays()
    with pytest.raises(KeyError, match="not made"):
        ending.set_up(thing, fail)
    assert ending.holds(thing), "until somebody can"
    Nothing.remove(thing)
    assert not ending.holds(thing)


def test_handlers_are_ours_only_while_something_is_set_up() -> None:
    before = [signal.getsignal(number) for number in ending.ENDING]
    thing = Nothing()
    ending.set_up(thing, lambda: None)
    assert signal.getsignal(signal.SIGTERM) is not before[-1]
    assert ending.holds(thing)
    thing.remove()
    assert [signal.getsignal(number) for number in ending.ENDING] == before


@pytest.mark.parametrize("first", [True, False])
def test_signals_that_are_heard_end_nothing(first: bool) -> None:
    """Whichever is there first; afterwards all handlers are what they were."""
    before = [signal.getsignal(number) for number in ending.ENDING]
    got: list[int] = []
    thing = Nothing()
    if first:
        ending.set_up(thing, lambda: None)
    with ending.heard(got.append):
        if not first:
            ending.set_up(thing, lambda: os.kill(os.getpid(), signal.SIGINT))
            thing.remove()
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
        assert not (first and thing.gone)
    assert got == [signal.SIGINT] * (not first) + [signal.SIGTERM, signal.SIGINT]
    thing.remove()
    assert [signal.getsignal(number) for number in ending.ENDING] == before


def test_a_programs_own_handler_is_called_after_the_step() -> None:
    got: list[str] = []
    before = signal.signal(signal.SIGTERM, lambda *_: got.append("handler"))
    try:
        thing = Nothing()

        def make() -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(1000):
                pass
            got.append("made")

        ending.set_up(thing, make)
        assert got == ["made", "handler"]
        assert not thing.gone, "the handler chose to go on"
        thing.remove()
    finally:
        signal.signal(signal.SIGTERM, before)


def test_ctrl_c_in_a_step_takes_the_thing_away() -> None:
    thing = Nothing()
    with pytest.raises(KeyboardInterrupt):
        ending.set_up(thing, lambda: os.kill(os.getpid(), signal.SIGINT))
    assert thing.gone
    assert not ending.holds(thing)


def test_a_signal_that_another_thread_takes_waits_until_the_replay_has_started() -> None:
    """The thread that starts it has signals blocked, a library's has not: it was half told."""

    class Started:
        whole = False

        def start(self) -> None:
            def take() -> None:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, ending.ENDING)
                os.kill(os.getpid(), signal.SIGINT)

            thread = threading.Thread(target=take)
            thread.start()
            thread.join()
            for _ in range(1000):
                pass
            self.whole = True

    process, thing = Started(), Nothing()
    ending.set_up(thing, lambda: None)
    try:
        with pytest.raises(KeyboardInterrupt):
            worker._start(cast("SpawnProcess", process))
        assert process.whole
    finally:
        thing.remove()


def test_what_is_ignored_stays_so() -> None:
    """nohup: a hangup does not end it."""
    program = """
import os, signal
from pgste.live import ending
signal.signal(signal.SIGHUP, signal.SIG_IGN)
class Thing:
    def remove(self): ending.forget(self)
ending.set_up(Thing(), lambda: os.kill(os.getpid(), signal.SIGHUP))
os.kill(os.getpid(), signal.SIGHUP)
print("on")
"""
    assert python(program).stdout == "on\n"


def test_a_child_made_by_fork_takes_nothing_away() -> None:
    thing = Nothing()
    ending.set_up(thing, lambda: None)
    child = os.fork()
    if child == 0:
        ending.remove_all()
        os._exit(1 if thing.gone or ending.holds(thing) else 0)
    assert os.waitpid(child, 0)[1] == 0
    assert ending.holds(thing)
    thing.remove()


# ---- two at once -------------------------------------------------------------------------


@pytest.mark.usefixtures("machine")
def test_a_second_live_run_is_refused(tmp_path: Path) -> None:
    said: list[str] = []

    def another_thread() -> None:
        try:
            with alone():
                said.append("in")
        except Refused as refused:
            said.append(str(refused))

    with alone():
        assert holder() == os.getpid()
        with alone():
            pass  # the same thread may
        thread = threading.Thread(target=another_thread)
        thread.start()
        thread.join()
        for words in (
            ["live", "check", "--ops", "1000"],
            ["live", "replay", "--mechanism", "none"],
            ["calibrate", "--seconds", "1", "--no-swap"],
        ):
            done = run(*words)
            assert done.returncode == 1
            assert f"process {os.getpid()} is in one" in done.stderr
            assert "Traceback" not in done.stderr
    assert f"process {os.getpid()} is in one" in said[0]
    assert run("live", "check", "--ops", "1000", "--swap", "off").returncode in (0, 1)
    assert holder() is None


def test_two_recordings_at_once_are_isolated(tracing: Path, tmp_path: Path) -> None:
    fill = "import mmap, time; time.sleep(1.5); m = mmap.mmap(-1, 8 << 20); m[::4096] = bytes(2048)"
    files = [tmp_path / f"{number}.pgt" for number in range(2)]
    recorders = [
        subprocess.Popen(
            [sys.executable, "-m", "pgste.cli", "record", "-o", str(file), "--", sys.executable,
             "-c", fill],
            stdout=subprocess.PIPE, text=True,
        )
        for file in files
    ]  # fmt: skip
    for recorder in recorders:
        out = recorder.communicate(timeout=60)[0]
        assert recorder.returncode == 0, out
        assert "no event was lost" in out
        assert of(recorder.pid) == []
    assert all(file.stat().st_size for file in files)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_recording_that_ends_leaves_the_other_alone(
    tracing: Path, tmp_path: Path, number: signal.Signals
) -> None:
    words = [sys.executable, "-m", "pgste.cli", "record", "--seconds"]
    long = subprocess.Popen([*words, "60", "-o", str(tmp_path / "a.pgt")], stdout=subprocess.PIPE)
    short = subprocess.Popen([*words, "4", "-o", str(tmp_path / "b.pgt")], stdout=subprocess.PIPE)
    while not (of(long.pid) and of(short.pid)):
        assert long.poll() is None
        assert short.poll() is None
    long.send_signal(number)
    long.communicate(timeout=30)
    assert run("live", "clean").returncode == 0
    assert of(long.pid) == []
    assert of(short.pid), "it is in use"
    short.communicate(timeout=60)
    assert short.returncode == 0
    assert of(short.pid) == []


# ---- a recording of nothing --------------------------------------------------------------


def test_a_recording_of_nothing_says_so_and_fails(tracing: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.pgt"
    words = ["record", "-o", str(out), "--comm", "no-such-task"]
    done = run(*words, "--seconds", "0.2")
    assert done.returncode == 3
    said = " ".join(done.stdout.split())
    assert "nothing was recorded: no event was of a task of the name no-such-task" in said
    assert not out.exists()
    done = run(*words, "--", sys.executable, "-c", "raise SystemExit(7)")
    assert done.returncode == 7, "what the command said goes first"
    assert "nothing was recorded" in done.stdout


# ---- the lock of these tests -------------------------------------------------------------


def test_live_tests_wait_for_each_other_and_skip_at_the_limit() -> None:
    hold = """
import fcntl, os, sys
fds = [os.open(path, os.O_RDONLY) for path in sys.argv[1:]]
for fd in fds: fcntl.flock(fd, fcntl.LOCK_EX)
print("held", flush=True)
input()
"""
    paths = []
    for name in ("turnstile", "machine"):
        fd = _open(name)
        paths.append(os.readlink(f"/proc/self/fd/{fd}"))
        os.close(fd)
    holds = subprocess.Popen(
        [sys.executable, "-c", hold, *paths], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert holds.stdout is not None
    assert holds.stdout.readline() == "held\n"
    with pytest.raises(pytest.skip.Exception, match="other live tests"), machine_alone(0.2):
        pass
    holds.communicate("\n")
    with machine_alone():
        pass
