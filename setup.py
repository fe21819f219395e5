# SPDX-License-Identifier: MIT
"""Build script: the C core becomes libpgste.so inside the package, beside the extensions that
use it; metadata is in pyproject.toml.

The environment variable PGSTE_CFLAGS adds flags for the compiler and the linker, as in
``PGSTE_CFLAGS="-fsanitize=address,undefined" python setup.py build_ext --inplace``.
"""

from __future__ import annotations

import os
import re
import shlex
from glob import glob
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.modified import newer_group

SOURCES = sorted(glob("src_c/**/*.c", recursive=True))
HEADERS = sorted(glob("src_c/**/*.h", recursive=True))
PUBLIC_HEADERS = ["src_c/pgste.h", *sorted(glob("src_c/pgste/*.h"))]
LIBRARY = "libpgste.so"
MACROS = [("_GNU_SOURCE", "1")]
EXTRA = shlex.split(os.environ.get("PGSTE_CFLAGS", ""))
CFLAGS = ["-std=c11", "-O3", "-fvisibility=hidden", "-pthread", *EXTRA]
LDFLAGS = ["-pthread", *EXTRA]


class BuildExtensions(build_ext):
    """Builds the C core first: extensions link to it, and so can the programs of others."""

    def build_extensions(self) -> None:
        if self.force or newer_group([*SOURCES, *HEADERS, __file__], self._library()):
            objects = self.compiler.compile(
                SOURCES,
                output_dir=os.path.join(self.build_temp, "core"),
                macros=MACROS,
                include_dirs=["src_c"],
                extra_postargs=CFLAGS,
            )
            self.compiler.link_shared_object(
                objects,
                self._library(),
                extra_postargs=[*LDFLAGS, f"-Wl,-soname,{LIBRARY}"],
                build_temp=self.build_temp,
            )
        for ext in self.extensions:
            ext.library_dirs.append(os.path.dirname(self._library()))
        super().build_extensions()

    def copy_extensions_to_source(self) -> None:
        super().copy_extensions_to_source()
        self.copy_file(self._library(), os.path.join("pgste", LIBRARY))

    def get_outputs(self) -> list[str]:
        return [*super().get_outputs(), self._library()]

    def _library(self) -> str:
        return os.path.join(self.build_lib, "pgste", LIBRARY)


class BuildPackage(build_py):
    """Puts the public headers into the package that is built, where get_include() finds them."""

    def run(self) -> None:
        super().run()
        for source, target in self._headers().items():
            self.mkpath(os.path.dirname(target))
            self.copy_file(source, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        outputs: list[str] = super().get_outputs(include_bytecode)
        return [*outputs, *self._headers().values()]

    def _headers(self) -> dict[str, str]:
        """Where each goes; an editable install has them in src_c."""
        include = os.path.join(self.build_lib, "pgste", "include")
        headers = [] if self.editable_mode else PUBLIC_HEADERS
        return {path: os.path.join(include, os.path.relpath(path, "src_c")) for path in headers}


def extension(source: str) -> Extension:
    module = source.removesuffix(".pyx").replace(os.sep, ".")
    above = "/.." * (module.count(".") - 1)  # to the folder of the library
    return Extension(
        module,
        [source],
        include_dirs=["src_c", numpy.get_include()],
        libraries=["pgste"],
        runtime_library_dirs=[f"$ORIGIN{above}"],
        depends=[*PUBLIC_HEADERS, *glob("pgste/**/*.pxd", recursive=True)],
        define_macros=[*MACROS, ("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        extra_compile_args=CFLAGS,
        extra_link_args=LDFLAGS,
    )


def version() -> str:
    """The version that the C core tells (PGSTE_VERSION): the only place where it stands."""
    for header in PUBLIC_HEADERS:
        if found := re.search(r'^#define PGSTE_VERSION "(.+)"', Path(header).read_text(), re.M):
            return found[1]
    raise RuntimeError("no public header defines PGSTE_VERSION")


setup(
    version=version(),
    cmdclass={"build_ext": BuildExtensions, "build_py": BuildPackage},
    ext_modules=cythonize(
        [extension(path) for path in sorted(glob("pgste/**/*.pyx", recursive=True))],
        compiler_directives={"language_level": 3, "embedsignature": True, "binding": True},
    ),
)
