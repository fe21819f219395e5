# SPDX-License-Identifier: MIT
"""Build script: the C core is compiled into each extension; metadata is in pyproject.toml.

The environment variable PGSTE_CFLAGS adds flags for the compiler and the linker, as in
``PGSTE_CFLAGS="-fsanitize=address,undefined" python setup.py build_ext --inplace``.
"""

from __future__ import annotations

import os
import shlex
from glob import glob

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_py import build_py

SOURCES = sorted(glob("src_c/*.c"))
HEADERS = sorted(glob("src_c/*.h"))
PUBLIC_HEADER = "src_c/pgste.h"
EXTRA = shlex.split(os.environ.get("PGSTE_CFLAGS", ""))


class BuildPackage(build_py):
    """Puts the public header into the package that is built, where get_include() finds it."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            target = self._included_header()
            self.mkpath(os.path.dirname(target))
            self.copy_file(PUBLIC_HEADER, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        outputs: list[str] = super().get_outputs(include_bytecode)
        return outputs if self.editable_mode else [*outputs, self._included_header()]

    def _included_header(self) -> str:
        return os.path.join(self.build_lib, "pgste", "include", "pgste.h")


def extension(name: str) -> Extension:
    return Extension(
        f"pgste.{name}",
        [f"pgste/{name}.pyx", *SOURCES],
        include_dirs=["src_c", numpy.get_include()],
        depends=[*HEADERS, *glob("pgste/*.pxd")],
        define_macros=[
            ("_GNU_SOURCE", "1"),
            ("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION"),
        ],
        extra_compile_args=["-std=c11", "-O3", "-fvisibility=hidden", "-pthread", *EXTRA],
        extra_link_args=["-pthread", *EXTRA],
    )


setup(
    cmdclass={"build_py": BuildPackage},
    ext_modules=cythonize(
        [extension(os.path.basename(path)[:-4]) for path in sorted(glob("pgste/*.pyx"))],
        compiler_directives={"language_level": 3, "embedsignature": True, "binding": True},
    ),
)
