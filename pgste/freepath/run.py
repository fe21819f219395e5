# SPDX-License-Identifier: MIT
"""Runs of the free and alloc path over one page, with hypervisor and programs in play.

Nothing here states an outcome: `Act.outcome` is read off what the engine did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pgste._engine import Guest, Host
from pgste.freepath.allocator import AllocatorPath, StepResult
from pgste.freepath.orders import Boot, Order
from pgste.freepath.page import PageView, describe, view

__all__ = ["Act", "Flavour", "Line", "Outcome", "Run"]

Flavour = Literal["kvm", "zvm"]
PAGE = 2
"""The page that is looked at."""
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


class Run:
    """A guest with one page of interest, `PAGE`, whose steps are written down as they are taken."""

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
        self.allocator = AllocatorPath(self.guest, order, boot, self._observe)
        where = "z/VM" if flavour == "zvm" else "KVM"
        name = order if isinstance(order, str) else "a custom order"
        setting = f"{where}, {mechanism}, {name}, {self.allocator.boot}"
        self.act = Act(title, setting)
        self.actor = "guest"
        self.expected: int | None = None  # what a load must give, once somebody stored it

    # ---- who acts ----

    def user(self, tag: int, name: str = "store") -> None:
        """A program stores in its page."""
        self.actor = "guest"
        if self.allocator.store(PAGE, tag, name).fault is None:
            self.expected = tag

    def use(self, name: str = "load", wants_zero: bool = False) -> None:
        """A program loads from its page; it expects what was stored last, or zeroes."""
        self.actor = "guest"
        expected = 0 if wants_zero else self.expected
        result = self.allocator.load(PAGE, name)
        read = int(self.guest.peek(PAGE)[0])
        if result.fault is not None or expected is None or read == expected:
            return
        outcome = Outcome.STALE if wants_zero else Outcome.LOST
        self._ends(outcome, f"reads {describe(read)} where it counts on {describe(expected)}")

    def free(self, **how: bool) -> None:
        """The kernel frees the page."""
        self.actor = "free"
        self.allocator.free(PAGE, **how)

    def alloc(self, gfp_zero: bool = False) -> None:
        """The kernel allocates it again."""
        self.actor = "alloc"
        self.allocator.alloc(PAGE, gfp_zero=gfp_zero)

    def reclaim(self) -> None:
        """The host takes the page, as MADVPAGEOUT does."""
        before = self.guest.host.stats()
        gone = self.guest.host.swap_out(self.guest, PAGE)
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
                view(self.guest, PAGE),
                self.allocator.is_mapped(PAGE),
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
            page = view(self.guest, PAGE)
            self.act.evidence = f"the page holds {describe(page.content)}, {page.usage}"
        return self.act

    @property
    def dead(self) -> bool:
        return self.allocator.panic is not None
