# SPDX-License-Identifier: MIT
"""Every kind of bad argument for every argument of everything that is public.

Methods and their arguments are found by introspection, so that a new one is covered by itself
(or the test says that it needs a good value for it).  A refusal must be an exception of this
package, or come out of the hostile object, and leave the whole state as it was; what is
accepted must leave states that `Host.validate` passes.

Each class runs in a process of its own, as what goes wrong here may crash.
``PGSTE_ABUSE_SHARE=n`` makes one call of n only, always the same.
"""

from __future__ import annotations

import faulthandler
import inspect
import os
import re
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pgste
from pgste import Guest, Host, Replay, Trace
from pgste.guarantees import System

sys.path.insert(0, str(Path(__file__).parents[1]))  # where it runs as a program
from robust.abuse import KINDS, MEDDLERS, Hostile, World

SHARE = int(os.environ.get("PGSTE_ABUSE_SHARE", "1"))
TIMEOUT = 600

#: A good value for each argument without a default, by name.
GOOD: dict[str, Callable[[World], Any]] = {
    "gfns": lambda world: range(4),
    "gfn": lambda world: 1,
    "orc": lambda world: 1,
    "vcpu": lambda world: 0,
    "tags": lambda world: 3,
    "mask": lambda world: 3,
    "words": lambda world: 0x400,
    "keys": lambda world: 0x30,
    "mr": lambda world: True,
    "mc": lambda world: False,
    "prot": lambda world: 1,
    "bits": lambda world: pgste.PgsteBits.IN,
    "shadow": lambda world: world.guest,
    "targets": lambda world: range(4),
    "base": lambda world: 0,
    "start": lambda world: 0,
    "count": lambda world: 4,
    "values": lambda world: b"\1\1",
    "value": lambda world: 1,
    "on": lambda world: True,
    "ns": lambda world: 1,
    "order": lambda world: 0,
    "n": lambda world: 1,
    "frame": lambda world: 1,
    "slot": lambda world: 1,
    "name": lambda world: "active",
    "guest": lambda world: world.guest,
    "guests": lambda world: Guest(PAGES_OF_NEW),
    "pages": lambda world: PAGES_OF_NEW,
    "frames": lambda world: 8,
    "swap_slots": lambda world: 8,
    "events": lambda world: np.array([1 << 8], np.uint64),
    "time": lambda world: np.array([5], np.uint64),
    "replays": lambda world: [world.replay],
    "trace": lambda world: world.trace,
    "migration_mode": lambda world: False,
    "generation": lambda world: "pgtable",
    "systems": lambda world: (System(1, 1, 1, 1),),
    "mechanisms": lambda world: ["cmma"],
    "samples": lambda world: 3,
    "kind": lambda world: np.array([0]),
    "pfn": lambda world: np.array([1]),
    "key": lambda world: slice(0, 2),
    "other": lambda world: world.trace,
}
PAGES_OF_NEW = 16
#: Arguments with a default that are given nonetheless, to keep a call small.
ALWAYS = {"systems", "mechanisms", "samples"}
#: Files are for other tests; of names, some functions have their own.
FILES = {"Trace.open", "Trace.save"}
OWN: dict[tuple[str, str], Callable[[World], Any]] = {
    ("isa_select", "name"): lambda world: "",
    ("compare", "mechanisms"): lambda world: ["none"],
}
FUNCTIONS = [
    name
    for name in pgste.__all__
    if inspect.isroutine(getattr(pgste, name)) and not inspect.isclass(getattr(pgste, name))
]
CLASSES: dict[str, tuple[type, Callable[[World], Any]]] = {
    "Guest": (Guest, lambda world: world.guest),
    "Guest, reporting": (Guest, lambda world: world.reporting),
    "Guest, strict": (Guest, lambda world: world.strict),
    "Host": (Host, lambda world: world.host),
    "Replay": (Replay, lambda world: world.replay),
    "Trace": (Trace, lambda world: world.trace),
}


def parameters_of(call: Any) -> list[inspect.Parameter]:
    """Of a function or method, without self; a method without a signature has it in its text."""
    try:
        signature = inspect.signature(call)
    except ValueError:
        text = re.match(r"[\w.]+\((.*)\)", call.__doc__)
        assert text, call
        written = text[1].removesuffix(", *")  # Cython puts a bare star last
        signature = inspect.signature(eval(f"lambda {written}: None"))
    return [
        p
        for p in signature.parameters.values()
        if p.name != "self" and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]


class Target:
    """Something to call, and its arguments."""

    def __init__(self, name: str, get: Callable[[World], Any], parameters: list[Any]) -> None:
        self.name = name
        self.get = get
        self.parameters = parameters

    def good(self, world: World, but: str) -> tuple[list[Any], dict[str, Any]]:
        """Good values of all that needs one, apart from `but`, for which KINDS has one."""
        args, kwargs = [], {}
        for p in self.parameters:
            if p.name == but:
                value = HERE
            elif p.default is not inspect.Parameter.empty and p.name not in ALWAYS:
                continue
            else:
                make = OWN.get((self.name, p.name), GOOD.get(p.name))
                assert make, f"{self.name}: GOOD needs a value for {p.name}"
                value = make(world)
            if p.kind in (p.POSITIONAL_ONLY,):
                args.append(value)
            else:
                kwargs[p.name] = value
        return args, kwargs


HERE = object()


Of = Callable[[World], Any]


def _always(value: Any) -> Of:
    return lambda world: value


def _member(of: Of, name: str) -> Of:
    return lambda world: getattr(of(world), name)


def _setter(of: Of, name: str) -> Of:
    return lambda world: lambda value: setattr(of(world), name, value)


def targets_of(label: str) -> list[Target]:
    if label == "functions":
        found = []
        for name in FUNCTIONS:
            call = getattr(pgste, name)
            found.append(Target(name, _always(call), parameters_of(call)))
        return found
    cls, of = CLASSES[label]
    found = []
    if "," not in label:
        parameters = parameters_of(cls)
        found.append(Target(cls.__name__, lambda world: cls, parameters))
    for name in dir(cls):
        member = inspect.getattr_static(cls, name)
        special = name.startswith("_") and name not in ("__getitem__", "__eq__")
        if special or (cls is not Trace and name in ("__eq__", "__getitem__")):
            continue
        if f"{cls.__name__}.{name}" in FILES:
            continue
        if callable(getattr(cls, name)):
            found.append(
                Target(
                    f"{cls.__name__}.{name}",
                    _member(of, name),
                    parameters_of(getattr(cls, name)),
                )
            )
        elif getattr(member, "__set__", None) and not isinstance(member, property):
            parameter = inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY)
            found.append(
                Target(
                    f"{cls.__name__}.{name} =",
                    _setter(of, name),
                    [parameter],
                )
            )
    return [target for target in found if target.parameters]


def allowed(error: BaseException) -> bool:
    """Of this package, or out of the hostile object (ZeroDivisionError and such are its own)."""
    if isinstance(error, (pgste.PgsteError, Hostile, ZeroDivisionError)):
        return True
    # what a read-only attribute says to whoever sets it
    return isinstance(error, AttributeError) and "not writable" in str(error)


def run(label: str) -> Counter[str]:
    """All cells of one label; prints each fault, and returns the counts."""
    counts: Counter[str] = Counter()
    world = World()
    before = world.state()
    cell = 0
    for target in targets_of(label):
        counts["methods"] += 1
        for parameter in target.parameters:
            counts["arguments"] += 1
            for kind, make in KINDS.items():
                cell += 1
                if cell % SHARE:
                    continue
                try:
                    call = target.get(world)
                except pgste.PgsteError:
                    world = World()
                    before = world.state()
                    call = target.get(world)
                value = make(world)
                args, kwargs = target.good(world, parameter.name)
                args = [value if arg is HERE else arg for arg in args]
                kwargs = {k: value if arg is HERE else arg for k, arg in kwargs.items()}
                where = f"{target.name}({parameter.name}: {kind})"
                print(where, file=sys.stderr, flush=True)
                counts["calls"] += 1
                try:
                    call(*args, **kwargs)
                    accepted = True
                except Exception as error:
                    accepted = False
                    # a callback's own exceptions are its caller's business
                    if not allowed(error) and parameter.name != "progress":
                        counts["faults"] += 1
                        text = str(error)[:150]
                        print(f"FAULT {where}: {type(error).__name__}: {text}", flush=True)
                del args, kwargs, value
                counts["accepted" if accepted else "refused"] += 1
                if kind in MEDDLERS or accepted:
                    world.validate()
                    if accepted:
                        counts["validated"] += 1
                    if kind in MEDDLERS or not world.alive():
                        world.close()
                        world = World()
                    before = world.state()
                elif world.state() != before:
                    counts["faults"] += 1
                    print(f"FAULT {where}: refused, but the state changed", flush=True)
                    world = World()
                    before = world.state()
                else:
                    counts["unchanged"] += 1
    counts["kinds"] = len(KINDS)
    return counts


LABELS = [*CLASSES, "functions"]


@pytest.mark.parametrize("label", LABELS)
def test_matrix(label: str) -> None:
    done = subprocess.run(
        [sys.executable, __file__, label],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
        errors="replace",
    )
    faults = re.findall(r"^FAULT .*", done.stdout, re.M)
    assert not faults, "\n".join(faults)
    assert done.returncode == 0, done.stderr[-3000:]
    print(label, done.stdout)


def test_there_are_enough_kinds() -> None:
    assert len(KINDS) >= 130
    assert len(MEDDLERS) >= 8


if __name__ == "__main__":
    faulthandler.enable()
    warnings.simplefilter("ignore")
    print(", ".join(f"{name} {n}" for name, n in run(sys.argv[1]).items()))
