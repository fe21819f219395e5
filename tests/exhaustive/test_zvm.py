# SPDX-License-Identifier: MIT
"""z/VM's page states: every legal state x every request, access and eviction, and long random
runs, the engine against the reference model (tests/reference/zvm.py), whole state each time."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from reference import Guest as ReferenceGuest
from reference import Host as ReferenceHost
from reference import ModelError
from reference.zvm import LEGAL

import pgste

PAGES = 3
# How to get each legal state from a new page, as calls on either model; "P*" was changed.
RECIPES: dict[str, list[tuple[Any, ...]]] = {
    "Sz": [],
    "Sr": [("write", 5)],
    "Sp": [("write", 5), ("swap_out",)],
    "Ur": [("write", 5), ("essa", 2)],
    "Uz": [("essa", 2)],
    "Vr": [("write", 5), ("essa", 3)],
    "Vz": [("essa", 3)],
    "Pr": [("write", 5), ("set_changed", False), ("essa", 4)],
    "Pr*": [("write", 5), ("essa", 4)],
}
ACTIONS: list[tuple[Any, ...]] = [
    *(("essa", orc) for orc in range(8)),
    ("write", 9),
    ("read",),
    ("swap_out",),
    ("reclaim", 1),
    ("reclaim", 2),
    ("set_changed", True),
    ("set_changed", False),
    ("reset_cmma",),
    ("zap_scan",),
    ("pin", True),
    ("pin", False),
]
FAULTS = {"Ur": 0x05, "Uz": 0x05, "Vz": 0x1A}


class Pair:
    """The engine and the reference, driven alike."""

    def __init__(self, frames: int, slots: int) -> None:
        self.host = pgste.Host(frames, slots)
        self.guest = pgste.Guest(PAGES, self.host, nodat=True, flavour="zvm")
        self.ref_host = ReferenceHost(frames, slots)
        self.ref = ReferenceGuest(PAGES, self.ref_host, nodat=True, flavour="zvm")

    def engine(self, gfn: int, name: str, *args: Any) -> Any:
        guest = self.guest
        calls: dict[str, Callable[[], Any]] = {
            "essa": lambda: guest.essa(args[0], gfn)[0],
            "write": lambda: guest.write(gfn, args[0]),
            "read": lambda: guest.read(gfn)[0],
            "swap_out": lambda: self.host.swap_out(guest, gfn),
            "reclaim": lambda: self.host.reclaim(args[0]),
            "set_changed": lambda: guest.set_changed(gfn, args[0]),
            "reset_cmma": guest.reset_cmma,
            "zap_scan": guest.zap_scan,
            "pin": lambda: self.host.pin(guest, gfn, args[0]),
        }
        return calls[name]()

    def reference(self, gfn: int, name: str, *args: Any) -> Any:
        ref = self.ref
        calls: dict[str, Callable[[], Any]] = {
            "essa": lambda: ref.essa(args[0], [gfn])[0],
            "write": lambda: ref.write([gfn], [args[0]]),
            "read": lambda: ref.read([gfn])[0],
            "swap_out": lambda: ref.swap_out([gfn]),
            "reclaim": lambda: self.ref_host.reclaim(args[0]),
            "set_changed": lambda: ref.set_changed(gfn, args[0]),
            "reset_cmma": ref.reset_cmma,
            "zap_scan": ref.zap_scan,
            "pin": lambda: ref.pin(gfn, args[0]),
        }
        return calls[name]()

    def act(self, gfn: int, *action: Any) -> None:
        refused: tuple[str, Any] | None = None
        try:
            expected = self.reference(gfn, *action)
        except ModelError as error:
            refused = type(error).__name__, getattr(error, "address", None)
            code = getattr(error, "code", None)
        if refused is None:
            got = self.engine(gfn, *action)
            assert (None if got is None else int(got)) == (
                None if expected is None else int(expected)
            ), action
        else:
            with pytest.raises(pgste.PgsteError) as caught:
                self.engine(gfn, *action)
            if refused[0] == "ProgramInterruption":
                assert isinstance(caught.value, pgste.ProgramInterruption)
                assert (caught.value.code, caught.value.address) == (code, refused[1])
            else:
                assert type(caught.value).__name__ == refused[0] + "Error"
        self.compare()

    def compare(self) -> None:
        self.host.validate()
        assert self.guest.pgste().tolist() == self.ref.pgste
        assert self.guest.pte().tolist() == self.ref.pte
        assert self.guest.peek(slice(None)).tolist() == [self.ref.peek(i) for i in range(PAGES)]
        assert self.guest.stats() == self.ref.count
        assert self.host.stats() == self.ref_host.stats()
        for gfn in range(PAGES):
            assert self.state(gfn) in LEGAL

    def state(self, gfn: int) -> str:
        """From the engine's words, not through either model's code."""
        pte = int(self.guest.pte()[gfn])
        usage = "SUPV"[int(self.guest.pgste()[gfn]) >> 24 & 3]
        return usage + ("z" if pte == 0x400 else "r" if pte & 1 else "p")


@pytest.mark.parametrize("action", ACTIONS, ids=lambda a: " ".join(map(str, a)))
@pytest.mark.parametrize("start", RECIPES)
def test_every_state_and_action(start: str, action: tuple[Any, ...]) -> None:
    pair = Pair(PAGES, PAGES)
    for step in RECIPES[start]:
        pair.act(1, *step)
    assert pair.state(1) == start[:2]
    pair.act(1, *action)


@pytest.mark.parametrize("start", RECIPES)
def test_faults(start: str) -> None:
    pair = Pair(PAGES, PAGES)
    for step in RECIPES[start]:
        pair.act(1, *step)
    code = FAULTS.get(start)
    for access in (lambda: pair.guest.read(1), lambda: pair.guest.write(1, 3)):
        if code is None:
            access()
            continue
        with pytest.raises(pgste.ProgramInterruption) as caught:
            access()
        assert (caught.value.code, caught.value.address) == (code, 0x1000)


@pytest.mark.parametrize("seed", range(12))
def test_random_runs(seed: int) -> None:
    rng = random.Random(seed)
    pair = Pair(rng.choice((1, 2)), rng.choice((0, 1, 2, 3)))
    for _ in range(400):
        pair.act(rng.randrange(PAGES), *rng.choice(ACTIONS))


def test_make_stable_fails_for_discarded_pages_alone() -> None:
    for start, recipe in RECIPES.items():
        pair = Pair(PAGES, PAGES)
        for step in recipe:
            pair.act(0, *step)
        pair.guest.essa_page(6, 0)
        assert (pair.state(0)[0] == "S") == (start != "Vz")


def test_no_other_mechanism_and_no_generation() -> None:
    refused: list[dict[str, Any]] = [{"mechanism": "madv_free"}, {"generation": "dat"}]
    for wrong in refused:
        with pytest.raises(pgste.ArgumentError, match=next(iter(wrong.values()))):
            pgste.Guest(1, flavour="zvm", **wrong)
    with pytest.raises(pgste.UnknownNameError, match="flavour: 'xen'"):
        pgste.Guest(1, flavour="xen")
