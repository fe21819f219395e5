# SPDX-License-Identifier: MIT
"""Cores with a fault, built from copies of src_c, and the table of guarantees that each gives.

A faulty core is a libpgste.so of its own.  A new Python finds it before the package's (the
loader looks into LD_LIBRARY_PATH first), so the whole package runs on it, and its table is
compared cell by cell with that of the sound core.  Only what a fault touches is compiled again.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "src_c"
CC = os.environ.get("CC", "cc").split()
FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-fPIC", "-fvisibility=hidden", "-pthread", "-MMD"]
SECONDS = 300  # a fault may make the core go round in circles

Table = dict[str, dict[str, str]]  # mechanism, question: the cell


class Cores:
    """Objects of the sound core, and what is built with some of them replaced."""

    def __init__(self, folder: Path, optimised: str = "-O1") -> None:
        self.folder, self.compile = folder, [*CC, *FLAGS, optimised, "-c"]
        self.objects = {
            source: folder / f"{source.parent.name}-{source.stem}.o"
            for source in sorted(CORE.glob("*/*.c"))
        }
        for source, made in self.objects.items():
            _run(*self.compile, f"-I{CORE}", str(source), "-o", str(made))
        self.sound = self._link("sound", self.objects.values())

    def faulty(self, name: str, file: str, old: str, new: str) -> Path:
        """The folder of a libpgste.so in which `file` says `new` where it says `old`, once."""
        copy = self.folder / name / "src_c"
        shutil.copytree(CORE, copy)
        text = (copy / file).read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{file} says {text.count(old)} times: {old}"
        (copy / file).write_text(text.replace(old, new), encoding="utf-8")
        objects = []
        for source, made in self.objects.items():
            if CORE / file in _needs(made):
                made = copy.parent / made.name
                again = str(copy / source.relative_to(CORE))
                _run(*self.compile, f"-I{copy}", again, "-o", str(made))
            objects.append(made)
        folder = self._link(name, objects)
        shutil.rmtree(copy)
        return folder

    def _link(self, name: str, objects: object) -> Path:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        names = [str(made) for made in objects]  # type: ignore[attr-defined]
        _run(*CC, "-shared", "-pthread", *names, "-o", str(folder / "libpgste.so"))
        return folder


def _needs(made: Path) -> set[Path]:
    """What an object was compiled from, by the rule that the compiler wrote."""
    rule = made.with_suffix(".d").read_text().replace("\\\n", " ")
    return {Path(name).resolve() for name in rule.split(":", 1)[1].split()}


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def table(
    library: Path, mechanisms: Sequence[str], systems: Sequence[tuple[int | bool | None, ...]]
) -> Table | str:
    """The cells that the core of a folder gives, or in a word why it gives none."""
    call = [sys.executable, __file__, json.dumps((list(mechanisms), list(systems)))]
    where = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environ = {**os.environ, "LD_LIBRARY_PATH": str(library), "PYTHONPATH": where}
    try:
        done = subprocess.run(
            call, env=environ, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return "hangs"
    if done.returncode:
        return "crashes" if done.returncode < 0 else done.stderr.strip().splitlines()[-1]
    found, used = json.loads(done.stdout)
    assert Path(used) == library / "libpgste.so", f"the core was not replaced, but {used}"
    return {mechanism: dict(cells) for mechanism, cells in found.items()}


def validated(library: Path, mechanism: str, generation: str, shape: Sequence[int]) -> str:
    """What a search says that has the core look at itself after every action: "sound", or why."""
    script = (
        "import sys\n"
        "from pgste._engine.search import search\n"
        "mechanism, generation, *shape = sys.argv[1:]\n"
        "search(mechanism, generation, '7.2', 'referenced', 'none', (), False, 'madv_dontneed',\n"
        "       False, *map(int, shape), 1, False, 1_000_000, validated=True)\n"
    )
    where = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", script, mechanism, generation, *map(str, shape)],
        env={**os.environ, "LD_LIBRARY_PATH": str(library), "PYTHONPATH": where},
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    return "sound" if not done.returncode else done.stderr.strip().splitlines()[-1]


def difference(sound: Table, faulty: Table, answers: bool = False) -> Table:
    """The cells that differ, as "before -> after"; with `answers` by their answers alone."""

    def told(cell: str) -> str:
        return re.split(r"[ ,]", cell)[0] if answers else cell

    found: Table = {}
    for mechanism, cells in faulty.items():
        for question, cell in cells.items():
            before, after = told(sound[mechanism][question]), told(cell)
            if before != after:
                found.setdefault(mechanism, {})[question] = f"{before} -> {after}"
    return found


def loaded() -> str:
    """The libpgste.so that this process has."""
    maps = Path("/proc/self/maps").read_text()
    found = re.search(r"\s(/\S*libpgste\.so)", maps)
    return found[1] if found else ""


def _main() -> None:
    from pgste.guarantees import System, cell_text, guarantees

    mechanisms, systems = json.loads(sys.argv[1])
    result = guarantees(mechanisms, [System(*shape) for shape in systems], threads=1)
    found: Table = {mechanism: {} for mechanism in mechanisms}
    for (mechanism, question), cell in result.cells.items():
        found[mechanism][question] = cell_text(cell)
    print(json.dumps((found, loaded())))


if __name__ == "__main__":
    _main()
