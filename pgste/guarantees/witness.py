# SPDX-License-Identifier: MIT
"""A run of the search (pgste.guarantees) played step by step on a guest, for people to read.

The player makes each step through the public API, not through the search's own code: what it
shows is what any user of `Guest` and `Host` would see.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeAlias

from pgste._engine import Guest, Host
from pgste._engine.search import ACTION_WORDS
from pgste.enums import PgsteBits, PteBits, Usage
from pgste.errors import ProgramInterruption

__all__ = ["Moment", "Poison", "Step", "play"]

Poison: TypeAlias = Literal["none", "init_on_free", "page_poison"]


@dataclass(frozen=True)
class Step:
    """An action of `enum pgste_action` and its page (0 for one without)."""

    action: str
    gfn: int


@dataclass(frozen=True)
class Moment:
    """Page 0 after a step: its words, its state in short, and what a load would give.

    `what` tells the step, `words` are PGSTE and PTE, `state` is a letter for the guest's state
    (S stable, U unused, V volatile, P potentially volatile) and one for the host's (r resident,
    p on swap, z nothing kept) with ZERO spelled out, `listed` the pages on the CBRL,
    `reads` the content, a store's number or "zero", or the program interruption.
    """

    what: str
    pgste: int
    pte: int
    host_pte: int | None  # its own, where there are two tables
    state: str
    listed: tuple[int, ...]
    reads: str


def _pages(blocks: list[tuple[int, int, bool]]) -> str:
    pages = [page for gfn, order, _ in blocks for page in range(gfn, gfn + (1 << order))]
    return ("pages " if len(pages) > 1 else "page ") + ", ".join(map(str, pages))


class _Player:
    def __init__(self, host: Host, guest: Guest, notifiers: tuple[str, ...] = ()) -> None:
        self.host, self.guest = host, guest
        self.tag = 0
        # what an operation does to the host's PTE that changes least
        self.least = "none" if "none" in notifiers else "xchg"

    def do(self, step: Step) -> str:
        """Carry a step out: what it was, in words."""
        value: str | int = ""
        try:
            value = self._act(step)
        except ProgramInterruption as error:
            refused = f"program interruption {error.code:#06x}"
            if step.action != "read":
                return self._words(step, "") + f": {refused}"
            value = refused
        return self._words(step, value)

    def _act(self, step: Step) -> str | int:
        host, guest, gfn = self.host, self.guest, step.gfn
        match step.action:
            case "write" | "free_raced":
                self.tag += 1
                guest.write(gfn, self.tag)
                if step.action == "free_raced":
                    guest.free_page(gfn)
            case "read" | "swap_in":
                return int(guest.read(gfn)[0]) or "zero"
            case "swap_out":
                host.swap_out(guest, gfn)
            case "free":
                guest.free_page(gfn)
            case "alloc":
                guest.alloc_page(gfn)
            case "free_elsewhere":
                guest.free_page(gfn, vcpu=1)
            case "alloc_elsewhere":
                guest.alloc_page(gfn, vcpu=1)
            case "intercept_elsewhere":
                guest.intercept(vcpu=1)
            case "age":
                guest.age(gfn)
            case "zap":
                guest.zap(gfn)
            case "pin":
                taken = host.pin(guest, gfn, True)
                if not taken:
                    host.pin(guest, gfn, False)
                return "taken" if taken else "dropped"
            case "reclaim":
                host.reclaim(1)
            case "intercept":
                guest.intercept()
            case "zap_scan":
                guest.zap_scan()
            case "reset_cmma":
                guest.reset_cmma()
            case "migrate":
                guest.migration_mode = not guest.migration_mode
            case "report":
                return self._report()
            case "pressure":
                host.pin(guest, slice(None), False)
                for _ in range(4):
                    host.reclaim(host.frames)
            case _:
                self._two_tables(step)
        return ""

    def _two_tables(self, step: Step) -> None:
        guest, gfn = self.guest, step.gfn
        match step.action.split("_"):
            case ["notify", "held"]:
                with self._held():
                    guest.notifier_unmap(gfn, self.least)
            case ["notify", "start"]:
                guest.notifier_unmap(gfn, "none")
            case ["notify", rewrite]:
                guest.notifier_unmap(gfn, rewrite)
            case ["swap", "out", "held"]:
                with self._held():
                    self.host.swap_out(guest, gfn)
            case ["intercept", "held"]:
                with self._held():
                    guest.intercept()
            case ["end", rewrite]:
                word = int(guest.host_ptes(gfn)[0])
                clears = rewrite == "set" or (rewrite == "xchg" and guest.revision != "7.0")
                if clears and word & PteBits.PRESENT:
                    guest.set_host_ptes(gfn, word & ~PteBits.UNUSED)

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Somebody holds the locks of the host's page tables."""
        self.guest.hold_host_locks(slice(None), True)
        yield
        self.guest.hold_host_locks(slice(None), False)

    def _report(self) -> str:
        """Free page reporting: what is due next happens."""
        guest = self.guest
        waiting = guest.isolated_blocks()
        due = guest.reporting()["due_ns"]
        guest.advance(max(due - guest.now_ns, 0))
        said = [f"host acks the report of {_pages(waiting)}"] if waiting else []
        if guest.isolated_blocks():
            said.append(f"guest reports {_pages(guest.isolated_blocks())}")
        return "; ".join(said) or "guest finds nothing to report"

    def _words(self, step: Step, value: str | int) -> str:
        return ACTION_WORDS[step.action].format(
            gfn=step.gfn,
            tag=self.tag,
            value=value,
            pinned=value,
            report=value,
            held="left alone" if self.least == "none" else "exchanged",
            mode="starts" if self.guest.migration_mode else "stops",
        )

    def look(self, what: str) -> Moment:
        guest = self.guest
        pgste, pte = int(guest.pgste(0)[0]), int(guest.pte(0)[0])
        host_pte = int(guest.host_ptes(0)[0]) if guest.generation == "dat" else None
        state = "SUPV"[(pgste & PgsteBits.USAGE) >> 24]
        kept = pte if host_pte is None else host_pte
        state += "z" if kept == PteBits.INVALID else "r" if kept & PteBits.PRESENT else "p"
        state += " ZERO" if pgste & PgsteBits.ZERO else ""
        listed = [gfn for vcpu in range(guest.vcpus) for gfn in guest.cbrl(vcpu).tolist()]
        return Moment(what, pgste, pte, host_pte, state, tuple(listed), self._reads(state))

    def _reads(self, state: str) -> str:
        """What a load would give, without making it."""
        if self.guest.flavour == "zvm" and state[0] == "SUPV"[Usage.UNUSED]:
            return "addressing exception"
        if self.guest.flavour == "zvm" and state == "Vz":
            return "discard fault"
        tag = int(self.guest.peek(0)[0])
        return f"store {tag}" if tag else "zero"


def play(
    steps: Sequence[Step],
    *,
    pages: int,
    frames: int,
    swap_slots: int,
    cbrl_entries: int,
    mechanism: str,
    generation: str = "pgtable",
    rearm: str = "referenced",
    poison: Poison = "none",
    vcpus: int = 1,
    revision: str = "7.2",
    notifiers: tuple[str, ...] = (),
    shifted: bool = False,
) -> list[Moment]:
    """Play steps on a new guest; a `Moment` for the start and after each step."""
    host = Host(frames, swap_slots, rearm=rearm)
    guest = Guest(
        pages,
        host=host,
        mechanism=mechanism,
        generation=generation,
        cbrl_entries=cbrl_entries,
        vcpus=vcpus,
        revision=revision if generation == "dat" else None,
        slots=[(0, pages, 1, True)] if shifted else None,
    )
    if mechanism == "reporting":
        # as search/reporting.c has it: every block is reported, and a call takes a moment
        guest.set_reporting(
            order=0,
            max_order=int(pages > 1),
            parked_order=0,
            parked_high=1,
            parked_batch=1,
            capacity=1,
            delay_ns=1,
            ack_ns=1,
            min=0,
            low=0,
            spare=32,
            poison=poison,
        )
    player = _Player(host, guest, notifiers)
    moments = [player.look("a new guest")]
    moments.extend(player.look(player.do(step)) for step in steps)
    return moments
