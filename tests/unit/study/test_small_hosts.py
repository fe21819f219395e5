# SPDX-License-Identifier: MIT
"""Replays of a share of the pages: what they are replays of, and what they count."""

from __future__ import annotations

import numpy as np
import pytest

import pgste
from pgste._engine.trace import share_of
from pgste.study.lru_order import given_by
from pgste.study.setting import Setting, setting_of
from pgste.study.small_hosts import Part, _counted, _in_part, _Play, _reporting, off_at, part_of

ALLOC, FREE = 0, 1
ALL = 1 << 32
COUNTS = ("swap_outs", "swap_ins", "zero_fills", "discards")


def in_share(pfn: int, share: int) -> bool:
    """The hash of 64 bits that says which pages stand for all, by itself."""
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        pfn = (pfn ^ pfn >> 33) * factor & (1 << 64) - 1
    return (pfn ^ pfn >> 33) >> 32 < share


def random_trace(pages: int = 3000, nr: int = 30_000, highest: int = 3) -> pgste.Trace:
    rng = np.random.default_rng(7)
    order = rng.integers(0, highest + 1, nr).astype(np.uint8)
    pfn = rng.integers(1 << 20, (1 << 20) + pages, nr) >> order << order
    times = np.sort(rng.integers(0, 10**10, nr)).astype(np.uint64)
    return pgste.Trace.from_arrays(rng.integers(0, 2, nr), pfn, order, times)


def whole(setting: Setting) -> Part:
    """All pages, as a part."""
    trace = setting.trace
    events, places = share_of(trace.events, ALL)
    pfns = np.unique(events >> np.uint64(8))
    number = np.searchsorted(pfns, events >> np.uint64(8)).astype(np.uint64)
    return Part(
        events=number << np.uint64(8) | events & np.uint64(3),
        places=places,
        times=trace.time[places],
        pfns=pfns,
        share=1.0,
        weight=1.0,
    )


@pytest.mark.parametrize("share", [1, ALL // 50, ALL // 3, ALL - 1, ALL])
def test_a_share_is_of_the_same_pages_in_every_event(share: int) -> None:
    trace = random_trace(nr=2000)
    expected = [
        (pfn << 8 | kind, i)
        for i, (kind, first, order) in enumerate(
            zip(trace.kind.tolist(), trace.pfn.tolist(), trace.order.tolist(), strict=True)
        )
        for pfn in range(first, first + (1 << order))
        if share == ALL or in_share(pfn, share)
    ]
    events, places = share_of(trace.events, share)
    assert list(zip(events.tolist(), places.tolist(), strict=True)) == expected


@pytest.mark.parametrize("share", [0, ALL + 1])
def test_shares_out_of_range(share: int) -> None:
    with pytest.raises(ValueError, match="share"):
        share_of(random_trace(nr=10).events, share)


def test_a_word_that_is_no_event() -> None:
    with pytest.raises(ValueError, match="events"):
        share_of(np.array([2], np.uint64), ALL)


def test_a_part_is_a_trace_of_its_pages() -> None:
    setting = setting_of(pgste.sample_trace(), ["none"], 1, None, 1)
    part = part_of(setting, 1.0)
    assert part is not None
    events, places = share_of(setting.trace.events, round(2500 / 80_373 * ALL))
    assert np.array_equal(part.pfns[part.events >> np.uint64(8)], events >> np.uint64(8))
    assert np.array_equal(part.events & np.uint64(3), events & np.uint64(3))
    assert np.array_equal(part.places, places)
    assert np.array_equal(part.times, setting.trace.time[places])
    assert part.share == len(part.pfns) / 80_373
    assert part.weight == pytest.approx(1 / part.share, rel=0.1)
    half = part_of(setting, part.share / 2)
    assert half is not None
    assert set(half.pfns) < set(part.pfns)


def test_few_pages_have_no_part() -> None:
    assert part_of(setting_of(random_trace(), ["none"], 1, None, 1), 1.0) is None


@pytest.mark.parametrize("guests", [1, 2])
@pytest.mark.parametrize("mechanism", ["none", "cmma", "madv_dontneed", "madv_free"])
def test_all_pages_count_what_a_whole_host_does(mechanism: str, guests: int) -> None:
    """Nothing differs, the host's size and watermarks and the CBRL included."""
    setting = setting_of(random_trace(highest=0), ["none"], guests, None, 1)
    play = _Play(mechanism, whole(setting).events)
    for frames in (500, 1500, 2600):
        counted = _counted(whole(setting), guests, play, guests * frames)
        expected = setting.counted(mechanism, guests * frames)
        assert expected["swap_outs"] > 0 or frames > 500
        assert counted == pytest.approx(expected)


def test_reporting_is_replayed_by_what_it_gave_back() -> None:
    """Of blocks that a pass reports, only when is not told to the event: the looks are 1,024."""
    trace = pgste.sample_trace()
    reporting = {"delay_ns": 10**7, "order": 3}
    setting = setting_of(trace, ["reporting"], 1, reporting, 1)
    given = given_by(setting, "reporting")
    assert len(given[0]) > 20_000
    part = whole(setting)
    play = _reporting(part, _in_part(part, given))
    for frames in (15_000, 40_000):
        counted = _counted(part, 1, play, frames)
        expected = setting.counted("reporting", frames)
        nothing = setting.counted("none", frames)
        for name in COUNTS[:3]:
            assert counted[name] == pytest.approx(expected[name], rel=0.03)
        assert abs(expected["swap_outs"] - nothing["swap_outs"]) > 0.1 * nothing["swap_outs"]


def test_pages_in_use_at_the_start_are_there() -> None:
    """The first is never given back, the second is, the third was not there."""
    words = [(FREE, 0), (FREE, 1), (ALLOC, 2), (ALLOC, 0), (FREE, 2), (ALLOC, 1), (ALLOC, 2)]
    events = np.array([page << 8 | kind for kind, page in words], np.uint64)
    part = Part(
        events=events,
        places=np.arange(7, dtype=np.uint64),
        times=np.arange(7, dtype=np.uint64),
        pfns=np.arange(3, dtype=np.uint64),
        share=1.0,
        weight=1.0,
    )
    play = _reporting(part, (np.array([1, 2], np.uint64), np.array([2, 6], np.uint64)))
    gives_1_back, allocs_2 = [1 << 8 | FREE], [2 << 8]
    assert play.events.tolist() == [
        *gives_1_back,
        *allocs_2,
        1 << 8,  # which is there again
        2 << 8 | FREE,
        *allocs_2,
        FREE,  # of page 0, so that it is there at the start
    ]
    assert play.accesses is not None
    assert play.places is not None
    assert play.accesses.tolist() == [3]
    assert play.places.tolist() == [2]
    assert play.times is not None
    assert play.times.tolist() == [2, 2, 5, 6, 6, 6]


def test_what_is_off_is_near_what_it_is_for_all_pages() -> None:
    """The engine's swap traffic less that of exact LRU order, by 3 % of the pages."""
    setting = setting_of(pgste.sample_trace(), ["none"], 1, None, 1)
    part = part_of(setting, 1.0)
    assert part is not None
    frames = np.array([20_000, 40_000, 60_000])
    given = given_by(setting, "none")
    ticks: list[int] = []
    small = off_at(part, setting, "none", frames, given, lambda: ticks.append(1))
    assert len(ticks) == 3
    exact = off_at(whole(setting), setting, "none", frames, given, lambda: None)
    for name in ("swap_outs", "swap_ins"):
        assert np.abs(small[name] - exact[name]).max() < 0.5 * np.abs(exact[name]).max()
