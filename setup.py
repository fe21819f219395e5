# SPDX-License-Identifier: MIT
"""Build script: the C core becomes libpgste.so inside the package, beside the extensions that
use it; metadata is in pyproject.toml.

Compilers run in parallel, and the result is stripped.  The environment variable PGSTE_CFLAGS adds
flags for the compiler and the linker, and then nothing is stripped, as in
``PGSTE_CFLAGS="-g -fsanitize=address,undefined" python setup.py build_ext --inplace``.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
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
SHARED = "pgste._engine._cyutility"  # what Cython would otherwise put into every module

EXTRA = shlex.split(os.environ.get("PGSTE_CFLAGS", ""))
COMMON = ["-std=c11", "-fvisibility=hidden", "-pthread", "-g0"]
# No link-time optimisation: measured, the search for guarantees gets 10 to 15 % slower by it.
CORE_CFLAGS = [*COMMON, "-O3", *EXTRA]
# The binding only hands arguments on: -Og compiles in half the time.  Calls for one page pass
# through these modules, which have -O2 and their own copy of Cython's helpers: else 4 % slower.
BINDING_CFLAGS = [*COMMON, "-Og", *EXTRA]
HOT = [f"pgste._engine.{name}" for name in ("arguments", "gfns", "guest", "host", "member", "unit")]
HOT_CFLAGS = [*COMMON, "-O2", *EXTRA]
LDFLAGS = ["-pthread", *(EXTRA or ["-s"])]
DIRECTIVES = {
    "language_level": 3,
    "embedsignature": True,
    "binding": True,
    "auto_pickle": False,
    "autotestdict": False,
    "show_performance_hints": False,
}


class BuildExtensions(build_ext):
    """Builds the C core first: extensions link to it, and so can the programs of others."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or len(os.sched_getaffinity(0))

    def build_extensions(self) -> None:
        import numpy
        from Cython.Build import cythonize

        info = self._build_info()
        info_file = Path(self._built(BUILD_INFO))
        if not info_file.exists() or info_file.read_text() != info:
            self.force = True  # built with other flags or by another compiler, or never

        # Cython works in this process only, as each further one takes half a second to start;
        # meanwhile the C compiler is at the core.
        with ThreadPoolExecutor(self.parallel) as pool:
            objects = None
            if self.force or newer_group([*SOURCES, *HEADERS, __file__], self._built(LIBRARY)):
                objects = [pool.submit(self._compiled, source) for source in SOURCES]
            for hot, helpers in ((True, None), (False, SHARED)):
                extensions = [ext for ext in self.extensions if (ext.name in HOT) == hot]
                translated = cythonize(
                    extensions,
                    shared_utility_qualified_name=helpers,
                    compiler_directives=DIRECTIVES,
                )
                for ext, in_c in zip(extensions, translated, strict=True):
                    ext.sources = in_c.sources
                    ext.include_dirs.append(numpy.get_include())
                    ext.library_dirs.append(os.path.dirname(self._built(LIBRARY)))
            if objects:
                self._link_core([name for names in objects for name in names.result()])
        # the longest first, so that no core is left with one of these at the end
        self.extensions.sort(key=lambda ext: os.path.getsize(ext.sources[0]), reverse=True)
        super().build_extensions()
        info_file.write_text(info)

    def copy_extensions_to_source(self) -> None:
        super().copy_extensions_to_source()
        for name in (LIBRARY, BUILD_INFO):
            self.copy_file(self._built(name), os.path.join("pgste", name))

    def get_outputs(self) -> list[str]:
        return [*super().get_outputs(), self._built(LIBRARY), self._built(BUILD_INFO)]

    def _built(self, name: str) -> str:
        return os.path.join(self.build_lib, "pgste", name)

    def _compiled(self, source: str) -> list[str]:
        objects: list[str] = self.compiler.compile(
            [source],
            output_dir=os.path.join(self.build_temp, "core"),
            macros=MACROS,
            include_dirs=["src_c"],
            extra_postargs=CORE_CFLAGS,
        )
        return objects

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
        version = subprocess.run(
            [compiler[0], "--version"], capture_output=True, text=True, check=True
        ).stdout.splitlines()[0]
        return json.dumps(
            {
                "compiler": version,
                "core": shlex.join([*compiler[1:], *CORE_CFLAGS]),
                "binding": shlex.join([*compiler[1:], *BINDING_CFLAGS]),
                "hot binding": shlex.join([*compiler[1:], *HOT_CFLAGS]),
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
        define_macros=[*MACROS, ("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        extra_compile_args=HOT_CFLAGS if module in HOT else BINDING_CFLAGS,
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
    shared = SHARED.replace(".", os.sep) + ".c"
    setup(
        version=version(),
        cmdclass={"build_ext": BuildExtensions, "build_py": BuildPackage},
        ext_modules=[
            extension(source)
            for source in [*sorted(glob("pgste/**/*.pyx", recursive=True)), shared]
        ],
    )
