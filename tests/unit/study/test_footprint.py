# SPDX-License-Identifier: MIT
"""`pgste.footprint`: what it makes of passes, by hand and against replays of the engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pgste
from pgste import Guest, Host, Replay, Trace
from pgste._engine.footprint import one_guest
from pgste.study.footprint import GRANULES, MECHANISMS, footprint
from pgste.traces import Budget
from pgste.units import PAGE_BYTES

SECOND = 10**9
FRAME = 512  # pages of 2 MiB
GIB = (1 << 30) // PAGE_BYTES


def by_hand() -> Trace:
    """2 MiB for a second, nothing for eight, and a page of the next 2 MiB for the last."""
    base = 1 << 20
    return Trace.from_arrays(
        kind=[0, 1, 0, 0],
        pfn=[base, base, base + FRAME, base + FRAME + 1],
        order=[9, 9, 0, 0],
        time=[0, SECOND, 9 * SECOND, 10 * SECOND],
    )


def seconds_held(unnamed: str, **how: Any) -> dict[str, float]:
    found = footprint(by_hand(), unnamed=unnamed, age=4, reserve=0, blocks=[9], **how)
    return {line.mechanism: round(line.held_mean * 10, 6) for line in found.lines}


def test_by_hand() -> None:
    """The free comes right after what is due at its time: policies decide a second later."""
    expected = {
        "none": FRAME * 10 + 1,
        "page": FRAME * 1 + 1,
        "reporting": FRAME * 3 + 1,  # 2 s after the free
        "hyperalloc": FRAME * 5 + FRAME,  # its scan at 5 s; then it fills the page's frame
        "balloon": FRAME * 2 + 1,
        "virtio-mem": FRAME * 2 + 1,
        "proactive": FRAME * 4 + 1,
    }
    assert seconds_held("free") == expected
    # with pages in no event in use, the second frame is never wholly free, nor filled
    assert seconds_held("used") == {**expected, "hyperalloc": FRAME * 5 + 1}
    # host pages of 2 MiB: the last page has 511 others with it.  In the guest with the balloon it
    # is one that was split off before, as the balloon hands that out first.
    whole = {**expected, "none": FRAME * 11, "proactive": 0}
    whole |= {name: expected[name] - 1 + FRAME for name in ("page", "reporting", "virtio-mem")}
    del whole["proactive"]
    got = seconds_held("free", host_pages="2M")
    assert got == whole


def test_costs_by_hand() -> None:
    found = footprint(by_hand(), unnamed="free", age=4, reserve=0, blocks=[9])
    counts = {
        line.mechanism: tuple(
            line.counts[name] for name in ("calls", "discards", "faults", "waits")
        )
        for line in found.lines
    }
    assert counts == {
        "none": (0, 0, FRAME + 2, 0),
        "page": (0, 1, FRAME + 2, 0),
        "reporting": (1, 1, FRAME + 2, 0),
        "hyperalloc": (2, 1, 0, 2),
        # nothing is kept back.  Waits: two for the 512 pages, one for each of the last two.  As
        # many calls, two at 2 s for 512 pages, and one at 10 s, before the alloc, for 255 of the
        # 256 pages that the wait at 9 s got and did not need.
        "balloon": (4 + 2 + 1, FRAME + 255, FRAME + 2, 4),
        "virtio-mem": (2, 1, FRAME + 2, 2),
        "proactive": (0, 0, FRAME + 2, 0),
    }
    assert found["proactive"].counts["swap_outs"] == FRAME
    assert found["none"].saved == 0
    assert found["page"].saved == pytest.approx(FRAME * 9 / GIB)
    assert found["page"].part == 1
    assert found["reporting"].part == pytest.approx(7 / 9)


@pytest.mark.parametrize(
    ("order", "delay", "ack"), [(9, 2.0, 0), (9, 0.1, 0), (3, 0.1, 0), (0, 0.05, 10**6)]
)
def test_reporting_is_that_of_a_replay(order: int, delay: float, ack: int) -> None:
    """Of guests with memory, on a host with room for all."""
    trace = pgste.sample_trace()
    summary = trace.summary()
    base = summary["lowest_pfn"] >> 15 << 15
    pages = ((summary["highest_pfn"] >> 15) + 1 << 15) - base
    host = Host(summary["unique_pages"] + 64, 1)
    guest = Guest(pages, host=host, mechanism="reporting")
    spare = pages - summary["unique_pages"]
    guest.set_reporting(order=order, delay_ns=round(delay * SECOND), ack_ns=ack, spare=spare)
    replay = Replay([guest], trace.events, trace.time, base)
    settings = guest.reporting()
    got = one_guest(
        trace.events, trace.time, "reporting", base=base, pages=pages, reporting=settings,
        samples=np.array([SECOND, 3 * SECOND], np.uint64),
    )  # fmt: skip
    start = int(trace.time[0])
    for held, after in zip(got["held"].tolist(), (SECOND, 3 * SECOND), strict=True):
        replay.run_until(start + after)
        assert host.frames - host.stats()["frames_free"] == held
    replay.run()
    assert got["held_seconds"] == pytest.approx(replay.stats()["frame_seconds"], rel=1e-9)
    assert got["calls"] == guest.stats()["hints"]
    assert got["faults"] == host.stats()["zero_fills"]
    if not ack:
        line = footprint(trace, ["reporting"], orders=[order], delays=[delay]).lines[0]
        assert line.held_mean * trace.seconds == pytest.approx(got["held_seconds"])


def test_none_and_page_are_those_of_replays() -> None:
    trace = pgste.sample_trace()
    found = footprint(trace, ["none", "page"])
    summary = trace.summary()
    for name, theirs in (("none", "none"), ("page", "madv_dontneed")):
        host = Host(summary["unique_pages"] + 64, 1)
        guest = Guest(1 << 20, host=host, mechanism=theirs)
        replay = Replay([guest], trace.events, trace.time, summary["lowest_pfn"] >> 15 << 15)
        replay.run()
        mean = replay.stats()["frame_seconds"] / trace.seconds
        # madv_dontneed holds the last run of frees back, to join it with the next
        assert found[name].held_mean == pytest.approx(mean, rel=1e-12 if name == "none" else 2e-3)
        assert found[name].counts["faults"] == host.stats()["zero_fills"]
    assert found["page"].held_mean == found.used_mean
    assert found["page"].counts["peak"] == summary["peak_in_use"]


def test_a_compact_allocator_lets_more_come_back() -> None:
    """And the recorded machine, long in use when it was recorded, less than any fresh guest."""
    parts = {
        placement: footprint(pgste.sample_trace(), ["none"], placement=placement).granules
        for placement in ("recorded", "buddy", "lowest")
    }
    for order in (9, 10):
        at = [parts[placement][order]["4K"] for placement in ("recorded", "buddy", "lowest")]
        assert at == sorted(at), order
    for granules in parts.values():
        assert granules[0]["4K"] == 1
        assert [granules[order]["4K"] for order in GRANULES] == sorted(
            (granules[order]["4K"] for order in GRANULES), reverse=True
        )


def test_a_line_for_each_setting() -> None:
    found = footprint(by_hand(), ["reporting", "virtio-mem"], orders=[0, 9], delays=[0, 1.5])
    names = [line.name for line in found.lines]
    assert names[:4] == [
        f"reporting, order {order}, {delay} s" for order in (0, 9) for delay in ("0", "1.5")
    ]
    assert names[4:] == [f"virtio-mem, {size} MiB" for size in (2, 8, 32, 128)]
    assert found["reporting, order 9, 0 s"] is found.lines[2]
    assert found["virtio-mem"] is found.lines[4]
    with pytest.raises(KeyError, match="cmma"):
        found["cmma"]


def test_samples_and_progress() -> None:
    told: list[tuple[int, int]] = []
    found = footprint(
        by_hand(), ["page"], samples=10, progress=lambda name, *steps: told.append(steps)
    )
    assert found.times.tolist() == list(range(1, 11))
    # after what happens at a time: the free at 1 s is done, as is the alloc at 9 s
    assert found["page"].held.tolist() == found.used.tolist() == [0] * 8 + [1, 2]
    assert told == [(i, told[0][1]) for i in range(len(told))]
    assert told[-1][0] == told[-1][1]
    one = footprint(by_hand(), ["page"], samples=1)
    assert one.times.tolist() == [10]
    assert one.used.tolist() == [2]


def test_events_at_one_time() -> None:
    trace = Trace.from_arrays(kind=[0, 0], pfn=[5, 6], order=[0, 0], time=[7, 7])
    found = footprint(trace)
    assert [line.held_mean for line in found.lines] == [2.0] * len(found.lines)
    assert found.used_mean == 2
    assert found["page"].part == 0


def test_as_plain_data() -> None:
    found = footprint(by_hand(), samples=3, placement="buddy")
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["placement"] == "buddy"
    assert plain["host_pages"] == "4K"
    assert [line["mechanism"] for line in plain["lines"][:5]] == list(MECHANISMS[:5])
    assert plain["lines"][1]["part_of_free"] == 1
    assert len(plain["lines"][0]["held"]) == 3
    assert [each["order"] for each in plain["granules"]] == list(GRANULES)
    assert plain["summary"]["events"] == by_hand().summary()["events"]


def test_its_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from pgste.study.footprint_plot import finding

    found = footprint(by_hand(), ["none", "page", "reporting"], unnamed="free")
    assert finding(found) == "Given back of the free memory: page 100%, reporting 78%"
    found.plot(tmp_path / "one.svg")
    text = (tmp_path / "one.svg").read_text()
    assert text.startswith("<?xml")
    with pytest.raises(pgste.ArgumentError, match=r"\.png"):
        found.plot(tmp_path / "one.txt")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"mechanisms": []}, "mechanisms"),
        ({"mechanisms": ["page", "page"]}, "mechanisms"),
        ({"mechanisms": ["cmma"]}, "cmma"),
        ({"mechanisms": ["proactive"], "host_pages": "2M"}, "proactive"),
        ({"host_pages": "1G"}, "host_pages"),
        ({"unnamed": "lost"}, "unnamed"),
        ({"placement": "best"}, "placement"),
        ({"orders": [16]}, r"orders\[0\]: 16"),
        ({"orders": []}, "orders: none"),
        ({"orders": 9}, "orders"),
        ({"delays": [2, -1]}, r"delays\[1\]: -1"),
        ({"delays": [float("nan")]}, "delays"),
        ({"scan": 0}, "scan: 0"),
        ({"policy": -1.0}, "policy"),
        ({"age": 2e9}, "age"),
        ({"reserve": -1}, "reserve: -1"),
        ({"blocks": ["2M"]}, r"blocks\[0\]"),
        ({"samples": 0}, "samples: 0"),
        ({"progress": 1}, "progress"),
        ({"trace": "a.pgt"}, "trace"),
        ({"trace": Trace.from_arrays([], [], [])}, "no events"),
    ],
)  # fmt: skip
def test_bad_arguments(arguments: dict[str, Any], says: str) -> None:
    right: dict[str, Any] = {"trace": by_hand()}
    with pytest.raises(pgste.PgsteError, match=says):
        footprint(**{**right, **arguments})


def test_a_guest_that_is_too_large(tmp_path: Path) -> None:
    wide = Trace.from_arrays(kind=[0, 0], pfn=[0, 1 << 27], order=[0, 0])
    wide.save(tmp_path / "wide.pgt")
    small = Trace.open(tmp_path / "wide.pgt", budget=Budget(memory_bytes=1 << 30))
    with pytest.raises(pgste.TraceError, match="134,250,496 pages"):
        footprint(small)
    # placed anew it is small
    assert footprint(small, ["none"], placement="lowest").lines[0].counts["peak"] == 2
    with pytest.raises(pgste.TraceError, match="placing"):
        footprint(Trace.from_arrays([0, 0], [0, 1 << 40], [0, 0]), placement="lowest")
    with pytest.raises(pgste.ArgumentError, match=r"not below 2\^32"):
        footprint(Trace.from_arrays([0, 0], [0, 1 << 32], [0, 0]))


def test_blocks_larger_than_the_allocator_has() -> None:
    large = Trace.from_arrays(kind=[0], pfn=[1 << 14], order=[11])
    assert footprint(large, ["none"], placement="lowest").lines[0].counts["peak"] == 1 << 11
    with pytest.raises(pgste.OutOfFramesError):
        footprint(large, ["none"], placement="buddy")
