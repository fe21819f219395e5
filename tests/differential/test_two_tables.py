# SPDX-License-Identifier: MIT
"""The two tables of generation "dat": engine and reference get the same random calls.

After each call the whole state is compared: both tables, PGSTEs, frames, lists, slots, counters.
PGSTE_CASES says how many random calls; tests/reference/two_tables.py is the reference.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction
from random import Random
from typing import Any, Literal, cast

import numpy as np
import pytest
from reference.guest import snapshot as model_snapshot
from reference.two_tables import DatGuest
from stateful import draw
from stateful.pair import Pair, engine_snapshot, plain

import pgste

CASES = int(os.environ.get("PGSTE_CASES", "20000"))
REVISIONS = ("7.0", "7.1", "7.1.5", "7.2")
Rewrite = Literal["none", "xchg", "set"]
REWRITES: tuple[Rewrite, ...] = ("none", "xchg", "set")


class TwoTables(Pair):
    """A pair whose guests are `DatGuest`s of one revision."""

    revision = "7.2"
    with_keys = False

    def model_of(self, i: int) -> DatGuest:
        return cast(DatGuest, self.guests[i][1])

    def create(self, pages: int, **config: Any) -> None:
        config = {name: config[name] for name in config.keys() - {"generation", "flavour"}}
        config["revision"] = self.revision
        engine = pgste.Guest(pages, host=self.host, generation="dat", **config)
        self.guests.append((engine, DatGuest(pages, self.model, **config)))

    def check(self) -> None:
        self.host.validate()
        engine_state = engine_snapshot(self.host, [g for g, _ in self.guests])
        state = model_snapshot(self.model, [g for _, g in self.guests])
        for i, guest in enumerate(cast(list[dict[str, object]], state["guests"])):
            guest["pte"] = [self.model_of(i).shown(gfn) for gfn in range(len(self.model_of(i).pte))]
        assert engine_state == state
        for i, (engine, _) in enumerate(self.guests):
            model = self.model_of(i)
            pages = range(engine.pages)
            assert engine.host_ptes().tolist() == [model.host_word(gfn) for gfn in pages]
            assert engine.host_pte_stats() == model.two
            assert engine.allow_cow_sharing == model.allow_cow_sharing
            assert engine.uses_storage_keys == model.uses_skeys

    def notifier_unmap(self, i: int, gfns: Any, rewrite: Rewrite) -> None:
        engine, model = self.guests[i][0], self.model_of(i)
        self.both(
            lambda: engine.notifier_unmap(gfns, rewrite),
            lambda: model.notifier_unmap(plain(gfns), rewrite),
        )

    def set_host_ptes(self, i: int, gfns: list[int], words: list[int]) -> None:
        engine, model = self.guests[i][0], self.model_of(i)
        engine.set_host_ptes(np.array(gfns, np.int64), np.array(words, np.uint64))
        for gfn, word in zip(gfns, words, strict=True):
            model.set_host_pte(gfn, word)

    def keys(self, i: int, random: Random, gfn: int) -> None:
        """A function on storage keys, which the guest uses from the first on."""
        engine, model = self.guests[i][0], self.model_of(i)
        key, kind = random.getrandbits(7) << 1, random.randrange(6)
        mr, mc = random.random() < 0.5, random.random() < 0.5
        if kind == 0:
            frame = random.randrange(len(self.model.frames))
            self.host.set_frame_key(frame, key)
            self.model.real_keys[frame] = key
            return
        if kind == 1:
            assert engine.get_storage_key(gfn).tolist() == [model.key(gfn, "dat_get_storage_key")]
            return
        calls: dict[int, tuple[Callable[[], object], str, tuple[Any, ...]]] = {
            2: (lambda: engine.set_storage_key(gfn, key), "dat_set_storage_key", (key,)),
            3: (
                lambda: [int(part[0]) for part in engine.cond_set_storage_key(gfn, key, mr, mc)],
                "dat_cond_set_storage_key",
                (key, mr, mc),
            ),
            4: (lambda: engine.reset_reference(gfn), "dat_reset_reference_bit", ()),
        }
        if kind == 5:
            self.both(engine.reset_storage_keys, model.reset_keys)
            return
        call, function, arguments = calls[kind]

        def expected() -> object:
            model.use_keys()  # for which there may be too few frames
            result = model.key(gfn, function, *arguments)
            return [result] if isinstance(result, int) else result and list(result)

        self.both(call, expected)

    def hold(self, i: int, gfns: Any, on: bool) -> None:
        self.guests[i][0].hold_host_locks(gfns, on)
        self.model_of(i).hold(plain(gfns), on)

    def set_contention(self, i: int, rate: Fraction) -> None:
        self.guests[i][0].set_contention(rate)
        self.model_of(i).set_contention(rate)


def step(pair: TwoTables, random: Random) -> None:
    if not pair.guests:
        pair.create(**draw.guest_config(random))
        return
    i = random.randrange(len(pair.guests))
    model = pair.model_of(i)
    pages = len(model.pte)
    kind = random.random()
    if kind < 0.15:
        pair.notifier_unmap(i, draw.gfns(random, pages), random.choice(REWRITES))
    elif kind < 0.19:
        some = [random.randrange(pages) for _ in range(random.randint(1, 3))]
        slots = len(pair.model.slots)
        words = [draw.pte_word(random, model.host_word(gfn), slots) for gfn in some]
        pair.set_host_ptes(i, some, words)
    elif kind < 0.21:
        pair.hold(i, random.randrange(pages), random.random() < 0.4)
    elif kind < 0.22:
        # of a power of two both sides know every digit
        pair.set_contention(i, Fraction(random.choice((0, 0, 1, 2, 3, 4)), 4))
    elif kind < 0.32 and pair.with_keys:
        pair.keys(i, random, random.randrange(pages))
    else:
        draw.step(pair, random)


@pytest.mark.parametrize("revision", REVISIONS)
def test_random_calls(revision: str) -> None:
    left = CASES // len(REVISIONS)
    seed = 0
    while left > 0:
        random = Random(f"{revision} {seed}")
        pair = TwoTables(**draw.host_config(random))
        pair.revision = revision
        pair.with_keys = random.random() < 0.5
        for _ in range(min(left, 250)):
            step(pair, random)
            pair.check()
        left -= 250
        seed += 1
