# SPDX-License-Identifier: MIT
"""Replays of random traces: whole state, counters and integrals against the reference."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest
import reference
from stateful.draw import GENERATIONS
from stateful.pair import Pair, outcome

import pgste
from differential.traces import packed, random_events, random_times

MECHANISMS = ("none", "cmma", "madv_dontneed", "madv_free")
PAGES = 24


def guests(random: Random, pair: Pair, pages: int) -> None:
    for _ in range(random.randint(1, 4)):
        pair.create(
            pages + random.randint(0, 3),
            mechanism=random.choice(MECHANISMS),
            generation=random.choice(GENERATIONS),
            nodat=random.random() < 0.5,
            vcpus=random.randint(1, 2),
            cbrl_entries=random.choice((1, 3, 511)),
        )


class Both:
    """The same replay on both sides."""

    def __init__(
        self,
        pair: Pair,
        base: int,
        events: list[Any],
        times: list[int] | None,
        accesses: list[tuple[int, int, int]] | None = None,
    ) -> None:
        self.pair = pair
        self.accesses = accesses or []
        words = np.array(packed(events), np.uint64)
        engines = [engine for engine, _ in pair.guests]
        models = [model for _, model in pair.guests]
        self.refused = pair.both(
            lambda: self._make(engines, words, times, base),
            lambda: self._model(models, base, events, times),
        )

    def _make(
        self, engines: list[pgste.Guest], words: Any, times: list[int] | None, base: int
    ) -> None:
        touched: dict[str, Any] = {}
        if self.accesses:
            kinds, pfns, places = zip(*self.accesses, strict=True)
            words_of = [pfn << 8 | kind for kind, pfn in zip(kinds, pfns, strict=True)]
            touched = {"accesses": np.array(words_of, np.uint64), "places": list(places)}
        self.engine = pgste.Replay(engines, words, times=times, base_pfn=base, **touched)

    def _model(
        self,
        models: list[reference.Guest],
        base: int,
        events: list[Any],
        times: list[int] | None,
    ) -> None:
        self.model = reference.Replay(models, base, events, times, self.accesses)

    def check_stats(self) -> None:
        stats = self.engine.stats()
        model = self.model
        assert self.engine.position == model.position
        assert stats.pop("frame_seconds") == pytest.approx(model.frame_ns / 1e9, rel=1e-12)
        assert stats.pop("swap_seconds") == pytest.approx(model.swap_ns / 1e9, rel=1e-12)
        assert stats.pop("seconds") == pytest.approx(model.ns / 1e9, rel=1e-12)
        assert stats == model.stats

    def run(self, n: int) -> bool:
        """The next n events at most; whether that was refused."""
        return self._run(lambda: self.engine.run(n), lambda: self.model.run(n))

    def run_until(self, ns: int) -> bool:
        """All up to a time; whether that was refused."""
        return self._run(lambda: self.engine.run_until(ns), lambda: self.model.run_until(ns))

    def run_samples(self, moments: list[int]) -> bool:
        """Up to each of these times, with a look at memory there; whether one was refused."""
        looks: list[tuple[int, ...]] = []

        def by_model() -> int:
            before = self.model.position
            for ns in moments:
                self.model.run_until(ns)
                host, guest = self.model.host, self.model.guests[0]
                looks.append(
                    (
                        self.model.position,
                        len(host.frames) - len(host.free_frames),
                        host.slots_in_use(),
                        guest.count["pages_allocated"],
                        guest.count["pages_freed"],
                    )
                )
            return self.model.position - before

        def by_engine() -> int:
            before = self.engine.position
            seen = self.engine.run_samples(moments)
            rows = list(zip(*(each.tolist() for each in seen.values()), strict=True))
            seen_by_engine.extend(rows)
            if len(rows) < len(moments):
                self.engine.run_samples(moments[len(rows) :])
            return self.engine.position - before

        seen_by_engine: list[tuple[int, ...]] = []
        refused = self._run(by_engine, by_model)
        assert seen_by_engine == looks
        return refused

    def _run(self, by_engine: Callable[[], int], by_model: Callable[[], int]) -> bool:
        result = self.pair.both(by_engine, by_model)
        if isinstance(result, tuple):
            assert self.engine.position == self.model.position
            assert outcome(by_engine) == result
            return True
        self.check_stats()
        self.pair.check()
        return False


@pytest.mark.parametrize("seed", range(150))
def test_random_replay(seed: int) -> None:
    """Stops in between only look, so calls that are held back stay held back."""
    random = Random(seed)
    pages = random.randint(1, PAGES)
    base = random.choice((0, 5, 0x10007B))
    events = random_events(random, random.randint(1, 120), pages, base)
    times = random_times(random, len(events)) if random.random() < 0.8 else None
    frames = random.randint(2, 3 * PAGES)
    pair = Pair(frames, random.choice((0, 8, 200)))
    guests(random, pair, pages)
    accesses = None
    if random.random() < 0.7:
        places = sorted(random.randint(0, len(events)) for _ in range(random.randint(0, 150)))
        accesses = [(random.choice((2, 3)), base + random.randrange(pages), at) for at in places]
    both = Both(pair, base, events, times, accesses)
    if both.refused is not None:
        assert both.refused == ("refused", "frames")
        return
    pair.check()
    both.check_stats()
    while both.model.position < len(events):
        at = both.model.position
        if times and random.random() < 0.3:
            some = range(random.randint(1, 6))
            moments = sorted(random.choice(times[at:]) + random.choice((-1, 0, 3)) for _ in some)
            if both.run_samples([max(ns, 0) for ns in moments]):
                return
        elif times and random.random() < 0.5:
            if both.run_until(max(times[at] + random.choice((-1, 0, 0, 5, 10**9)), 0)):
                return
        elif both.run(random.choice((1, 2, 7, 1000))):
            return
    assert both.engine.run() == 0


@pytest.mark.parametrize("seed", range(60))
def test_other_calls_between_events(seed: int) -> None:
    """Calls on the guests between runs find the madvise that was held back done."""
    random = Random(1000 + seed)
    events = random_events(random, 80, PAGES, 0)
    pair = Pair(4 * PAGES, 8 * PAGES, low=4, high=8, batch=3)
    guests(random, pair, PAGES)
    both = Both(pair, 0, events, None)
    assert both.refused is None
    while both.model.position < len(events):
        assert not both.run(random.randint(1, 9))
        if random.random() < 0.5:
            for i in range(len(pair.guests)):
                both.model.issue(i)
            pair.reclaim(random.randint(0, 8))
        else:
            for i in range(len(pair.guests)):
                both.model.issue(i)
                pair.swap_out(i, range(random.randint(1, PAGES)))
                pair.read(i, range(random.randint(1, PAGES)))
                pair.zap_scan(i)
        pair.check()


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_replay_is_the_same_in_one_run_and_event_by_event(mechanism: str) -> None:
    random = Random(5)
    events = random_events(random, 400, PAGES, 0)
    words = np.array(packed(events), np.uint64)
    seen = []
    for step in (1, len(events)):
        host = pgste.Host(PAGES, 2 * PAGES)
        guest = pgste.Guest(PAGES, host=host, mechanism=mechanism)
        replay = pgste.Replay(guest, words)
        while replay.run(step):
            guest.stats()
        seen.append((guest.stats(), host.stats(), guest.pte().tolist(), replay.stats()))
    assert seen[0] == seen[1]
