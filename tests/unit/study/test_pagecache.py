# SPDX-License-Identifier: MIT
"""Page-cache pages under z/VM: I/O counts against published ones and the reference model."""

from __future__ import annotations

import json
from collections import OrderedDict

import numpy as np
import pytest
from reference import Guest as ReferenceGuest
from reference import Host as ReferenceHost

import pgste
from pgste.cli import main
from pgste.study.pagecache import COLD_PAGES, POLICIES, PageIo, cold_page, file_accesses, replay

# I/O per cold page: M. Schwidefsky on linux-mm (the facts' I6), and what each is made of:
# page-outs and page-ins by the host, writes and reads of the guest's own disk.
PUBLISHED = {"host-swap": 2, "volatile": 1, "double-paging": 3, "unused": 0}
PARTS = {
    "host-swap": (1, 1, 0, 0),
    "volatile": (0, 0, 0, 1),
    "double-paging": (1, 1, 1, 0),
    "unused": (0, 0, 0, 0),
}


@pytest.mark.parametrize("pages", [1, 7, 500])
@pytest.mark.parametrize("fate", COLD_PAGES, ids=lambda fate: fate.key)
def test_io_of_a_cold_page(fate: object, pages: int) -> None:
    assert isinstance(fate, type(COLD_PAGES[0]))
    io = cold_page(fate, pages)
    assert io.total == PUBLISHED[fate.key] * pages
    assert io == PageIo(*(part * pages for part in PARTS[fate.key]))


def reference_replay(policy: str, accesses: list[int], cache_pages: int, frames: int) -> PageIo:
    """The same page cache over the reference model, by the states' names."""
    guest = ReferenceGuest(cache_pages, ReferenceHost(frames, cache_pages + frames), flavour="zvm")
    guest.free(range(cache_pages))
    guest.reset_stats()
    cache: OrderedDict[int, int] = OrderedDict()
    reads = 0
    for wanted in accesses:
        if wanted in cache:
            gfn = cache.pop(wanted)
            need = policy == "volatile" and guest.zvm_state(gfn) == "Vz"
            if policy == "volatile":
                guest.essa(1 if need else 6, [gfn])
        else:
            need = True
            if len(cache) < cache_pages:
                gfn = len(cache)
            else:
                gfn = cache.popitem(last=False)[1]
                guest.free([gfn])
            guest.alloc([gfn])
        if need:
            guest.write([gfn], [wanted + 1])
            guest.set_changed(gfn, False)
            reads += 1
        assert guest.read([gfn]) == [wanted + 1]
        if policy == "volatile":
            guest.essa(3, [gfn])
        cache[wanted] = gfn
    return PageIo(guest.count["swap_outs"], guest.count["swap_ins"], 0, reads)


@pytest.mark.parametrize(("cache_pages", "frames"), [(30, 12), (30, 30), (12, 30), (1, 1)])
@pytest.mark.parametrize("policy", POLICIES)
def test_replay_as_in_the_reference(policy: str, cache_pages: int, frames: int) -> None:
    accesses = file_accesses(600, 50, seed=cache_pages)
    expected = reference_replay(policy, accesses.tolist(), cache_pages, frames)
    assert replay(policy, accesses, cache_pages, frames) == expected


def test_volatile_pages_never_reach_the_paging_device() -> None:
    accesses = file_accesses(20_000, 2_000, seed=3)
    stable, volatile = (replay(policy, accesses, 1_000, 400) for policy in POLICIES)
    assert volatile.host_writes == volatile.host_reads == 0
    assert stable.host_reads > 0
    # a page that the host dropped is read once more by the guest, so the guest reads more
    assert volatile.guest_reads > stable.guest_reads
    assert volatile.total < stable.total


def test_with_memory_enough_the_policy_does_not_matter() -> None:
    accesses = file_accesses(5_000, 300, seed=4)
    first_reads = len(np.unique(accesses))
    for policy in POLICIES:
        assert replay(policy, accesses, 300, 301) == PageIo(0, 0, 0, first_reads)


def test_the_stream_is_skewed_and_repeatable() -> None:
    accesses = file_accesses(50_000, 100, skew=1.0, seed=5)
    assert (accesses == file_accesses(50_000, 100, skew=1.0, seed=5)).all()
    counts = np.sort(np.bincount(accesses, minlength=100))[::-1]
    # Zipf with exponent 1: the first is drawn k times as often as the k-th, here within 10 %
    for k in (2, 4, 10):
        assert counts[0] / counts[k - 1] == pytest.approx(k, rel=0.1)


def test_bad_arguments() -> None:
    accesses = file_accesses(10, 5)
    with pytest.raises(pgste.ArgumentError, match="policy: 'lazy'"):
        replay("lazy", accesses, 4, 4)
    with pytest.raises(pgste.ArgumentError, match="cache_pages: 0"):
        replay("stable", accesses, 0, 4)
    with pytest.raises(pgste.ArgumentError, match="accesses: 0"):
        file_accesses(0, 5)
    with pytest.raises(pgste.ArgumentError, match="pages: 0"):
        cold_page(COLD_PAGES[0], 0)


def test_compare_shows_them(capsys: pytest.CaptureFixture[str], tmp_path: object) -> None:
    path = f"{tmp_path}/piece.pgt"
    pgste.sample_trace()[:5000].save(path)
    assert main(["compare", path, "--flavour", "zvm", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["flavour"] == "zvm"
    assert list(data["mechanisms"]) == ["none", "cmma"]
    measured = data["volatile"]["cold_page"]
    assert {key: io["total"] for key, io in measured.items()} == PUBLISHED
    assert main(["compare", path, "--flavour", "zvm"]) == 0
    assert "double-paging" in capsys.readouterr().out
    assert main(["compare", path, "--flavour", "zvm", "--mechanisms", "madv_free"]) == 1
