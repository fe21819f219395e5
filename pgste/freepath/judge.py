# SPDX-License-Identifier: MIT
"""Judging an order of the free and alloc path's steps, by running each step on the engine."""

from __future__ import annotations

from dataclasses import dataclass

from pgste._engine import Guest, Host
from pgste.freepath.allocator import AllocatorPath
from pgste.freepath.orders import Boot, Order, Stage, Touch
from pgste.freepath.page import describe, view
from pgste.freepath.run import Flavour

__all__ = ["Finding", "judge"]


@dataclass(frozen=True)
class Finding:
    """Something wrong with an order, and what it leads to on z/VM and on KVM."""

    stage: Stage
    step: str
    problem: str
    zvm: str
    kvm: str


_DOES = {
    Touch.READS: "reads content",
    Touch.TAGS: "sets tags",
    Touch.WRITES: "writes content",
}
_JUDGED = 2  # the page that the steps are tried on


def _small_guest(flavour: Flavour) -> Guest:
    return Guest(2 * _JUDGED, Host(2, 2), mechanism="cmma", flavour=flavour)


def _outcome(order: Order, stage: Stage, step: str, flavour: Flavour) -> tuple[bool, str]:
    """Run one step that touches content among the hooks alone: is all well, and what happens.

    Other steps that touch content are left out, so that each is judged for itself.
    """
    guest = _small_guest(flavour)
    allocator = AllocatorPath(guest, order)
    allocator.store(_JUDGED, 0xDA7A)
    names = order.free if stage is Stage.FREE else order.alloc
    if stage is Stage.ALLOC:
        for name in ("arch_free_page", "debug_unmap"):
            if name in order.free:
                allocator.step(name, range(_JUDGED, _JUDGED + 1), 0)
    for name in names:
        if name != step and order.touch(name) is not Touch.NOTHING:
            continue
        result = allocator.step(name, range(_JUDGED, _JUDGED + 1), 0)
        if result.fault is not None:
            return False, result.fault
        if name == step:
            break
    before = view(guest, _JUDGED)
    guest.host.swap_out(guest, _JUDGED)
    after = view(guest, _JUDGED)
    if before.usage != "unused":
        return True, "in order"
    if order.touch(step) is Touch.TAGS:
        return False, "sets the tags of what the host may take away"
    if order.touch(step) is Touch.READS:
        return False, f"reads what the host may have dropped (then {describe(after.content)})"
    if after.content != before.content:
        return False, (
            f"stores {describe(before.content)}, and after reclaim reads {describe(after.content)}"
        )
    return False, f"the store is dropped by reclaim, which goes unseen: {describe(after.content)}"


def _in_use_after(order: Order, flavour: Flavour) -> tuple[bool, str]:
    """Free and allocate a page, store in it, and have the host reclaim it."""
    guest = _small_guest(flavour)
    allocator = AllocatorPath(guest, order)
    allocator.free(_JUDGED)
    allocator.alloc(_JUDGED)
    result = allocator.store(_JUDGED, 0xDA7A)
    if result.fault is not None:
        return False, result.fault
    guest.host.swap_out(guest, _JUDGED)
    content = allocator.load(_JUDGED)
    read = int(guest.peek(_JUDGED)[0])
    return read == 0xDA7A, content.text


def _poison_survives(order: Order, flavour: Flavour) -> tuple[bool, str]:
    """Free a page with page_poison, have the host reclaim it, and allocate it again."""
    guest = _small_guest(flavour)
    allocator = AllocatorPath(guest, order, Boot(page_poison=True))
    allocator.store(_JUDGED, 0xDA7A)
    results = allocator.free(_JUDGED)
    if allocator.panic is None:
        guest.host.swap_out(guest, _JUDGED)
        results = allocator.alloc(_JUDGED)
    report = next((result.report for result in results if result.report), None)
    return report is None, report or "in order"


def judge(order: Order) -> list[Finding]:
    """What is wrong with an order, found by running each of its steps on z/VM and on KVM.

    It judges the steps that touch content while the page is unused (after ``arch_free_page``,
    before ``arch_alloc_page``) or not mapped (after ``debug_unmap``, before ``debug_map``), and
    the use of a page after both pipelines; and whether ``poison_check`` finds the poison again
    if the host has dropped the free page.  KASAN is judged by the most that the order's kernels
    have it do.  An empty list: nothing is wrong.
    """
    findings = []
    for stage, names in ((Stage.FREE, order.free), (Stage.ALLOC, order.alloc)):
        for step in names:
            if order.touch(step) is Touch.NOTHING:
                continue
            zvm, on_zvm = _outcome(order, stage, step, "zvm")
            kvm, on_kvm = _outcome(order, stage, step, "kvm")
            if not (zvm and kvm):
                findings.append(Finding(stage, step, _problem(order, stage, step), on_zvm, on_kvm))
    named = {finding.step for finding in findings}
    if "poison" in order.free and not named & {"poison", "poison_check"}:
        zvm, on_zvm = _poison_survives(order, "zvm")
        kvm, on_kvm = _poison_survives(order, "kvm")
        if not (zvm and kvm):
            problem = "expects content that the host may have dropped"
            findings.append(Finding(Stage.ALLOC, "poison_check", problem, on_zvm, on_kvm))
    zvm, on_zvm = _in_use_after(order, "zvm")
    kvm, on_kvm = _in_use_after(order, "kvm")
    if not (zvm and kvm):
        problem = "the page is in use, and the host was not told"
        findings.append(Finding(Stage.ALLOC, "(use)", problem, on_zvm, on_kvm))
    return findings


def _problem(order: Order, stage: Stage, step: str) -> str:
    """Which rule a step breaks, by its place."""
    if stage is Stage.FREE:
        before = order.free[: order.free.index(step)]
        hook, unmap = "arch_free_page" in before, "debug_unmap" in before
        where = [name for name, on in (("arch_free_page", hook), ("debug_unmap", unmap)) if on]
        return f"{_DOES[order.touch(step)]} after {' and '.join(where)}"
    before = order.alloc[: order.alloc.index(step)]
    hook = "arch_free_page" in order.free and "arch_alloc_page" not in before
    unmap = "debug_unmap" in order.free and "debug_map" not in before
    where = [name for name, on in (("arch_alloc_page", hook), ("debug_map", unmap)) if on]
    return f"{_DOES[order.touch(step)]} before {' and '.join(where)}"
