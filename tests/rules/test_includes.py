# SPDX-License-Identifier: MIT
"""Who may include and call whom in src_c: docs/architecture.md in words, here as a rule."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

CORE = Path(__file__).parents[2] / "src_c"

#: Each room and the rooms it may use.  Public headers (pgste/) are open to every room.
ALLOWED = {
    "pgste": set[str](),
    "base": set[str](),
    "scan": {"base"},
    "host": {"base"},
    "memory": {"base", "host"},
    "guest": {"base", "scan", "host", "memory"},
    "mech": {"base", "scan", "host", "memory", "guest"},
    "trace": {"base"},
    "curve": {"base"},
    "footprint": {"base", "scan", "host", "memory", "guest", "mech"},
    "replay": {"base", "scan", "host", "memory", "guest", "mech", "trace"},
    "search": {"base", "scan", "host", "memory", "guest", "mech"},
    "live": {"base"},
}

pytestmark = pytest.mark.skipif(not CORE.is_dir(), reason="no sources beside the tests")


def room(path: Path) -> str:
    return path.relative_to(CORE).parts[0]


def files(pattern: str = "*.[ch]") -> list[Path]:
    return sorted(CORE.glob(f"*/{pattern}"))


def includes(path: Path) -> Iterator[Path]:
    for name in re.findall(r'^\s*#\s*include\s+"(.+)"', path.read_text(), re.MULTILINE):
        beside = path.parent / name
        yield beside if beside.is_file() else CORE / name


def assert_no_circle(uses: Mapping[Path, set[Path]]) -> None:
    try:
        TopologicalSorter(uses).prepare()
    except CycleError as error:
        circle = " -> ".join(str(path.relative_to(CORE)) for path in error.args[1])
        pytest.fail(f"a circle of files: {circle}")


def test_every_room_is_in_the_table() -> None:
    assert {room(path) for path in files()} == set(ALLOWED)
    assert [path.name for path in CORE.glob("*.[ch]")] == ["pgste.h"]


def test_includes_go_down() -> None:
    uses = {path: set(includes(path)) for path in files()}
    assert len(uses) > 50
    for path, used in uses.items():
        for other in used:
            assert other.is_file(), f"{path} includes {other}"
            allowed = ALLOWED[room(path)] | {"pgste", room(path)}
            assert room(other) in allowed, f"{path} includes {other}"
    assert_no_circle(uses)


@pytest.fixture(scope="module")
def symbols(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, tuple[set[str], set[str]]]:
    """What each C file defines, and what it needs of others."""
    compiler, nm = shutil.which("cc"), shutil.which("nm")
    if compiler is None or nm is None:
        pytest.skip("no C compiler, or no nm")
    folder = tmp_path_factory.mktemp("objects")

    def of(path: Path) -> tuple[set[str], set[str]]:
        made = folder / f"{room(path)}-{path.stem}.o"
        flags = ["-std=c11", "-D_GNU_SOURCE", "-O1", f"-I{CORE}"]
        subprocess.run([compiler, *flags, "-c", str(path), "-o", str(made)], check=True)
        lines = subprocess.run([nm, made], check=True, capture_output=True, text=True).stdout
        found = [line.split()[-2:] for line in lines.splitlines()]
        return (
            {name for kind, name in found if kind.isupper() and kind != "U"},
            {name for kind, name in found if kind == "U"},
        )

    sources = files("*.c")
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(sources, pool.map(of, sources), strict=True))


def test_calls_go_down(symbols: dict[Path, tuple[set[str], set[str]]]) -> None:
    home = {name: path for path, (defined, _) in symbols.items() for name in defined}
    uses = {
        path: {home[name] for name in needed if name in home}
        for path, (_, needed) in symbols.items()
    }
    assert sum(map(len, uses.values())) > 50
    for path, used in uses.items():
        for other in used:
            assert room(other) in ALLOWED[room(path)] | {room(path)}, f"{path} uses {other}"
    assert_no_circle(uses)


def test_rooms_that_are_one_unit_have_no_name_twice() -> None:
    """setup.py compiles these rooms as one file: static names and macros must not meet."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    listed = re.search(r"^UNIT_ROOMS = \((.+)\)$", (CORE.parent / "setup.py").read_text(), re.M)
    assert listed
    rooms = re.findall(r'"(\w+)"', listed[1])
    assert set(rooms) < set(ALLOWED)
    unit = "".join(f'#include "{path}"\n' for path in files("*.c") if room(path) in rooms)
    assert unit.count("\n") > 40
    flags = ["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Werror", f"-I{CORE}", "-fsyntax-only"]
    done = subprocess.run(
        [compiler, *flags, "-x", "c", "-"], input=unit, capture_output=True, text=True
    )
    assert done.stderr == ""
    assert done.returncode == 0


#: Files that write a PTE, or a state byte, and what of it; nobody else does.
PTE_WRITERS = {
    "memory/pte.c": "how a PTE changes",
    "memory/store.h": "the same",
    "memory/pte_load.c": "which PTEs are foreign",
    "memory/move.c": "pages of a memory slot that moves",
    "memory/undo.c": "what a failed call changed is put back",
    "search/system.c": "a state that was searched before is put back",
}
STATE_WRITERS = {
    **{path: what for path, what in PTE_WRITERS.items() if path != "memory/pte_load.c"},
    "memory/key.c": "GC, a part of the storage key",
    "memory/pte_pgtable.c": "ZERO, where a PTE is set",
    "memory/pte_dat.c": "ZERO, where a guest's PTE is exchanged",
    "guest/cmma.c": "USAGE and NODAT at a reset, DIRTY in migration mode",
    "guest/slots.c": "PGSTEs of a memory slot that goes",
    "guest/essa.c": "ESSA: USAGE, NODAT, ZERO, DIRTY",
    "guest/essa.h": "the same",
    "guest/word.c": "PGSTEs that a user loads",
    "guest/zvm.c": "USAGE of evicted pages of z/VM, and GC",
    "memory/memory.h": "pte_claim: SWAP and VALID",
}


@pytest.mark.parametrize(("table", "writers"), [("pte", PTE_WRITERS), ("state", STATE_WRITERS)])
def test_writers(table: str, writers: dict[str, str]) -> None:
    """memory/ is the only writer of PTEs, and guest/ of USAGE, but for putting states back."""
    place = rf"\bmm(?:\.|->){table}\[[^]]*\]"
    stored = re.compile(rf"{place} [|&]?= |__atomic_(?:store|compare_exchange)_n\(&.*{place}")
    found = {str(path.relative_to(CORE)) for path in files() if stored.search(path.read_text())}
    # through pointers, which no pattern finds: the loops of ESSA, and pgste_set_changed
    # search/image.c copies whole tables of a state that was searched before
    pointers = {"guest/essa.c", "guest/zvm.c"} if table == "state" else set()
    assert found | pointers == set(writers)
