# SPDX-License-Identifier: MIT
"""The guest's free and alloc path: orders, boot rules, poison check, judged orders.

Expected outcomes are those of mm/page_alloc.c and mm/page_poison.c and of the mails on the
crash of September 2019; the numbers in comments are rules stated there, not our output.
"""

from __future__ import annotations

from itertools import permutations

import pytest

import pgste
from pgste.freepath import (
    ORDERS,
    POISON,
    STEPS,
    AllocatorPath,
    Boot,
    Kasan,
    Order,
    Stage,
    StepResult,
    Touch,
    order_of,
    poison_report,
    view,
)
from pgste.freepath.judge import judge


def small(**options: object) -> pgste.Guest:
    return pgste.Guest(8, pgste.Host(8, 8), **options)  # type: ignore[arg-type]


def acted(results: list[StepResult]) -> list[str]:
    return [result.name for result in results if result.acted]


# ---- orders ----


def test_orders_of_the_three_kernels() -> None:
    # v5.3: arch_free_page, then zero, then poison, then unmap; the fix moved the hook behind
    # both; v5.13 and later poison before they zero.
    frees = {name: order_of(name).free for name in ("v5.3", "v5.4", "v6.1")}
    hook = {name: free.index("arch_free_page") for name, free in frees.items()}
    content = {
        name: [free.index("zero_on_free"), free.index("poison")] for name, free in frees.items()
    }
    assert all(place > hook["v5.3"] for place in content["v5.3"])
    assert all(place < hook["v5.4"] for place in content["v5.4"])
    assert all(place < hook["v6.1"] for place in content["v6.1"])
    assert content["v5.4"][0] < content["v5.4"][1]
    assert content["v6.1"][0] > content["v6.1"][1]


def test_rules_that_every_order_keeps() -> None:
    """What mm/page_alloc.c had from v4.6 to v7.0, whatever else moved."""
    for release, order in ORDERS.items():
        free, alloc = order.free, order.alloc
        assert free.index("check") <= 1, release
        assert free.index("arch_free_page") < free.index("debug_unmap"), release
        assert alloc[:2] == ("arch_alloc_page", "debug_map"), release
        assert alloc[-1] == "zero_on_alloc", release
        assert ("zero_on_free" in free) == (release != "v4.6"), release  # 6471384af2a6, v5.3
        # f289041ed4cf (v5.11) took the option away; 94ab5b61ee16 (v5.11) brought hardware tags
        assert order.poison_zero == (release in ("v4.6", "v5.3", "v5.4")), release
        assert (order.kasan is Kasan.SHADOW) == order.poison_zero, release


@pytest.mark.parametrize(
    ("release", "same_as"),
    [
        ("v4.6", "v4.6"),
        ("v5.2.21", "v4.6"),
        ("5.10", "v5.4"),
        ("v5.17", "v5.13"),
        ("v6.1", "v5.18"),
        ("v6.14", "v5.18"),
        ("v6.19", "v6.15"),
        ("v7.1.5", "v6.15"),
    ],
)
def test_the_order_of_a_release(release: str, same_as: str) -> None:
    assert order_of(release) is ORDERS[same_as]


@pytest.mark.parametrize("release", ["v4.5", "2.6.12", "six", "v6", "v5.4-rc1", "v5.4 ", ""])
def test_releases_without_an_order(release: str) -> None:
    with pytest.raises(pgste.ArgumentError, match="order: "):
        order_of(release)


@pytest.mark.parametrize(
    ("free", "alloc", "match"),
    [
        (("check", "boil"), (), "free: 'boil'"),
        (("arch_alloc_page",), (), "free: 'arch_alloc_page'"),
        ((), ("poison",), "alloc: 'poison'"),
        (("check", "poison", "check"), (), "'check' is named twice"),
    ],
)
def test_orders_that_make_no_sense(
    free: tuple[str, ...], alloc: tuple[str, ...], match: str
) -> None:
    with pytest.raises(pgste.ArgumentError, match=match):
        Order(free, alloc)


def test_steps_are_taken_in_order_with_everything_asked_for() -> None:
    guest = small()
    seen: list[str] = []
    allocator = AllocatorPath(
        guest,
        "v6.1",
        Boot(page_poison=True, debug_pagealloc=True),
        observe=lambda result: seen.append(result.name),
    )
    assert acted(allocator.free(4, order=1)) == ["check", "poison", "arch_free_page", "debug_unmap"]
    assert guest.peek(range(4, 6)).tolist() == [POISON] * 2
    assert guest.is_free().tolist() == [False] * 4 + [True] * 2 + [False] * 2
    assert not allocator.is_mapped(5)
    assert acted(allocator.alloc(4, order=1)) == ["arch_alloc_page", "debug_map", "poison_check"]
    assert allocator.is_mapped(5)
    assert seen == [*order_of("v6.1").free, *order_of("v6.1").alloc]


# ---- boot rules ----


@pytest.mark.parametrize(
    ("boot", "gfp_zero", "expected"),
    [
        (Boot(), False, []),
        (Boot(), True, ["zero_on_alloc"]),  # __GFP_ZERO
        (Boot(init_on_alloc=True), False, ["zero_on_alloc"]),
        (Boot(init_on_free=True), False, ["zero_on_free"]),
        # free pages are zero already, so nothing is zeroed again
        (Boot(init_on_free=True), True, ["zero_on_free"]),
        (Boot(init_on_free=True, init_on_alloc=True), True, ["zero_on_free"]),
        # page_poison forces both init options off; __GFP_ZERO stays a promise
        (Boot(page_poison=True, init_on_free=True), False, ["poison", "poison_check"]),
        (Boot(page_poison=True, init_on_alloc=True), False, ["poison", "poison_check"]),
        (
            Boot(page_poison=True, init_on_free=True, init_on_alloc=True),
            True,
            ["poison", "poison_check", "zero_on_alloc"],
        ),
    ],
)
@pytest.mark.parametrize("order", ["v5.4", "v6.1"])
def test_which_steps_touch_content(
    boot: Boot, gfp_zero: bool, expected: list[str], order: str
) -> None:
    allocator = AllocatorPath(small(), order, boot)
    allocator.store(3, 0x77)
    steps = acted(allocator.free(3)) + acted(allocator.alloc(3, gfp_zero=gfp_zero))
    assert [name for name in steps if STEPS[name].touch is not Touch.NOTHING] == expected
    if gfp_zero:
        assert allocator.load(3).text == "reads zeroes"


def test_cmma_off_makes_the_hooks_empty() -> None:
    guest = small()
    allocator = AllocatorPath(guest, boot=Boot(cmma=False))
    results = allocator.free(0) + allocator.alloc(0)
    assert "cmma=off" in [result.text for result in results]
    assert guest.stats()["essa"] == 0


@pytest.mark.parametrize("how", ["bad_page", "hwpoison"])
def test_leaked_pages_reach_no_hook(how: str) -> None:
    guest = small()
    allocator = AllocatorPath(guest, boot=Boot(init_on_free=True))
    allocator.store(0, 5)
    results = allocator.free(0, bad_page=how == "bad_page", hwpoison=how == "hwpoison")
    assert acted(results) == ["check"]
    assert guest.stats()["essa"] == 0
    assert guest.peek(0).tolist() == [5]


def test_only_order_0_returns_early_for_hwpoison() -> None:
    guest = small()
    assert "arch_free_page" in acted(AllocatorPath(guest).free(0, order=1, hwpoison=True))


def test_options_are_booleans() -> None:
    with pytest.raises(pgste.ArgumentTypeError, match="init_on_free: 1"):
        Boot(init_on_free=1)  # type: ignore[arg-type]


# ---- faults ----


def test_a_fault_stops_the_pipeline_and_ends_the_guest() -> None:
    guest = small(flavour="zvm")
    allocator = AllocatorPath(guest, "v5.3", Boot(init_on_free=True, debug_pagealloc=True))
    results = allocator.free(2)
    assert [result.name for result in results] == ["check", "arch_free_page", "zero_on_free"]
    assert results[-1].fault is not None
    assert "0x0005" in results[-1].fault
    assert "0x2000" in results[-1].fault  # the absolute address of gfn 2
    assert allocator.panic == results[-1].fault
    with pytest.raises(pgste.ArgumentError, match="crashed"):
        allocator.alloc(2)


def test_the_fault_names_the_first_page_of_the_block() -> None:
    allocator = AllocatorPath(small(flavour="zvm"), "v5.3", Boot(init_on_free=True))
    assert "0x4000" in str(allocator.free(4, order=2)[-1].fault)


def test_bad_arguments() -> None:
    allocator = AllocatorPath(small())
    with pytest.raises(pgste.GfnError, match="8"):
        allocator.free(8)
    with pytest.raises(pgste.GfnError, match="8"):
        allocator.alloc(6, order=2)
    with pytest.raises(pgste.ArgumentError, match="order: 40"):
        allocator.free(0, order=40)
    with pytest.raises(pgste.ArgumentTypeError, match="order: True"):
        allocator.free(0, order=True)
    with pytest.raises(pgste.ArgumentError, match=r"v4\.5"):
        AllocatorPath(small(), "v4.5")
    with pytest.raises(pgste.ArgumentError, match="kasan='hw_tags'"):
        AllocatorPath(small(), "v5.10", Boot(kasan="hw_tags"))
    with pytest.raises(pgste.ArgumentError, match="poison_zero"):
        AllocatorPath(small(), "v5.11", Boot(poison_zero=True))
    with pytest.raises(pgste.ArgumentError, match="trylock"):
        AllocatorPath(small(), "v6.14").free(0, trylock=True)
    with pytest.raises(pgste.ArgumentError, match="kasan: 'yes'"):
        Boot(kasan="yes")
    with pytest.raises(pgste.ArgumentTypeError, match="kasan: True"):
        Boot(kasan=True)  # type: ignore[arg-type]


# ---- the poison check ----


@pytest.mark.parametrize("bit", range(32))
def test_one_flipped_bit_is_a_single_bit_error(bit: int) -> None:
    assert poison_report(POISON ^ 1 << bit) == "pagealloc: single bit error"


@pytest.mark.parametrize(
    ("tag", "report"),
    [
        (POISON, None),
        (0, "pagealloc: memory corruption"),  # what a discarded page reads as
        (POISON ^ 0b11, "pagealloc: memory corruption"),  # two bits of a byte
        (POISON ^ 0x0101, "pagealloc: memory corruption"),  # a bit each of two bytes
        (0x12345678, "pagealloc: memory corruption"),
    ],
)
def test_anything_else_is_memory_corruption(tag: int, report: str | None) -> None:
    assert poison_report(tag) == report


def test_the_check_looks_at_every_page_of_a_block() -> None:
    allocator = AllocatorPath(small(), boot=Boot(page_poison=True))
    allocator.free(0, order=2)
    allocator.store(3, 9, "stray store")
    check = next(r for r in allocator.alloc(0, order=2) if r.name == "poison_check")
    assert check.report == "pagealloc: memory corruption"


# ---- judged orders ----


def problems(order: Order) -> list[tuple[str, str]]:
    return [(finding.step, finding.problem) for finding in judge(order)]


def test_judgement_of_the_three_kernels() -> None:
    broken = judge(order_of("v5.3"))
    assert [finding.step for finding in broken] == ["zero_on_free", "poison"]
    for finding in broken:
        assert finding.problem == "writes content after arch_free_page"
        assert finding.zvm.startswith("addressing exception (0x0005)")
    # dropped zeroes read as zeroes, dropped poison does not
    assert broken[0].kvm.endswith("goes unseen: zeroes")
    assert broken[1].kvm == "stores 0xaa all over, and after reclaim reads zeroes"
    for name in ("v5.4", "v6.1"):
        # what is left is that no guard keeps page_poison and a discarding host apart
        (finding,) = judge(order_of(name))
        assert finding.step == "poison_check"
        assert finding.problem == "expects content that the host may have dropped"
        assert finding.zvm == finding.kvm == "pagealloc: memory corruption"


#: What the steps that touch a page do to it; hardware tags with KASAN's, by Kasan.TAGS.
DOES = {
    "zero_on_free": "writes content",
    "poison": "writes content",
    "kasan_poison": "sets tags",
    "poison_check": "reads content",
    "kasan_unpoison": "sets tags",
    "zero_on_alloc": "writes content",
}


@pytest.mark.parametrize("kasan", Kasan)
def test_every_order_of_the_free_steps(kasan: Kasan) -> None:
    """All 120: content after the hook, after the unmap, or after both is found; no other is.

    The check of the page's structure, which touches no page, comes first in each.
    """
    steps = [step.name for step in STEPS.values() if step.stage is Stage.FREE]
    steps.remove("check")
    alloc = order_of("v6.1").alloc
    for free in (("check", *rest) for rest in permutations(steps)):
        hook, unmap = free.index("arch_free_page"), free.index("debug_unmap")
        expected = []
        for name in free:
            if name not in DOES or (name == "kasan_poison" and kasan is Kasan.SHADOW):
                continue
            late = [
                after
                for after, place in (("arch_free_page", hook), ("debug_unmap", unmap))
                if free.index(name) > place
            ]
            if late:
                does = "writes content" if kasan is Kasan.TAGS_AND_INIT else DOES[name]
                expected.append((name, f"{does} after {' and '.join(late)}"))
        found = [item for item in problems(Order(free, alloc, kasan)) if item[0] != "poison_check"]
        assert found == expected, free


@pytest.mark.parametrize("kasan", Kasan)
def test_every_order_of_the_alloc_steps(kasan: Kasan) -> None:
    steps = [step.name for step in STEPS.values() if step.stage is Stage.ALLOC]
    free = ("check", "zero_on_free", "arch_free_page", "debug_unmap")
    for alloc in permutations(steps):
        hook, mapped = alloc.index("arch_alloc_page"), alloc.index("debug_map")
        expected = []
        for name in alloc:
            if name not in DOES or (name == "kasan_unpoison" and kasan is Kasan.SHADOW):
                continue
            early = [
                before
                for before, place in (("arch_alloc_page", hook), ("debug_map", mapped))
                if alloc.index(name) < place
            ]
            if early:
                written = name == "kasan_unpoison" and kasan is Kasan.TAGS_AND_INIT
                does = "writes content" if written else DOES[name]
                expected.append((name, f"{does} before {' and '.join(early)}"))
        assert problems(Order(free, alloc, kasan)) == expected, alloc


# ---- KASAN, poisoning with zeroes, and frees that do not wait ----


@pytest.mark.parametrize(
    ("release", "boot", "gfp_zero", "expected"),
    [
        # a shadow is elsewhere: nothing in the page is touched
        ("v5.4", Boot(kasan="generic"), False, []),
        ("v6.1", Boot(kasan="generic", init_on_free=True), True, ["zero_on_free"]),
        # hardware tags of v5.11 leave the content alone, so it is zeroed as ever
        (
            "v5.12",
            Boot(kasan="hw_tags", init_on_free=True),
            True,
            ["zero_on_free", "kasan_poison", "kasan_unpoison"],
        ),
        # from v5.13 the tags' instruction zeroes (kasan_has_integrated_init)
        (
            "v5.13",
            Boot(kasan="hw_tags", init_on_free=True),
            True,
            ["kasan_poison", "kasan_unpoison"],
        ),
        ("v6.1", Boot(kasan="hw_tags"), True, ["kasan_poison", "kasan_unpoison"]),
        (
            "v7.0",
            Boot(kasan="hw_tags", init_on_alloc=True),
            False,
            ["kasan_poison", "kasan_unpoison"],
        ),
        # page_poison switches the init options off for KASAN too
        (
            "v6.1",
            Boot(kasan="hw_tags", init_on_free=True, page_poison=True),
            False,
            ["poison", "kasan_poison", "poison_check", "kasan_unpoison"],
        ),
    ],
)
def test_which_steps_touch_content_with_kasan(
    release: str, boot: Boot, gfp_zero: bool, expected: list[str]
) -> None:
    guest = small(mechanism="none") if boot.kasan == "hw_tags" else small()
    allocator = AllocatorPath(guest, release, boot)
    allocator.store(3, 0x77)
    results = allocator.free(3) + allocator.alloc(3, gfp_zero=gfp_zero)
    assert all(result.report is None for result in results)
    touched = [r for r in results if r.acted and r.name in DOES and "elsewhere" not in r.text]
    assert [result.name for result in touched] == expected
    zero = gfp_zero or boot.init_on_alloc
    if not boot.page_poison:
        assert allocator.load(3).text == ("reads zeroes" if zero else "reads data 0x77")


def test_tags_alone_leave_the_content() -> None:
    allocator = AllocatorPath(small(mechanism="none"), "v6.1", Boot(kasan="hw_tags"))
    allocator.store(3, 0x77)
    allocator.free(3)
    allocator.alloc(3)
    assert allocator.load(3).text == "reads data 0x77"


def test_tags_of_an_unused_page() -> None:
    """Set behind the hook they meet a page that z/VM refuses, and that KVM may take away."""
    order = Order(("check", "arch_free_page", "kasan_poison"), ("arch_alloc_page",), Kasan.TAGS)
    (finding,) = judge(order)
    assert (finding.step, finding.problem) == ("kasan_poison", "sets tags after arch_free_page")
    assert finding.zvm.startswith("addressing exception (0x0005)")
    assert finding.kvm == "sets the tags of what the host may take away"


def test_poisoning_with_zeroes_does_not_mind_a_host_that_drops() -> None:
    """CONFIG_PAGE_POISONING_ZERO (v4.6 to v5.10): a dropped page is what the check wants."""
    guest = small()
    allocator = AllocatorPath(guest, "v5.10", Boot(page_poison=True, poison_zero=True))
    allocator.store(3, 0x77)
    assert "stores zeroes" in [result.text for result in allocator.free(3)]
    guest.host.swap_out(guest, 3)
    results = allocator.alloc(3, gfp_zero=True)
    assert [result.report for result in results if result.report] == []
    # free_pages_prezeroed: an allocation that wants zeroes trusts the poison
    assert "page_poison has zeroed it" in [result.text for result in results]
    assert allocator.load(3).text == "reads zeroes"
    allocator.free(3)
    allocator.store(3, 1, "stray store")
    reports = [result.report for result in allocator.alloc(3) if result.report]
    assert reports == ["pagealloc: single bit error"]


def test_a_free_that_does_not_wait_runs_the_hook_first() -> None:
    guest = small()
    allocator = AllocatorPath(guest, "v6.19", Boot(init_on_free=True))
    allocator.store(3, 0x77)
    results = allocator.free(3, trylock=True)
    names = [result.name for result in results if result.acted]
    assert names == ["check", "zero_on_free", "arch_free_page", "wait"]
    assert view(guest, 3).usage == "unused"


def test_a_missing_hook_is_found_by_using_the_page() -> None:
    without = Order(("check", "arch_free_page"), ("debug_map",))
    (finding,) = judge(without)
    assert finding.step == "(use)"
    assert finding.zvm.startswith("addressing exception")
    assert finding.kvm == "reads zeroes"
    # the host is told nothing at all: nothing can go wrong
    assert judge(Order(("check",), ())) == []


def test_view_tells_words_and_content() -> None:
    guest = small()
    guest.write(1, 0x99)
    guest.free_page(1)
    page = view(guest, 1)
    assert (page.usage, page.backing, page.content) == ("unused", "resident", 0x99)
    assert page.pgste == int(guest.pgste(1)[0])
    assert page.pte == int(guest.pte(1)[0])
