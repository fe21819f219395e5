# SPDX-License-Identifier: MIT
"""The guest's way of freeing and allocating a page, as pipelines of named steps.

``free_pages_prepare`` and ``post_alloc_hook`` (mm/page_alloc.c) are lists of steps, some of
which touch the page's content; where ``arch_free_page`` and ``arch_alloc_page`` stand among
them decides whether a step meets a page that the host may take away.  Steps that touch content
do so on the page of a `Guest`: what happens then is the engine's answer.

Content is a 32-bit tag a page: 0 is a page of zeroes, `POISON` one that is 0xaa all over; any
other tag is read as a first word in a page that is 0xaa otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from pgste._engine import Guest
from pgste.enums import PgsteBits, PteBits, Usage
from pgste.errors import AddressingException, ArgumentError, ArgumentTypeError

__all__ = [
    "NOT_ASKED_FOR",
    "ORDERS",
    "POISON",
    "STEPS",
    "AllocatorPath",
    "Boot",
    "Order",
    "PageView",
    "Stage",
    "Step",
    "StepResult",
    "Touch",
    "describe",
    "poison_report",
    "view",
]

#: Content of a poisoned page (PAGE_POISON, 0xaa in every byte).
POISON = 0xAAAAAAAA
#: Why most steps do nothing: no option asks for them.
NOT_ASKED_FOR = "off"
_PAGE_BYTES = 4096
_TAG_BYTES = 4


class Stage(Enum):
    """Which of the two pipelines a step belongs to."""

    FREE = "free"
    ALLOC = "alloc"


class Touch(Enum):
    """What a step does to the page's content."""

    NOTHING = "nothing"
    READS = "reads"
    WRITES = "writes"


@dataclass(frozen=True)
class Step:
    """A step of a pipeline: its stage, what it does to the content, and what it is."""

    name: str
    stage: Stage
    touch: Touch
    meaning: str


STEPS: dict[str, Step] = {
    step.name: step
    for step in (
        Step("check", Stage.FREE, Touch.NOTHING, "sanity checks of the page structure"),
        Step("poison", Stage.FREE, Touch.WRITES, "fill with 0xaa (page_poison)"),
        Step("zero_on_free", Stage.FREE, Touch.WRITES, "fill with zeroes (init_on_free)"),
        Step("arch_free_page", Stage.FREE, Touch.NOTHING, "tell the host that it is unused"),
        Step("debug_unmap", Stage.FREE, Touch.NOTHING, "unmap it (debug_pagealloc)"),
        Step("arch_alloc_page", Stage.ALLOC, Touch.NOTHING, "tell the host that it is in use"),
        Step("debug_map", Stage.ALLOC, Touch.NOTHING, "map it again (debug_pagealloc)"),
        Step("poison_check", Stage.ALLOC, Touch.READS, "is it 0xaa all over? (page_poison)"),
        Step("zero_on_alloc", Stage.ALLOC, Touch.WRITES, "fill with zeroes (__GFP_ZERO)"),
    )
}


@dataclass(frozen=True)
class Order:
    """The steps of both pipelines, in the order in which a kernel takes them."""

    free: tuple[str, ...]
    alloc: tuple[str, ...]

    def __post_init__(self) -> None:
        for stage, names in ((Stage.FREE, self.free), (Stage.ALLOC, self.alloc)):
            known = [step.name for step in STEPS.values() if step.stage is stage]
            for i, name in enumerate(names):
                if name not in known:
                    raise ArgumentError(f"{stage.value}: {name!r} is none of {', '.join(known)}")
                if name in names[:i]:
                    raise ArgumentError(f"{stage.value}: {name!r} is named twice")


_ALLOC = ("arch_alloc_page", "debug_map", "poison_check", "zero_on_alloc")
#: Orders by kernel version.  v5.4 is the order after the fix of 2019 (commit 234fdce892f9).
ORDERS: dict[str, Order] = {
    "v5.3": Order(("check", "arch_free_page", "zero_on_free", "poison", "debug_unmap"), _ALLOC),
    "v5.4": Order(("check", "zero_on_free", "poison", "arch_free_page", "debug_unmap"), _ALLOC),
    "v6.1": Order(("check", "poison", "zero_on_free", "arch_free_page", "debug_unmap"), _ALLOC),
}


@dataclass(frozen=True)
class Boot:
    """Options of the guest's command line that decide which steps do something.

    Rules of the kernel: ``page_poison`` switches ``init_on_alloc`` and ``init_on_free`` off
    (init_mem_debugging_and_hardening); with ``init_on_free`` in force nothing is zeroed at
    allocation, not even for __GFP_ZERO: the page is zero already; ``cmma=off`` makes both
    hooks empty.
    """

    init_on_free: bool = False
    init_on_alloc: bool = False
    page_poison: bool = False
    debug_pagealloc: bool = False
    cmma: bool = True

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not isinstance(value, bool):
                raise ArgumentTypeError(f"{name}: {value!r} is not a bool")

    def why_not(self, step: str, gfp_zero: bool = False) -> str | None:
        """Why a step does nothing: `NOT_ASKED_FOR`, or the rule; None if it acts."""
        if step in ("arch_free_page", "arch_alloc_page"):
            return None if self.cmma else "cmma=off"
        if step in ("debug_map", "debug_unmap"):
            return None if self.debug_pagealloc else NOT_ASKED_FOR
        if step in ("poison", "poison_check"):
            return None if self.page_poison else NOT_ASKED_FOR
        if step == "zero_on_free":
            return self._switched_off("init_on_free")
        if step == "zero_on_alloc":
            if self._switched_off("init_on_free") is None:
                return "init_on_free has zeroed it" if gfp_zero else NOT_ASKED_FOR
            return None if gfp_zero else self._switched_off("init_on_alloc")
        return None

    def _switched_off(self, option: str) -> str | None:
        if not getattr(self, option):
            return NOT_ASKED_FOR
        return f"page_poison switches {option} off" if self.page_poison else None

    def __str__(self) -> str:
        words = [f"{name}=1" for name, on in vars(self).items() if on and name != "cmma"]
        return " ".join(words + ([] if self.cmma else ["cmma=off"])) or "no options"


@dataclass(frozen=True)
class PageView:
    """A page as the engine has it: usage, where its content is, and the content."""

    usage: str
    backing: str
    content: int
    pgste: int
    pte: int


def view(guest: Guest, gfn: int) -> PageView:
    """What the engine says of a page; nothing changes."""
    pgste, pte = int(guest.pgste(gfn)[0]), int(guest.pte(gfn)[0])
    usage = Usage((pgste & PgsteBits.USAGE) >> 24).name.lower()
    if pte & PteBits.PRESENT:
        backing = "resident"
    else:
        backing = "swapped" if pte & PteBits.PROTECT else "nothing"
    return PageView(usage, backing, int(guest.peek(gfn)[0]), pgste, pte)


@dataclass(frozen=True)
class StepResult:
    """What a step did: whether it acted, in words, and what came of it.

    ``fault`` is the program interruption that the guest's kernel got, which ends it;
    ``report`` what the poison check printed.
    """

    name: str
    acted: bool
    text: str
    fault: str | None = None
    report: str | None = None


def _bytes_of(tag: int) -> bytes:
    if tag == 0:
        return bytes(_PAGE_BYTES)
    return tag.to_bytes(_TAG_BYTES, "big") + b"\xaa" * (_PAGE_BYTES - _TAG_BYTES)


def poison_report(tag: int) -> str | None:
    """What ``check_poison_mem`` (mm/page_poison.c) prints of a page, None if it is sound."""
    wrong = [i for i, byte in enumerate(_bytes_of(tag)) if byte != 0xAA]
    if not wrong:
        return None
    flipped = _bytes_of(tag)[wrong[0]] ^ 0xAA
    if len(wrong) == 1 and flipped & (flipped - 1) == 0:
        return "pagealloc: single bit error"
    return "pagealloc: memory corruption"


class AllocatorPath:
    """The free and alloc path of a guest's kernel over the pages of a `Guest`.

    Parameters
    ----------
    guest: whose pages; its mechanism and flavour decide what the hooks mean.
    order: a version in `ORDERS`, or an `Order` of your own.
    boot: the command line.
    observe: called with each `StepResult` as soon as its step is over.

    After a fault (`panic` is then set) the guest is dead: every call raises ArgumentError.
    """

    def __init__(
        self,
        guest: Guest,
        order: str | Order = "v6.1",
        boot: Boot | None = None,
        observe: Callable[[StepResult], object] | None = None,
    ) -> None:
        if isinstance(order, str):
            if order not in ORDERS:
                raise ArgumentError(f"order: {order!r} is none of {', '.join(ORDERS)}")
            order = ORDERS[order]
        self.guest = guest
        self.order = order
        self.boot = boot or Boot()
        self.panic: str | None = None
        self._observe = observe or (lambda result: None)
        self._unmapped: set[int] = set()

    def is_mapped(self, gfn: int) -> bool:
        """Whether the guest's kernel has the page in its own page table (debug_pagealloc)."""
        return gfn not in self._unmapped

    def free(
        self, gfn: int, order: int = 0, *, bad_page: bool = False, hwpoison: bool = False
    ) -> list[StepResult]:
        """Free a block of 2**order pages: what each step did, up to a fault.

        A page that fails its checks, and one of order 0 that is hwpoisoned, is leaked: no hook
        is called and nothing is touched (v6.1).
        """
        pages = self._block(gfn, order)
        if hwpoison and order == 0:
            return [self._did("check", "hwpoisoned: taken out of use, no hook is called")]
        if bad_page and "check" in self.order.free:
            return [self._did("check", "bad page: not freed, no hook is called")]
        return self._run(self.order.free, pages, order, gfp_zero=False)

    def alloc(self, gfn: int, order: int = 0, *, gfp_zero: bool = False) -> list[StepResult]:
        """Allocate a block, for a caller that wants zeroes or does not care."""
        return self._run(self.order.alloc, self._block(gfn, order), order, gfp_zero)

    def store(self, gfn: int, tag: int, name: str = "store") -> StepResult:
        """A store by whoever has the page, or believes so."""
        return self._touch(name, self._block(gfn, 0), tag)

    def load(self, gfn: int, name: str = "load") -> StepResult:
        """A load; the text says what it read."""
        return self._touch(name, self._block(gfn, 0), None)

    def _block(self, gfn: int, order: int) -> range:
        if self.panic is not None:
            raise ArgumentError(f"guest: it has crashed ({self.panic})")
        if isinstance(order, bool) or not isinstance(order, int):
            raise ArgumentTypeError(f"order: {order!r} is not an integer")
        if not 0 <= order <= 39:
            raise ArgumentError(f"order: {order} is not in 0 .. 39")
        self.guest.is_free(range(gfn, gfn + (1 << order)))  # GfnError for a bad block
        return range(gfn, gfn + (1 << order))

    def _run(
        self, names: Sequence[str], pages: range, order: int, gfp_zero: bool
    ) -> list[StepResult]:
        results: list[StepResult] = []
        for name in names:
            why_not = self.boot.why_not(name, gfp_zero)
            if why_not is not None:
                results.append(StepResult(name, False, why_not))
                self._observe(results[-1])
                continue
            results.append(self.step(name, pages, order))
            if self.panic is not None:
                break
        return results

    def step(self, name: str, pages: range, order: int) -> StepResult:
        """One step on a block, whatever the command line says."""
        if name == "arch_free_page":
            self.guest.free(pages.start, order=order)
            return self._did(name, self._hook("free"))
        if name == "arch_alloc_page":
            self.guest.alloc(pages.start, order=order)
            return self._did(name, self._hook("in use"))
        if name == "debug_unmap":
            self._unmapped.update(pages)
            return self._did(name, "the kernel unmaps it")
        if name == "debug_map":
            self._unmapped.difference_update(pages)
            return self._did(name, "the kernel maps it")
        if name == "check":
            return self._did(name, "sound")
        tags = {"poison": POISON, "zero_on_free": 0, "zero_on_alloc": 0}
        return self._touch(name, pages, tags.get(name))

    def _hook(self, news: str) -> str:
        if self.guest.mechanism == "cmma":
            return "ESSA: set unused" if news == "free" else "ESSA: set stable"
        return f"{self.guest.mechanism}: {news}"

    def _touch(self, name: str, pages: range, tag: int | None) -> StepResult:
        """Store a tag in every page, or load them all and check for poison."""
        unmapped = next((page for page in pages if page in self._unmapped), None)
        if unmapped is not None:
            return self._dies(name, f"page fault in the kernel: gfn {unmapped} is not mapped")
        try:
            if tag is not None:
                self.guest.write(pages, tag)
                return self._did(name, f"stores {describe(tag)}")
            contents = [int(content) for content in self.guest.read(pages)]
        except AddressingException as refusal:
            return self._dies(name, str(refusal))
        texts = ", ".join(dict.fromkeys(describe(content) for content in contents))
        if name != "poison_check":
            return self._did(name, f"reads {texts}")
        reports = [poison_report(content) for content in contents]
        report = next((each for each in reports if each is not None), None)
        return self._did(name, f"reads {texts}", report=report)

    def _dies(self, name: str, fault: str) -> StepResult:
        self.panic = fault
        return self._did(name, fault.partition(":")[0], fault=fault)

    def _did(
        self, name: str, text: str, fault: str | None = None, report: str | None = None
    ) -> StepResult:
        result = StepResult(name, True, text, fault, report)
        self._observe(result)
        return result


def describe(tag: int) -> str:
    """A page's content in words."""
    if tag == 0:
        return "zeroes"
    return "0xaa all over" if tag == POISON else f"data {tag:#x}"
