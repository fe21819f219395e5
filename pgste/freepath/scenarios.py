# SPDX-License-Identifier: MIT
"""Runs of a guest's free and alloc path that go wrong, or that only one rule saves.

Each scenario is a function that drives runs over a small guest and returns acts: the steps that
were taken, the page after each of them, and how it ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from pgste.errors import UnknownNameError
from pgste.freepath.orders import Boot, Order, order_of
from pgste.freepath.page import POISON
from pgste.freepath.run import Act, Flavour, Line, Outcome, Run

__all__ = ["SCENARIOS", "Act", "Line", "Outcome", "Report", "Scenario", "run_scenario"]

_OLD = 0xDA7A  # what the page held before it was freed
_NEW = 0x2019  # what its next owner stores


@dataclass(frozen=True)
class Report:
    """A scenario that was run: what it asks, its acts, and why they end as they do."""

    name: str
    question: str
    acts: tuple[Act, ...]
    why: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Scenario:
    """A scenario that can be run: the question, the acts, and why they end as they do."""

    name: str
    question: str
    play: Callable[[], Iterator[Act]]
    why: str


# ---- the crash ----


def _crash_2019() -> Iterator[Act]:
    boot = Boot(init_on_free=True)
    for order, title in (("v5.3", "before the fix"), ("v5.4", "after the fix")):
        run = Run(title, "zvm", order, boot)
        run.free()
        if not run.dead:
            run.alloc(gfp_zero=True)
            run.use("load", wants_zero=True)
        yield run.end()


def _crash_2021() -> Iterator[Act]:
    boot = Boot(kasan="hw_tags", debug_pagealloc=True, init_on_free=True)
    for order, title in (
        ("v5.11", "before the fix"),
        ("v5.12", "after the fix"),
        ("v5.13", "tags and zeroes at once"),
    ):
        run = Run(title, "kvm", order, boot, mechanism="none")
        run.user(_OLD)
        run.free()
        if not run.dead:
            run.alloc(gfp_zero=True)
            run.use("load", wants_zero=True)
        yield run.end()


def _kvm_2019() -> Iterator[Act]:
    for boot in (Boot(init_on_free=True), Boot(page_poison=True)):
        for title, reclaim in (("no pressure", False), ("the host reclaims", True)):
            run = Run(f"{boot}, {title}", "kvm", "v5.3", boot)
            run.user(_OLD)
            run.free()
            if reclaim:
                run.reclaim()
            run.alloc(gfp_zero=boot.init_on_free)
            if boot.init_on_free:
                run.use("load", wants_zero=True)
            yield run.end()


# ---- poison ----


def _poison_cmma() -> Iterator[Act]:
    poison = Boot(page_poison=True)
    for title, reclaim in (("the host leaves it alone", False), ("the host drops it", True)):
        run = Run(title, boot=poison)
        run.user(_OLD)
        run.free()
        if reclaim:
            run.reclaim()
        run.alloc()
        yield run.end()
    run = Run("a bit really flips", boot=poison)
    run.user(_OLD)
    run.free()
    run.user(POISON ^ 0x10, "bit flip")
    run.alloc()
    yield run.end()
    run = Run("init_on_free instead, the host drops it", boot=Boot(init_on_free=True))
    run.user(_OLD)
    run.free()
    run.reclaim()
    run.alloc(gfp_zero=True)
    run.use("load", wants_zero=True)
    yield run.end()


def _poison_reporting() -> Iterator[Act]:
    page = {"order": 0, "parked_high": 0, "min": 0, "low": 0, "spare": 1 << 20}
    for title, poison, negotiated in (
        ("page_poison, the device knows of it", "page_poison", True),
        ("page_poison, the device does not", "page_poison", False),
        ("init_on_free, the device knows of it", "init_on_free", True),
    ):
        boot = Boot(page_poison=poison == "page_poison", init_on_free=poison == "init_on_free")
        run = Run(
            title,
            boot=boot,
            mechanism="reporting",
            reporting={**page, "poison": poison, "negotiated": negotiated},
        )
        run.user(_OLD)
        run.free()
        run.wait(2)
        run.alloc(gfp_zero=True)
        if poison == "init_on_free":
            run.use("load", wants_zero=True)
        yield run.end()
    run = Run(
        "page_poison, a host that drops at once",
        boot=Boot(page_poison=True),
        mechanism="madv_dontneed",
    )
    run.user(_OLD)
    run.free()
    run.alloc()
    yield run.end()


# ---- debug_pagealloc ----


def _debug_pagealloc() -> Iterator[Act]:
    boot = Boot(init_on_free=True, debug_pagealloc=True)
    alloc = order_of("v6.1").alloc
    first = Order(("check", "debug_unmap", "zero_on_free", "arch_free_page"), alloc)
    middle = Order(("check", "zero_on_free", "debug_unmap", "arch_free_page"), alloc)
    orders: tuple[tuple[str, str | Order], ...] = (
        ("unmapped last", "v6.1"),
        ("unmapped first", first),
        ("unmapped before the hook", middle),
    )
    for title, order in orders:
        run = Run(title, "zvm", order, boot)
        run.user(_OLD)
        run.free()
        if not run.dead:
            run.alloc(gfp_zero=True)
            run.use("load", wants_zero=True)
        yield run.end()
    late = Order(
        ("check", "poison", "arch_free_page", "debug_unmap"),
        ("arch_alloc_page", "poison_check", "debug_map", "zero_on_alloc"),
    )
    run = Run(
        "poison checked before it is mapped",
        "zvm",
        late,
        Boot(page_poison=True, debug_pagealloc=True),
    )
    run.user(_OLD)
    run.free()
    run.alloc()
    yield run.end()
    run = Run("a stray load of a free page", "kvm", "v6.1", boot)
    run.user(_OLD)
    run.free()
    run.use("stray load")
    yield run.end()


# ---- the hazards ----


def _skip_alloc() -> Iterator[Act]:
    order = Order(("check", "arch_free_page"), ("debug_map", "poison_check", "zero_on_alloc"))
    cases: tuple[tuple[str, Flavour, bool], ...] = (
        ("z/VM", "zvm", False),
        ("KVM, no pressure", "kvm", False),
        ("KVM, the host reclaims", "kvm", True),
    )
    for title, flavour, reclaim in cases:
        run = Run(title, flavour, order)
        run.user(_OLD)
        run.free()
        run.alloc()
        run.user(_NEW)
        if run.dead:
            yield run.end()
            continue
        if reclaim:
            run.reclaim()
        run.use()
        yield run.end()


def _store_while_free() -> Iterator[Act]:
    cases: tuple[tuple[str, Flavour, bool], ...] = (
        ("z/VM", "zvm", False),
        ("KVM, no pressure", "kvm", False),
        ("KVM, the host reclaims before the alloc", "kvm", True),
    )
    for title, flavour, reclaim in cases:
        run = Run(title, flavour)
        run.user(_OLD)
        run.free()
        run.user(_NEW, "stray store")
        if run.dead:
            yield run.end()
            continue
        if reclaim:
            run.reclaim()
        run.alloc()
        run.use()
        if not reclaim:
            run.reclaim()
            run.use("load again")
        yield run.end()


def _stale_data() -> Iterator[Act]:
    for title, swap_first, zap in (
        ("resident when freed, never reclaimed", False, False),
        ("swapped out when freed, list not processed", True, False),
        ("swapped out when freed, list processed", True, True),
    ):
        run = Run(title)
        run.user(_OLD)
        if swap_first:
            run.reclaim()
        run.free()
        if zap:
            run.process_list()
        run.alloc()
        run.use("load", wants_zero=True)
        yield run.end()


# ---- boot rules and leaks ----


def _boot_rules() -> Iterator[Act]:
    for title, boot, gfp_zero in (
        ("page_poison and init_on_free", Boot(page_poison=True, init_on_free=True), False),
        ("page_poison and init_on_alloc", Boot(page_poison=True, init_on_alloc=True), False),
        ("init_on_free, zeroes asked for", Boot(init_on_free=True), True),
        ("cmma=off", Boot(cmma=False), False),
    ):
        run = Run(title, boot=boot)
        run.user(_OLD)
        run.free()
        run.alloc(gfp_zero=gfp_zero)
        if gfp_zero:
            run.use("load", wants_zero=True)
        yield run.end()
    for title, how in (("a bad page", "bad_page"), ("a hwpoisoned page", "hwpoison")):
        run = Run(title)
        run.user(_OLD)
        run.free(**{how: True})
        yield run.end()


SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            "crash-2019",
            "Why did Linux 5.3 with init_on_free=1 panic at boot under z/VM, and 5.4 not?",
            _crash_2019,
            "arch_free_page makes the page unused, and z/VM answers every access to an unused "
            "page with an addressing exception. v5.3 zeroed the page after that hook; commit "
            "234fdce892f9 put the hook behind everything that touches content.",
        ),
        Scenario(
            "crash-2021",
            "How did the crash of 2019 come back on arm64, which has no arch_free_page?",
            _crash_2021,
            "KASAN with hardware tags stores them by the page's address, and v5.11 did so behind "
            "debug_pagealloc, which had unmapped the page. Commit f9d79e8dce40 put it before both "
            "hooks. From v5.13 the instruction that sets a tag zeroes the page too.",
        ),
        Scenario(
            "kvm-2019",
            "What does the order of v5.3 do under KVM, which raises no exception?",
            _kvm_2019,
            "KVM lets the store through, but the page stays unused: reclaim may drop it with "
            "what was stored. Dropped zeroes read as zeroes; dropped poison does not.",
        ),
        Scenario(
            "page-poison",
            "Does page_poison get along with a host that discards free pages?",
            _poison_cmma,
            "The check at allocation wants 0xaa and finds the zeroes of a new frame. The guest "
            "knows nothing of the discard, and v6.1 has no guard for CMMA. With init_on_free a "
            "discarded page holds what it should. One flipped bit is told from that.",
        ),
        Scenario(
            "page-poison-reporting",
            "How does free page reporting keep out of page_poison's way?",
            _poison_reporting,
            "The driver negotiates PAGE_POISON and tells its poison value: QEMU discards for "
            "zero (init_on_free) and only acks for 0xaa. A device without it: the driver turns "
            "reporting off. A host that drops behind the guest's back has no such guard.",
        ),
        Scenario(
            "debug-pagealloc",
            "Why does debug_pagealloc unmap last and map before anything else looks?",
            _debug_pagealloc,
            "Steps that touch content go through the kernel's own mapping, so they must be done "
            "before it goes, and they must be done before the hook. ESSA takes an absolute "
            "address: the hook itself does not need the mapping.",
        ),
        Scenario(
            "skip-alloc",
            "What if a page is used without arch_alloc_page?",
            _skip_alloc,
            "It stays unused. z/VM stops the first access; under KVM it works until the host "
            "reclaims the page, which drops the new owner's data without a word.",
        ),
        Scenario(
            "store-while-free",
            "What becomes of a store between free and alloc?",
            _store_while_free,
            "z/VM stops it. Under KVM it survives if the host does not reclaim the page before "
            "arch_alloc_page; from then on it is as safe as any other.",
        ),
        Scenario(
            "stale-data",
            "Does a page read as zero after it was freed and allocated again?",
            _stale_data,
            "Freeing only marks the page. Until the host drops it or zaps its swap entry the old "
            "content is there; after that it reads as zeroes and never comes back.",
        ),
        Scenario(
            "boot-rules",
            "Which steps do the guest's options switch off?",
            _boot_rules,
            "page_poison beats init_on_free and init_on_alloc; init_on_free makes zeroing at "
            "allocation needless; without CMMA the hooks are empty. Pages that are bad or "
            "hwpoisoned are leaked before any hook.",
        ),
    )
}


def run_scenario(name: str) -> Report:
    """Run a scenario of `SCENARIOS` through the engine; UnknownNameError for another name."""
    if name not in SCENARIOS:
        raise UnknownNameError(f"name: {name!r} is none of {', '.join(SCENARIOS)}")
    scenario = SCENARIOS[name]
    return Report(name, scenario.question, tuple(scenario.play()), scenario.why)
