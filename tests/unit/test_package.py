# SPDX-License-Identifier: MIT
"""The package itself: names, documentation, CPU variants."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import pgste

HEADER = "".join(p.read_text() for p in sorted(Path(pgste.get_include()).glob("pgste/*.h")))


def test_the_library_is_where_it_says() -> None:
    assert (Path(pgste.get_library()) / "libpgste.so").is_file()
    assert f'#define PGSTE_VERSION "{pgste.__version__}"' in HEADER


def test_the_version_stands_in_one_place() -> None:
    assert metadata.version("pgste") == pgste.__version__


def test_the_package_lists_its_names() -> None:
    assert set(pgste.__all__) <= set(dir(pgste))
    with pytest.raises(AttributeError, match="'pgste' has no attribute 'nonsense'"):
        getattr(pgste, "nonsense")  # noqa: B009


def test_everything_public_has_a_docstring() -> None:
    for name in pgste.__all__:
        thing = getattr(pgste, name)
        if name == "__version__":
            continue
        assert thing.__doc__, name
        if thing in (pgste.Guest, pgste.Host, pgste.Replay):
            for member in dir(thing):
                # Plain attributes are described in the docstring of their class.
                if not member.startswith("_"):
                    told = inspect.getattr_static(thing, member).__doc__
                    assert told or member in thing.__doc__, f"{name}.{member}"


def test_mechanisms_are_the_core_s() -> None:
    assert pgste.mechanisms() == ("none", "cmma", "madv_dontneed", "madv_free", "reporting")
    for name in pgste.mechanisms():
        assert pgste.Guest(4, mechanism=name).mechanism == name


def test_cpu_variants() -> None:
    variants = pgste.isa_variants()
    supported = [name for name, can in variants if can]
    assert "portable" in supported
    before = pgste.isa_name()
    try:
        for name in supported:
            pgste.isa_select(name)
            assert pgste.isa_name() == name
            guest = pgste.Guest(1000)
            guest.free(range(300, 600))
            assert guest.count_states()["unused"]["zero"] == 300
            assert guest.find(3, 1).tolist() == list(range(300, 600))
        with pytest.raises(pgste.UnknownNameError, match="name: no CPU variant 'vax'"):
            pgste.isa_select("vax")
        with pytest.raises(TypeError):
            pgste.isa_select(None)  # type: ignore[arg-type]
        assert pgste.isa_name() == supported[-1]
    finally:
        pgste.isa_select(before)


def _import_with(value: str | None) -> subprocess.CompletedProcess[str]:
    environment = {name: text for name, text in os.environ.items() if name != "PGSTE_ISA"}
    if value is not None:
        environment["PGSTE_ISA"] = value
    return subprocess.run(
        [sys.executable, "-c", "import pgste; print(pgste.isa_name())"],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=False,
    )


def test_the_environment_chooses_the_cpu_variant() -> None:
    variants = pgste.isa_variants()
    best = next(name for name, can in variants if can)
    assert _import_with(None).stdout == best + "\n"
    assert _import_with("").stdout == best + "\n"
    for name, can in variants:
        done = _import_with(name)
        if can:
            assert done.stdout == name + "\n"
        else:
            assert done.returncode
            assert f"PGSTE_ISA: this CPU cannot run the variant '{name}'" in done.stderr


def test_an_unknown_cpu_variant_is_refused_at_import() -> None:
    done = _import_with("vax")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(
        "ImportError: environment variable PGSTE_ISA: no CPU variant 'vax'; this CPU can run"
    )
    assert "'portable'" in last
