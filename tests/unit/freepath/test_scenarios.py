# SPDX-License-Identifier: MIT
"""Every scenario's outcome, with expectations from the kernel's history and manuals.

The panic of 2019 and its fix: commit 234fdce892f9 and the mails around it.  KVM raises no
exception for an unused page and drops it at reclaim (try_to_unmap_one).  KASAN's tags: commit
f9d79e8dce40 and "integrate page_alloc init with HW_TAGS" (1bb5eab30d68).  The poison rules are
those of virtio_balloon.c and QEMU.
"""

from __future__ import annotations

import json

import pytest

import pgste
from pgste.freepath.scenarios import SCENARIOS, Act, Outcome, run_scenario

EXPECTED: dict[str, list[tuple[str, str]]] = {
    "crash-2019": [("before the fix", Outcome.PANIC), ("after the fix", Outcome.FINE)],
    "crash-2021": [
        ("before the fix", Outcome.PANIC),
        ("after the fix", Outcome.FINE),
        ("tags and zeroes at once", Outcome.FINE),
    ],
    "kvm-2019": [
        ("init_on_free=1, no pressure", Outcome.FINE),
        ("init_on_free=1, the host reclaims", Outcome.FINE),
        ("page_poison=1, no pressure", Outcome.FINE),
        ("page_poison=1, the host reclaims", Outcome.CORRUPTION),
    ],
    "page-poison": [
        ("the host leaves it alone", Outcome.FINE),
        ("the host drops it", Outcome.CORRUPTION),
        ("a bit really flips", Outcome.CORRUPTION),
        ("init_on_free instead, the host drops it", Outcome.FINE),
    ],
    "page-poison-reporting": [
        ("page_poison, the device knows of it", Outcome.FINE),
        ("page_poison, the device does not", Outcome.FINE),
        ("init_on_free, the device knows of it", Outcome.FINE),
        ("page_poison, a host that drops at once", Outcome.CORRUPTION),
    ],
    "debug-pagealloc": [
        ("unmapped last", Outcome.FINE),
        ("unmapped first", Outcome.PANIC),
        ("unmapped before the hook", Outcome.FINE),
        ("poison checked before it is mapped", Outcome.PANIC),
        ("a stray load of a free page", Outcome.PANIC),
    ],
    "skip-alloc": [
        ("z/VM", Outcome.PANIC),
        ("KVM, no pressure", Outcome.FINE),
        ("KVM, the host reclaims", Outcome.LOST),
    ],
    "store-while-free": [
        ("z/VM", Outcome.PANIC),
        ("KVM, no pressure", Outcome.FINE),
        ("KVM, the host reclaims before the alloc", Outcome.LOST),
    ],
    "stale-data": [
        ("resident when freed, never reclaimed", Outcome.STALE),
        ("swapped out when freed, list not processed", Outcome.STALE),
        ("swapped out when freed, list processed", Outcome.FINE),
    ],
    "boot-rules": [
        ("page_poison and init_on_free", Outcome.FINE),
        ("page_poison and init_on_alloc", Outcome.FINE),
        ("init_on_free, zeroes asked for", Outcome.FINE),
        ("cmma=off", Outcome.FINE),
        ("a bad page", Outcome.FINE),
        ("a hwpoisoned page", Outcome.FINE),
    ],
}


def act(name: str, title: str) -> Act:
    return next(each for each in run_scenario(name).acts if each.title == title)


def steps(one: Act) -> list[tuple[str, str]]:
    return [(line.actor, line.step) for line in one.lines if line.acted]


@pytest.mark.parametrize("name", SCENARIOS)
def test_outcomes(name: str) -> None:
    report = run_scenario(name)
    assert [(each.title, each.outcome) for each in report.acts] == EXPECTED[name]
    assert json.loads(json.dumps(report.to_dict()))["name"] == name


def test_every_scenario_is_expected() -> None:
    assert list(EXPECTED) == list(SCENARIOS)


def test_the_crash_is_in_the_zeroing_after_the_hook() -> None:
    crash = act("crash-2019", "before the fix")
    assert steps(crash) == [
        ("free", "check"),
        ("free", "arch_free_page"),
        ("free", "zero_on_free"),
    ]
    assert crash.lines[-1].alarm
    assert "0x0005" in crash.evidence  # addressing exception
    assert crash.setting.startswith("z/VM")
    fixed = act("crash-2019", "after the fix")
    assert steps(fixed)[:3] == [
        ("free", "check"),
        ("free", "zero_on_free"),
        ("free", "arch_free_page"),
    ]
    assert fixed.lines[-1].page.content == 0


def test_tags_are_set_while_the_page_is_mapped() -> None:
    crash = act("crash-2021", "before the fix")
    assert steps(crash)[-2:] == [("free", "debug_unmap"), ("free", "kasan_poison")]
    assert crash.evidence.startswith("page fault in the kernel")
    fixed = [step for _, step in steps(act("crash-2021", "after the fix"))]
    assert fixed.index("kasan_poison") < fixed.index("debug_unmap")
    assert fixed.index("zero_on_free") < fixed.index("kasan_poison")
    both = [step for _, step in steps(act("crash-2021", "tags and zeroes at once"))]
    assert "zero_on_free" not in both


def test_under_kvm_the_same_store_succeeds_and_is_dropped() -> None:
    lost = act("kvm-2019", "page_poison=1, the host reclaims")
    by_step = {line.step: line for line in lost.lines if line.acted}
    assert (by_step["poison"].page.usage, by_step["poison"].page.content) == ("unused", 0xAAAAAAAA)
    assert by_step["reclaim"].text == "drops it unwritten"
    assert by_step["reclaim"].page.content == 0
    assert lost.evidence == "pagealloc: memory corruption"


def test_false_and_true_corruption_are_told_apart() -> None:
    assert act("page-poison", "the host drops it").evidence == "pagealloc: memory corruption"
    assert act("page-poison", "a bit really flips").evidence == "pagealloc: single bit error"


def test_reporting_asks_the_device_first() -> None:
    known = act("page-poison-reporting", "page_poison, the device knows of it")
    wait = next(line for line in known.lines if line.step == "wait")
    assert (wait.text, wait.page.content) == ("2 s: 1 report call, idle", 0xAAAAAAAA)
    unknown = act("page-poison-reporting", "page_poison, the device does not")
    assert "2 s: 0 report calls, off" in [line.text for line in unknown.lines]
    zeroes = act("page-poison-reporting", "init_on_free, the device knows of it")
    wait = next(line for line in zeroes.lines if line.step == "wait")
    assert (wait.text, wait.page.backing) == ("2 s: 1 report call, idle", "nothing")


def test_unmapping_first_is_a_page_fault_not_an_addressing_exception() -> None:
    assert act("debug-pagealloc", "unmapped first").evidence.startswith("page fault in the kernel")


def test_boot_rules_say_what_switched_a_step_off() -> None:
    texts = {line.text for each in run_scenario("boot-rules").acts for line in each.lines}
    assert "page_poison switches init_on_free off" in texts
    assert "page_poison switches init_on_alloc off" in texts
    assert "init_on_free has zeroed it" in texts
    assert "cmma=off" in texts


def test_no_hook_for_leaked_pages() -> None:
    for title in ("a bad page", "a hwpoisoned page"):
        assert act("boot-rules", title).lines[-1].page.usage == "stable"


def test_unknown_scenarios_are_named() -> None:
    with pytest.raises(pgste.UnknownNameError, match="crash-2020"):
        run_scenario("crash-2020")
