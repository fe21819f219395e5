# SPDX-License-Identifier: MIT
"""A run of the search (pgste.guarantees) played step by step on a guest, for people to read.

The player makes each step through the public API, not through the search's own code: what it
shows is what any user of `Guest` and `Host` would see.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pgste._engine import Guest, Host
from pgste._engine.search import ACTION_WORDS
from pgste.enums import PgsteBits, PteBits, Usage
from pgste.errors import ProgramInterruption

if TYPE_CHECKING:
    from pgste._engine.host import FrameInfo, SlotInfo

__all__ = ["Advice", "Backing", "Moment", "Page", "Poison", "Step", "play"]

Advice: TypeAlias = Literal["madv_dontneed", "madv_free"]
Backing: TypeAlias = Literal["anonymous", "memfd"]
Poison: TypeAlias = Literal["none", "init_on_free", "page_poison"]
Rewrite: TypeAlias = Literal["none", "xchg", "set"]


@dataclass(frozen=True)
class Step:
    """An action of `enum pgste_action` and its page (0 for one without)."""

    action: str
    gfn: int


@dataclass(frozen=True)
class Page:
    """One page after a step, in words: what a picture shows of it.

    `usage` is the guest's word for it ("stable", "unused", with "ZERO" behind it if that is set),
    `pte` what the guest's PTE is ("none", "present", "lazyfree", "swap entry", with "dirty" behind
    "lazyfree" and "pinned" where there is a reference beside the mapping), and `host_pte`
    the host's own, None where there is one table only.  `swap` is the content of the page's swap
    slot, None if it has none, `resident` whether the page is in memory, `report` what free page
    reporting has the page for ("" under other mechanisms), and `reads` is what a load gives.
    """

    usage: str
    pte: str
    host_pte: str | None
    swap: str | None
    resident: bool
    report: str
    reads: str


@dataclass(frozen=True)
class Moment:
    """Page 0 after a step: its words, its state in short, and what a load would give.

    `what` tells the step, `pgste`, `pte` and `host_pte` (the host's own, None where there is one
    table only) are the words, `state` is a letter for the guest's state
    (S stable, U unused, V volatile, P potentially volatile) and one for the host's (r resident,
    p on swap, z nothing kept) with ZERO spelled out, `listed` the pages on the CBRL,
    `reads` the content, a store's number or "zero", or the program interruption.  `pages` are
    all pages of the guest, in words, `device` what a device reads that has page 0 pinned, None
    where there is none.
    """

    what: str
    pgste: int
    pte: int
    host_pte: int | None
    state: str
    listed: tuple[int, ...]
    reads: str
    pages: tuple[Page, ...] = ()
    device: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; words as hexadecimal numbers."""
        return {
            "what": self.what,
            "pgste": f"{self.pgste:#018x}",
            "pte": f"{self.pte:#x}",
            "host_pte": None if self.host_pte is None else f"{self.host_pte:#x}",
            "state": self.state,
            "listed": list(self.listed),
            "reads": self.reads,
            "device": self.device,
            "pages": [asdict(page) for page in self.pages],
        }


_USAGES = {
    Usage.STABLE: "stable",
    Usage.UNUSED: "unused",
    Usage.POT_VOLATILE: "potentially volatile",
    Usage.VOLATILE: "volatile",
}


_POISONED = 0xAAAAAAAA


@dataclass(frozen=True)
class _Fill:
    """What a guest fills a page with before it frees it, and how that is told."""

    tag: int
    frees: str


_FILLS: dict[Poison, _Fill] = {
    "none": _Fill(0, "guest frees"),
    "init_on_free": _Fill(0, "guest zeroes and frees"),
    "page_poison": _Fill(_POISONED, "guest poisons and frees"),
}


#: What a folio may be in, and the words for its beginning and end, by action.
_FLIPS: dict[str, tuple[Literal["pinned", "locked", "writeback", "shared"], str, str]] = {
    "pin": ("pinned", "taken", "dropped"),
    "lock": ("locked", "taken", "dropped"),
    "writeback": ("writeback", "goes on", "ends"),
    "fork": ("shared", "a forked child maps", "no child any more maps"),
}
_HOLDS: tuple[Literal["pinned", "locked", "writeback"], ...] = ("pinned", "locked", "writeback")


def _pages(blocks: list[tuple[int, int, bool]]) -> str:
    pages = [page for gfn, order, _ in blocks for page in range(gfn, gfn + (1 << order))]
    return ("pages " if len(pages) > 1 else "page ") + ", ".join(map(str, pages))


class _Player:
    def __init__(
        self,
        host: Host,
        guest: Guest,
        poison: Poison,
        notifiers: tuple[str, ...] = (),
        memfd: bool = False,
    ) -> None:
        self.host, self.guest, self.poison = host, guest, poison
        self.tag = 0
        # what an operation does to the host's PTE that changes least
        self.least: Rewrite = "none" if "none" in notifiers else "xchg"
        self.memfd = memfd
        self.pinned = False  # a device has page 0
        self.kept: int | None = None  # what is in the frame that it kept when the page lost it

    def pin(self) -> None:
        """VFIO_IOMMU_MAP_DMA: the page is faulted in and pinned."""
        self.guest.read(0)
        if not self.memfd:  # a file's page is unmapped all the same, and found again
            self.host.set_folio(self.guest, 0, "pinned")
        self.pinned = True

    def do(self, step: Step) -> str:
        """Carry a step out: what it was, in words."""
        value: str | int = ""
        waits = step.action == "alloc" and "waits" in self._reported(step.gfn)
        processed = self.guest.stats()["processed"]
        before = int(self.guest.peek(0)[0])
        try:
            value = self._act(step)
        except ProgramInterruption as error:
            refused = f"program interruption {error.code:#06x}"
            if step.action != "read":
                return self._words(step, "") + f": {refused}"
            value = refused
        # a page that a store by a device does not reach is in another frame than the device's
        if self.pinned and self.kept is None and not self.guest.poke(0, self.guest.peek(0)):
            self.kept = self.tag if step.action == "free_raced" else before
        words = self._words(step, value)
        if waits:  # page_reporting has the block: the ack, and so the host's discard, comes first
            words += ", after the ack of its report"
        if step.action in ("free", "free_raced", "alloc") and (
            self.guest.stats()["processed"] > processed
        ):
            words += "; the host processes the list"
        return words

    def _act(self, step: Step) -> str | int:
        host, guest, gfn = self.host, self.guest, step.gfn
        match step.action:
            case "write":
                self._store(gfn)
            case "free_raced":
                self._fill(gfn)
                self._store(gfn)
                guest.free_page(gfn)
            case "read" | "swap_in":
                return int(guest.read(gfn)[0]) or "zero"
            case "swap_out":
                host.swap_out(guest, gfn)
            case "free":
                self._fill(gfn)
                guest.free_page(gfn)
            case "alloc":
                guest.alloc_page(gfn)
            case "free_elsewhere":
                guest.free(gfn, vcpu=1)
            case "alloc_elsewhere":
                guest.alloc(gfn, vcpu=1)
            case "intercept_elsewhere":
                guest.intercept(vcpu=1)
            case "age":
                guest.age(gfn)
            case "dma_write":
                self._dma(gfn)
            case "zap":
                guest.zap(gfn)
            case "pin" | "lock" | "writeback" | "fork":
                return self._flip(step)
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
                for what in _HOLDS[self.pinned : 1 if guest.flavour == "zvm" else None]:
                    host.set_folio(guest, slice(None), what, False)
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
            case ["notify", "none" | "xchg" | "set" as rewrite]:
                guest.notifier_unmap(gfn, rewrite)
            case ["swap", "out", "held"]:
                with self._held():
                    self.host.swap_out(guest, gfn)
            case ["intercept", "held"]:
                with self._held():
                    guest.intercept()
            case ["end", rewrite]:
                word = int(guest.host_ptes(gfn)[0])
                clears = rewrite == "set" or (
                    rewrite == "xchg" and guest.revision not in ("7.0", "7.1")
                )
                if clears and word & PteBits.PRESENT:
                    guest.set_host_ptes(gfn, word & ~PteBits.UNUSED)

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Somebody holds the locks of the host's page tables."""
        self.guest.hold_host_locks(slice(None), True)
        yield
        self.guest.hold_host_locks(slice(None), False)

    def _flip(self, step: Step) -> str:
        """What a folio is in begins, or ends."""
        what, begins, ends = _FLIPS[step.action]
        if self.host.set_folio(self.guest, step.gfn, what):
            return begins
        self.host.set_folio(self.guest, step.gfn, what, False)
        return ends

    def _store(self, gfn: int) -> None:
        self.tag += 1
        self.guest.write(gfn, self.tag)

    def _dma(self, gfn: int) -> None:
        """A device stores to the frame that it has."""
        self.tag += 1
        if self.kept is None:
            self.guest.poke(gfn, self.tag)
        else:
            self.kept = self.tag

    def _fill(self, gfn: int) -> None:
        """What the guest does to a page before it frees it."""
        if self.poison != "none":
            self.guest.write(gfn, _FILLS[self.poison].tag)

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
        words = ACTION_WORDS[step.action].replace("guest frees", _FILLS[self.poison].frees)
        return words.format(
            gfn=step.gfn,
            tag=self.tag,
            value=value,
            pinned=value,
            writing=value,
            child=value,
            report=value,
            held="leaves" if self.least == "none" else "writes",
            mode="starts" if self.guest.migration_mode else "stops",
        )

    def look(self, what: str) -> Moment:
        guest = self.guest
        pgste, pte = int(guest.pgste(0)[0]), int(guest.pte(0)[0])
        host_pte = int(guest.host_ptes(0)[0]) if guest.generation == "dat" else None
        state = self._state(pgste, pte if host_pte is None else host_pte)
        listed = [gfn for vcpu in range(guest.vcpus) for gfn in guest.cbrl(vcpu).tolist()]
        return Moment(
            what,
            pgste,
            pte,
            host_pte,
            state,
            tuple(listed),
            self._reads(0, state),
            tuple(map(self._page, range(guest.pages))),
            self._device(),
        )

    def _device(self) -> str | None:
        if not self.pinned:
            return None
        return _content(int(self.guest.peek(0)[0]) if self.kept is None else self.kept)

    def _state(self, pgste: int, pte: int) -> str:
        state = "SUPV"[(pgste & PgsteBits.USAGE) >> 24]
        state += "z" if pte == PteBits.INVALID else "r" if pte & PteBits.PRESENT else "p"
        return state + (" ZERO" if pgste & PgsteBits.ZERO else "")

    def _page(self, gfn: int) -> Page:
        guest = self.guest
        pgste, pte = int(guest.pgste(gfn)[0]), int(guest.pte(gfn)[0])
        usage = _USAGES[Usage((pgste & PgsteBits.USAGE) >> 24)]
        frame = self._frame(gfn)
        host_pte = None
        if guest.generation == "dat":
            word = int(guest.host_ptes(gfn)[0])
            host_pte = _pte_words(word, None)
            host_pte += ", UNUSED" if word & PteBits.UNUSED else ""
            if host_pte == "swap entry":
                pte = PteBits.INVALID  # which then stands for it
        slot = self._slot(frame, pte if host_pte is None else word)
        return Page(
            usage + (", ZERO" if pgste & PgsteBits.ZERO else ""),
            _pte_words(pte, frame),
            host_pte,
            None if slot is None else _content(slot["tag"]),
            frame is not None,
            self._reported(gfn),
            self._reads(gfn, self._state(pgste, int(guest.pte(gfn)[0]))),
        )

    def _frame(self, gfn: int) -> FrameInfo | None:
        for frame in range(self.host.frames):
            info = self.host.frame_info(frame)
            if info["list"] != "free" and info["gfn"] == gfn:
                return info
        return None

    def _slot(self, frame: FrameInfo | None, pte: int) -> SlotInfo | None:
        slot = None if frame is None else frame["slot"]
        if frame is None and pte & PteBits.PROTECT and not pte & PteBits.PRESENT:
            slot = pte >> 12
        return None if slot is None else self.host.slot_info(slot)

    def _reported(self, gfn: int) -> str:
        """Where the guest's allocator has the page, and whether the host knows."""
        guest = self.guest
        if guest.mechanism != "reporting":
            return ""
        lists = [guest.free_blocks(order) for order in range(2)]
        for first, order, reported in [block for blocks in lists for block in blocks]:
            if first <= gfn < first + (1 << order):
                return "free, reported" if reported else "free, not reported"
        for first, order, _ in guest.isolated_blocks():
            if first <= gfn < first + (1 << order):
                return "waits for the ack"
        for first, order, _ in guest.parked_blocks():
            if first <= gfn < first + (1 << order):
                return "free, parked"
        return "not free"

    def _reads(self, gfn: int, state: str) -> str:
        """What a load would give, without making it."""
        if self.guest.flavour == "zvm" and state[0] == "SUPV"[Usage.UNUSED]:
            return "addressing exception"
        if self.guest.flavour == "zvm" and state == "Vz":
            return "discard fault"
        return _content(int(self.guest.peek(gfn)[0]))


def _content(tag: int) -> str:
    if tag == _POISONED:
        return "poison"
    return f"store {tag}" if tag else "zero"


def _in(frame: FrameInfo) -> tuple[tuple[str, bool], ...]:
    """What its folio is in."""
    return (
        ("pinned", frame["pinned"]),
        ("locked", frame["locked"]),
        ("under writeback", frame["writeback"]),
        ("shared", frame["shared"]),
    )


def _pte_words(word: int, frame: FrameInfo | None) -> str:
    if word == PteBits.INVALID:
        return "none"
    if not word & PteBits.PRESENT:
        return "swap entry"
    if frame is None:
        return "present"
    said = ["lazyfree" if frame["list"] == "lazyfree" else "present"]
    if said == ["lazyfree"] and (frame["dirty"] or word & PteBits.DIRTY):
        said.append("dirty")
    said += [what for what, is_so in _in(frame) if is_so]
    return ", ".join(said)


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
    advice: Advice = "madv_dontneed",
    backing: Backing = "anonymous",
    pinned: bool = False,
    mlock: bool = False,
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
        memory="memfd" if backing == "memfd" else "host",
        mlock=mlock,
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
            advice=advice,
        )
    player = _Player(host, guest, poison, notifiers, backing == "memfd")
    if pinned:
        player.pin()
    moments = [player.look("a new guest")]
    moments.extend(player.look(player.do(step)) for step in steps)
    return moments
