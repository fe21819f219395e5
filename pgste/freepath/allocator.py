# SPDX-License-Identifier: MIT
"""The free and alloc path of a guest's kernel, a pipeline of named steps over its pages.

Steps that touch content do so on the page of a `Guest`: what happens then is the engine's
answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pgste._engine import Guest
from pgste.errors import AddressingException, ArgumentError, ArgumentTypeError
from pgste.freepath.orders import ORDERS, Boot, Order
from pgste.freepath.page import POISON, describe, poison_report

__all__ = ["AllocatorPath", "StepResult"]


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
