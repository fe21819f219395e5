# SPDX-License-Identifier: MIT
"""Cython and C code of others: cimport, pgste.h, libpgste.so."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType

import pytest

import pgste

SETUP = """
from Cython.Build import cythonize
from setuptools import Extension, setup
import pgste

setup(
    name="outside",
    ext_modules=cythonize(
        Extension(
            "outside",
            ["outside.pyx"],
            include_dirs=[pgste.get_include()],
            libraries=["pgste"],
            library_dirs=[pgste.get_library()],
            runtime_library_dirs=[pgste.get_library()],
        )
    ),
)
"""


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    folder = tmp_path_factory.mktemp("outside")
    shutil.copy(Path(__file__).parent / "outside.pyx", folder)
    (folder / "setup.py").write_text(SETUP)
    where = str(Path(pgste.__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, [where, os.environ.get("PYTHONPATH")]))
    built = subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--inplace"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (library,) = folder.glob("outside*.so")
    spec = importlib.util.spec_from_file_location("outside", library)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_loop_of_others_drives_a_guest(outside: ModuleType) -> None:
    guest = pgste.Guest(1000)
    assert outside.free_every_other_page(guest, 1000) == 500 * 2  # preserved, stable
    assert outside.unused_zero(guest) == 500
    assert guest.stats()["essa"] == 500
    assert guest.cbrl().tolist() == list(range(0, 1000, 2))
    with pytest.raises(RuntimeError, match=r"."):
        outside.free_every_other_page(guest, 1002)
    assert outside.free_range(guest, 10, 20) == 0
    assert guest.is_free(range(9, 31)).tolist() == [False, *[True] * 20, False]
    assert outside.free_range(guest, 990, 20) == -3
    guest.host.validate()


def test_the_checks_of_the_binding_hold_for_others_too(outside: ModuleType) -> None:
    guest = pgste.Guest(10)
    guest.close()
    with pytest.raises(pgste.GuestClosedError):
        outside.free_every_other_page(guest, 10)
    with pytest.raises(TypeError):
        outside.unused_zero(guest.host)


def test_numbers_of_the_header(outside: ModuleType) -> None:
    facts = outside.facts(pgste.Host(123, 0))
    assert facts["event"] == 77 << 8 | 3 << 2 | 1
    assert (facts["order"], facts["pfn"], facts["frames"]) == (3, 77, 123)
    assert facts["zero"] == int(pgste.PgsteBits.ZERO)
    assert facts["content"] == pgste.Content.ZERO
    # On any 64-bit Linux: 4 (8) + 8 + 8 + 8; 4 (8) + 4 * 8 + 4 + 1 + 1 + 2 + 1 + 1 (8);
    # 8 + 4 (8) + 8 + 2 * 4 + 4 + 4 + 4 + 4 + 8 + 4 + 5 * 1 (16).
    assert facts["sizes"] == (32, 56, 72)


def test_a_c_program_links_to_the_library(tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler on this machine")
    source = tmp_path / "program.c"
    source.write_text(
        textwrap.dedent(
            """
            #include <pgste.h>
            #include <stdio.h>

            int main(void)
            {
                struct pgste_host_config host_config = { .nr_frames = 8, .nr_swap_slots = 8 };
                struct pgste_guest_config config = {
                    .nr_pages = 8, .mechanism = "cmma", .nr_vcpus = 1, .cbrl_entries = 511,
                };
                struct pgste_host *host;
                struct pgste_guest *guest;

                pgste_host_defaults(&host_config);
                if (pgste_host_new(&host_config, &host) || pgste_guest_new(host, &config, &guest))
                    return 1;
                printf("%d ", pgste_essa_page(guest, 0, PGSTE_ORC_SET_UNUSED, 3));
                printf("%d\\n", pgste_essa_page(guest, 0, PGSTE_ORC_GET_STATE, 3));
                pgste_guest_free(guest);
                return pgste_host_free(host);
            }
            """
        )
    )
    program = tmp_path / "program"
    subprocess.run(
        [
            compiler,
            *("-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{pgste.get_include()}"),
            str(source),
            *(f"-L{pgste.get_library()}", f"-Wl,-rpath,{pgste.get_library()}", "-lpgste"),
            *("-o", str(program)),
        ],
        check=True,
        timeout=60,
    )
    done = subprocess.run([program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "2 7\n"


def test_the_library_exports_the_header_and_nothing_else() -> None:
    library = Path(pgste.get_library()) / "libpgste.so"
    assert ctypes.CDLL(str(library)).pgste_pgm_code(-13) == 5
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("no nm on this machine")
    listed = subprocess.run(
        [nm, "-D", "--defined-only", library], capture_output=True, text=True, check=True
    )
    names = {line.split()[-1] for line in listed.stdout.splitlines()}
    assert {name for name in names if not name.startswith("pgste_")} == set()
    header = "".join(path.read_text() for path in Path(pgste.get_include()).glob("pgste/*.h"))
    assert {name for name in names if f"{name}(" not in header} == set()
