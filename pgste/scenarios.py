# SPDX-License-Identifier: MIT
"""Runs of a guest's free and alloc path that go wrong, or that only one rule saves.

Each scenario is a function that drives `AllocatorPath` over a small guest and returns acts:
the steps that were taken, the page after each of them, and how it ended.  Nothing here states
an outcome: `Act.outcome` is read off what the engine did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pgste._engine import Guest, Host
from pgste.errors import UnknownNameError
from pgste.path import (
    ORDERS,
    POISON,
    AllocatorPath,
    Boot,
    Order,
    PageView,
    StepResult,
    describe,
    view,
)

__all__ = ["SCENARIOS", "Act", "Line", "Outcome", "Report", "Scenario", "run_scenario"]

Flavour = Literal["kvm", "zvm"]
_PAGE = 2  # the page that is looked at
_OLD = 0xDA7A  # what the page held before it was freed
_NEW = 0x2019  # what its next owner stores
_SECOND = 10**9


class Outcome:
    """How an act may end; the worst that happened counts."""

    PANIC = "panic"
    CORRUPTION = "corruption reported"
    LOST = "store lost"
    STALE = "stale data read"
    FINE = "passes"


@dataclass(frozen=True)
class Line:
    """One step: who took it, its name, whether it acted, what happened, and the page then."""

    actor: str
    step: str
    acted: bool
    text: str
    page: PageView
    mapped: bool
    alarm: bool


@dataclass
class Act:
    """A run from a new guest on: its setting, its steps, and how it ended."""

    title: str
    setting: str
    lines: list[Line] = field(default_factory=list)
    outcome: str = Outcome.FINE
    evidence: str = ""


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


class _Stage:
    """A guest with one page of interest, whose steps are written down as they are taken."""

    def __init__(
        self,
        title: str,
        flavour: Flavour = "kvm",
        order: str | Order = "v6.1",
        boot: Boot | None = None,
        mechanism: str = "cmma",
        reporting: Mapping[str, Any] | None = None,
    ) -> None:
        host = Host(8, 8)
        self.guest = Guest(4, host, mechanism=mechanism, flavour=flavour)
        if reporting:
            self.guest.set_reporting(**reporting)
        self.path = AllocatorPath(self.guest, order, boot, self._observe)
        where = "z/VM" if flavour == "zvm" else "KVM"
        name = order if isinstance(order, str) else "a custom order"
        setting = f"{where}, {mechanism}, {name}, {self.path.boot}"
        self.act = Act(title, setting)
        self.actor = "guest"
        self.expected: int | None = None  # what a load must give, once somebody stored it

    # ---- who acts ----

    def user(self, tag: int, name: str = "store") -> None:
        """A program stores in its page."""
        self.actor = "guest"
        if self.path.store(_PAGE, tag, name).fault is None:
            self.expected = tag

    def use(self, name: str = "load", wants_zero: bool = False) -> None:
        """A program loads from its page; it expects what was stored last, or zeroes."""
        self.actor = "guest"
        expected = 0 if wants_zero else self.expected
        result = self.path.load(_PAGE, name)
        read = int(self.guest.peek(_PAGE)[0])
        if result.fault is not None or expected is None or read == expected:
            return
        outcome = Outcome.STALE if wants_zero else Outcome.LOST
        self._ends(outcome, f"reads {describe(read)} where it counts on {describe(expected)}")

    def free(self, **how: bool) -> None:
        """The kernel frees the page."""
        self.actor = "free"
        self.path.free(_PAGE, **how)

    def alloc(self, gfp_zero: bool = False) -> None:
        """The kernel allocates it again."""
        self.actor = "alloc"
        self.path.alloc(_PAGE, gfp_zero=gfp_zero)

    def reclaim(self) -> None:
        """The host takes the page, as MADV_PAGEOUT does."""
        before = self.guest.host.stats()
        gone = self.guest.host.swap_out(self.guest, _PAGE)
        after = self.guest.host.stats()
        if not gone:
            text = "has nothing to take"
        elif after["swap_outs"] > before["swap_outs"]:
            text = "writes it to swap"
        else:
            text = "drops it unwritten"
        self.actor = "host"
        self._observe(StepResult("reclaim", True, text))

    def process_list(self) -> None:
        """The host processes the CBRL, as it does when the list is full."""
        zapped = self.guest.intercept()
        self.actor = "host"
        self._observe(StepResult("process CBRL", True, f"zaps {zapped} page"))

    def wait(self, seconds: int) -> None:
        """Time passes; a worker of the guest may report free pages."""
        before = self.guest.stats()["hints"]
        self.guest.advance(seconds * _SECOND)
        calls = self.guest.stats()["hints"] - before
        status = self.guest.reporting()["status"]
        plural = "" if calls == 1 else "s"
        text = f"{seconds} s: {calls} report call{plural}, {status}"
        self.actor = "guest"
        self._observe(StepResult("wait", True, text))

    # ---- what is written down ----

    def _observe(self, result: StepResult) -> None:
        text = result.text
        if result.report is not None:
            text = f"{text}: {result.report.removeprefix('pagealloc: ')}"
        self.act.lines.append(
            Line(
                self.actor,
                result.name,
                result.acted,
                text,
                view(self.guest, _PAGE),
                self.path.is_mapped(_PAGE),
                result.fault is not None or result.report is not None,
            )
        )
        if result.fault is not None:
            self._ends(Outcome.PANIC, result.fault)
        if result.report is not None:
            self._ends(Outcome.CORRUPTION, result.report)

    def _ends(self, outcome: str, evidence: str) -> None:
        if self.act.outcome == Outcome.FINE:
            self.act.outcome, self.act.evidence = outcome, evidence

    def end(self) -> Act:
        """The act as it went; one that passed says what the page holds."""
        if self.act.outcome == Outcome.FINE:
            page = view(self.guest, _PAGE)
            self.act.evidence = f"the page holds {describe(page.content)}, {page.usage}"
        return self.act

    @property
    def dead(self) -> bool:
        return self.path.panic is not None


# ---- the crash ----


def _crash_2019() -> Iterator[Act]:
    boot = Boot(init_on_free=True)
    for order, title in (("v5.3", "before the fix"), ("v5.4", "after the fix")):
        stage = _Stage(title, "zvm", order, boot)
        stage.free()
        if not stage.dead:
            stage.alloc(gfp_zero=True)
            stage.use("load", wants_zero=True)
        yield stage.end()


def _kvm_2019() -> Iterator[Act]:
    for boot in (Boot(init_on_free=True), Boot(page_poison=True)):
        for title, reclaim in (("no pressure", False), ("the host reclaims", True)):
            stage = _Stage(f"{boot}, {title}", "kvm", "v5.3", boot)
            stage.user(_OLD)
            stage.free()
            if reclaim:
                stage.reclaim()
            stage.alloc(gfp_zero=boot.init_on_free)
            if boot.init_on_free:
                stage.use("load", wants_zero=True)
            yield stage.end()


# ---- poison ----


def _poison_cmma() -> Iterator[Act]:
    poison = Boot(page_poison=True)
    for title, reclaim in (("the host leaves it alone", False), ("the host drops it", True)):
        stage = _Stage(title, boot=poison)
        stage.user(_OLD)
        stage.free()
        if reclaim:
            stage.reclaim()
        stage.alloc()
        yield stage.end()
    stage = _Stage("a bit really flips", boot=poison)
    stage.user(_OLD)
    stage.free()
    stage.user(POISON ^ 0x10, "bit flip")
    stage.alloc()
    yield stage.end()
    stage = _Stage("init_on_free instead, the host drops it", boot=Boot(init_on_free=True))
    stage.user(_OLD)
    stage.free()
    stage.reclaim()
    stage.alloc(gfp_zero=True)
    stage.use("load", wants_zero=True)
    yield stage.end()


def _poison_reporting() -> Iterator[Act]:
    page = {"order": 0, "parked_high": 0, "min": 0, "low": 0, "spare": 1 << 20}
    for title, poison, negotiated in (
        ("page_poison, the device knows of it", "page_poison", True),
        ("page_poison, the device does not", "page_poison", False),
        ("init_on_free, the device knows of it", "init_on_free", True),
    ):
        boot = Boot(page_poison=poison == "page_poison", init_on_free=poison == "init_on_free")
        stage = _Stage(
            title,
            boot=boot,
            mechanism="reporting",
            reporting={**page, "poison": poison, "negotiated": negotiated},
        )
        stage.user(_OLD)
        stage.free()
        stage.wait(2)
        stage.alloc(gfp_zero=True)
        if poison == "init_on_free":
            stage.use("load", wants_zero=True)
        yield stage.end()
    stage = _Stage(
        "page_poison, a host that drops at once",
        boot=Boot(page_poison=True),
        mechanism="madv_dontneed",
    )
    stage.user(_OLD)
    stage.free()
    stage.alloc()
    yield stage.end()


# ---- debug_pagealloc ----


def _debug_pagealloc() -> Iterator[Act]:
    boot = Boot(init_on_free=True, debug_pagealloc=True)
    alloc = ORDERS["v6.1"].alloc
    first = Order(("check", "debug_unmap", "zero_on_free", "arch_free_page"), alloc)
    middle = Order(("check", "zero_on_free", "debug_unmap", "arch_free_page"), alloc)
    orders: tuple[tuple[str, str | Order], ...] = (
        ("unmapped last", "v6.1"),
        ("unmapped first", first),
        ("unmapped before the hook", middle),
    )
    for title, order in orders:
        stage = _Stage(title, "zvm", order, boot)
        stage.user(_OLD)
        stage.free()
        if not stage.dead:
            stage.alloc(gfp_zero=True)
            stage.use("load", wants_zero=True)
        yield stage.end()
    late = Order(
        ("check", "poison", "arch_free_page", "debug_unmap"),
        ("arch_alloc_page", "poison_check", "debug_map", "zero_on_alloc"),
    )
    stage = _Stage(
        "poison checked before it is mapped",
        "zvm",
        late,
        Boot(page_poison=True, debug_pagealloc=True),
    )
    stage.user(_OLD)
    stage.free()
    stage.alloc()
    yield stage.end()
    stage = _Stage("a stray load of a free page", "kvm", "v6.1", boot)
    stage.user(_OLD)
    stage.free()
    stage.use("stray load")
    yield stage.end()


# ---- the hazards ----


def _skip_alloc() -> Iterator[Act]:
    order = Order(("check", "arch_free_page"), ("debug_map", "poison_check", "zero_on_alloc"))
    cases: tuple[tuple[str, Flavour, bool], ...] = (
        ("z/VM", "zvm", False),
        ("KVM, no pressure", "kvm", False),
        ("KVM, the host reclaims", "kvm", True),
    )
    for title, flavour, reclaim in cases:
        stage = _Stage(title, flavour, order)
        stage.user(_OLD)
        stage.free()
        stage.alloc()
        stage.user(_NEW)
        if stage.dead:
            yield stage.end()
            continue
        if reclaim:
            stage.reclaim()
        stage.use()
        yield stage.end()


def _store_while_free() -> Iterator[Act]:
    cases: tuple[tuple[str, Flavour, bool], ...] = (
        ("z/VM", "zvm", False),
        ("KVM, no pressure", "kvm", False),
        ("KVM, the host reclaims before the alloc", "kvm", True),
    )
    for title, flavour, reclaim in cases:
        stage = _Stage(title, flavour)
        stage.user(_OLD)
        stage.free()
        stage.user(_NEW, "stray store")
        if stage.dead:
            yield stage.end()
            continue
        if reclaim:
            stage.reclaim()
        stage.alloc()
        stage.use()
        if not reclaim:
            stage.reclaim()
            stage.use("load again")
        yield stage.end()


def _stale_data() -> Iterator[Act]:
    for title, swap_first, zap in (
        ("resident when freed, never reclaimed", False, False),
        ("swapped out when freed, list not processed", True, False),
        ("swapped out when freed, list processed", True, True),
    ):
        stage = _Stage(title)
        stage.user(_OLD)
        if swap_first:
            stage.reclaim()
        stage.free()
        if zap:
            stage.process_list()
        stage.alloc()
        stage.use("load", wants_zero=True)
        yield stage.end()


# ---- boot rules and leaks ----


def _boot_rules() -> Iterator[Act]:
    for title, boot, gfp_zero in (
        ("page_poison and init_on_free", Boot(page_poison=True, init_on_free=True), False),
        ("page_poison and init_on_alloc", Boot(page_poison=True, init_on_alloc=True), False),
        ("init_on_free, zeroes asked for", Boot(init_on_free=True), True),
        ("cmma=off", Boot(cmma=False), False),
    ):
        stage = _Stage(title, boot=boot)
        stage.user(_OLD)
        stage.free()
        stage.alloc(gfp_zero=gfp_zero)
        if gfp_zero:
            stage.use("load", wants_zero=True)
        yield stage.end()
    for title, how in (("a bad page", "bad_page"), ("a hwpoisoned page", "hwpoison")):
        stage = _Stage(title)
        stage.user(_OLD)
        stage.free(**{how: True})
        yield stage.end()


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
