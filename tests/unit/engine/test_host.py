# SPDX-License-Identifier: MIT
"""What each method of a host does.  Expected values are worked out from docs/model.md."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest

import pgste

Unchanged = Callable[..., AbstractContextManager[None]]


def test_defaults_of_the_watermarks() -> None:
    """Section 4: batch = min(32, max(1, frames // 64)), low = 0, high = batch."""
    for frames, batch in ((1, 1), (127, 1), (128, 2), (10**6, 32)):
        host = pgste.Host(frames, 5)
        assert (host.frames, host.swap_slots) == (frames, 5)
        assert (host.low, host.high, host.batch) == (0, batch, batch)


def test_watermarks_can_be_set() -> None:
    host = pgste.Host(100, 0, low=10, high=20, batch=3)
    assert (host.low, host.high, host.batch) == (10, 20, 3)
    assert pgste.Host(100, 0, 10).high == 11  # low + batch
    assert pgste.Host(100, 0, 99, batch=8).high == 100


def test_a_new_host() -> None:
    host = pgste.Host(3, 2)
    stats = host.stats()
    in_use = {"frames": 3, "frames_free": 3, "swap_slots": 2, "swap_slots_free": 2}
    assert {name: value for name, value in stats.items() if value} == in_use
    free = {"list": "free", "guest": None, "gfn": None, "slot": None}
    assert free.items() <= host.frame_info(2).items()
    info = host.slot_info(1)
    assert (info["count"], info["frame"]) == (0, None)
    assert host.frame_list("active").tolist() == []
    host.validate()


def test_guests_share_a_host() -> None:
    host = pgste.Host(4, 0)
    first, second = pgste.Guest(4, host), pgste.Guest(4, host=host, mechanism="madv_free")
    assert first.host is second.host is host
    assert (first.number, second.number) == (0, 1)
    first.write(0, 1)
    second.write([3, 2], [7, 8])
    assert host.stats()["frames_free"] == 1
    info = host.frame_info(1)
    assert (info["guest"], info["gfn"], info["tag"], info["list"]) == (1, 3, 7, "inactive")
    assert (info["slot"], info["referenced"], info["dirty"]) == (None, False, False)
    second.close()
    assert host.stats()["frames_free"] == 3
    assert pgste.Guest(4, host).number == 1  # the lowest that is not in use
    host.validate()


def test_reclaim() -> None:
    """Every page is valid: each is aged and goes round once; then the oldest is written."""
    host = pgste.Host(4, 8)
    guest = pgste.Guest(4, host)
    guest.write(range(4), [10, 11, 12, 13])
    assert host.reclaim(1) == 1
    assert guest.pte().tolist() == [0x600, 0x153B, 0x253B, 0x353B]
    assert host.slot_info(0) == {"count": 1, "frame": None, "tag": 10}
    stats = host.stats()
    assert (stats["scanned"], stats["reclaims"], stats["swap_outs"]) == (5, 1, 1)
    assert host.frame_list("inactive").tolist() == [3, 2, 1]
    assert host.frame_list("inactive").dtype == np.uint32
    assert host.frame_info(1)["referenced"]
    assert host.reclaim(2**64 - 1) == 3
    assert host.reclaim(0) == 0


def test_an_allocation_reclaims() -> None:
    host = pgste.Host(2, 4)
    guest = pgste.Guest(4, host)
    guest.write(range(4), [1, 2, 3, 4])
    assert host.stats()["swap_outs"] == 2
    assert guest.peek(range(4)).tolist() == [1, 2, 3, 4]


def test_out_of_frames_changes_nothing(unchanged: Unchanged) -> None:
    guest = pgste.Guest(4, pgste.Host(2, 0))
    with unchanged(guest), pytest.raises(pgste.OutOfFramesError, match="2 frames"):
        guest.write(range(3), 1)
    with unchanged(guest), pytest.raises(MemoryError):
        guest.read([0, 1, 2])
    guest.write([0, 1], 1)
    with unchanged(guest), pytest.raises(pgste.OutOfFramesError):
        guest.write([0, 1, 3], [5, 6, 7])


def test_out_of_swap_changes_nothing(unchanged: Unchanged) -> None:
    host = pgste.Host(4, 1)
    guest = pgste.Guest(4, host)
    guest.write(range(3), 1)
    with unchanged(guest), pytest.raises(pgste.OutOfSwapError):
        host.swap_out(guest, range(3))
    assert host.swap_out(guest, 1) == 1


def test_swap_out_of_a_foreign_page(unchanged: Unchanged) -> None:
    guest = pgste.Guest(4)
    guest.write(0, 1)
    guest.set_words(2, pte=0x3000 | 0x13F)
    with unchanged(guest), pytest.raises(pgste.ForeignPteError):
        guest.host.swap_out(guest, range(4))


def test_reset_stats() -> None:
    host = pgste.Host(4, 4)
    guest = pgste.Guest(4, host)
    guest.write(range(3), 1)
    host.swap_out(guest, [0, 1])
    assert (host.stats()["frames_peak"], host.stats()["swap_peak"]) == (3, 2)
    host.reset_stats()
    stats = host.stats()
    assert (stats["swap_outs"], stats["zero_fills"]) == (0, 0)
    assert (stats["frames_peak"], stats["swap_peak"]) == (1, 2)
    assert guest.stats()["swap_outs"] == 2


def test_stats_add_up() -> None:
    host = pgste.Host(64, 64)
    guest = pgste.Guest(100, host)
    guest.write(range(100), 1)
    stats = host.stats()
    lists = sum(stats[f"frames_{name}"] for name in ("free", "active", "inactive", "lazyfree"))
    assert lists == stats["frames"] == 64
    for name in ("active", "inactive", "lazyfree"):
        frames = host.frame_list(name).tolist()
        assert len(frames) == stats[f"frames_{name}"]
        assert {host.frame_info(frame)["list"] for frame in frames} <= {name}


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ((0, 1), ValueError, "frames: 0 is not in 1 .. 4294967294"),
        ((2**32 - 1, 1), pgste.ArgumentError, "frames: 4294967295"),
        ((-1, 1), pgste.ArgumentError, "frames: -1"),
        ((1.0, 1), TypeError, "frames: 1.0"),
        ((True, 1), pgste.ArgumentTypeError, "frames: True"),
        (("4", 1), pgste.ArgumentTypeError, "frames: '4'"),
        ((1, -1), pgste.ArgumentError, "swap_slots: -1"),
        ((1, 2**64), pgste.ArgumentError, "swap_slots: 18446744073709551616"),
        ((4, 4, 4), pgste.ArgumentError, "low: 4 is not in 0 .. 3"),
        ((4, 4, 2, 2), pgste.ArgumentError, "high: 2 is not in 3 .. 4"),
        ((4, 4, 0, 5), pgste.ArgumentError, "high: 5"),
        ((4, 4, 0, 1, 0), pgste.ArgumentError, "batch: 0"),
        ((4, 4, 0, 1, 2**32), pgste.ArgumentError, "batch: 4294967296"),
        ((4, 4, None, None, 1.5), pgste.ArgumentTypeError, "batch: 1.5"),
    ],
)
def test_bad_sizes(arguments: tuple[Any, ...], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        pgste.Host(*arguments)


@pytest.mark.parametrize(
    ("setting", "error", "match"),
    [
        ({"reclaim": "lru2"}, pgste.UnknownNameError, "reclaim: 'lru2'"),
        ({"mm_walk": 2}, pgste.ArgumentTypeError, "mm_walk: 2"),
        ({"reclaim": None}, pgste.ArgumentTypeError, "reclaim: None"),
        ({"swappiness": 201}, pgste.ArgumentError, "swappiness: 201 is not in 0 .. 200"),
        ({"page_cluster": 6}, pgste.ArgumentError, "page_cluster: 6"),
        ({"rotational": 1.5}, pgste.ArgumentTypeError, "rotational: 1.5"),
        ({"write_delay": 4097}, pgste.ArgumentError, "write_delay: 4097"),
        ({"fresh_stats": "no"}, pgste.ArgumentTypeError, "fresh_stats: 'no'"),
    ],
)
def test_bad_settings_of_reclaim(
    setting: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        pgste.Host(4, 4, **setting)


def test_defaults_of_lru() -> None:
    """docs/reclaim.md: batches of 32, as many frames at least."""
    host = pgste.Host(1000, 4000, reclaim="lru")
    assert (host.low, host.high, host.batch, host.reclaim_model) == (0, 32, 32, "lru")
    assert pgste.Host(5, 0, reclaim="lru").high == 5
    assert pgste.Host(5, 0).reclaim_model == "simple"


def test_defaults_of_mglru() -> None:
    """docs/reclaim.md: as lru; lru_gen_init_lruvec."""
    host = pgste.Host(1000, 4000, reclaim="mglru")
    assert (host.low, host.high, host.batch, host.reclaim_model) == (0, 32, 32, "mglru")
    found = host.generations()
    assert (found["max_seq"], found["min_seq"]) == (3, (0, 0))
    assert host.frame_info(0)["generation"] is None
    guest = pgste.Guest(10, host)
    guest.write(range(2), 1)
    assert host.generations()["anon"][3].tolist() == [1, 0]
    info = host.frame_info(0)
    assert (info["generation"], info["tier"], info["list"]) == (3, 0, "active")
    assert host.frame_list("active").tolist() == [1, 0]


@pytest.mark.parametrize("reclaim", ["simple", "lru"])
def test_others_have_no_generations(reclaim: str) -> None:
    host = pgste.Host(4, 4, reclaim=reclaim)
    pgste.Guest(1, host).write(0, 1)
    with pytest.raises(pgste.ArgumentError, match=f"reclaim: '{reclaim}' has no generations"):
        host.generations()
    assert (host.frame_info(0)["generation"], host.frame_info(0)["tier"]) == (None, None)


@pytest.mark.parametrize("write_delay", [0, 4096])
def test_generations_end_with_the_last_guest(write_delay: int) -> None:
    host = pgste.Host(640, 4000, reclaim="mglru", write_delay=write_delay)
    guest, other = pgste.Guest(2000, host), pgste.Guest(1, host)
    guest.write(range(2000), 1)
    guest.close()
    host.validate()
    other.close()
    stats = host.stats()
    assert (stats["frames_free"], stats["swap_slots_free"]) == (640, 4000)
    assert host.generations()["pages"] == [[0] * 4, [0] * 4]
    host.validate()


def test_pages_being_written_go_with_the_last_guest() -> None:
    host = pgste.Host(64, 600, 8, 16, reclaim="lru", write_delay=4096)
    guest, other = pgste.Guest(200, host), pgste.Guest(1, host)
    guest.write(range(200), 1)
    assert host.stats()["frames_unmapped"] > 0
    guest.close()
    host.validate()
    other.close()
    stats = host.stats()
    assert (stats["frames_free"], stats["swap_slots_free"]) == (64, 600)
    host.validate()


def test_bad_arguments(unchanged: Unchanged) -> None:
    host = pgste.Host(4, 3)
    guest = pgste.Guest(4, host)
    stranger = pgste.Guest(4)
    guest.write(range(2), 1)
    calls: list[tuple[Callable[[], object], type[Exception], str]] = [
        (lambda: host.reclaim(-1), pgste.ArgumentError, "n: -1"),
        (lambda: host.reclaim(1.5), pgste.ArgumentTypeError, "n: 1.5"),  # type: ignore[arg-type]
        (lambda: host.reclaim(2**64), pgste.ArgumentError, "n: 18446744073709551616"),
        (lambda: host.swap_out(stranger, 0), pgste.ArgumentError, "guest: .* is not a guest of"),
        (lambda: host.swap_out(None, 0), TypeError, "guest"),  # type: ignore[arg-type]
        (lambda: host.swap_out(host, 0), TypeError, "guest"),  # type: ignore[arg-type]
        (lambda: host.swap_out(guest, 4), pgste.GfnError, "gfns: 4"),
        (lambda: host.swap_out(guest, [0, 9]), pgste.GfnError, r"gfns\[1\]: 9"),
        (lambda: host.frame_info(4), pgste.ArgumentError, "frame: 4 is not in 0 .. 3"),
        (lambda: host.frame_info(-1), ValueError, "frame: -1"),
        (lambda: host.frame_info("0"), TypeError, "frame: '0'"),  # type: ignore[arg-type]
        (lambda: host.slot_info(3), pgste.ArgumentError, "slot: 3 is not in 0 .. 2"),
        (lambda: pgste.Host(1, 0).slot_info(0), pgste.ArgumentError, "slot: 0: .* no swap"),
        (lambda: host.frame_list("free"), pgste.UnknownNameError, "name: 'free' .* 'active'"),
        (lambda: host.frame_list(1), TypeError, "name: 1"),  # type: ignore[arg-type]
        (lambda: host.__init__(4, 4), pgste.ArgumentError, "exists already"),  # type: ignore[misc]
    ]
    for call, error, match in calls:
        with unchanged(guest, stranger), pytest.raises(error, match=match):
            call()
