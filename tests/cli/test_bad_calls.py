# SPDX-License-Identifier: MIT
"""Whatever is typed and whatever a file holds: one line that says what is wrong, no traceback.

The options come from the parsers themselves, so that a new one is tried as soon as it is there.
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pgste.cli import VERBS, _parser, main

SMALL = str(Path(__file__).parents[1] / "golden/traces/small.trace.dat")
GRID = str(Path(__file__).parents[1] / "golden/grids/small.toml")
LONG = "9" * 5000
NUMBERS = [LONG, "-" + LONG, "9" * 4000, "1" + "0" * 30, "nan", "1e999", "0x", "", "\x1b[2J", "½"]
NAMES = ["", "[red]x", "[/]", "\x1b[2J", "a\nb", "\u202eabc", "\udcff", LONG, "none,,none", "\0"]


def _folder(tmp: Path) -> Path:
    """Files that no verb can use as input."""
    (tmp / "folder").mkdir()
    (tmp / "folder" / "file").touch()
    (tmp / "empty").write_bytes(b"")
    (tmp / "deep.json").write_text("[" * 100_000)
    (tmp / "deeper.json").write_text('{"a":' * 100_000)
    (tmp / "deep.toml").write_text("grid = " + "[" * 100_000)
    (tmp / "deeper.toml").write_text("grid = " + "{a = " * 100_000)
    (tmp / "parts.toml").write_text(".".join(["'a b'"] * 100_000) + " = 1")
    (tmp / "tables.toml").write_text("[" + ".".join(["a"] * 100_000) + "]")
    (tmp / "digits.toml").write_text(f"grid = {LONG}")
    (tmp / "keys.toml").write_text('["\\u001b[2J\\u202e"]\n')
    (tmp / "axes.toml").write_text('[grid]\n"\\u001b[2J\\u202e" = 1')
    (tmp / "values.toml").write_text('[grid]\nmechanism = "\\u001b[2J\\u202e[red]"')
    (tmp / "path.toml").write_text('traces = ["\\u001b[2J\\u202e[red]"]')
    (tmp / "nul.toml").write_text('traces = ["\\u0000"]')
    (tmp / "traces.toml").write_text(f"traces = [{', '.join(['5'] * 5000)}]")
    (tmp / "itself.toml").write_text('traces = ["itself.toml"]')
    (tmp / "no table.toml").write_text("grid = 5")
    (tmp / "date.toml").write_text("[grid]\nguests = 2019-01-01")
    (tmp / "nan.toml").write_text("[grid]\nseeds = 1\nwindow = nan")
    (tmp / "inf.toml").write_text("[grid]\nhost_memory = inf")
    (tmp / "long.json").write_text(f'{{"format": {LONG}}}')
    (tmp / "bytes").write_bytes(bytes(range(256)) * 10)
    (tmp / "[red]x").write_text("[/red]\x1b[2J")
    (tmp / "a\nb\x1b[2J\u202e").write_text("nothing\n")
    (tmp / os.fsdecode(b"\xff")).write_text("nothing\n")
    return tmp


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _folder(tmp_path_factory.mktemp("bad"))


FILES = ["folder", "missing", "empty", "deep.json", "deeper.json", "long.json", "bytes", "[red]x",
         "a\nb\x1b[2J\u202e", "\udcff", "empty/x", "x" * 5000, "folder/\x1b[2J/[/x]",
         "\0", "deep.toml", "deeper.toml", "parts.toml", "tables.toml", "digits.toml", "keys.toml",
         "axes.toml", "values.toml", "path.toml", "nul.toml", "traces.toml", "itself.toml",
         "no table.toml", "date.toml", "nan.toml", "inf.toml"]  # fmt: skip
INPUTS = {"TRACE", "PROFILE", "DAMO.DATA", "STREAM", "GRID"}
# What makes a call short enough for a test and keeps it off the machine's swap.
BESIDE = {
    "live check": ["--ops", "100", "--swap", "off"],
    "live replay": [SMALL, "--mechanism", "none"],
    "calibrate": ["--no-swap", "--seconds", "0.01"],
    "record": ["--seconds", "0.01"],
    "guarantees": ["--explain", "none", "stale"],
    "scenario": [],
    "size": ["--no-swap"],
    "sweep": [GRID],
}


def _jobs() -> Iterator[tuple[list[str], argparse.ArgumentParser]]:
    """Every verb and job, with its parser."""
    for verb in VERBS:
        top = _parser(verb)
        parser = next(a for a in top._actions if a.dest == "verb").choices[verb]  # type: ignore[index]
        jobs = [a for a in parser._actions if a.dest == "job"]
        for name, sub in jobs[0].choices.items() if jobs else [("", parser)]:
            yield [verb, *([name] if name else [])], sub


def _calls() -> Iterator[list[str]]:
    """Bad calls of every verb, job and option; {} stands for the folder of bad files."""
    for words, parser in _jobs():
        beside = BESIDE.get(" ".join(words), [])
        yield [*words, "--no-such-option\x1b[2J"]
        yield (
            [*words, "[red]x", "\x1b[2J", "a\nb"] if words[0] != "record" else [*words, "--x[red]"]
        )
        for action in parser._actions:
            if action.dest == "help" or (not action.option_strings and words[0] == "record"):
                continue
            option = action.option_strings[-1:]
            is_input = action.metavar in INPUTS
            files = [name for name in FILES if action.metavar != "GRID" or name != "empty"]
            if action.nargs == 0:
                yield [*words, f"{option[0]}=\x1b[2J"]
                continue
            if option and action.nargs != "?":
                yield [*words, *option]  # a value is missing
            values = [f"{{}}/{name}" for name in files] if is_input else NAMES
            if action.type is not None or action.metavar in ("N", "SIZE"):
                values = NUMBERS
            if action.metavar == "FILE":
                values = ["{}/folder", "{}/missing/x.png", "{}/bytes/x.png", "{}/" + "x" * 5000]
                values += ["{}/x\0.png"]
            if action.metavar == "FOLDER":
                values = ["{}/folder", "{}/bytes", "{}/bytes/x", "{}/x\0", "{}/" + "x" * 5000]
            for value in values:
                if not option and is_input:
                    yield [*words, value, *[w for w in beside if w not in (SMALL, GRID)]]
                elif isinstance(action.nargs, int):
                    yield [*words, *option, value, value]
                else:
                    yield [*words, *beside, option[0] + "=" + value] if option else [*words, value]
    yield [""]
    yield ["\x1b[2J"]
    yield ["[red]x", "compare"]
    yield ["compar\u202e"]


CALLS = list(_calls())
# Harmless: a name that no task has, and a folder that is not needed as no swap file is made.
HARMLESS = ("--comm", "--swap-directory")


def _name(call: list[str]) -> str:
    return ascii(" ".join(call))[1:60].replace("::", " ")


def test_there_are_many() -> None:
    assert len(CALLS) > 200
    for words, parser in _jobs():
        tried = " ".join(w for call in CALLS if call[: len(words)] == words for w in call)
        for action in parser._actions:
            assert action.dest == "help" or all(o in tried for o in action.option_strings[-1:])


@pytest.mark.parametrize("call", CALLS, ids=_name)
def test_one_line_and_no_traceback(
    call: list[str],
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it does not end"))
    signal.alarm(60)
    try:
        status = main([word.replace("{}", str(folder)) for word in call])
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else -1
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    out, err = capsys.readouterr()
    if any(word.startswith(HARMLESS) for word in call) and (status in (0, 3) or "skipped" in out):
        # the machine may have swap of its own on
        assert err == ""
        assert "\x1b" not in out
        return
    assert status in (1, 2), (call, out)
    assert out == ""
    check_message(err, status)


def check_message(err: str, status: int) -> None:
    lines = err.splitlines()
    assert "Traceback" not in err
    assert "internal error" not in err
    assert "\x1b" not in err
    assert not any(c in err for c in "\u202e\u2066\udcff")
    assert lines[-1].startswith("pgste")
    assert len(lines[-1]) < 1100
    if status == 1:
        assert len(lines) == 1, err
    else:
        assert lines[0].startswith("usage: pgste")


# ---- what takes a process of its own ----


def run(
    *arguments: str | bytes, limit: int | None = None, close: int | None = None, **environ: str
) -> subprocess.CompletedProcess[bytes]:
    def before() -> None:
        if limit:
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        if close is not None:
            os.close(close)

    return subprocess.run(
        [sys.executable, "-m", "pgste.cli", *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(sys.path), **environ},
        stdin=subprocess.DEVNULL, capture_output=True, check=False, preexec_fn=before, timeout=300,
    )  # fmt: skip


def test_bytes_that_are_no_utf_8(folder: Path) -> None:
    environments: list[dict[str, Any]] = [
        {},
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"PYTHONIOENCODING": "ascii"},
    ]
    for environ in environments:
        done = run("info", b"/nowhere/\xff\x1b[2J\xe2\x80\xae", **environ)
        assert done.returncode == 1
        assert done.stdout == b""
        check_message(done.stderr.decode("ascii"), 1)
        shown = run("info", SMALL, **environ)
        assert shown.returncode == 0, shown.stderr
        table = run("guarantees", "--mechanisms", "none", **environ)
        assert table.returncode == 0, table.stderr


def test_no_memory(tmp_path: Path) -> None:
    """Far too little, and enough to start: an error, not a traceback, wherever memory ends."""
    seen = set()
    for mib in (150, 250, 350, 500):
        done = run("compare", SMALL, "--host-frames", "1T", limit=mib << 20,
                   OPENBLAS_NUM_THREADS="1")  # fmt: skip
        if done.returncode in (1, 2) and done.stderr.startswith(b"pgste: "):
            seen.add(mib)
            check_message(done.stderr.decode(), 1)
            assert done.stdout == b""
    assert seen


def test_closed_streams() -> None:
    done = run("info", SMALL, close=1)
    assert done.returncode == 1
    assert done.stderr == b"pgste: standard output is closed\n"
    for close in (0, 2):
        done = run("info", SMALL, close=close)
        assert done.returncode == 0
        assert done.stderr == b""
        assert b"alloc events" in done.stdout
    done = run("info", "/nowhere", close=2)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("arguments", [["info", SMALL], ["info", SMALL, "--json"], ["--help"]])
def test_output_that_cannot_be_written(arguments: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "pgste.cli", *arguments], stdout=full, stderr=subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(sys.path)}, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == b"pgste: [Errno 28] No space left on device\n"


@pytest.mark.parametrize("arguments", [["info", SMALL], ["compare", "--help"]])
def test_a_reader_that_goes_away(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "pgste.cli", *arguments], stdout=writing, stderr=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(sys.path)}, check=False,
    )  # fmt: skip
    os.close(writing)
    assert done.returncode in (141, -signal.SIGPIPE)
    assert done.stderr == b""


def test_a_pipe_is_an_input(tmp_path: Path) -> None:
    with open(SMALL, "rb") as file:
        done = subprocess.run(
            [sys.executable, "-m", "pgste.cli", "info", "/dev/stdin", "--json"],
            input=file.read(), capture_output=True, check=False,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(sys.path)},
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.replace(b"/dev/stdin", SMALL.encode()) == run("info", SMALL, "--json").stdout


@pytest.mark.parametrize("columns", ["", "0", "1", "-5", "²", "x", LONG, "99999"])
def test_columns_that_are_none(columns: str) -> None:
    done = run("info", SMALL, COLUMNS=columns, LINES=columns)
    assert done.returncode == 0, done.stderr
    assert b"152,578" in done.stdout or b"alloc events" in done.stdout


def test_a_fault_of_ours_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import pgste.cli.info

    def broken(*_: object) -> int:
        raise TypeError("it\x1b[2J")

    monkeypatch.setattr(pgste.cli.info, "run", broken)
    assert main(["info", SMALL]) == 1
    err = capsys.readouterr().err
    assert "internal error" in err
    assert "TypeError: it\\x1b[2J" in err
    monkeypatch.setenv("PGSTE_TRACEBACK", "1")
    with pytest.raises(TypeError):
        main(["info", SMALL])
