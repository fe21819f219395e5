"""Verbs killed at random moments by each signal, and nothing of them is left on the machine.

PGSTE_KILLS sets the moments for each verb and signal (default 1; for the figures of
docs/robustness.md it was 20 or more).  Each verb prints its figures (pytest -rP shows them).
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from pgste.live.leftovers import Leftover, find, swap_areas

pytestmark = [
    pytest.mark.usefixtures("machine"),
    pytest.mark.skipif(os.geteuid() != 0, reason="takes root: cgroups, swap files, tracing"),
]

SMALL = str(Path(__file__).parents[1] / "golden/traces/small.trace.dat")
KILLS = int(os.environ.get("PGSTE_KILLS", "1"))
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGKILL)

VERBS = {
    "record": ["record", "-o", "{tmp}/out.pgt", "--", "sleep", "60"],
    "record --access": ["record", "--access", "-o", "{tmp}/out.pgt", "--", "sleep", "60"],
    "live check": ["live", "check", "--ops", "15000", "--swap", "on", "--swap-directory", "{tmp}"],
    "live replay": ["live", "replay", SMALL, "--swap-directory", "{tmp}"],
    "calibrate": ["calibrate", "--seconds", "1", "--swap-directory", "{tmp}"],
}
"""Arguments; what is made in the folder {tmp} is the verb's."""

LIBRARY = """
import sys, time
from pathlib import Path
from pgste.live.pressure import MemoryLimit, SwapFile
from pgste.live.tracefs import Instance, TraceFs
for _ in range(200):
    with TraceFs() as root, Instance(root, buffer_kb=64), MemoryLimit(64 << 20) as limit:
        limit.enter()
        with SwapFile(1 << 20, sys.argv[1]):
            time.sleep(0.001)
"""


def pgste(words: list[str], tmp: Path) -> list[str]:
    return [sys.executable, "-m", "pgste.cli", *(word.format(tmp=tmp) for word in words)]


def things(pid: int) -> list[Leftover]:
    return [left for left in find() if left.pid == pid]


def descendants(pid: int) -> list[int]:
    """Processes below one, as of now."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def kill_at(
    command: list[str], number: signal.Signals, after: float, tmp: Path
) -> tuple[int, set[str], list[int]]:
    """Start it, wait, send a signal: (its id, kinds of what it had set up, its processes)."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        time.sleep(after)
        kinds = {left.kind for left in things(process.pid)}
        below = descendants(process.pid)
        process.send_signal(number)
        stderr = process.communicate(timeout=60)[1] if number != signal.SIGKILL else ""
        process.wait(60)
    finally:
        process.kill()
    # Before Python has come to the verb a signal may end it in any way; after that, quietly.
    assert not kinds or "-m" not in command or "Traceback" not in stderr, stderr
    return process.pid, kinds, below


def gone(pids: list[int], seconds: float = 15.0) -> bool:
    until = time.monotonic() + seconds
    while any(map(running, pids)):
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def clean(tmp: Path) -> None:
    done = subprocess.run(
        pgste(["live", "clean", "--json", "--swap-directory", "{tmp}"], tmp),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(row["removed"] for row in json.loads(done.stdout)["found"] if row["owner"] == "dead")


def nothing_is_left(pid: int, tmp: Path) -> None:
    assert things(pid) == []
    assert not any(f"-{pid}-" in path.name for path in swap_areas())
    assert f"-{pid}-" not in Path("/proc/mounts").read_text()
    assert not list(tmp.glob("pgste-*"))
    assert not list(Path("/tmp").glob(f"pgste-*{pid}-*"))


def duration(command: list[str]) -> float:
    """How long it takes; one that waits for a signal, or takes longer, counts as two seconds."""
    started = time.monotonic()
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            process.wait(2 if "sleep" in command or "-c" in command else 60)
        except subprocess.TimeoutExpired:
            process.terminate()
    return time.monotonic() - started


@pytest.mark.parametrize("verb", [*VERBS, "library"])
def test_killed_at_any_moment_it_leaves_nothing(verb: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIBRARY, str(tmp_path)]
    if verb != "library":
        command = pgste(VERBS[verb], tmp_path)
    length = min(duration(command), 2.5)
    moments = random.Random(verb)
    seen: Counter[str] = Counter()
    for number in SIGNALS:
        for _ in range(KILLS):
            after = moments.uniform(0.2, length)
            pid, kinds, below = kill_at(command, number, after, tmp_path)
            seen.update(kinds)
            seen["kills"] += 1
            seen["kills with something set up"] += bool(kinds)
            if number == signal.SIGKILL:
                if verb.startswith("record"):  # the command is the caller's and goes on
                    for one in below:
                        if running(one):
                            os.kill(one, signal.SIGKILL)
                assert gone(below), f"{verb}, SIGKILL after {after:.3f} s: processes go on"
                clean(tmp_path)
            assert gone(below), f"{verb}, {number.name} after {after:.3f} s: processes go on"
            nothing_is_left(pid, tmp_path)
    assert seen["kills"] == len(SIGNALS) * KILLS
    print(f"{verb}: {dict(seen)}")


STEPS = """
import os, sys
from pathlib import Path
from pgste._engine import live
from pgste.live.leftovers import clean, find
from pgste.live.pressure import MemoryLimit, SwapFile
from pgste.live.tracefs import Instance, TraceFs

number, at, step, parent = int(sys.argv[2]), 0, 0, os.getpid()

def hit(function):
    def wrapped(*args, **kwargs):
        count()
        result = function(*args, **kwargs)
        count()
        return result
    return wrapped

def count():
    global step
    step += 1
    if step == at and os.getpid() != parent:
        os.kill(os.getpid(), number)

live.swap_on, live.swap_off = hit(live.swap_on), hit(live.swap_off)
live.mount, live.unmount = hit(live.mount), hit(live.unmount)
for name in ("mkdir", "rmdir", "write_text", "unlink", "symlink_to"):
    setattr(Path, name, hit(getattr(Path, name)))

while True:
    at += 1
    child = os.fork()
    if child == 0:
        step = 0
        try:
            with TraceFs() as root, Instance(root, buffer_kb=64), MemoryLimit(64 << 20), \\
                    SwapFile(1 << 20, sys.argv[1]):
                pass
        except KeyboardInterrupt:
            os._exit(2)
        os._exit(3 if step >= at else 0)
    status = os.waitpid(child, 0)[1]
    if number == 9:
        clean()
    left = [one for one in find() if one.pid == child] + os.listdir(sys.argv[1])
    assert not left, (at, left)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
        break
    assert os.waitstatus_to_exitcode(status) == (2 if number == 2 else -number), (at, status)
print(at - 1)
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_at_every_step_of_setting_up(number: signal.Signals, tmp_path: Path) -> None:
    """Sent by the program itself before and after each system call, one after another."""
    done = subprocess.run(
        [sys.executable, "-c", STEPS, str(tmp_path), str(int(number))],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 25, "there are more steps than that"
    print(f"{number.name}: at {done.stdout.strip()} steps")
