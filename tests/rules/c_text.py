# SPDX-License-Identifier: MIT
"""What the public C headers and the Cython declarations of them say, by small parsers.

The C is our own, so that regular expressions are enough: enums, object-like macros, lists of
X(...) rows, structs and prototypes.  Nothing is compiled.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

Parameters = list[str]


@dataclass
class Declarations:
    """Names and what they are declared as; types without ``struct`` and ``enum``."""

    constants: dict[str, str] = field(default_factory=dict)  # name: expression, or type
    enums: dict[str, list[str]] = field(default_factory=dict)
    structs: dict[str, dict[str, str]] = field(default_factory=dict)  # fields: types
    functions: dict[str, tuple[str, Parameters]] = field(default_factory=dict)
    macros: dict[str, tuple[list[str], str]] = field(default_factory=dict)  # with parameters
    values: dict[str, int] = field(default_factory=dict)  # of members of enums


def without_comments(text: str) -> str:
    return re.sub(r"/\*.*?\*/|//[^\n]*", " ", text, flags=re.DOTALL)


def plain_type(text: str) -> str:
    """A type in one spelling: no ``struct``, ``enum``, array sizes by name only."""
    text = re.sub(r"\b(struct|enum)\s+", "", text)
    text = re.sub(r"\bbool\b", "bool_t", text)
    return re.sub(r"\s*\*\s*", " *", re.sub(r"\s+", " ", text)).strip()


def declarator(text: str) -> tuple[str, str]:
    """``const char *name`` as ("const char *", "name"); the size of an array is type."""
    found = re.fullmatch(r"\s*(.*?)\b(\w+)\s*((?:\[[^\]]*\])*)\s*", text, re.DOTALL)
    assert found, text
    return plain_type(found[1] + found[3]), found[2]


def declarators(text: str) -> list[tuple[str, str]]:
    """``uint64_t a, b[2]`` as (type, name) pairs; or a pointer to a function."""
    pointer = re.fullmatch(
        r"\s*(.*?)\(\s*\*\s*(\w+)\)\s*\((.*)\)\s*(?:noexcept)?\s*", text, re.DOTALL
    )
    if pointer:
        kind = f"{plain_type(pointer[1])} (*)({', '.join(parameters(pointer[3]))})"
        return [(kind, pointer[2])]
    first, *others = text.split(",")
    kind, name = declarator(first)
    base = re.sub(r"(\[[^\]]*\])+$", "", kind)
    return [(kind, name), *(declarator(f"{base} {other}") for other in others)]


def parameters(text: str) -> Parameters:
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    return [] if parts == ["void"] else [declarator(part)[0] for part in parts]


# ---- C --------------------------------------------------------------------------------------


def _expand(text: str, macros: dict[str, tuple[list[str], str]]) -> str:
    """LIST(ROW) replaced by the rows of the list, each as ROW makes it."""
    for _ in range(4):
        found = re.search(r"\b(\w+)\((\w+)\)", text)
        lists = [
            match
            for match in re.finditer(r"\b(\w+)\((\w+)\)", text)
            if match[1] in macros and match[2] in macros
        ]
        if not found or not lists:
            return text
        match = lists[0]
        names, body = macros[match[1]]
        params, row = macros[match[2]]
        rows = []
        for args in re.findall(rf'\b{names[0]}\(((?:"[^"]*"|[^)"])*)\)', body):
            made = row
            split = re.findall(r'"[^"]*"|[^,\s][^,]*', args)
            for name, arg in zip(params, split, strict=True):
                made = re.sub(rf"\b{name}\b", arg.strip().replace("\\", "\\\\"), made)
            rows.append(made.replace("##", ""))
        text = text[: match.start()] + " ".join(rows) + text[match.end() :]
    return text


def parse_c(text: str) -> Declarations:
    """All of a header."""
    found = Declarations()
    text = without_comments(text).replace("\\\n", " ")
    for name, params, body in re.findall(r"^#\s*define (\w+)(\([^)]*\))?(.*)$", text, re.M):
        if params:
            found.macros[name] = ([p.strip() for p in params[1:-1].split(",")], body.strip())
        elif body.strip():
            found.constants[name] = body.strip()
    text = re.sub(r"^#.*$", "", text, flags=re.M)
    text = re.sub(r"^PGSTE_(BEGIN|END)$", "", text, flags=re.M)

    for name, body in re.findall(r"\benum (\w+) \{(.*?)\}", text, re.DOTALL):
        found.enums[name] = []
        value = -1
        for member in _expand(body, found.macros).split(","):
            if not member.strip():
                continue
            label, _, expression = (part.strip() for part in member.partition("="))
            value = evaluate(expression, found) if expression else value + 1
            found.enums[name].append(label)
            found.values[label] = value
    for name, body in re.findall(r"\bstruct (\w+) \{(.*?)\}", text, re.DOTALL):
        members = _expand(body, found.macros).split(";")
        found.structs[name] = {
            label: kind for part in members if part.strip() for kind, label in declarators(part)
        }
    text = re.sub(r"\{.*?\}", ";", text, flags=re.DOTALL)
    for statement in text.split(";"):
        match = re.fullmatch(r"\s*(.*?)(\w+)\s*\(([^()]*)\)\s*", statement, re.DOTALL)
        if match and match[1].strip():
            found.functions[match[2]] = (plain_type(match[1]), parameters(match[3]))
    return found


def evaluate(expression: str, known: Declarations) -> int:
    """The value of an expression of numbers, constants and operators."""

    def value(match: re.Match[str]) -> str:
        name = match[0]
        if name in known.values:
            return str(known.values[name])
        return f"({evaluate(known.constants[name], known)})"

    text = re.sub(r"\bU?INT\d+_C\b", "", expression)
    text = re.sub(r"\b(0[xX][0-9a-fA-F]+|\d+)[uUlL]*\b", r"\1", text)
    text = re.sub(r"\b[A-Za-z_]\w*\b", value, text)
    assert re.fullmatch(r"[-+*/~|&^<>()\s0-9a-fA-FxX]+", text), expression
    return int(eval(text))


# ---- Cython ---------------------------------------------------------------------------------


def parse_pxd(text: str, header: str = "pgste") -> Declarations:
    """What is declared in the blocks ``cdef extern from "pgste...h"``."""
    found = Declarations()
    text = re.sub(r"#[^\n]*", "", re.sub(r'""".*?"""', "", text, flags=re.DOTALL))
    text = re.sub(r"\(([^()]*)\)", lambda m: "(" + " ".join(m[1].split()) + ")", text)
    for block in re.findall(
        rf'^cdef extern from "{header}[\w/]*\.h"[^\n]*:\n((?:[ \t]+[^\n]*\n|\n)*)', text, re.M
    ):
        _parse_block(block, found)
    return found


def _parse_block(block: str, found: Declarations) -> None:
    inside: str | None = None  # the enum or struct that deeper lines belong to
    for line in block.splitlines():
        statement = line.strip()
        if not statement:
            continue
        if len(line) - len(line.lstrip()) > 4:
            assert inside is not None, line
            _parse_member(statement, inside, found)
            continue
        opened = re.fullmatch(r"(?:cdef )?(enum|struct) ?(\w*):", statement)
        if opened:
            inside = f"{opened[1]} {opened[2]}".strip()
            if opened[1] == "struct":
                found.structs[opened[2]] = {}
            elif opened[2]:
                found.enums[opened[2]] = []
            continue
        inside = None
        call = re.fullmatch(r"(.*?)(\w+)\((.*)\)(?: (?:noexcept|nogil))*", statement)
        if call:
            found.functions[call[2]] = (plain_type(call[1]), parameters(call[3]))
        else:
            for kind, name in declarators(statement):
                found.constants[name] = kind


def _parse_member(statement: str, inside: str, found: Declarations) -> None:
    kind, _, name = inside.partition(" ")
    if statement == "pass":
        return
    if kind == "struct":
        found.structs[name] |= {label: type_ for type_, label in declarators(statement)}
    elif name:
        found.enums[name].append(statement)
    else:
        found.constants[statement] = "enum"
