# SPDX-License-Identifier: MIT
"""ESSA on many pages: random, sorted, clustered, ranges; against bare loops and other ways."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks import limits, peers, workloads
from benchmarks.harness import Bar, Limit, Measure, Plan
from pgste import Guest, Orc, State

BIG = 24  # 16 Mi pages, the size of the rows of design


class Essa:
    """A guest, gfns, the same states for bare loops and peers, and ways to renew them all."""

    def __init__(self, exponent: int, mix: str, order: str = "random") -> None:
        self.pages = 1 << exponent
        self.words = workloads.tile(mix)
        self.gfns = workloads.ordered_gfns(self.pages, order)
        self.guest = Guest(self.pages)
        workloads.load(self.guest, self.words)
        self.bytes = np.ones(self.pages, np.uint8)
        self.out = np.zeros(self.gfns.size, np.uint8)
        self.results = np.zeros(self.gfns.size, np.uint8)  # of peers
        self.appended = np.zeros(self.gfns.size, np.uint64)
        self.expected = peers.outcome(
            *self.words.of(self.gfns), int(Orc.SET_UNUSED), self.gfns.copy()
        )
        self.states = self.expected.after_zaps(peers.LIST_ENTRIES)
        self.bare = limits.load()
        self.other = np.ones(1 << 26, np.uint8)

    def settle(self) -> None:
        """Caches as a plain read leaves them: nothing in them that has to be written back.

        Renewing the states dirties ten times the memory that ESSA works on; without
        this, the subject would pay for it and the bare loop, which needs no renewal, would not.
        Small tables stay in the caches.
        """
        if self.pages >= 1 << BIG:
            self.bare.read(self.other)

    def prepare(self) -> None:
        workloads.reload(self.guest, self.words, self.gfns)
        self.guest.reset_stats()
        self.out.fill(0xFF)
        self.settle()

    def subject(self) -> Any:
        return self.guest.essa(Orc.SET_UNUSED, self.gfns, out=self.out)

    def check(self, results: Any) -> None:
        """The engine left what the peers leave: results, states, list, counters."""
        expected = self.expected
        assert np.array_equal(results, expected.results)
        states = self.guest.states(self.gfns)
        assert np.array_equal(states, self.states)
        check_list(self.guest, self.gfns.size, expected)
        zapped = int(((expected.states ^ states) & State.SWAP != 0).sum())
        assert self.guest.stats()["zapped"] == zapped

    def check_words(self, pgste: npt.NDArray[np.uint64], nr_appended: int) -> None:
        """The same of a peer on words, which wrote to `results` and `appended`."""
        assert np.array_equal(self.results, self.expected.results)
        assert np.array_equal(pgste, self.expected.words)
        assert np.array_equal(self.appended[:nr_appended], self.expected.appended)

    def check_numpy(self, answer: Any, changed: Any, expected: Any) -> None:
        """The same of a peer that returns results and gfns appended, and changed an array."""
        results, appended = answer
        assert np.array_equal(results, self.expected.results)
        assert np.array_equal(changed, expected)
        assert np.array_equal(appended, self.expected.appended)

    def update(self) -> Limit:
        return Limit(lambda: self.bare.update(self.bytes, self.gfns), self.gfns.size, self.settle)

    def read_and_update(self) -> Limit:
        """With a read of all gfns before: ESSA refuses a bad one before it changes anything."""

        def run() -> None:
            self.bare.read(self.gfns.view(np.uint8))
            self.bare.update(self.bytes, self.gfns)

        return Limit(run, self.gfns.size, self.settle)

    def word_peers(self) -> dict[str, Limit]:
        """Those that need the two words of every page."""
        nr, orc = self.gfns.size, int(Orc.SET_UNUSED)
        fresh, pte = self.words.whole(self.pages)
        pgste = fresh.copy()
        tables = np.stack([pte.reshape(-1, 256), fresh.reshape(-1, 256)], axis=1).ravel()
        fresh_of_gfns = self.words.of(self.gfns)[0]
        of_tables = (self.gfns >> 8) * 512 + 256 + (self.gfns & 255)
        states = peers.pack(fresh, pte)
        fresh_states = states[self.gfns]
        out = self.results, self.appended

        def words() -> None:
            pgste[self.gfns] = fresh_of_gfns

        def in_tables() -> None:
            tables[of_tables] = fresh_of_gfns

        def packed() -> None:
            states[self.gfns] = fresh_states

        bare, gfns, expected = self.bare, self.gfns, self.expected

        def check_tables(nr_appended: int) -> None:
            self.check_words(tables[of_tables], nr_appended)

        def check_arrays(nr_appended: int) -> None:
            self.check_words(pgste[gfns], nr_appended)

        found = {
            "two words": Limit(
                lambda: bare.kernel_words(tables, orc, gfns, *out, False),
                nr,
                in_tables,
                check_tables,
            ),
            "two words, locked": Limit(
                lambda: bare.kernel_words(tables, orc, gfns, *out, True),
                nr,
                in_tables,
                check_tables,
            ),
            "two words, prefetch": Limit(
                lambda: bare.two_words(pgste, pte, orc, gfns, *out), nr, words, check_arrays
            ),
            "NumPy, two words": Limit(
                lambda: peers.numpy_words(pgste, pte, orc, gfns),
                nr,
                words,
                lambda answer: self.check_numpy(answer, pgste[gfns], expected.words),
            ),
            "NumPy, bytes": Limit(
                lambda: peers.numpy_bytes(states, orc, gfns),
                nr,
                packed,
                lambda answer: self.check_numpy(answer, states[gfns], expected.states),
            ),
        }
        numba = peers.numba_words()
        if numba is not None:
            out_i64 = self.results, self.appended.view(np.int64)
            numba(pgste, pte, orc, gfns[:1], *out_i64)  # compiles
            found["Numba, two words"] = Limit(
                lambda: numba(pgste, pte, orc, gfns, *out_i64), nr, words, check_arrays
            )
        return found


def check_list(guest: Guest, nr: int, expected: peers.Outcome) -> None:
    """The list of vcpu 0 and the counters of it, after ESSA on nr pages; it was empty before."""
    nr_appended, left = expected.appended.size, expected.left(peers.LIST_ENTRIES)
    assert np.array_equal(guest.cbrl(), expected.appended[nr_appended - left :])
    stats = guest.stats()
    assert (stats["essa"], stats["appended"]) == (nr, nr_appended)
    assert stats["processed"] == nr_appended - left
    assert stats["intercepts"] == (nr_appended - left) // peers.LIST_ENTRIES


def bars_of(exponent: int, mix: str) -> list[Bar]:
    if exponent != BIG or mix == "swapping":  # zaps are more than the bar is about
        return []
    row = f"ESSA on random pages of 16 Mi, {mix}"
    return [
        Bar(f"{row}, against a bare update of a byte", limit="bare update", at_most=1.25),
        Bar(f"{row}, against C on two words", limit="two words", at_least=4),
        Bar(f"{row}, against NumPy on two words", limit="NumPy, two words", at_least=12),
        Bar(f"{row}, against NumPy on bytes", limit="NumPy, bytes", at_least=3),
    ]


@pytest.mark.parametrize("mix", list(workloads.SHARES))
def bench_random(measure: Measure, exponent: int, mix: str) -> None:
    """Set unused: 0, 15 or 100 % of the pages are appended; of "swapping", 5 % are zapped too."""
    essa = Essa(exponent, mix)
    with_words = essa.word_peers() if exponent <= BIG else {}
    measure(
        Plan(
            essa.subject,
            items=essa.gfns.size,
            bytes=essa.gfns.size,
            pages=essa.pages,
            prepare=essa.prepare,
            check=essa.check,
            limits={
                "bare update": essa.update(),
                "read of the gfns, bare update": essa.read_and_update(),
                **with_words,
            },
            bars=bars_of(exponent, mix),
            series=f"ESSA random, {mix}",
        )
    )


@pytest.mark.parametrize("order", ["sorted", "clustered"])
def bench_ordered(measure: Measure, exponent: int, order: str) -> None:
    essa = Essa(exponent, "mixed", order)
    measure(
        Plan(
            essa.subject,
            items=essa.gfns.size,
            bytes=essa.gfns.size,
            pages=essa.pages,
            prepare=essa.prepare,
            check=essa.check,
            limits={"bare update": essa.update()},
            series=f"ESSA {order}",
        )
    )


@pytest.mark.parametrize("mix", ["resident", "mixed", "absent"])
def bench_range(measure: Measure, exponent: int, mix: str) -> None:
    """ESSA on all pages as one range, with results."""
    pages = 1 << exponent
    words = workloads.tile(mix)
    guest = Guest(pages)
    bare = limits.load()
    beside = np.ones(pages, np.uint8)
    tile = np.arange(workloads.TILE)
    of_tile = peers.outcome(words.pgste, words.pte, int(Orc.SET_UNUSED), tile)
    tiles = pages // workloads.TILE

    def warm() -> None:
        # Memory that lay free meanwhile may be gone from a virtual machine (free page reporting),
        # and its first touch a fault of the host's: 2 ns a page of results.
        bare.fill(np.empty(pages, np.uint8), 0)

    def prepare() -> None:
        guest.intercept()
        workloads.load(guest, words)
        guest.reset_stats()
        warm()

    def check(answer: np.ndarray) -> None:
        assert (answer.reshape(-1, workloads.TILE) == of_tile.results).all()
        for first in range(0, pages, workloads.BATCH):
            states = guest.states(range(first, min(first + workloads.BATCH, pages)))
            assert (states.reshape(-1, workloads.TILE) == of_tile.states).all()
        stats = guest.stats()
        assert (stats["essa"], stats["appended"]) == (pages, tiles * of_tile.appended.size)
        last = of_tile.appended[of_tile.appended.size - guest.cbrl().size :]
        assert np.array_equal(guest.cbrl(), last + (pages - workloads.TILE))
        assert stats["processed"] == stats["appended"] - last.size

    def two_memsets() -> None:
        bare.fill(beside, 1)
        bare.fill(np.empty(pages, np.uint8), 2)  # new memory, as the results are

    measure(
        Plan(
            lambda: guest.essa(Orc.SET_UNUSED, range(pages)),
            items=pages,
            bytes=2 * pages,
            prepare=prepare,
            check=check,
            limits={"memset of states and results": Limit(two_memsets, pages, warm)},
            rounds=5 if exponent > 26 else None,
            series=f"ESSA range, {mix}",
        )
    )


@pytest.mark.parametrize("mix", ["resident", "mixed", "absent"])
@pytest.mark.parametrize("block_order", [0, 6, 9])
def bench_blocks(measure: Measure, block_order: int, mix: str) -> None:
    """Free of 2^20 pages in blocks in random order: against memset of each block."""
    pages = 1 << 20
    words = workloads.tile(mix)
    guest = Guest(pages)
    bare = limits.load()
    beside = np.ones(pages, np.uint8)
    starts = workloads.random_gfns(pages >> block_order) << block_order

    def prepare() -> None:
        guest.intercept()
        guest.alloc(range(pages))
        workloads.load(guest, words)

    def check(_: object) -> None:
        states = guest.states(range(workloads.TILE))
        new = peers.byte_table(int(Orc.SET_UNUSED))[0]
        assert np.array_equal(states, new[peers.pack(words.pgste, words.pte)])
        assert guest.is_free().all()

    def fill_blocks() -> None:
        bare.fill_blocks(beside, starts, 1 << block_order, 1)

    measure(
        Plan(
            lambda: guest.free(starts, order=block_order),
            items=pages,
            bytes=pages,
            prepare=prepare,
            check=check,
            limits={"memset": Limit(fill_blocks, pages)},
        )
    )


@pytest.mark.most(26)
@pytest.mark.parametrize("what", ["free", "alloc"])
def bench_large_range(measure: Measure, exponent: int, what: str) -> None:
    """Free or alloc of all pages, which are resident: against memset of as many bytes.

    memset only writes; the change in place reads as well, as ESSA has to.
    """
    pages = 1 << exponent
    guest = Guest(pages)
    workloads.load(guest, workloads.tile("resident"))
    bare = limits.load()
    beside = np.ones(pages, np.uint8)
    everything = range(pages)
    freeing = what == "free"

    def check(_: object) -> None:
        assert guest.is_free(everything[:: pages >> 10]).all() == freeing
        states = guest.count_states()
        assert (states["unused"] if freeing else states["stable"])["resident"] == pages

    row = f"{what} of a range of 2^{exponent} pages, against memset of the same state bytes"
    measure(
        Plan(
            lambda: (guest.free if freeing else guest.alloc)(everything),
            items=pages,
            bytes=pages,
            prepare=lambda: (guest.alloc if freeing else guest.free)(everything),
            check=check,
            limits={
                "memset": Limit(lambda: bare.fill(beside, 1), pages, lambda: bare.fill(beside, 2)),
                "change in place": Limit(
                    lambda: bare.change(beside), pages, lambda: bare.fill(beside, 2)
                ),
            },
            bars=[Bar(row, limit="memset", at_least=0.7)] if exponent >= 20 else [],
            series=f"{what}, range",
        )
    )
