# SPDX-License-Identifier: MIT
"""Build script: the C core becomes libpgste.so inside the package, beside the extensions that
use it; metadata is in pyproject.toml.

Cython translates in this process while C compilers run beside it, as many as there are CPUs; the
result is stripped.  What is done why: docs/architecture.md, "How it is built".  The environment
variable PGSTE_CFLAGS adds flags for the compiler and the linker; then nothing is stripped, and the
core is compiled file by file, as in
``PGSTE_CFLAGS="-g -fsanitize=address,undefined" python setup.py build_ext --inplace``.
"""

from __future__ import annotations

import gc
import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.modified import newer_group

SOURCES = sorted(glob("src_c/**/*.c", recursive=True))
HEADERS = sorted(glob("src_c/**/*.h", recursive=True))
PUBLIC_HEADERS = ["src_c/pgste.h", *sorted(glob("src_c/pgste/*.h"))]
LIBRARY = "libpgste.so"
BUILD_INFO = "_build.json"
MACROS = [("_GNU_SOURCE", "1")]

EXTRA = shlex.split(os.environ.get("PGSTE_CFLAGS", ""))
COMMON = ["-std=c11", "-fvisibility=hidden", "-pthread", "-g0"]
# A loop that lies badly across lines of 32 bytes is up to a fifth slower, by any change before it.
CORE_CFLAGS = [*COMMON, "-O3", "-falign-loops=32", *EXTRA]
# Rooms that call one another for every page become one unit, so that the compiler inlines across
# them and reads the headers once.  The kernels of CPUs have the same names, each in its file.
UNIT_ROOMS = ("base", "host", "memory", "guest", "mech", "replay", "search")
UNIT = [] if EXTRA else [src for src in SOURCES if src.split(os.sep)[1] in UNIT_ROOMS]
# Link-time optimisation on top makes ESSA on random gfns 12 to 18 % slower, free and alloc 12 %.
# The binding only hands arguments on: -Og compiles in half the time.  Calls for one page pass
# through the hot modules, which are 15 to 20 % slower by it.  Warnings of code that Cython wrote
# help no one, and to look for them takes time (distributions build with -Wall).
BINDING_CFLAGS = [*COMMON, "-Og", "-w", *EXTRA]
HOT = [
    f"pgste._engine.{name}"
    for name in ("arguments", "guest", "host", "member", "pagetable", "unit")
]
HOT_CFLAGS = [*COMMON, "-O1", "-w", *EXTRA]
# Calls that are rare, or long within the core.
COLD = [
    f"pgste._engine.{name}"
    for name in ("curve", "footprint", "live", "replay", "reporting", "search", "trace")
]
COLD_CFLAGS = [*COMMON, "-O0", "-w", *EXTRA]
LDFLAGS = ["-pthread", *(EXTRA or ["-s"])]
DIRECTIVES = {
    "language_level": 3,
    "embedsignature": True,
    "embedsignature.format": "clinic",  # what inspect.signature reads
    "binding": False,  # methods are as CPython's own: less code, and faster to call
    "auto_pickle": False,
    "autotestdict": False,
    "show_performance_hints": False,
}


class BuildExtensions(build_ext):
    """Builds the C core too: extensions link to it, and so can the programs of others."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or len(os.sched_getaffinity(0))

    def build_extensions(self) -> None:
        info = self._build_info()
        info_file = Path(self._built(BUILD_INFO))
        if not info_file.exists() or info_file.read_text() != info:
            self.force = True  # built with other flags or by another compiler, or never

        with ThreadPoolExecutor(self.parallel) as pool:
            core = []
            if self.force or newer_group([*SOURCES, *HEADERS, __file__], self._built(LIBRARY)):
                core = [pool.submit(self._compiled, *job) for job in self._core_jobs()]
            binding = [
                (ext, pool.submit(self._compiled_binding, ext)) for ext in self._translated()
            ]
            if core:
                self._link_core([made.result() for made in core])
            for ext, made in binding:
                ext.sources, ext.extra_objects = [], [made.result()]
                ext.depends = [*ext.depends, made.result()]
        super().build_extensions()  # there is nothing left to do but to link
        info_file.write_text(info)

    def _translated(self) -> Iterator[Extension]:
        """Each extension once it is C: in this process, as a further one takes long to start."""
        from Cython.Build import cythonize

        def length(ext: Extension) -> int:
            return os.path.getsize(ext.sources[0])

        gc.disable()  # it would look through Cython's trees time and again: 40 % more work
        try:
            # the longest first, so that no CPU is left with one of these at the end
            for ext in sorted(self.extensions, key=length, reverse=True):
                [in_c] = cythonize(
                    [ext],
                    force=self.force or None,
                    compiler_directives=DIRECTIVES,
                )
                ext.sources = in_c.sources
                ext.library_dirs.append(os.path.dirname(self._built(LIBRARY)))
                yield ext
        finally:
            gc.enable()

    def copy_extensions_to_source(self) -> None:
        super().copy_extensions_to_source()
        for name in (LIBRARY, BUILD_INFO):
            self.copy_file(self._built(name), os.path.join("pgste", name))

    def get_outputs(self) -> list[str]:
        return [*super().get_outputs(), self._built(LIBRARY), self._built(BUILD_INFO)]

    def _built(self, name: str) -> str:
        return os.path.join(self.build_lib, "pgste", name)

    def _core_jobs(self) -> list[tuple[str, list[str]]]:
        """What is compiled of the core, with which flags; the longest first."""
        if EXTRA:
            return [(source, CORE_CFLAGS) for source in SOURCES]
        unit = os.path.join(self.build_temp, "core.c")
        self.mkpath(self.build_temp)
        Path(unit).write_text(
            "".join(f'#include "{os.path.relpath(source, "src_c")}"\n' for source in UNIT)
        )
        others = [(source, CORE_CFLAGS) for source in SOURCES if source not in UNIT]
        return [(unit, CORE_CFLAGS), *others]

    def _compiled(self, source: str, flags: list[str]) -> str:
        [made] = self.compiler.compile(
            [source],
            output_dir=os.path.join(self.build_temp, "core"),
            macros=MACROS,
            include_dirs=["src_c"],
            extra_postargs=flags,
        )
        return str(made)

    def _compiled_binding(self, ext: Extension) -> str:
        [made] = self.compiler.object_filenames(ext.sources, output_dir=self.build_temp)
        if self.force or newer_group([*ext.sources, *ext.depends, __file__], made):
            self.compiler.compile(
                ext.sources,
                output_dir=self.build_temp,
                macros=ext.define_macros,
                include_dirs=ext.include_dirs,
                extra_postargs=ext.extra_compile_args,
            )
        return str(made)

    def _link_core(self, objects: list[str]) -> None:
        self.compiler.link_shared_object(
            objects,
            self._built(LIBRARY),
            extra_postargs=[*LDFLAGS, f"-Wl,-soname,{LIBRARY}"],
            build_temp=self.build_temp,
        )

    def _build_info(self) -> str:
        """Which compiler builds this, and with which flags, as JSON."""
        compiler = self.compiler.compiler_so
        version = subprocess.check_output([compiler[0], "--version"], text=True)
        return json.dumps(
            {
                "Cython": DIRECTIVES,
                "compiler": version.splitlines()[0],
                "core": shlex.join([*compiler[1:], *CORE_CFLAGS]),
                "binding": shlex.join([*compiler[1:], *BINDING_CFLAGS]),
                "hot binding": shlex.join([*compiler[1:], *HOT_CFLAGS]),
                "cold binding": shlex.join([*compiler[1:], *COLD_CFLAGS]),
            },
            indent=1,
        )


class BuildPackage(build_py):
    """Puts the public headers into the package that is built, where get_include() finds them."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for header, target in self._included():
                self.mkpath(os.path.dirname(target))
                self.copy_file(header, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        outputs: list[str] = super().get_outputs(include_bytecode)
        if self.editable_mode:
            return outputs
        return [*outputs, *(target for _, target in self._included())]

    def _included(self) -> list[tuple[str, str]]:
        folder = os.path.join(self.build_lib, "pgste", "include")
        return [
            (header, os.path.join(folder, os.path.relpath(header, "src_c")))
            for header in PUBLIC_HEADERS
        ]


def binding_cflags(module: str) -> list[str]:
    if module in COLD:
        return COLD_CFLAGS
    return HOT_CFLAGS if module in HOT else BINDING_CFLAGS


def extension(source: str) -> Extension:
    module = os.path.splitext(source)[0].replace(os.sep, ".")
    above = "/.." * (module.count(".") - 1)  # to the folder of the library
    return Extension(
        module,
        [source],
        include_dirs=["src_c"],
        libraries=["pgste"],
        runtime_library_dirs=[f"$ORIGIN{above}"],
        depends=[*PUBLIC_HEADERS, *glob("pgste/**/*.pxd", recursive=True)],
        define_macros=MACROS,
        extra_compile_args=binding_cflags(module),
        extra_link_args=LDFLAGS,
    )


def version() -> str:
    """The version that the C core tells (PGSTE_VERSION): the only place where it stands."""
    for header in PUBLIC_HEADERS:
        if found := re.search(r'^#define PGSTE_VERSION "(.+)"', Path(header).read_text(), re.M):
            return found[1]
    raise RuntimeError("no public header defines PGSTE_VERSION")


# Cython translates in processes of its own, which may import this file.
if __name__ == "__main__":
    setup(
        version=version(),
        cmdclass={"build_ext": BuildExtensions, "build_py": BuildPackage},
        ext_modules=[extension(source) for source in glob("pgste/**/*.pyx", recursive=True)],
    )
