# SPDX-License-Identifier: MIT
"""Builds and loads the C loops that benchmarks are held against (c/*.c, c/_limits.pyx)."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from functools import cache
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pgste

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "benchmarks"
CFLAGS = ["-std=c11", "-O3", "-fvisibility=hidden", "-pthread"]  # as setup.py has them


@cache
def load() -> ModuleType:
    """The extension module, built when its sources are newer."""
    path = _build()
    spec = spec_from_file_location("_limits", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _build() -> Path:
    # by name: what these have of types depends on the version
    setuptools: Any = import_module("setuptools")
    cython: Any = import_module("Cython.Build")

    here = ROOT / "benchmarks" / "c"
    package = str(Path(pgste.__file__).parent)
    flags = shlex.split(os.environ.get("PGSTE_CFLAGS", ""))
    extension = setuptools.Extension(
        "_limits",
        [os.path.relpath(here / name) for name in ("_limits.pyx", "bare.c", "visits.c")],
        include_dirs=[pgste.get_include(), str(here)],
        libraries=["pgste"],
        library_dirs=[package],
        runtime_library_dirs=[package],
        depends=[str(here / "bare.h"), f"{pgste.get_include()}/pgste.h"],
        define_macros=[("_GNU_SOURCE", "1")],
        extra_compile_args=[*CFLAGS, *flags],
        extra_link_args=["-pthread", *flags],
    )
    modules = cython.cythonize(
        [extension],
        build_dir=str(BUILD),
        quiet=True,
        compiler_directives={"language_level": 3, "boundscheck": False, "wraparound": False},
    )
    distribution = setuptools.Distribution({"ext_modules": modules, "script_name": "setup.py"})
    command = distribution.get_command_obj("build_ext")
    command.build_lib = str(BUILD)
    command.build_temp = str(BUILD / "objects")
    command.ensure_finalized()
    command.run()
    return Path(command.get_ext_fullpath("_limits"))


@cache
def build_facts() -> dict[str, str]:
    """What compiled the package that is measured, and on what it runs."""
    built = json.loads(Path(pgste.__file__).with_name("_build.json").read_text())
    return {
        "compiler": built["compiler"],
        "flags": built["core"],
        "isa": pgste.isa_name(),
        "machine": cpu_name(),
        "python": sys.version.split()[0],
    }


def cpu_name() -> str:
    """Model of the CPU and number of cores."""
    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    return f"{name}, {os.cpu_count()} cores"
