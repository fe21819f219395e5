# SPDX-License-Identifier: MIT
"""What is seen: foreign text escaped, nothing cut at any width, colours, progress, JSON."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import pgste
from pgste.cli import VERBS, _parser, main
from pgste.cli.terminal import Grid, Screen
from pgste.cli.words import one_line, printable
from pgste.guarantees import guarantees
from pgste.guarantees.systems import STATES, SYSTEMS, System
from pgste.live.damon import Monitoring
from pgste.live.record import Accesses, Recording
from pgste.traces import pgt

GRID = str(Path(__file__).parents[1] / "golden/grids/small.toml")
STREAM = str(Path(__file__).parents[1] / "golden/streams/small.qevm")
SMALL = str(Path(__file__).parents[1] / "golden/traces/small.trace.dat")
HOSTILE = ["[red]x", "[/]", "\x1b[2J", "a\nb", "\u202ecod", "\u2066x", "\udcff", "\x9b2J", "\u2028"]
COSTS: dict[str, Any] = {
    "format": "pgste-costs", "version": 1, "date": "", "seconds": 1.0, "skipped": {},
    "costs": {}, "machine": {},
}  # fmt: skip
BAD = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def seen(capsys: pytest.CaptureFixture[str], *call: str, status: int = 0) -> str:
    assert main(call) == status, capsys.readouterr().err
    out, err = capsys.readouterr()
    assert err == ""
    return str(out)


# ---- foreign text ----


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_printable(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    shown.encode()
    assert printable(shown) == shown
    assert len(one_line(text * 5000)) < 1100


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_names_and_texts_of_files(
    name: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every verb that prints the name of a file or what a file says, with a hostile one."""
    monkeypatch.setenv("COLUMNS", "900")  # a name is then in one line
    monkeypatch.chdir(tmp_path)
    try:
        file = f"x{name}y".replace("/", "$_{")  # nor is it mathematics, in a picture
        Path(file).touch()
    except OSError:
        pytest.skip("the file system does not take the name")
    small = pgste.Trace.open(SMALL)
    pgt.write(file, small.events, small.time, {"format": name, "counters": {name: 5}})
    Path("costs").write_text(
        json.dumps({**COSTS, "machine": {"cpu": name, "kernel": name}, "skipped": {name: name}})
    )
    os.rename("costs", "c" + file)
    picture = file + ".png"
    calls = [
        ("info", file, "--save", "s" + file),
        ("compare", file, "--mechanisms", "none", "--costs", "c" + file, "--plot", picture),
        ("map", file, "--output", picture),
        ("compare", file, f"{file}*2@+1s", "--mechanisms", "none"),
        ("size", file, "--no-swap", "--mechanisms", "none"),
        ("curve", file, "--sizes", "3", "--mechanisms", "none", "--plot", picture),
    ]
    if name != "\udcff":  # no text of TOML
        grid = f"traces = [{json.dumps(file)}]\n[grid]\nhost_memory = [300, 400]\n"
        Path(f"g{file}").write_text(grid)
        calls.append(("sweep", f"g{file}", "--results", f"r{file}", "--plot", picture))
    for call in calls:
        shown = seen(capsys, *call)
        assert not BAD.search(shown), call
        assert printable(file) in shown
    shown = seen(capsys, "info", file)
    assert f": {printable(name)}\n" in shown
    assert f"reader: {printable(name)} 5" in shown
    for axis in (name, "mechanism", "reporting"):
        key, value = (json.dumps(word, ensure_ascii=False) for word in (axis, name))
        value = f"{{{value} = 1}}" if axis == "reporting" else value
        Path(f"b{file}").write_bytes(f"[grid]\n{key} = {value}\n".encode(errors="surrogateescape"))
        assert main(["sweep", f"b{file}"]) == 1
        assert not BAD.search(capsys.readouterr().err)
    for call in [("info", name), ("compare", file, "--costs", name), ("scenario", name),
                 ("compare", file, name), ("compare", f"{file}@+{name}"), ("sweep", name),
                 ("compare", file, file, "--mechanisms", name), ("size", name, "--no-swap"),
                 ("curve", name), ("curve", file, "--sizes", name), ("sweep", f"b{file}"),
                 ("size", file, "--max-swap-rate", name), ("curve", file, "--mechanisms", name),
                 ("guarantees", "--mechanisms", name), ("scenario", "--free", name),
                 ("compare", "--mechanisms", name), ("map", "--host-frames", name)]:  # fmt: skip
        assert main(call) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert not BAD.search(err)
        assert err.count("\n") == 1


def test_profile_of_wrong_types(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "costs.json"
    for text in ("[" * 100_000, '{"format":' * 100_000, json.dumps({**COSTS, "machine": 5}),
                 json.dumps({**COSTS, "skipped": []}), " " * (1 << 21), "[]", "5"):  # fmt: skip
        path.write_text(text)
        assert main(["compare", SMALL, "--costs", str(path)]) == 1
        assert "is no cost profile" in capsys.readouterr().err


def test_live_verbs_escape_what_the_kernel_says(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import pgste.cli.calibrate
    import pgste.cli.live
    from pgste.live import Refused
    from pgste.live.calibrate import LENGTHS
    from pgste.live.check import Result
    from pgste.study.costs import Cost, Profile

    monkeypatch.setenv("COLUMNS", "300")
    evil = "".join(HOSTILE)

    def refuse(*_: object, **__: object) -> None:
        raise Refused(1, evil, evil)

    monkeypatch.setattr(pgste.cli.live, "swap_bytes", lambda: (0, 0))
    monkeypatch.setattr(pgste.cli.live, "SwapFile", refuse)
    monkeypatch.setattr("platform.release", lambda: evil)
    monkeypatch.setattr(
        pgste.cli.live, "check", lambda *_, **__: Result("madv_free", False, True, 1)
    )
    shown = seen(capsys, "live", "check", "--ops", "100", status=3)  # one of two was skipped
    assert not BAD.search(shown)
    assert printable(evil) in shown
    assert seen(capsys, "live", "check", "--swap", "on", status=1)  # all was
    names = [f"{kind}_{row}" for kind in ("dontneed", "free")
             for row in ("call", "page", "nothing", *LENGTHS)]  # fmt: skip
    profile = Profile(
        {"cpu": evil, "cpus": 1, "memory_bytes": 1}, "", 1.0,
        {name: Cost(123456.0, 1.0, 1.0, 5, "", evil) for name in [*names, "other"]}, {"swap": evil},
    )  # fmt: skip
    monkeypatch.setattr(pgste.cli.calibrate, "calibrate", lambda *_, **__: profile)
    shown = seen(capsys, "calibrate", status=3)
    assert not BAD.search(shown)
    assert shown.count(printable(evil)) == 4
    assert seen(capsys, "calibrate", "--no-swap")


# ---- widths ----


def words(text: str) -> set[str]:
    return set(re.findall(r"[\w][\w,.%]*", text))


def numbers(text: str) -> set[str]:
    # how long a search took and how fast a replay was, which differ: two runs may agree by chance
    text = re.sub(r", \d+ s\.|[\d.]+ [GMk]?/s", "", text)
    return {word.rstrip(",.") for word in words(text) if word[0].isdigit()}


VIEWS: list[tuple[str, ...]] = [
    ("info",),
    ("compare",),
    ("map",),
    ("compare", SMALL, "--flavour", "zvm"),
    ("compare", SMALL, f"{SMALL}*2@+1s,stagger=2s"),
    ("curve", SMALL),
    ("footprint", SMALL, "--age", "0.1"),
    ("size", SMALL, "--no-swap"),
    ("sweep", GRID),
    ("scenario", "crash-2019"),
    ("scenario", "--list"),
    ("scenario", "--order", "v5.3"),
    ("guarantees", "--mechanisms", "none,cmma_zvm,madv_free,madv_dontneed"),
    ("guarantees", "--explain", "none", "stale"),
    ("guarantees", "--explain", "cmma_zvm", "touch-while-free"),
    ("cmma", STREAM, "--page", "900", "--count", "20"),
    ("live", "clean", "--dry-run"),
    ("calibrate", "--no-swap", "--seconds", "0.01"),
    ("live", "check", "--ops", "1000", "--swap", "off"),
]


@pytest.mark.parametrize("view", VIEWS, ids=" ".join)
@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_nothing_is_cut(
    view: tuple[str, ...],
    columns: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", str(columns))
    status = main(view)
    out, err = capsys.readouterr()
    assert status in (0, 1), err  # live check, with swap of its own on
    assert err == ""
    assert max(map(len, out.splitlines())) <= columns
    assert not re.search(r"\w…", out)
    if view[0] in ("calibrate", "live"):
        return  # other numbers each time
    assert wide_numbers(view) <= numbers(out)


@cache
def wide_numbers(view: tuple[str, ...]) -> set[str]:
    """Numbers where there is room for all; speeds and times, which differ, left out."""
    runs = [
        subprocess.run(
            [sys.executable, "-m", "pgste.cli", *view], capture_output=True, text=True, check=True,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(sys.path), "COLUMNS": "300"},
        ).stdout
        for _ in range(2)
    ]  # fmt: skip
    return numbers(runs[0]) & numbers(runs[1])


def test_the_number_that_was_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for columns in (40, 60):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert "373,157" in seen(capsys, "compare")
        shown = seen(capsys, "guarantees", "--explain", "none", "stale")
        for number, step in enumerate(("guest stores 1 to page 0", "guest frees page 0"), 1):
            assert f"{number}  {step}" in shown


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_large_numbers(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers of any size, in the tables of verbs that need root or a large machine."""
    monkeypatch.setenv("COLUMNS", str(columns))
    rng = np.random.default_rng(columns)
    for nr_columns, labels, together in ((3, 1, 1), (8, 2, 1), (11, 1, 2), (5, 1, 2)):
        grid = Grid(labels, together)
        for i in range(nr_columns):
            grid.add_column(f"title_{i}\nsecond", justify="left" if i < labels else "right")
        cells = [[f"{10 ** int(rng.integers(15)):,}" for _ in range(nr_columns)] for _ in range(5)]
        for number, row in enumerate(cells):
            grid.add_row(*(["a label of a row, rather long"] * labels + row[labels:]))
            assert number < 5
        console = Screen()
        with console.capture() as captured:
            console.print(grid)
        lines = captured.get().splitlines()
        assert max(map(len, lines)) <= columns
        assert {cell for row in cells for cell in row[labels:]} <= set(captured.get().split())
        assert {f"title_{i}" for i in range(labels, nr_columns)} <= words(captured.get())


def jobs() -> list[list[str]]:
    return [[verb] for verb in VERBS] + [["live", "check"], ["live", "replay"], []]


@pytest.mark.parametrize("words", jobs(), ids=" ".join)
@pytest.mark.parametrize("columns", [60, 80, 120])
def test_help_fits(
    words: list[str],
    columns: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit):
        main([*words, "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    assert not any(line.endswith("-") for line in lines)


def test_every_option_is_explained() -> None:
    for verb in VERBS:
        parser = next(a for a in _parser(verb)._actions if a.dest == "verb").choices[verb]  # type: ignore[index]
        for action in parser._actions:
            assert action.help or action.dest == "job" or action.choices, (verb, action.dest)


# ---- colours, pipes, progress ----


def on_a_terminal(*call: str, columns: int = 80, **environ: str) -> tuple[str, int]:
    """What a terminal gets, standard error included, and the exit status."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    child = subprocess.Popen(
        [sys.executable, "-m", "pgste.cli", *call], stdin=slave, stdout=slave, stderr=slave,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(sys.path),
             "TERM": "xterm-256color", **environ},
    )  # fmt: skip
    os.close(slave)
    text = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        text += part
    os.close(master)
    return text.decode(), child.wait()


GUARANTEES = ("guarantees", "--mechanisms", "none,madv_free")


def test_answers_are_marked_with_colours_and_without() -> None:
    for environ in ({}, {"NO_COLOR": "1"}, {"TERM": "dumb"}):
        shown, status = on_a_terminal(*GUARANTEES, **environ)  # type: ignore[arg-type]
        assert status == 0
        assert "green" not in shown
        assert "no! 2" in re.sub("\x1b\\[[0-9;]*m", "", shown)  # bold and dim there always are
        assert "!: no promise to the guest" in re.sub("\x1b\\[[0-9;]*m", "", shown)
        assert ("\x1b[32m" in shown) == (not environ)


def test_a_bar_that_moves() -> None:
    """Searched states are counted, from none to all of them; then the bar is gone."""
    shown, _ = on_a_terminal("guarantees", "--mechanisms", "reporting", columns=100)
    told = [(int(a.replace(",", "")), int(b.replace(",", "")))
            for a, b in re.findall(r"([\d,]+) of ([\d,]+) states", shown)]  # fmt: skip
    assert told
    assert len({a for a, _ in told}) >= 2
    assert {b for _, b in told} == {sum(STATES.get(("reporting", system), 0) for system in SYSTEMS)}
    assert "None" not in shown
    assert "0/None" not in shown


def test_progress_of_the_search() -> None:
    calls: list[tuple[str, int, int]] = []
    found = guarantees(["none", "madv_dontneed"], progress=lambda *call: calls.append(call))
    done = [call[1] for call in calls]
    assert done == sorted(done)
    assert done[0] == 0
    assert calls[-1][1] == calls[-1][2] == sum(found.states.values())
    small = guarantees(["none"], [System(1, 1, 0, 1)], progress=lambda *call: calls.append(call))
    # how many there are was not known before: what was found until then
    assert calls[-1][1] == calls[-1][2] == small.states["none"]


@pytest.mark.parametrize("view", [("info", SMALL), ("compare", SMALL), GUARANTEES], ids=" ".join)
def test_a_dumb_terminal_and_a_pipe(view: tuple[str, ...]) -> None:
    shown, status = on_a_terminal(*view, columns=60, TERM="dumb")
    assert status == 0
    assert "\x1b" not in shown
    assert max(map(len, shown.splitlines())) <= 60
    done = subprocess.run(
        [sys.executable, "-m", "pgste.cli", *view], capture_output=True, text=True, check=True,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(sys.path), "TERM": "xterm"},
    )  # fmt: skip
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_screen_is_never_narrower_than_what_tables_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "10")
    assert Screen().width == 40
    assert isinstance(Screen(), Console)


# ---- JSON ----


def test_every_verb_has_json() -> None:
    for verb in VERBS:
        parser = next(a for a in _parser(verb)._actions if a.dest == "verb").choices[verb]  # type: ignore[index]
        subs = [a.choices for a in parser._actions if a.dest == "job"]
        for each in subs[0].values() if subs else [parser]:
            assert "--json" in each._option_string_actions, verb


JSON = [
    ("info", SMALL),
    ("compare", SMALL, "--plot", "p.png"),
    ("compare", SMALL, "--flavour", "zvm"),
    ("compare", SMALL, f"{SMALL}*2@+1s"),
    ("curve", SMALL, "--plot", "p.png"),
    ("size", SMALL, "--no-swap"),
    ("sweep", GRID, "--plot", "p.png", "--results", "r"),
    ("map", SMALL),
    ("guarantees", "--mechanisms", "none"),
    ("guarantees", "--explain", "none", "stale", "--plot", "p.png"),
    ("guarantees", "--explain", "none", "zap-harms", "--plot", "p.png"),
    ("scenario", "crash-2019"),
    ("scenario", "--list"),
    ("scenario", "--order", "v5.3"),
    ("cmma", STREAM),
    ("cmma", STREAM, "--summary"),
    ("live", "clean", "--dry-run"),
    ("calibrate", "--no-swap", "--seconds", "0.01", "-o", "p.json"),
    ("live", "check", "--ops", "100"),
]


@pytest.mark.parametrize("call", JSON, ids=" ".join)
def test_one_document_and_nothing_else(
    call: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*call, "--json"]) in (0, 1, 3)
    out, err = capsys.readouterr()
    assert isinstance(json.loads(out), dict)
    assert out.count("\n") == 1
    assert err == ""


@pytest.mark.parametrize("verb", ["info", "compare", "curve", "sweep", "map", "guarantees"])
def test_no_document_if_a_file_cannot_be_saved(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    option = {"info": "--save", "map": "--output"}.get(verb, "--plot")
    about = {"guarantees": ["--explain", "none", "stale"], "sweep": [GRID]}.get(verb, [SMALL])
    assert main([verb, *about, "--json", option, "/nowhere/x.png"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("pgste: ")


@pytest.mark.parametrize(
    "call",
    [
        ("info", SMALL, "--save"),
        ("compare", SMALL, "--plot"),
        ("curve", SMALL, "--plot"),
        ("sweep", GRID, "--plot"),
        ("map", SMALL, "--output"),
        ("guarantees", "--explain", "none", "stale", "--plot"),
        ("calibrate", "--no-swap", "--seconds", "0.01", "-o"),
    ],
    ids=" ".join,
)
def test_saved_where_links_pipes_and_devices_lead(
    call: tuple[str, ...], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """None of them is replaced by a file."""
    link, pipe, device = (tmp_path / f"{name}.png" for name in ("link", "pipe", "device"))
    link.symlink_to("real.png")
    assert main([*call, str(link)]) in (0, 3), capsys.readouterr().err
    assert link.is_symlink()
    assert (tmp_path / "real.png").stat().st_size > 100
    os.mkfifo(pipe)
    with (
        open(tmp_path / "read", "wb") as read,
        subprocess.Popen(["cat", str(pipe)], stdout=read),
    ):
        assert main([*call, str(pipe)]) in (0, 3), capsys.readouterr().err
    assert (tmp_path / "read").stat().st_size > 100
    assert pipe.is_fifo()
    if os.geteuid() == 0:
        os.mknod(device, 0o20666, os.makedev(1, 3))  # as /dev/null
        assert main([*call, str(device)]) in (0, 3), capsys.readouterr().err
        assert device.is_char_device()
    capsys.readouterr()


# ---- record ----


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """`record` that records nothing, without a kernel; how it was called."""
    import pgste.cli.record

    calls: list[dict[str, Any]] = []

    def record(command: list[str], **options: Any) -> Recording:
        calls.append({"command": command, **options})
        return Recording(pgste.Trace((), ()), 0, 0.5, 2, None, False)

    monkeypatch.setattr(pgste.cli.record, "record", record)
    monkeypatch.chdir(tmp_path)
    return calls


def test_record_that_matched_nothing_says_so(
    recorded: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    shown = seen(capsys, "record", "--seconds", "1", "--comm", "[red]x\x1b", status=3)
    assert "nothing was recorded: no event was of a task of the name [red]x\\x1b" in shown
    shown = seen(capsys, "record", "--seconds", "1", "--pid", "1", status=3)
    assert "process 1 or a child of it" in shown
    assert "nothing was recorded" in seen(capsys, "record", "--seconds", "1", status=3)


def test_record_as_json(recorded: list[dict[str, Any]], capfd: pytest.CaptureFixture[str]) -> None:
    """A command's own output does not mix with the document."""
    assert main(["record", "--seconds", "1", "--json"]) == 3
    data = json.loads(capfd.readouterr().out)
    assert data["summary"]["events"] == 0
    assert recorded[0]["stdout"] == sys.stderr.fileno()
    assert main(["record", "--seconds", "1"]) == 3
    assert recorded[1]["stdout"] is None


def test_record_with_accesses(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import pgste.cli.record

    trace = pgste.Trace.from_arrays([0, 0], [5, 6], [0, 0], [0, 90]).with_accesses([5], [80])
    told = Accesses(False, Monitoring(), ((4096, 8192), (16384, 20480)), 3, 77, 2, None)
    calls: list[Any] = []

    def record(command: list[str], access: bool, **options: Any) -> Recording:
        calls.append(access)
        return Recording(trace, 0, 0.5, 2, None, False, told if access else None)

    monkeypatch.setattr(pgste.cli.record, "record", record)
    monkeypatch.chdir(tmp_path)
    shown = " ".join(seen(capsys, "record", "--seconds", "1", "--access").split())
    for words in (
        "accesses: 1 loads",
        "by DAMON, somebody else's, listened to: 3 snapshots of 100 ms, a sample each 5 ms, "
        "77 regions in all, of 8 KiB",
        "2 regions were lost",
    ):
        assert words in shown
    assert len(pgste.Trace.open(tmp_path / "recording.pgt").accesses) == 1
    assert "accesses" not in seen(capsys, "record", "--seconds", "1")
    assert calls == [True, False]
    told = Accesses(True, Monitoring(), ((0, 4096),), 0, 0, 0, "[it] told\x1b nothing")
    shown = seen(capsys, "record", "--seconds", "1", "--access")
    assert "set up for this" in shown
    assert "no accesses: [it] told\\x1b nothing" in shown
    monkeypatch.setattr(sys.stderr, "fileno", lambda: 2)
    assert main(["record", "--seconds", "1", "--access", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)["accesses"]
    assert (data["loads"], data["own"], data["monitoring"]["sample_us"]) == (1, True, 5000)


def test_accesses_of_damo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace, damo, out = (str(tmp_path / name) for name in ("t.pgt", "damon.data", "both.pgt"))
    pgste.Trace.from_arrays([0, 0], [5, 6], [0, 0], [0, 9 * 10**9]).save(trace)
    line = (
        "kdamond.0 7 [000] {}.000000: damon:damon_aggregated: target_id=0 nr_regions=1 {}: {} 0\n"
    )
    Path(damo).write_text(line.format(1, "16384-32768", 20) + line.format(2, "0-32768", 0))
    words = ["record", "--import", trace, "--damo", damo, "-o", out]
    assert main(words) == 1
    assert "most: the regions do not say" in capsys.readouterr().err
    shown = " ".join(seen(capsys, *words, "--samples", "20").split())
    assert "2 events" in shown
    assert "damon.data: 1 loads; 1 of pages not in use, left out" in shown
    assert (pgste.Trace.open(out).accesses >> np.uint64(8)).tolist() == [5]
    assert main([*words, "--samples", "20", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accesses"] == 1
    for wrong, said in (
        (["--damo", damo, "--seconds", "1"], "--damo goes with --import"),
        (["--import", trace, "--access"], "--import takes --damo"),
        (["--import", trace, "--samples", "3"], "--samples goes with --damo"),
    ):
        assert main(["record", *wrong]) == 1
        assert said in capsys.readouterr().err
