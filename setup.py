"""Build script: the C core is compiled into each extension; metadata is in pyproject.toml."""

from __future__ import annotations

import os
from glob import glob

from Cython.Build import cythonize
from setuptools import Extension, setup

SOURCES = sorted(glob("src_c/*.c"))
HEADERS = sorted(glob("src_c/*.h"))
CFLAGS = ["-std=c11", "-O3", "-fvisibility=hidden", "-pthread", *os.environ.get("PGSTE_CFLAGS", "").split()]


def extension(name: str) -> Extension:
    return Extension(
        f"pgste.{name}",
        [f"pgste/{name}.pyx", *SOURCES],
        include_dirs=["src_c"],
        depends=[*HEADERS, *glob("pgste/*.pxd")],
        define_macros=[("_GNU_SOURCE", "1")],
        extra_compile_args=CFLAGS,
        extra_link_args=["-pthread"],
    )


setup(
    ext_modules=cythonize(
        [extension(os.path.basename(path)[:-4]) for path in sorted(glob("pgste/*.pyx"))],
        compiler_directives={"language_level": 3, "embedsignature": True, "binding": True},
    )
)
