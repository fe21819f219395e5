"""Builds tests/c/*_trace.c with the address and undefined-behaviour sanitizers and runs them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TRACES = ROOT / "tests" / "golden" / "traces"
CC = os.environ.get("CC", "cc").split()


def build(program: str, folder: Path) -> Path:
    if shutil.which(CC[0]) is None:
        pytest.skip(f"no C compiler {CC[0]!r}")
    flags = ["-std=c11", "-D_GNU_SOURCE", "-g", "-O1", "-Wall", "-Wextra", "-Wconversion"]
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    probe = folder / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    command = [*CC, *sanitizers, str(probe), "-o", str(folder / "probe")]
    if subprocess.run(command, check=False).returncode:
        pytest.skip(f"{CC[0]!r} has no sanitizers")
    sources = [
        ROOT / "tests" / "c" / f"{program}.c",
        ROOT / "src_c" / "base" / "table.c",
        ROOT / "src_c" / "base" / "watch.c",
        *sorted(ROOT.glob("src_c/trace/*.c")),
    ]
    options = [*CC, *flags, "-Werror", *sanitizers, f"-I{ROOT / 'src_c'}"]
    subprocess.run([*options, *sources, "-o", folder / program], check=True)
    return folder / program


@pytest.mark.parametrize("program", ["test_trace", "test_trace_ring", "test_trace_summary"])
def test_c(tmp_path: Path, program: str) -> None:
    subprocess.run([build(program, tmp_path)], check=True)


def test_fuzz(tmp_path: Path) -> None:
    program = build("fuzz_trace", tmp_path)
    files = [*sorted(TRACES.glob("cut.*")), TRACES / "small.trace.dat"]
    subprocess.run([program, "4000", *files], check=True)
