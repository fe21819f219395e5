# SPDX-License-Identifier: MIT
"""`run_all`: many replays on several threads end as they do one after another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pgste

TRACE = pgste.sample_trace()[:20_000]
BASE = int(TRACE.pfn.min())
PAGES = int(TRACE.pfn.max()) + 1024 - BASE


def replays(frames: int, swap_slots: int) -> list[pgste.Replay]:
    """Seven on three hosts; those of one host compete for its frames."""
    hosts = [pgste.Host(frames + 100 * i, swap_slots) for i in range(3)]
    return [
        pgste.Replay(
            pgste.Guest(PAGES, host=hosts[i % 3], mechanism=("cmma", "madv_free")[i % 2]),
            TRACE.events[: 2000 * (i + 1)],
            base_pfn=BASE,
        )
        for i in range(7)
    ]


def state(every: list[pgste.Replay]) -> list[Any]:
    found: list[Any] = []
    for replay in every:
        guest = replay.guests[0]
        found += [replay.position, replay.stats(), guest.stats(), replay.host.stats()]
        found += [array.tobytes() for array in (guest.states(), guest.pte(), guest.is_free())]
    return found


@pytest.mark.parametrize("threads", [1, 2, 3, 64])
def test_as_one_after_another(threads: int) -> None:
    expected, every = replays(2000, 60_000), replays(2000, 60_000)
    assert pgste.run_all(every, threads=threads) == [replay.run() for replay in expected]
    assert state(every) == state(expected)
    assert every[0].host.stats()["swap_outs"] > 0
    assert pgste.run_all(every, threads=threads) == [0] * len(every)
    for replay in every[:3]:
        replay.host.validate()


@pytest.mark.parametrize("threads", [1, 3])
def test_the_first_failure_is_raised_after_all_have_run(threads: int) -> None:
    every = replays(2000, 60_000)
    small = pgste.Guest(PAGES, host=pgste.Host(10, 5))
    fails = pgste.Replay(small, np.arange(100, dtype=np.uint64) << np.uint64(8))
    with pytest.raises(pgste.OutOfFramesError, match=r"events\[15\]"):
        pgste.run_all([fails, *every], threads=threads)
    assert fails.position == 15
    assert [replay.position for replay in every] == [2000 * (i + 1) for i in range(7)]


def test_nothing_to_run() -> None:
    assert pgste.run_all([]) == []


BAD: list[tuple[Any, Any, type[Exception], str]] = [
    (3, 1, TypeError, "replays: 3 is not a sequence"),
    ("ab", 1, TypeError, "replays: 'ab' is not a sequence"),
    ([None], 1, TypeError, r"replays\[0\]: None is not a Replay"),
    ([], 0, ValueError, "threads: 0 is not in 1 .. 64"),
    ([], 65, ValueError, "threads: 65 is not in 1 .. 64"),
    ([], 1.5, TypeError, "threads: 1.5 is not an integer"),
    ([], True, TypeError, "threads: True is not an integer"),
]


@pytest.mark.parametrize(("bad", "threads", "error", "match"), BAD)
def test_bad_arguments(bad: Any, threads: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match) as caught:
        pgste.run_all(bad, threads=threads)
    assert isinstance(caught.value, pgste.PgsteError)


def test_a_replay_that_is_there_twice() -> None:
    every = replays(2000, 60_000)
    with pytest.raises(pgste.ArgumentError, match=r"replays\[7\]: .* is given twice"):
        pgste.run_all([*every, every[2]])
    assert [replay.position for replay in every] == [0] * 7
