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
from pgste.kernels.releases import release_number

__all__ = [
    "KASAN",
    "NOT_ASKED_FOR",
    "ORDERS",
    "STEPS",
    "Boot",
    "Kasan",
    "Order",
    "Stage",
    "Step",
    "Touch",
    "order_of",
]

#: Why most steps do nothing: no option asks for them.
NOT_ASKED_FOR = "off"


class Stage(Enum):
    """Which of the two pipelines a step belongs to."""

    FREE = "free"
    ALLOC = "alloc"


class Touch(Enum):
    """What a step does to the page's content; what tags it goes through the mapping, too."""

    NOTHING = "nothing"
    READS = "reads"
    TAGS = "tags"
    WRITES = "writes"


class Kasan(Enum):
    """The most that KASAN does to a page in some kernel, whatever the build.

    Generic and software tags keep a shadow in other memory.  Hardware tags (arm64, from v5.11)
    lie with the page and are set by its address; from v5.13 the same instruction zeroes it.
    """

    SHADOW = Touch.NOTHING
    TAGS = Touch.TAGS
    TAGS_AND_INIT = Touch.WRITES


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
        Step("kasan_poison", Stage.FREE, Touch.TAGS, "mark it as free (KASAN)"),
        Step("arch_free_page", Stage.FREE, Touch.NOTHING, "tell the host that it is unused"),
        Step("debug_unmap", Stage.FREE, Touch.NOTHING, "unmap it (debug_pagealloc)"),
        Step("arch_alloc_page", Stage.ALLOC, Touch.NOTHING, "tell the host that it is in use"),
        Step("debug_map", Stage.ALLOC, Touch.NOTHING, "map it again (debug_pagealloc)"),
        Step("poison_check", Stage.ALLOC, Touch.READS, "is it 0xaa all over? (page_poison)"),
        Step("kasan_unpoison", Stage.ALLOC, Touch.TAGS, "mark it as in use (KASAN)"),
        Step("zero_on_alloc", Stage.ALLOC, Touch.WRITES, "fill with zeroes (__GFP_ZERO)"),
    )
}


_KASAN_STEPS = ("kasan_poison", "kasan_unpoison")


@dataclass(frozen=True)
class Order:
    """The steps of both pipelines, in the order in which a kernel takes them.

    `kasan` is the most that its KASAN does to a page; `poison_zero` tells whether it could be
    built to poison with zeroes (CONFIG_PAGE_POISONING_ZERO), `trylock` whether a page may be
    freed by who must not wait for a lock (FPI_TRYLOCK).
    """

    free: tuple[str, ...]
    alloc: tuple[str, ...]
    kasan: Kasan = Kasan.SHADOW
    poison_zero: bool = False
    trylock: bool = False

    def __post_init__(self) -> None:
        for stage, names in ((Stage.FREE, self.free), (Stage.ALLOC, self.alloc)):
            known = [step.name for step in STEPS.values() if step.stage is stage]
            for i, name in enumerate(names):
                if name not in known:
                    raise ArgumentError(f"{stage.value}: {name!r} is none of {', '.join(known)}")
                if name in names[:i]:
                    raise ArgumentError(f"{stage.value}: {name!r} is named twice")

    def touch(self, step: str) -> Touch:
        """The most that a step does to the page here."""
        return self.kasan.value if step in _KASAN_STEPS else STEPS[step].touch


_KASAN_EARLY = ("arch_alloc_page", "debug_map", "kasan_unpoison", "poison_check", "zero_on_alloc")
_KASAN_LATE = ("arch_alloc_page", "debug_map", "poison_check", "kasan_unpoison", "zero_on_alloc")
_MODERN = ("check", "poison", "kasan_poison", "zero_on_free", "arch_free_page", "debug_unmap")
#: Orders by the release that brought them, oldest first; `freepath.kernels` says how each is
#: known.  v5.4 has the fix of 2019 (commit 234fdce892f9).
ORDERS: dict[str, Order] = {
    "v4.6": Order(
        ("kasan_poison", "check", "arch_free_page", "poison", "debug_unmap"),
        _KASAN_LATE,
        poison_zero=True,
    ),
    "v5.3": Order(
        ("check", "arch_free_page", "zero_on_free", "poison", "debug_unmap", "kasan_poison"),
        _KASAN_EARLY,
        poison_zero=True,
    ),
    "v5.4": Order(
        ("check", "zero_on_free", "poison", "arch_free_page", "debug_unmap", "kasan_poison"),
        _KASAN_EARLY,
        poison_zero=True,
    ),
    "v5.11": Order(
        ("check", "zero_on_free", "poison", "arch_free_page", "debug_unmap", "kasan_poison"),
        _KASAN_EARLY,
        Kasan.TAGS,
    ),
    "v5.12": Order(
        ("check", "zero_on_free", "poison", "kasan_poison", "arch_free_page", "debug_unmap"),
        _KASAN_EARLY,
        Kasan.TAGS,
    ),
    "v5.13": Order(
        ("check", "poison", "zero_on_free", "kasan_poison", "arch_free_page", "debug_unmap"),
        _KASAN_LATE,
        Kasan.TAGS_AND_INIT,
    ),
    "v5.18": Order(_MODERN, _KASAN_LATE, Kasan.TAGS_AND_INIT),
    "v6.15": Order(_MODERN, _KASAN_LATE, Kasan.TAGS_AND_INIT, trylock=True),
}


def order_of(release: str) -> Order:
    """The order of a mainline release: ``v6.19`` has that of v6.15.

    ArgumentError for what is no release, and for those before v4.6.  A stable release with a
    fix that its mainline had not is not known here: `freepath.kernels.BUGS` names them.
    """
    number = release_number(release, "order")
    found = [order for first, order in ORDERS.items() if release_number(first) <= number]
    if not found:
        raise ArgumentError(f"order: {release!r} is older than {next(iter(ORDERS))}")
    return found[-1]


#: What `Boot.kasan` may be.
KASAN = ("off", "generic", "hw_tags")


@dataclass(frozen=True)
class Boot:
    """Options of the guest's command line that decide which steps do something.

    Rules of the kernel: ``page_poison`` switches ``init_on_alloc`` and ``init_on_free`` off
    (init_mem_debugging_and_hardening); with ``init_on_free`` in force nothing is zeroed at
    allocation, not even for __GFP_ZERO: the page is zero already; ``cmma=off`` makes both
    hooks empty.  ``kasan`` is one of `KASAN`; ``poison_zero`` a kernel that was built to poison
    with zeroes, where a zeroed allocation trusts that they are still there.
    """

    init_on_free: bool = False
    init_on_alloc: bool = False
    page_poison: bool = False
    debug_pagealloc: bool = False
    cmma: bool = True
    kasan: str = "off"
    poison_zero: bool = False

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name != "kasan" and not isinstance(value, bool):
                raise ArgumentTypeError(f"{name}: {value!r} is not a bool")
        if not isinstance(self.kasan, str):
            raise ArgumentTypeError(f"kasan: {self.kasan!r} is not a str")
        if self.kasan not in KASAN:
            raise ArgumentError(f"kasan: {self.kasan!r} is none of {', '.join(KASAN)}")

    def why_not(self, step: str, gfp_zero: bool = False) -> str | None:
        """Why a step does nothing: `NOT_ASKED_FOR`, or the rule; None if it acts."""
        if step in ("arch_free_page", "arch_alloc_page"):
            return None if self.cmma else "cmma=off"
        if step in ("debug_map", "debug_unmap"):
            return None if self.debug_pagealloc else NOT_ASKED_FOR
        if step in ("poison", "poison_check"):
            return None if self.page_poison else NOT_ASKED_FOR
        if step in _KASAN_STEPS:
            return None if self.kasan != "off" else NOT_ASKED_FOR
        if step == "zero_on_free":
            return self._switched_off("init_on_free")
        if step == "zero_on_alloc":
            if self.page_poison and self.poison_zero:
                return "page_poison has zeroed it" if gfp_zero else NOT_ASKED_FOR
            if self._switched_off("init_on_free") is None:
                return "init_on_free has zeroed it" if gfp_zero else NOT_ASKED_FOR
            return None if gfp_zero else self._switched_off("init_on_alloc")
        return None

    def _switched_off(self, option: str) -> str | None:
        if not getattr(self, option):
            return NOT_ASKED_FOR
        return f"page_poison switches {option} off" if self.page_poison else None

    def __str__(self) -> str:
        named = {"cmma", "kasan", "poison_zero"}
        words = [f"{name}=1" for name, on in vars(self).items() if on and name not in named]
        words += [] if self.cmma else ["cmma=off"]
        words += [] if self.kasan == "off" else [f"kasan={self.kasan}"]
        words += ["PAGE_POISONING_ZERO=y"] if self.poison_zero else []
        return " ".join(words) or "no options"
