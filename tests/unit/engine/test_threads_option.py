# SPDX-License-Identifier: MIT
"""`threads=`: the results are those of one thread, whatever the table."""

from __future__ import annotations

import numpy as np
import pytest

import pgste

PAGES = 300_000
SWAP = 0x600


def guest(seed: int) -> pgste.Guest:
    """A guest of random words: every usage, ZERO, NODAT, and PTEs of each kind."""
    draw = np.random.default_rng(seed)
    guest = pgste.Guest(PAGES, mechanism="cmma")
    usage = draw.integers(0, 4, PAGES).astype(np.uint64) << np.uint64(24)
    zero = draw.integers(0, 2, PAGES).astype(np.uint64) << np.uint64(31)
    nodat = draw.integers(0, 2, PAGES).astype(np.uint64) << np.uint64(30)
    foreign_swap = np.uint64(SWAP | 3 << 2)  # swap type 3: another device's
    pte = draw.choice(np.array([0x400, foreign_swap, 0x13F, 0x733], np.uint64), PAGES)
    if seed == 2:  # all that there is lies in the last part
        pte[:-5000] = 0x400
    guest.set_words(range(PAGES), pgste=usage | zero | nodat, pte=pte)
    return guest


@pytest.mark.parametrize("threads", [2, 3, 7, 64])
@pytest.mark.parametrize("seed", [1, 2])
def test_scans_are_those_of_one_thread(threads: int, seed: int) -> None:
    one, many = guest(seed), guest(seed)
    assert many.count_states(threads) == one.count_states()
    assert many.count_zappable(threads) == one.count_zappable()
    for mask, value in ((3, 1), (0x84, 0x84), (0xFF, 0x40), (0, 0)):
        for start in (0, 1, 4097, PAGES - 3, PAGES):
            for limit in (None, 0, 1, 5000):
                expected = one.find(mask, value, start, limit)
                found = many.find(mask, value, start, limit, threads=threads)
                assert np.array_equal(found, expected)
    zapped = many.zap_scan(threads=threads)
    assert zapped == one.zap_scan()
    assert zapped > 0
    assert np.array_equal(many.pte(), one.pte())
    assert many.stats() == one.stats()
    many.host.validate()


def test_mechanisms_at_once_give_the_same() -> None:
    trace = pgste.sample_trace()[:30_000]
    one = pgste.compare(trace, host_frames=3000)
    many = pgste.compare(trace, host_frames=3000, threads=3)
    assert [result.mechanism for result in one.results] == list(pgste.mechanisms())
    assert one["none"].host_stats["swap_outs"] > 0
    for a, b in zip(one.results, many.results, strict=True):
        assert a.mechanism == b.mechanism
        assert (a.guest_stats, a.host_stats) == (b.guest_stats, b.host_stats)
        assert a.replay_stats == b.replay_stats
        assert np.array_equal(a.frames_used, b.frames_used)


@pytest.mark.parametrize("threads", [0, -1, 65])
def test_bad_numbers_of_threads(threads: int) -> None:
    small = pgste.Guest(10)
    with pytest.raises(ValueError, match=f"threads: {threads}"):
        small.count_states(threads)
    with pytest.raises(ValueError, match="threads"):
        small.find(1, 1, threads=threads)
    with pytest.raises(TypeError, match="threads"):
        small.zap_scan(threads=1.5)  # type: ignore[call-overload]
