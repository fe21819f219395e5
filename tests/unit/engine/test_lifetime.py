# SPDX-License-Identifier: MIT
"""Hosts, guests and replays may go away in any order."""

from __future__ import annotations

import gc
import itertools
import subprocess
import sys
import textwrap
import weakref
from collections.abc import Callable

import pytest

import pgste


def _use_everything(guest: pgste.Guest) -> list[Callable[[], object]]:
    host = guest.host
    return [
        lambda: guest.essa(0, 0),
        lambda: guest.essa_page(0, 0),
        lambda: guest.free(0),
        lambda: guest.alloc(0),
        lambda: guest.free_page(0),
        lambda: guest.alloc_page(0),
        lambda: guest.write(0, 0),
        lambda: guest.read(0),
        lambda: guest.peek(0),
        lambda: guest.pgste(),
        lambda: guest.pte(0),
        lambda: guest.set_words(0, pgste=0),
        lambda: guest.states(),
        lambda: guest.is_free(),
        lambda: guest.cbrl(),
        lambda: guest.intercept(),
        lambda: guest.zap(0),
        lambda: guest.zap_scan(),
        lambda: guest.count_zappable(),
        lambda: guest.count_states(),
        lambda: guest.find(0, 0),
        lambda: guest.reset_cmma(),
        lambda: guest.stats(),
        lambda: guest.reset_stats(),
        lambda: guest.set_problem_state(0, True),
        lambda: guest.migration_mode,
        lambda: setattr(guest, "migration_mode", True),
        lambda: host.swap_out(guest, 0),
        lambda: pgste.Replay(guest, [0]),
    ]


@pytest.mark.parametrize("vcpus", [1, 2])
def test_use_of_a_guest_after_its_host_is_gone(vcpus: int) -> None:
    guest = pgste.Guest(4, pgste.Host(4, 4), vcpus=vcpus)
    guest.host.close()
    for call in _use_everything(guest):
        with pytest.raises(pgste.GuestClosedError, match="after its host is gone"):
            call()
    guest.close()
    assert guest.pages == 4


@pytest.mark.parametrize("vcpus", [1, 2])
def test_use_of_a_guest_that_was_closed(vcpus: int) -> None:
    guest = pgste.Guest(4, vcpus=vcpus)
    guest.write(range(3), 1)
    guest.host.swap_out(guest, 0)
    guest.close()
    guest.close()
    for call in _use_everything(guest):
        with pytest.raises(pgste.GuestClosedError, match="guest that was closed"):
            call()
    stats = guest.host.stats()
    assert (stats["frames_free"], stats["swap_slots_free"]) == (4, 4)
    guest.host.validate()


def test_use_of_a_host_that_was_closed() -> None:
    host = pgste.Host(4, 4)
    host.close()
    host.close()
    calls: list[Callable[[], object]] = [
        lambda: host.reclaim(1),
        host.stats,
        host.reset_stats,
        lambda: host.frame_info(0),
        lambda: host.slot_info(0),
        lambda: host.frame_list("active"),
        host.validate,
        lambda: pgste.Guest(4, host),
    ]
    for call in calls:
        with pytest.raises(pgste.GuestClosedError, match="host that was closed"):
            call()
    assert host.frames == 4


def test_a_guest_keeps_its_host() -> None:
    guest = pgste.Guest(4, pgste.Host(4, 4))
    alive = weakref.ref(guest.host)
    gc.collect()
    assert alive() is not None
    guest.write(0, 1)
    del guest
    gc.collect()
    assert alive() is None


def test_a_dropped_guest_gives_everything_back() -> None:
    host = pgste.Host(8, 8)
    guests = [pgste.Guest(4, host) for _ in range(4)]
    for guest in guests:
        guest.write(range(2), 1)
    host.swap_out(guests[1], [0, 1])
    for i in (1, 0, 3):
        guests[i].close()
        host.validate()
    assert host.stats()["frames_free"] == 6
    del guests, guest
    stats = host.stats()
    assert (stats["frames_free"], stats["swap_slots_free"]) == (8, 8)
    host.validate()


def test_every_order_of_going_away() -> None:
    names = ("host", "first", "second", "replay", "third")
    for order in itertools.permutations(names):
        host = pgste.Host(8, 8)
        first, second = pgste.Guest(4, host), pgste.Guest(4, host, "none")
        things: dict[str, object] = {
            "host": host,
            "first": first,
            "second": second,
            "replay": pgste.Replay([first, second], [0 << 8, 1 << 8 | 1]),
            "third": pgste.Guest(4, host, "madv_free"),
        }
        alive = weakref.ref(host)
        del host, first, second
        for name in order:
            assert alive() is not None, "guests and a replay keep the host"
            del things[name]
        assert alive() is None, order


class _Host(pgste.Host):
    """A subclass has attributes, and so may be part of a cycle."""

    guest: object = None


class _Guest(pgste.Guest):
    mine: object = None


def test_cycles_are_collected() -> None:
    for _ in range(3):
        host = _Host(8, 8)
        guest = _Guest(4, host)
        other = _Guest(4, host)
        host.guest = [guest, other]
        guest.mine = (host, other, guest)
        other.mine = pgste.Replay([guest, other], [0])
        guest.write(range(4), 1)
        alive = [weakref.ref(thing) for thing in (host, guest, other)]
        del host, guest, other
        gc.collect()
        assert [thing() for thing in alive] == [None] * 3


def test_a_host_that_is_closed_closes_its_guests_only() -> None:
    host, other = pgste.Host(4, 4), pgste.Host(4, 4)
    closed, kept = pgste.Guest(4, host), pgste.Guest(4, other)
    host.close()
    kept.write(0, 5)
    assert kept.read(0).tolist() == [5]
    with pytest.raises(pgste.GuestClosedError):
        closed.read(0)


def test_a_replay_of_a_guest_that_is_gone() -> None:
    first, second = (pgste.Guest(4, host) for host in [pgste.Host(8, 8)] for _ in range(2))
    replay = pgste.Replay([first, second], [0, 1, 0])
    assert replay.run(1) == 1
    second.close()
    with pytest.raises(pgste.GuestClosedError):
        replay.run(1)
    assert replay.position == 1
    assert replay.stats()["events"] == 2


AT_EXIT = {
    "globals": """
        host = pgste.Host(8, 8)
        guests = [pgste.Guest(4, host, vcpus=2) for _ in range(3)]
        guests[0].write(range(4), 1)
        replay = pgste.Replay(guests, [0, 1])
    """,
    "cycle": """
        class Mine(pgste.Guest):
            pass
        guest = Mine(4)
        guest.me = guest
        guest.host.validate()
    """,
    "thread inside": """
        import threading
        host = pgste.Host(8, 8)
        busy = pgste.Guest(1 << 26, host)
        other = pgste.Guest(8, host)
        def scan():
            while True:
                busy.zap_scan()
        threading.Thread(target=scan, daemon=True).start()
        other.stats()
    """,
    "thread waiting": """
        import threading
        guest = pgste.Guest(1 << 26)
        def scan():
            while True:
                guest.zap_scan()
        for _ in range(3):
            threading.Thread(target=scan, daemon=True).start()
        guest.stats()
    """,
}


@pytest.mark.parametrize("name", AT_EXIT)
def test_the_end_of_the_interpreter(name: str) -> None:
    program = "import pgste\n" + textwrap.dedent(AT_EXIT[name])
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
