# SPDX-License-Identifier: MIT
"""Which kernels take the steps of the free path in which order, and what went wrong in which.

`KERNELS` says where each of `orders.ORDERS` was read, and which commit brought it; `BUGS` are the
crashes and reports that an order makes, from the release that brought them to the last that has
them.  `reproduce` runs one on the order of any release.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pgste.errors import ArgumentError
from pgste.freepath.orders import ORDERS, Boot, Order, order_of
from pgste.freepath.run import Act, Flavour, Outcome, Run
from pgste.kernels.releases import Commit, release_number, span_text

__all__ = ["BUGS", "KERNELS", "Bug", "Kernel", "reproduce"]

_FILE = "mm/page_alloc.c at"


@dataclass(frozen=True)
class Kernel:
    """Releases that have one order: the first, the last (None: none is known), and the commit.

    `note`: what is built or asked for differently, or moved without effect on content.
    """

    first: str
    last: str | None
    commit: Commit
    note: str = ""

    @property
    def order(self) -> Order:
        return ORDERS[self.first]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "first": self.first,
            "last": self.last,
            "commit": vars(self.commit),
            "free": list(self.order.free),
            "alloc": list(self.order.alloc),
            "kasan": self.order.kasan.name.lower(),
            "note": self.note,
        }


_POISONING = Commit(
    "8823b1dbc05f",
    "mm/page_poison.c: enable PAGE_POISONING as a separate option",
    "v4.6",
    f"{_FILE} this commit",
)
_INIT_ON_FREE = Commit(
    "6471384af2a6",
    "mm: security: introduce init_on_alloc=1 and init_on_free=1 boot options",
    "v5.3",
    f"{_FILE} this commit",
)
_FIX_OF_2019 = Commit(
    "234fdce892f9",
    "mm/page_alloc.c: fix a crash in free_pages_prepare()",
    "v5.4",
    "the patch, on linux-s390 (27 Sep 2019) and as reviewed for 5.3-stable (16 Oct 2019)",
    stable=("v5.3.7",),
)
_HW_TAGS = Commit(
    "94ab5b61ee16",
    "kasan, arm64: enable CONFIG_KASAN_HW_TAGS",
    "v5.11",
    f"{_FILE} f289041ed4cf",
)
_FIX_OF_2021 = Commit(
    "f9d79e8dce40",
    "kasan, mm: fix crash with HW_TAGS and DEBUG_PAGEALLOC",
    "v5.12",
    f"{_FILE} this commit, and the patch as reviewed for 5.11-stable (15 Mar 2021)",
    stable=("v5.11.7",),
)

KERNELS = (
    Kernel(
        "v4.6",
        "v5.2",
        _POISONING,
        "KASAN's place changed before v5.3 (its shadow is elsewhere); from v5.1 it is told of an "
        "allocation before the poison is checked",
    ),
    Kernel("v5.3", "v5.3", _INIT_ON_FREE),
    Kernel("v5.4", "v5.10", _FIX_OF_2019),
    Kernel(
        "v5.11", "v5.11", _HW_TAGS, "CONFIG_PAGE_POISONING_ZERO and _NO_SANITY are gone from here"
    ),
    Kernel("v5.12", "v5.12", _FIX_OF_2021),
    Kernel(
        "v5.13",
        "v5.17",
        Commit(
            "1bb5eab30d68",
            "kasan, mm: integrate page_alloc init with HW_TAGS",
            "v5.13",
            f"{_FILE} this commit",
        ),
    ),
    Kernel(
        "v5.18",
        "v6.14",
        Commit(
            "db8a04774a81",
            "kasan, page_alloc: init memory of skipped pages on free",
            "v5.18",
            f"{_FILE} dac22531bbd4 (v6.2), and the patch",
        ),
    ),
    Kernel(
        "v6.15",
        None,
        Commit(
            "8c57b687e833",
            "mm, bpf: Introduce free_pages_nolock()",
            "v6.15",
            f"{_FILE} 338ad1e84d15 (v7.0-rc1), and the patch",
        ),
        "FPI_TRYLOCK: the hook has run when a page waits for the zone's lock; from v7.0 "
        "(338ad1e84d15) such a free checks neither locks nor objects",
    ),
)


@dataclass(frozen=True)
class Bug:
    """What goes wrong with an order, in which mainline releases, and what ended it.

    `step` is where; `outcome` one of `run.Outcome`; `boot`, `flavour` and `mechanism` set up the
    guest, and with `reclaim` its host takes the page while it is free.  `fixed` is None while no
    fix is known.
    """

    key: str
    title: str
    first: str
    last: str | None
    step: str
    outcome: str
    boot: Boot
    introduced: Commit
    fixed: Commit | None
    flavour: Flavour = "kvm"
    mechanism: str = "cmma"
    reclaim: bool = False
    note: str = field(default="")

    def affects(self, release: str) -> bool:
        """Whether a release has it; a stable release may have the fix that mainline had later.

        ArgumentError for what is no release.
        """
        number = release_number(release)
        if number < release_number(self.first):
            return False
        for stable in self.fixed.stable if self.fixed else ():
            if number >= release_number(stable) and number[:2] == release_number(stable)[:2]:
                return False
        return self.last is None or number[:2] <= release_number(self.last)[:2]

    @property
    def releases(self) -> str:
        """The releases that have it, in words."""
        if self.fixed is None or not self.fixed.stable:
            return span_text(self.first, self.last)
        major, minor, patch = release_number(self.fixed.stable[-1])
        return span_text(self.first, f"v{major}.{minor}.{patch - 1}")

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "key": self.key,
            "title": self.title,
            "first": self.first,
            "last": self.last,
            "releases": self.releases,
            "step": self.step,
            "outcome": self.outcome,
            "options": str(self.boot),
            "introduced": vars(self.introduced),
            "fixed": None if self.fixed is None else vars(self.fixed),
            "note": self.note,
        }


BUGS = (
    Bug(
        "poison-unused",
        "z/VM: page_poison=1 stores into a page just made unused",
        "v4.6",
        "v5.3",
        "poison",
        Outcome.PANIC,
        Boot(page_poison=True),
        _POISONING,
        _FIX_OF_2019,
        flavour="zvm",
        note="the fix asked for stable kernels from 5.3 on; older series were not looked at",
    ),
    Bug(
        "init-unused",
        "z/VM: init_on_free=1 stores into a page just made unused",
        "v5.3",
        "v5.3",
        "zero_on_free",
        Outcome.PANIC,
        Boot(init_on_free=True),
        _INIT_ON_FREE,
        _FIX_OF_2019,
        flavour="zvm",
        note="the crash of the thread of 2019",
    ),
    Bug(
        "tags-unmapped",
        "arm64: KASAN with hardware tags sets them in a page that debug_pagealloc unmapped",
        "v5.11",
        "v5.11",
        "kasan_poison",
        Outcome.PANIC,
        Boot(kasan="hw_tags", debug_pagealloc=True),
        _HW_TAGS,
        _FIX_OF_2021,
        mechanism="none",
        note="the same class again: arm64 has no arch_free_page, and debug_pagealloc does what "
        "that hook does on s390",
    ),
    Bug(
        "poison-dropped",
        "page_poison=1 with CMMA: a false report of memory corruption",
        "v4.6",
        None,
        "poison_check",
        Outcome.CORRUPTION,
        Boot(page_poison=True),
        _POISONING,
        None,
        reclaim=True,
        note="on z/VM from v5.4 on; before that it panics there. Not with "
        "CONFIG_PAGE_POISONING_ZERO or _NO_SANITY (v4.6 to v5.10)",
    ),
)


def reproduce(bug: Bug, release: str) -> Act | None:
    """Free a page with the order of a release and a bug's options, and allocate it again.

    None if the release knows the options not.  The outcome is read off what the engine did.
    """
    order = order_of(release)
    try:
        run = Run(bug.title, bug.flavour, order, bug.boot, bug.mechanism)
    except ArgumentError:
        return None
    run.user(0xDA7A)
    run.free()
    if bug.reclaim and not run.dead:
        run.reclaim()
    if not run.dead:
        run.alloc()
    return run.end()
