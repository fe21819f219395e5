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

import ast
import enum
import faulthandler
import inspect
import io
import os
import re
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pgste
from pgste import Guest, Host, Replay, Trace, migration
from pgste.guarantees import System
from pgste.migration import wire

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
    "what": lambda world: "locked",
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
    "at": lambda world: [1, 2],
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
    "file": lambda world: io.BytesIO(STREAM),
    "other": lambda world: world.trace,
}
PAGES_OF_NEW = 16
#: A stream of page states without a frame: a record of two pages, and the end.
STREAM: bytes = wire.word(wire.Flag.EOS) + wire.more(
    1, np.array([1, 0x40], np.uint8)
) + b"".join(map(wire.word, (wire.Flag.DONE, wire.Flag.EOS)))  # fmt: skip
#: Arguments with a default that are given nonetheless, to keep a call small.
ALWAYS = {"systems", "mechanisms", "samples", "no_swap", "executor"}
#: What these raise is their caller's business.
CALLBACKS = {"progress", "between", "stop"}
#: What names a file, or is one.
OPENED = {"file", "traces", "results"}
#: Files are for other tests; of names, some functions have their own.
FILES = {"Trace.open", "Trace.save"}
OWN: dict[tuple[str, str], Callable[[World], Any]] = {
    ("isa_select", "name"): lambda world: "",
    ("compare", "mechanisms"): lambda world: ["none"],
    ("curve", "mechanisms"): lambda world: ["none"],
    ("footprint", "mechanisms"): lambda world: ["none"],
    ("smallest_hosts", "mechanisms"): lambda world: ["none"],
    ("smallest_hosts", "no_swap"): lambda world: True,
    ("Fleet", "members"): lambda world: [world.trace],
    ("Fleet.compare", "mechanisms"): lambda world: ["none"],
    ("sweep", "traces"): lambda world: world.trace,
    ("sweep", "grid"): lambda world: {"mechanism": "none"},
    ("sweep", "executor"): lambda world: AtOnce(),
    ("load", "guest"): lambda world: world.dat,
    ("save", "guest"): lambda world: marked(Guest(PAGES_OF_NEW)),
    ("save", "file"): lambda world: io.BytesIO(),
    ("Saver", "guest"): lambda world: world.dat,
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
    "Guest, dat, slots, keys": (Guest, lambda world: world.dat),
    "Host": (Host, lambda world: world.host),
    "Replay": (Replay, lambda world: world.replay),
    "Trace": (Trace, lambda world: world.trace),
    "Saver": (migration.Saver, lambda world: world.saver),
    "Fleet": (pgste.Fleet, lambda world: pgste.Fleet([world.trace])),
    "Member": (pgste.Member, lambda world: pgste.Member(world.trace)),
}
#: Public classes that are not called with arguments of a user's, and why.
NOT_CALLED = {
    "CmmaBits": "a named tuple that calls give",
    "Slot": "a named tuple, whose fields are arguments of Guest and add_slot",
    "Comparison": "what compare gives",
    "Curve": "what curve gives",
    "Footprint": "what footprint gives",
    "Guarantees": "what guarantees gives",
    "Loaded": "what load gives",
    "Pass": "what Saver gives",
    "Record": "what records gives",
    "Saved": "what save gives",
    "Smallest": "what smallest_hosts gives",
    "Sweep": "what sweep gives",
    "Flag": "an enum",
}


class AtOnce(Executor):
    """Calls are made as they come: a sweep without processes."""

    def submit(self, call: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(call(*args, **kwargs))
        return future


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


def marked(guest: Guest) -> Guest:
    """A guest that ESSA was executed in, whose log thus comes to an end."""
    guest.essa(1, 0)
    return guest


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
        calls = [getattr(pgste, name) for name in FUNCTIONS]
        return [Target(call.__name__, _always(call), parameters_of(call)) for call in calls]
    if label == "migration":
        calls = [migration.load, migration.save, all_records]
        return [Target(call.__name__, _always(call), parameters_of(call)) for call in calls]
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


def all_records(file: Any, *, most: Any = 1 << 26) -> list[Any]:
    """`migration.records` to its end: it does nothing before."""
    return list(migration.records(file, most=most))


def of_a_file(error: BaseException) -> bool:
    """What `open` itself says to a name."""
    return isinstance(error, (OSError, ValueError)) and not isinstance(error, pgste.PgsteError)


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
                    if not (
                        allowed(error)
                        or parameter.name in CALLBACKS
                        or (parameter.name in OPENED and of_a_file(error))
                    ):
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


LABELS = [*CLASSES, "functions", "migration"]


@pytest.mark.parametrize("label", LABELS)
def test_matrix(label: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, __file__, label],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
        errors="replace",
        cwd=tmp_path,  # where names that are no names become files
    )
    faults = re.findall(r"^FAULT .*", done.stdout, re.M)
    assert not faults, "\n".join(faults)
    assert done.returncode == 0, done.stderr[-3000:]
    print(label, done.stdout)


@pytest.mark.parametrize("label", LABELS)
def test_every_argument_has_a_good_value(label: str) -> None:
    """So a new method is in the matrix, or this says what it lacks."""
    world = World()
    for target in targets_of(label):
        for parameter in target.parameters:
            target.good(world, parameter.name)


def test_every_public_class_is_in_the_matrix() -> None:
    for module in (pgste, migration):
        for name in module.__all__:
            value = getattr(module, name)
            if not inspect.isclass(value) or issubclass(value, (BaseException, enum.Enum)):
                continue
            assert name in CLASSES or name in NOT_CALLED, name


def test_every_public_function_is_in_the_matrix() -> None:
    functions = {target.name for target in targets_of("functions")}
    assert functions == set(FUNCTIONS)
    assert {name for name in migration.__all__ if inspect.isroutine(getattr(migration, name))} == {
        "load", "save", "records",
    }  # fmt: skip


def test_every_public_method_is_in_the_matrix() -> None:
    """Told by the stubs, not by introspection, which is what finds them."""
    for name, (cls, _) in CLASSES.items():
        called = {target.name for target in targets_of(name)}
        for base in cls.__mro__:
            stub = Path(pgste.__file__).parent / "_engine" / f"{base.__module__.split('.')[-1]}.pyi"
            if not (base.__module__.startswith("pgste._engine") and stub.is_file()):
                continue
            for node in ast.walk(ast.parse(stub.read_text())):
                if not (isinstance(node, ast.ClassDef) and node.name == base.__name__):
                    continue
                for method in node.body:
                    if not isinstance(method, ast.FunctionDef) or method.name.startswith("_"):
                        continue
                    a = method.args
                    takes = len(a.posonlyargs) + len(a.args) + len(a.kwonlyargs) > 1
                    is_property = any("property" in ast.dump(d) for d in method.decorator_list)
                    setter = any("setter" in ast.dump(d) for d in method.decorator_list)
                    if takes and not is_property and not setter:
                        assert f"{cls.__name__}.{method.name}" in called, method.name


def test_there_are_enough_kinds() -> None:
    assert len(KINDS) >= 130
    assert len(MEDDLERS) >= 8


if __name__ == "__main__":
    faulthandler.enable()
    warnings.simplefilter("ignore")
    print(", ".join(f"{name} {n}" for name, n in run(sys.argv[1]).items()))
