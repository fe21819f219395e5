# SPDX-License-Identifier: MIT
"""The steps of a kernel's free and alloc path, the orders it takes them in, and its options.

``free_pages_prepare`` and ``post_alloc_hook`` (mm/page_alloc.c) are lists of steps, some of
which touch the page's content; where ``arch_free_page`` and ``arch_alloc_page`` stand among
them decides whether a step meets a page that the host may take away.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pgste.errors import ArgumentError, ArgumentTypeError

__all__ = ["NOT_ASKED_FOR", "ORDERS", "STEPS", "Boot", "Order", "Stage", "Step", "Touch"]

#: Why most steps do nothing: no option asks for them.
NOT_ASKED_FOR = "off"


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
