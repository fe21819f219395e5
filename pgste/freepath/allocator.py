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
from pgste.freepath.orders import Boot, Kasan, Order, Touch, order_of
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
    order: a release (`orders.order_of`), or an `Order` of your own.
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
            order = order_of(order)
        boot = boot or Boot()
        if boot.kasan == "hw_tags" and order.kasan is Kasan.SHADOW:
            raise ArgumentError("boot: kasan='hw_tags' with an order of before v5.11")
        if boot.poison_zero and not order.poison_zero:
            raise ArgumentError("boot: poison_zero with an order that is not of v4.6 to v5.10")
        self.guest = guest
        self.order = order
        self.boot = boot
        self.panic: str | None = None
        self._observe = observe or (lambda result: None)
        self._unmapped: set[int] = set()

    def is_mapped(self, gfn: int) -> bool:
        """Whether the guest's kernel has the page in its own page table (debug_pagealloc)."""
        return gfn not in self._unmapped

    def free(
        self,
        gfn: int,
        order: int = 0,
        *,
        bad_page: bool = False,
        hwpoison: bool = False,
        trylock: bool = False,
    ) -> list[StepResult]:
        """Free a block of 2**order pages: what each step did, up to a fault.

        A page that fails its checks, and one of order 0 that is hwpoisoned, is leaked: no hook
        is called and nothing is touched (v6.1).  With `trylock` (FPI_TRYLOCK, from v6.15) the
        zone's lock is held by somebody else: the steps are the same, and the block then waits,
        unused as the host has it, in a list of the zone.
        """
        pages = self._block(gfn, order)
        if trylock and not self.order.trylock:
            raise ArgumentError("trylock: with an order of before v6.15")
        if hwpoison and order == 0:
            return [self._did("check", "hwpoisoned: taken out of use, no hook is called")]
        if bad_page and "check" in self.order.free:
            return [self._did("check", "bad page: not freed, no hook is called")]
        results = self._run(self.order.free, pages, order, gfp_zero=False)
        if trylock and self.panic is None:
            results.append(self._did("wait", "put in the zone's list of those to be freed"))
        return results

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
            why_not = self._why_not(name, gfp_zero)
            if why_not is not None:
                results.append(StepResult(name, False, why_not))
                self._observe(results[-1])
                continue
            results.append(self.step(name, pages, order, self._touch_of(name, gfp_zero)))
            if self.panic is not None:
                break
        return results

    def _why_not(self, name: str, gfp_zero: bool) -> str | None:
        why_not = self.boot.why_not(name, gfp_zero)
        zeroed = {"zero_on_free": "kasan_poison", "zero_on_alloc": "kasan_unpoison"}
        by_kasan = why_not is None and name in zeroed
        if by_kasan and self._touch_of(zeroed[name], gfp_zero) is Touch.WRITES:
            return "KASAN zeroes it with its tags"
        return why_not

    def _touch_of(self, name: str, gfp_zero: bool) -> Touch:
        """What a step does to the page with this command line."""
        zero = {"kasan_poison": "zero_on_free", "kasan_unpoison": "zero_on_alloc"}.get(name)
        if zero is None:
            return self.order.touch(name)
        if self.boot.kasan != "hw_tags":
            return Touch.NOTHING
        wanted = self.boot.why_not(zero, gfp_zero) is None
        return self.order.touch(name) if wanted else Touch.TAGS

    def step(self, name: str, pages: range, order: int, touch: Touch | None = None) -> StepResult:
        """One step on a block, whatever the command line says; `touch`: less than the most."""
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
        touch = touch or self.order.touch(name)
        if touch is Touch.NOTHING:
            marks = name.startswith("kasan")
            return self._did(name, "marks its shadow, which is elsewhere" if marks else "sound")
        poison = 0 if self.boot.poison_zero else POISON
        tag = (poison if name == "poison" else 0) if touch is Touch.WRITES else None
        return self._touch(name, pages, tag)

    def _hook(self, news: str) -> str:
        if self.guest.mechanism == "cmma":
            return "ESSA: set unused" if news == "free" else "ESSA: set stable"
        return f"{self.guest.mechanism}: {news}"

    def _touch(self, name: str, pages: range, tag: int | None) -> StepResult:
        """Store a tag in every page, or load them all: to check for poison, to set tags."""
        unmapped = next((page for page in pages if page in self._unmapped), None)
        if unmapped is not None:
            return self._dies(name, f"page fault in the kernel: gfn {unmapped} is not mapped")
        try:
            if tag is not None:
                self.guest.write(pages, tag)
                tags = "sets its tags, " if name.startswith("kasan") else ""
                return self._did(name, f"{tags}stores {describe(tag)}")
            contents = [int(content) for content in self.guest.read(pages)]
        except AddressingException as refusal:
            return self._dies(name, str(refusal))
        if name.startswith("kasan"):
            return self._did(name, "sets its tags")
        texts = ", ".join(dict.fromkeys(describe(content) for content in contents))
        if name != "poison_check":
            return self._did(name, f"reads {texts}")
        pattern = 0 if self.boot.poison_zero else 0xAA
        reports = [poison_report(content, pattern) for content in contents]
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
