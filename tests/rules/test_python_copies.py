# SPDX-License-Identifier: MIT
"""Whatever Python repeats of the public C headers is the same there: names, numbers, orders.

The headers are read as text, so that the compiler that built the package has no say.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from enum import IntEnum, IntFlag
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import pgste
from pgste import Content, Orc, PgsteBits, PteBits, State, Usage, errors, live
from rules.c_text import Declarations, evaluate, parse_c, parse_pxd, without_comments

PACKAGE = Path(pgste.__file__).parent
INCLUDE = Path(pgste.get_include())


@cache
def header_text() -> str:
    files = [INCLUDE / "pgste.h", *sorted((INCLUDE / "pgste").glob("**/*.h"))]
    return "\n".join(path.read_text() for path in files)


@cache
def header() -> Declarations:
    return parse_c(header_text())


def enum_of(name: str, prefix: str, leave_out: tuple[str, ...] = ()) -> dict[str, int]:
    """Members of a C enum without their prefix: values."""
    members = {
        label.removeprefix(prefix): header().values[label]
        for label in header().enums[name]
        if label.startswith(prefix)
    }
    return {label: value for label, value in members.items() if label not in leave_out}


def macros_of(prefix: str, pattern: str = "", leave_out: tuple[str, ...] = ()) -> dict[str, int]:
    """Constants whose name begins so and whose text matches, without their prefix: values."""
    return {
        name.removeprefix(prefix): evaluate(text, header())
        for name, text in header().constants.items()
        if name.startswith(prefix)
        and re.match(pattern, text)
        and name.removeprefix(prefix) not in leave_out
    }


def test_the_parser_finds_what_is_there() -> None:
    """So that no test below passes on nothing."""
    found = header()
    assert len(found.enums) >= 14
    assert len(found.structs) >= 18
    assert set(found.functions) == set(
        re.findall(r"\b(pgste_\w+)\(", without_comments(header_text()))
    )
    assert len(found.functions) >= 90
    assert found.values["PGSTE_ORC_SET_STABLE_NODAT"] == 7
    assert found.values["PGSTE_ACTION_FREE_RACED"] == 5  # a list of X(...) rows
    assert evaluate("PTE_SWAP", found) == 0x600
    assert found.functions["pgste_essa_page"] == (
        "int",
        ["pgste_guest *", "uint32_t", "unsigned", "uint64_t"],
    )
    assert found.structs["pgste_state_counts"]["pages"] == "uint64_t [4][3]"
    assert found.structs["pgste_host_stats"]["zero_fills"] == "uint64_t"


WORD = r"UINT64_C\(0x[0-9a-f]{16}\)"
PTE_LEFT_OUT = ("PFRA_SHIFT", "NONE", "SWAP", "SWAP_TYPE")


ENUMS: dict[type[IntEnum] | type[IntFlag], Callable[[], dict[str, int]]] = {
    Orc: lambda: enum_of("pgste_orc", "PGSTE_ORC_"),
    Usage: lambda: enum_of("pgste_usage", "PGSTE_USAGE_"),
    Content: lambda: enum_of("pgste_content", "PGSTE_CONTENT_"),
    State: lambda: macros_of("PGSTE_STATE_"),
    PgsteBits: lambda: macros_of("PGSTE_", WORD),
    PteBits: lambda: macros_of("PTE_", leave_out=PTE_LEFT_OUT),
    errors.ErrorCode: lambda: enum_of("pgste_error", "PGSTE_E_", ("LAST",)),
    live.State: lambda: macros_of("PGSTE_LIVE_"),
}


@pytest.mark.parametrize("enum", ENUMS, ids=lambda enum: enum.__qualname__)
def test_enums(enum: type[IntEnum] | type[IntFlag]) -> None:
    members = {name: int(member) for name, member in enum.__members__.items()}
    assert members
    assert members == ENUMS[enum]()


def test_every_error_has_its_exception() -> None:
    codes = enum_of("pgste_error", "PGSTE_E_", ("LAST",))
    assert sorted(errors.BY_CODE) == sorted(codes.values())
    assert header().values["PGSTE_E_LAST"] == min(codes.values())
    assert len(set(errors.BY_CODE.values())) == len(codes)
    interruptions = {
        name: int(code, 16)
        for name, code in re.findall(
            r"PGSTE_E_(PGM_\w+) = -\d+,\s*/\* program interruption (0x\w+)", header_text()
        )
    }
    assert set(interruptions) == {name for name in codes if name.startswith("PGM_")}
    for name, code in codes.items():
        exception = errors.BY_CODE[code]
        if issubclass(exception, errors.ProgramInterruption):
            assert exception.code == interruptions[name]
        else:
            assert name not in interruptions


# ---- tuples and dicts of names ---------------------------------------------------------------


def lower(name: str, prefix: str) -> list[str]:
    """Members of a C enum by value, as Python calls them."""
    members = enum_of(name, prefix)
    return [label.lower() for label in sorted(members, key=lambda label: members[label])]


NAMES: dict[str, Callable[[], Sequence[str | None]]] = {
    "REARM_RULES": lambda: lower("pgste_rearm", "PGSTE_REARM_"),
    "RECLAIM_MODELS": lambda: lower("pgste_reclaim", "PGSTE_RECLAIM_"),
    "POISONS": lambda: lower("pgste_poison", "PGSTE_POISON_"),
    "FOLIOS": lambda: lower("pgste_folio", "PGSTE_FOLIO_"),
    "ADVICES": lambda: lower("pgste_advice", "PGSTE_ADVICE_"),
    "MIGRATETYPES": lambda: lower("pgste_migratetype", "PGSTE_MIGRATE_"),
    "STATUSES": lambda: lower("pgste_reporting_status", "PGSTE_REPORTING_"),
    "FRAME_LISTS": lambda: lower("pgste_frame_list", "PGSTE_LIST_"),
    "USAGES": lambda: lower("pgste_usage", "PGSTE_USAGE_"),
    "CONTENTS": lambda: lower("pgste_content", "PGSTE_CONTENT_"),
    "FORMATS": lambda: [
        None if name == "unknown" else name.replace("_", "-")
        for name in lower("pgste_text_format", "PGSTE_TEXT_")
    ],
}


@cache
def sources() -> list[Path]:
    files = [*PACKAGE.rglob("*.pyx"), *PACKAGE.rglob("*.py")]
    if not any(path.suffix == ".pyx" for path in files):
        pytest.skip("an installed package has no Cython sources")
    return sorted(files)


@pytest.mark.parametrize("name", NAMES)
def test_tuples_of_names_are_in_the_order_of_the_enum(name: str) -> None:
    expected = tuple(NAMES[name]())
    found = []
    for path in sources():
        for text in re.findall(
            rf"^(?:cdef tuple )?_?{name}(?:: [^=\n]+)? = (\(.*?\))$", path.read_text(), re.M | re.S
        ):
            found.append(ast.literal_eval(text))
    assert expected in found, f"no tuple {name} in the package; was it renamed?"
    for names in found:
        assert names == expected


def test_live_backings() -> None:
    expected = {name.lower() for name in enum_of("pgste_live_backing", "PGSTE_LIVE_")}
    found = [
        dict(re.findall(r'"(\w+)": PGSTE_LIVE_(\w+)', text))
        for path in sources()
        for text in re.findall(r"BACKINGS = \{(.*?)\}", path.read_text(), re.S)
        if "PGSTE_LIVE_" in text
    ]
    assert found
    for names in found:
        assert names == {name: name.upper() for name in expected}


def test_constants_of_the_same_name_have_the_same_value() -> None:
    """Modules that repeat PTE_NONE and the like."""
    seen = []
    for path in sources():
        for name, text in re.findall(
            r"^_?((?:PTE|PGSTE)_\w+|MAX_ORDER)(?:: [^=\n]+)? = ([^\n#]+)", path.read_text(), re.M
        ):
            known = name if name in header().constants else f"PGSTE_{name}"
            if known in header().constants:
                assert evaluate(text, header()) == evaluate(known, header()), path
                seen.append(name)
    assert {"PTE_NONE", "MAX_ORDER"} <= set(seen)


def of_macro(name: str, *arguments: int) -> int:
    """The value of a macro with parameters; casts are left out."""
    params, body = header().macros[name]
    values = dict(zip(params, arguments, strict=True))
    body = re.sub(r"\((?:uint64_t|unsigned)\)", "", body)
    return evaluate(re.sub(r"\b\w+\b", lambda m: str(values.get(m[0], m[0])), body), header())


@pytest.mark.parametrize("kind", ["ALLOC", "FREE"])
def test_words_of_events(kind: str) -> None:
    """How a Trace unpacks events is what the header's macros say."""
    number = enum_of("pgste_event_kind", "PGSTE_EVENT_")[kind]
    order, pfn = evaluate("PGSTE_MAX_ORDER", header()), (1 << 56) - (1 << 40)
    word = of_macro("PGSTE_EVENT", number, order, pfn)
    trace = pgste.Trace(np.array([word], np.uint64), np.zeros(1, np.uint64))
    parts = int(trace.kind[0]), int(trace.order[0]), int(trace.pfn[0])
    assert parts == (number, order, pfn)
    of_macros = [of_macro(f"PGSTE_EVENT_{part}", word) for part in ("KIND", "ORDER", "PFN")]
    assert tuple(of_macros) == parts


# ---- declarations for Cython -----------------------------------------------------------------


@cache
def declared() -> Declarations:
    text = "\n".join(path.read_text() for path in sorted(PACKAGE.rglob("*.pxd")))
    return parse_pxd(text)


def test_declared_constants_and_enums() -> None:
    assert len(declared().constants) >= 50
    assert len(declared().enums) >= 12
    for name in declared().constants:
        assert name in header().constants or name in header().values, name
    for name, members in declared().enums.items():
        assert members, name
        assert members == [m for m in header().enums[name] if m in members], name


def test_declared_structs() -> None:
    assert len(declared().structs) >= 18
    opaque = re.findall(r"^struct (\w+);", header_text(), re.M)
    for name, fields in declared().structs.items():
        assert name in header().structs or (name in opaque and not fields), name
        for field, kind in fields.items():
            assert (name, field, kind) == (name, field, header().structs[name].get(field))


def test_declared_functions() -> None:
    """All functions of the headers, with their types; of macros the number of parameters."""
    assert set(header().functions) == set(declared().functions) - set(header().macros)
    for name, (result, types) in declared().functions.items():
        if name in header().macros:
            assert len(types) == len(header().macros[name][0]), name
        else:
            assert (name, result, types) == (name, *header().functions[name])
