# SPDX-License-Identifier: MIT
"""Saving: the old file or the new one, never a part, and nothing beside it."""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgste import Trace
from pgste.files.saving import save
from pgste.study import figure
from pgste.study.costs import Profile

ROOT = os.geteuid() == 0
KILLS = 100 if "PGSTE_SANITIZED" in os.environ else 1000
OLD, NEW = Trace.from_arrays([0] * 3000, range(3000), [0] * 3000), Trace.from_arrays([1], [7], [0])


def save_trace(path: Path) -> None:
    NEW.save(path)


def save_profile(path: Path) -> None:
    Profile(machine={}, date="today", seconds=1.0, costs={}, skipped={}).save(path)


def save_picture(path: Path) -> None:
    picture = figure.new_figure(2, 2)
    picture.add_subplot().plot([0, 1])
    figure.save(picture, path)


SAVES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "trace": ("a.pgt", save_trace),
    "profile": ("a.json", save_profile),
    "picture": ("a.png", save_picture),
}


@pytest.fixture(params=SAVES)
def saved(request: pytest.FixtureRequest) -> tuple[str, Callable[[Path], None]]:
    return SAVES[request.param]


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


Saved = tuple[str, Callable[[Path], None]]


def test_mode(saved: Saved, tmp_path: Path) -> None:
    name, write = saved
    path = tmp_path / name
    before = os.umask(0o027)
    try:
        write(path)
        assert mode(path) == 0o640
        path.chmod(0o606)
        write(path)
        assert mode(path) == 0o606
    finally:
        os.umask(before)
    assert names(tmp_path) == [name]


@pytest.mark.skipif(not ROOT, reason="only root can give files away")
def test_owner(saved: Saved, tmp_path: Path) -> None:
    name, write = saved
    path = tmp_path / name
    path.touch()
    os.chown(path, 12345, 54321)
    write(path)
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 54321)


def test_symbolic_links_stay_and_their_target_is_replaced(saved: Saved, tmp_path: Path) -> None:
    name, write = saved
    there = tmp_path / "there"
    there.mkdir()
    target, link, second = there / "target", tmp_path / name, tmp_path / f"2{name}"
    link.symlink_to("there/target")
    second.symlink_to(link)
    write(second)  # the target is not there yet
    first = target.stat().st_ino
    write(second)
    assert target.stat().st_ino != first
    assert link.is_symlink()
    assert second.is_symlink()
    assert (names(there), names(tmp_path)) == (["target"], sorted([f"2{name}", name, "there"]))
    target.unlink()
    target.symlink_to(second)
    with pytest.raises(OSError, match=name) as caught:
        write(second)
    assert caught.value.errno == errno.ELOOP


def test_long_names(saved: Saved, tmp_path: Path) -> None:
    name, write = saved
    path = tmp_path / ("n" * (255 - len(name)) + name)
    write(path)
    write(path)
    assert names(tmp_path) == [path.name]
    with pytest.raises(OSError, match="too long") as caught:
        write(tmp_path / ("n" * 256 + name))
    assert caught.value.errno == errno.ENAMETOOLONG
    assert names(tmp_path) == [path.name]


def test_pipes_are_written_to(saved: Saved, tmp_path: Path) -> None:
    name, write = saved
    path, plain = tmp_path / name, tmp_path / f"plain{name}"
    os.mkfifo(path)
    got: list[bytes] = []
    thread = threading.Thread(target=lambda: got.append(path.read_bytes()))
    thread.start()
    write(path)
    thread.join()
    write(plain)
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert got == [plain.read_bytes()]


@pytest.mark.skipif(not ROOT, reason="only root makes device nodes")
def test_device_nodes_stay(saved: Saved, tmp_path: Path) -> None:
    name, write = saved
    path = tmp_path / name
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        path.write_bytes(b"x")
    except OSError as error:
        pytest.skip(f"no device nodes here: {error}")
    write(path)
    assert stat.S_ISCHR(path.stat().st_mode)
    path.unlink()
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 7))  # /dev/full
    with pytest.raises(OSError, match=name) as caught:
        write(path)
    assert caught.value.errno == errno.ENOSPC
    path.unlink()
    os.mknod(path, stat.S_IFBLK | 0o666, os.makedev(259, 65535))
    with pytest.raises(OSError, match="block device"):
        write(path)
    assert stat.S_ISBLK(path.stat().st_mode)
    assert names(tmp_path) == [name]


def test_what_cannot_be_written_to_is_refused(saved: Saved, tmp_path: Path) -> None:
    name, write = saved
    (tmp_path / name).mkdir()
    with pytest.raises(IsADirectoryError, match=name):
        write(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=name):
        write(tmp_path / "missing" / name)
    other = tmp_path / f"s{name}"
    with socket.socket(socket.AF_UNIX) as endpoint:
        endpoint.bind(str(other))
        with pytest.raises(OSError, match="socket"):
            write(other)
    assert names(tmp_path) == sorted([name, f"s{name}"])


def test_standard_output_that_is_a_file_is_appended_to(tmp_path: Path) -> None:
    """The shell holds that file open: it is written to by its descriptor, and not replaced."""
    out = tmp_path / "out"
    program = (
        "import sys; print('before', flush=True); from pgste import Trace; "
        "Trace.from_arrays([1], [7], [0]).save('/dev/stdout'); print('after')"
    )
    with out.open("wb") as file:
        subprocess.run([sys.executable, "-c", program], stdout=file, check=True, timeout=60)
    NEW.save(tmp_path / "plain")
    assert out.read_bytes() == b"before\n" + (tmp_path / "plain").read_bytes() + b"after\n"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB with 24 KiB free, else this one with files of 8 KiB at most."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    mounted = ROOT and subprocess.run(command, capture_output=True, check=False).returncode == 0
    if mounted:
        (folder / "filler").write_bytes(bytes(40 << 10))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    if not mounted:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8 << 10, before[1]))
    try:
        yield folder
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_full_disk(small_disk: Path) -> None:
    picture = figure.new_figure(8, 8)
    picture.add_subplot().plot([0, 1])
    large = Profile({str(i): i for i in range(5000)}, "today", 1.0, {}, {})
    writes: tuple[Saved, ...] = (
        ("a.pgt", OLD.save),
        ("a.json", large.save),
        ("a.png", lambda path: figure.save(picture, path)),
        ("a.svg", lambda path: save(path, lambda file: file.write(bytes(1 << 20)))),
    )
    for name, _ in writes:
        (small_disk / name).write_bytes(b"old")
    for name, write in writes:
        path = small_disk / name
        before = names(small_disk)
        with pytest.raises(OSError, match=rf"(No space left|too large).*{name}") as caught:
            write(path)
        assert caught.value.errno in (errno.ENOSPC, errno.EFBIG)
        assert path.read_bytes() == b"old"
        assert names(small_disk) == before


def test_an_error_of_the_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def fail(file: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save(path, fail)
    assert (path.read_bytes(), names(tmp_path)) == (b"old", ["a"])


def test_forty_saves_at_once(tmp_path: Path) -> None:
    """Threads and processes, to one name and to many, beside one another: all succeed."""
    path = tmp_path / "a.pgt"
    failed: list[BaseException] = []

    def often(name: str) -> None:
        try:
            for i in range(20):
                (OLD if i % 2 else NEW).save(tmp_path / name)
        except BaseException as error:
            failed.append(error)

    children = []
    for _ in range(4):
        child = os.fork()
        if not child:
            often("a.pgt")
            os._exit(bool(failed))
        children.append(child)
    threads = [
        threading.Thread(target=often, args=("a.pgt" if i % 2 else f"{i}.pgt",)) for i in range(36)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 4
    assert failed == []
    assert Trace.open(path) in (OLD, NEW)
    assert names(tmp_path) == sorted(["a.pgt", *(f"{i}.pgt" for i in range(0, 36, 2))])


def test_a_thousand_kills(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """A child saves the old and the new trace in turn until SIGKILL ends it at any moment."""
    path = tmp_path / "a.pgt"
    OLD.save(path)
    expected = {path.read_bytes()}
    NEW.save(path)
    expected.add(path.read_bytes())
    choose = random.Random(2019)
    litter = 0
    for _ in range(KILLS):
        child = os.fork()
        if not child:
            try:
                while True:
                    OLD.save(path)
                    NEW.save(path)
            finally:
                os._exit(1)
        time.sleep(choose.random() * 0.006)
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        assert os.WIFSIGNALED(status), f"the child ended by itself: {status}"
        assert path.read_bytes() in expected
        left = names(tmp_path)
        assert len(left) <= 2  # of earlier kills there is nothing
        litter += len(left) - 1
    assert litter > 0, "no kill hit a save: the test shows nothing"
    NEW.save(path)
    assert names(tmp_path) == ["a.pgt"]
    record_property("kills", KILLS)
    record_property("kills within a save", litter)
    print(f"{KILLS} kills, {litter} of them within a save")


def test_litter_is_removed_and_what_is_in_use_is_not(tmp_path: Path) -> None:
    """Only unlocked files of exactly such a name; no FIFO of that name stops a save."""
    name = ".pgste-save-%024x.tmp"
    (tmp_path / (name % 1)).write_bytes(b"dead")
    os.mkfifo(tmp_path / (name % 2))
    (tmp_path / (name % 3)).symlink_to("elsewhere")
    (tmp_path / ".pgste-save-mine.tmp").write_bytes(b"mine")

    def save_another(file: object) -> None:
        before = names(tmp_path)
        NEW.save(tmp_path / "b")
        assert set(before) < set(names(tmp_path))

    save(tmp_path / "a", save_another)
    kept = [".pgste-save-mine.tmp", name % 2, name % 3, "a", "b"]
    assert names(tmp_path) == sorted(kept)


@pytest.mark.skipif(ROOT, reason="root may write to every file")
def test_a_file_that_may_not_be_written_to_stays(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    path.chmod(0o400)
    with pytest.raises(PermissionError):
        NEW.save(path)
    assert path.read_bytes() == b"old"
