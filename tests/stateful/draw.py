# SPDX-License-Identifier: MIT
"""Random calls: guests, gfns in every form, and words that matter to the model."""

from __future__ import annotations

from random import Random
from typing import Any, Literal

import numpy as np

from stateful.pair import Pair

DTYPES = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8")
MECHANISMS = ("cmma", "cmma", "cmma", "none", "madv_dontneed", "madv_free")
Generation = Literal["pgtable", "dat"]
GENERATIONS: tuple[Generation, ...] = ("pgtable", "dat")
MAX_GUESTS = 3


def host_config(random: Random) -> dict[str, Any]:
    """A host so small that everything runs out."""
    frames = random.randint(1, 12)
    config: dict[str, Any] = {"frames": frames, "swap_slots": random.choice((0, 1, 3, 8, 16, 24))}
    if random.random() < 0.5:
        config["low"] = random.randint(0, frames - 1)
        config["high"] = random.randint(config["low"] + 1, frames)
        config["batch"] = random.randint(1, 4)
    config["rearm"] = random.choice(("referenced", "dirty", "discard"))
    return config


def guest_config(random: Random) -> dict[str, Any]:
    """Any guest; one in six is of z/VM, which has neither generations nor madvise."""
    zvm = random.random() < 1 / 6
    generation = "pgtable" if zvm else random.choice(GENERATIONS)
    return {
        "pages": random.randint(1, 20),
        "flavour": "zvm" if zvm else "kvm",
        "mechanism": "cmma" if zvm else random.choice(MECHANISMS),
        "generation": generation,
        "nodat": random.random() < 0.5,
        "vcpus": random.randint(1, 2),
        "cbrl_entries": random.choice((1, 2, 3, 511)),
        "strict": random.random() < 0.2,
        # in dat it takes the host's table too, which test_two_tables.py has: it says "dat" itself
        "allow_cow_sharing": not zvm and generation == "pgtable" and random.random() < 0.6,
    }


def gfns(random: Random, pages: int, spread: int = 0) -> Any:
    """An int, a range, or an array; up to `spread` beyond the end of the guest."""
    form = random.randrange(3)
    first = random.randrange(pages + spread)
    if form == 0:
        return first
    if form == 1:
        return range(first, random.randint(first, pages + spread))
    some = [random.randrange(pages + spread) for _ in range(random.randint(0, 6))]
    return np.array(some, random.choice(DTYPES))


def pte_word(random: Random, old: int, slots: int) -> int:
    """A word of every kind of section 1 of the model, given the page's word now."""
    bits = random.getrandbits(12)
    slot = random.randrange(slots + 2)
    kind = random.randrange(8)
    if kind == 0:
        return 0x400
    if kind == 1:  # a swap entry of this host, perhaps, with odd bits
        return slot << 12 | 0x600 | (bits & 0x983 & ~1)
    if kind == 2:  # of another device, or valid at the same time
        return slot << 12 | 0x200 | (bits & ~1)
    if kind == 3:  # the frame the page has, other bits
        return (old & ~0xFFF) | bits | 1
    if kind == 4:  # the same word, or one bit of it changed
        return old ^ (random.choice((0, 1)) << random.randrange(12))
    if kind == 5:  # neither present, swap nor none
        return slot << 12 | (bits & ~0x201)
    if kind == 6:  # present, of a frame that is not this page's
        return random.randrange(14) << 12 | bits | 1
    return random.getrandbits(64)


def pgste_word(random: Random) -> int:
    """Every bit of its own: the ones ESSA reads as likely as all the others together."""
    state = random.getrandbits(2) << 24 | random.getrandbits(2) << 30
    state |= random.getrandbits(1) << 49 | random.getrandbits(1) << 15
    rest = random.getrandbits(64) if random.random() < 0.5 else 0
    return state | rest & ~0x0002_0000_C300_8000


def folios(model: Any) -> tuple[str, ...]:
    """What a folio of this guest's may be in."""
    if model.flavour == "zvm":
        return ("pinned",)
    return ("pinned", "locked", "writeback", "shared")[: 4 if model.generation == "pgtable" else 3]


def step(pair: Pair, random: Random) -> None:
    """One random call; most of them ESSA, free, alloc, loads and stores."""
    if not pair.guests or (len(pair.guests) < MAX_GUESTS and random.random() < 0.01):
        pair.create(**guest_config(random))
        return
    i = random.randrange(len(pair.guests))
    model = pair.guests[i][1]
    pages, vcpu = len(model.pte), random.randrange(len(model.cbrl))
    slots = len(pair.model.slots)
    kind = random.choices(KINDS, WEIGHTS)[0]
    if kind == "essa":
        orc = random.randrange(8) if random.random() < 0.98 else 9
        far = 3 if random.random() < 0.1 else 0
        pair.essa(i, orc, gfns(random, pages, far), vcpu)
    elif kind in ("free", "alloc"):
        order = random.choice((0, 0, 0, 1, 2))
        method = pair.free if kind == "free" else pair.alloc
        method(i, gfns(random, pages), order, vcpu)
    elif kind == "free_page":
        pair.free_page(i, random.randrange(pages + 1))
    elif kind == "alloc_page":
        pair.alloc_page(i, random.randrange(pages + 1))
    elif kind == "write":
        to = gfns(random, pages)
        nr = 1 if isinstance(to, int) else len(to)
        one = isinstance(to, int) or random.random() < 0.5
        tag = random.getrandbits(32)
        pair.write(i, to, tag if one else [random.getrandbits(32) for _ in range(nr)])
    elif kind == "read":
        pair.read(i, gfns(random, pages))
    elif kind == "swap_out":
        pair.swap_out(i, gfns(random, pages))
    elif kind == "set_words" and model.flavour == "kvm":  # section 10 of the model: legal states
        some = [random.randrange(pages) for _ in range(random.randint(1, 3))]
        ptes = [pte_word(random, model.pte[gfn], slots) for gfn in some]
        pgstes = [pgste_word(random) for _ in some]
        which = random.randrange(3)
        pair.set_words(i, some, None if which == 0 else pgstes, None if which == 1 else ptes)
    elif kind == "intercept":
        pair.intercept(i, vcpu)
    elif kind == "pin":
        pair.pin(i, gfns(random, pages), random.random() < 0.5)
    elif kind == "set_folio":
        what = random.choice(folios(model))
        pair.set_folio(i, gfns(random, pages), what, random.random() < 0.6)
    elif kind == "set_changed":
        pair.set_changed(i, random.randrange(pages), random.random() < 0.5)
    elif kind == "zap":
        pair.zap(i, random.randrange(pages))
    elif kind == "zap_scan":
        pair.zap_scan(i)
    elif kind == "reset_cmma":
        pair.reset_cmma(i)
    elif kind == "migration":
        pair.set_migration(i, random.random() < 0.4)
    elif kind == "problem_state":
        pair.set_problem_state(i, vcpu, random.random() < 0.2)
    elif kind == "reclaim":
        pair.reclaim(random.randint(0, 6))
    elif kind == "reset_stats":
        pair.reset_stats()
        pair.reset_guest_stats(i)
    elif kind == "drop":
        pair.drop(i)


FREQUENCY = {
    "essa": 20,
    "free": 12,
    "alloc": 10,
    "free_page": 4,
    "alloc_page": 3,
    "write": 18,
    "read": 12,
    "swap_out": 8,
    "set_words": 4,
    "intercept": 3,
    "zap": 2,
    "pin": 2,
    "set_folio": 3,
    "set_changed": 1,
    "zap_scan": 1,
    "reset_cmma": 0.5,
    "migration": 1,
    "problem_state": 1,
    "reclaim": 5,
    "reset_stats": 0.5,
    "drop": 0.3,
}
KINDS, WEIGHTS = list(FREQUENCY), list(FREQUENCY.values())
