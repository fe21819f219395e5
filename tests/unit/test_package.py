# SPDX-License-Identifier: MIT
"""The package itself: names, constants and declarations against the header, CPU variants."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from enum import IntEnum
from importlib import metadata
from pathlib import Path

import pytest

import pgste
from pgste import errors

HEADER = "".join(p.read_text() for p in sorted(Path(pgste.get_include()).glob("pgste/*.h")))
BARE_HEADER = re.sub(r"/\*.*?\*/", " ", HEADER, flags=re.DOTALL).replace("\\\n", " ")
DECLARATIONS = (Path(pgste.__file__).parent / "_engine" / "_c.pxd").read_text()


def _enum(name: str) -> dict[str, int]:
    """Names and values of a C enum; those without a value count on."""
    found = re.search(rf"enum {name} \{{(.*?)\}};", BARE_HEADER, re.DOTALL)
    assert found
    values: dict[str, int] = {}
    following = 0
    for entry in filter(None, map(str.strip, found[1].split(","))):
        name, _, value = (part.strip() for part in entry.partition("="))
        values[name] = int(value, 0) if value else following
        following = values[name] + 1
    return values


def _macro(name: str) -> int:
    found = re.search(rf"^#define {name}\s+(?:UINT64_C\()?(\w+)", BARE_HEADER, re.MULTILINE)
    assert found, name
    return int(found[1], 0)


def test_the_library_is_where_it_says() -> None:
    assert (Path(pgste.get_library()) / "libpgste.so").is_file()
    assert f'#define PGSTE_VERSION "{pgste.__version__}"' in HEADER


def test_the_version_stands_in_one_place() -> None:
    assert metadata.version("pgste") == pgste.__version__


def test_the_package_lists_its_names() -> None:
    assert set(pgste.__all__) <= set(dir(pgste))
    with pytest.raises(AttributeError, match="'pgste' has no attribute 'nonsense'"):
        getattr(pgste, "nonsense")  # noqa: B009


@pytest.mark.parametrize(
    ("ours", "name", "prefix"),
    [
        (pgste.Orc, "pgste_orc", "PGSTE_ORC_"),
        (pgste.Usage, "pgste_usage", "PGSTE_USAGE_"),
        (pgste.Content, "pgste_content", "PGSTE_CONTENT_"),
        (errors.ErrorCode, "pgste_error", "PGSTE_E_"),
    ],
)
def test_enums_are_those_of_the_header(ours: type[IntEnum], name: str, prefix: str) -> None:
    theirs = {
        key.removeprefix(prefix): value
        for key, value in _enum(name).items()
        if key.startswith(prefix) and key != "PGSTE_E_LAST"
    }
    assert {member.name: member.value for member in ours} == theirs


@pytest.mark.parametrize(
    ("ours", "prefix"),
    [(pgste.State, "PGSTE_STATE_"), (pgste.PgsteBits, "PGSTE_"), (pgste.PteBits, "PTE_")],
)
def test_bits_are_those_of_the_header(ours: type[pgste.State], prefix: str) -> None:
    for name, member in ours.__members__.items():
        assert member == _macro(prefix + name)


def test_all_state_and_pte_bits_are_named() -> None:
    states = re.findall(r"^#define PGSTE_STATE_(\w+) ", BARE_HEADER, re.MULTILINE)
    assert set(states) == set(pgste.State.__members__)
    pte = re.findall(r"^#define PTE_(\w+)\s+UINT64_C", BARE_HEADER, re.MULTILINE)
    assert set(pte) - {"SWAP_TYPE"} == set(pgste.PteBits.__members__)


def _functions(text: str) -> dict[str, str]:
    """Prototypes as "return type (arguments)", spelled the same for C and Cython."""
    text = re.sub(r"\b(struct|enum|const) ", r"", text)
    text = re.sub(r"\bbool_t\b", "bool", text)
    prototypes = re.findall(r"^ *(\w+ ?\**) ?(pgste_\w+)\(([^)]*)\)", text, re.MULTILINE)
    return {
        name: re.sub(r"\s+", "", f"{result}({'' if arguments == 'void' else arguments})")
        for result, name, arguments in prototypes
    }


def test_declarations_are_those_of_the_header() -> None:
    """Every function that is declared for Cython has the types of the header."""
    theirs, ours = _functions(BARE_HEADER), _functions(DECLARATIONS)
    assert {name: theirs.get(name) for name in ours} == ours
    assert set(theirs) == set(ours)


def test_declared_structs_are_those_of_the_header() -> None:
    structs = re.findall(
        r"^    cdef struct (\w+):\n((?:        .*\n)+)", DECLARATIONS, re.MULTILINE
    )
    assert len(structs) > 10
    for name, body in structs:
        found = re.search(rf"^struct {name}( \{{(.*?)\n\}})?;", BARE_HEADER, re.DOTALL | re.M)
        assert found, name
        if "pass" in body:
            continue
        theirs = re.sub(r"\b(const|enum) ", "", found[2])
        for line in body.splitlines():
            kind, names = (
                line.strip().removeprefix("const ").replace("bool_t", "bool").split(" ", 1)
            )
            for field in names.split(", "):
                declared = rf"\b{kind}\b[^;]*[ *]{re.escape(field.lstrip('*'))}\s*[,;]"
                assert re.search(declared, theirs), (name, line)


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
