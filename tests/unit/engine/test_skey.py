# SPDX-License-Identifier: MIT
"""Storage keys as a guest and its hypervisor see them.

What kvm-unit-tests check is in tests/kernel_tests/test_skey_unit_tests.py.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

import pgste

ACC_FP = 0xF8
R, C = 0x04, 0x02
GR, GC, HR, HC, UC = 1 << 50, 1 << 49, 1 << 54, 1 << 53, 1 << 47


@pytest.fixture
def guest() -> pgste.Guest:
    """Like a machine after its first instruction on a key: pages 0 and 1 are mapped."""
    guest = pgste.Guest(16, pgste.Host(16, 16), storage_keys=True)
    guest.write([0, 1], 1)
    return guest


def test_privileged() -> None:
    """In problem state a privileged-operation exception, and the key stays."""
    guest = pgste.Guest(4, vcpus=2)
    guest.set_problem_state(1, True)
    calls: list[Callable[[], object]] = [
        lambda: guest.set_storage_key(0, 0x30, vcpu=1),
        lambda: guest.insert_storage_key(0, vcpu=1),
        lambda: guest.cond_set_storage_key(0, 0x30, True, True, vcpu=1),
        lambda: guest.reset_reference(0, vcpu=1),
    ]
    for call in calls:
        with pytest.raises(pgste.PrivilegedOperationException, match="vcpu 1") as caught:
            call()
        assert caught.value.code == 2
    assert not guest.uses_storage_keys
    assert guest.get_storage_key(0)[0] & 0xF0 != 0x30
    guest.set_storage_key(0, 0x30, vcpu=0)
    assert guest.get_storage_key(0)[0] == 0x30


# ---- where a key is


def test_a_mapped_page_has_its_key_in_the_frame(guest: pgste.Guest) -> None:
    host = guest.host
    frame = int(guest.pte(0)[0] >> 12)
    guest.set_storage_key(0, 0xA6)
    assert host.frame_key(frame).tolist() == [0xA0]
    assert guest.pgste(0)[0] & (GR | GC) == GR | GC
    # the frame's own R and C were the store's: they are the host's now
    assert guest.pgste(0)[0] & (HR | HC) == HR | HC
    host.swap_out(guest, 0)
    assert guest.get_storage_key(0).tolist() == [0xA6]
    guest.read(0)
    frame = int(guest.pte(0)[0] >> 12)
    assert host.frame_key(frame).tolist() == [0xA6]


def test_the_host_lends_a_frame_to_another(guest: pgste.Guest) -> None:
    """The next owner of a frame brings its own key."""
    host = pgste.Host(1, 4)
    one, other = (pgste.Guest(2, host, storage_keys=True) for _ in range(2))
    one.write(0, 1)
    one.set_storage_key(0, 0x50)
    other.write(0, 2)
    assert other.get_storage_key(0)[0] & ACC_FP == 0
    assert one.get_storage_key(0)[0] == 0x50
    one.read(0)
    assert one.get_storage_key(0)[0] == 0x50 | R


def test_a_change_of_the_key_is_a_change_of_the_page() -> None:
    guest = pgste.Guest(4, storage_keys=True)
    guest.set_storage_key(0, 0x06)  # what it is already
    assert not guest.test_and_clear_dirty(0)[0]
    guest.set_storage_key(0, 0x16)
    assert guest.test_and_clear_dirty(0)[0]
    guest.reset_reference(0)
    assert guest.test_and_clear_dirty(0)[0]
    guest.reset_reference(0)
    assert not guest.test_and_clear_dirty(0)[0]


def test_reset_reference_tells_what_was() -> None:
    guest = pgste.Guest(4)
    guest.set_storage_key(range(4), [0, 2, 4, 6])
    assert guest.reset_reference(range(4)).tolist() == [0, 1, 2, 3]
    assert guest.reset_reference(range(4)).tolist() == [0, 1, 0, 1]


def test_conditional_set() -> None:
    guest = pgste.Guest(1)
    guest.set_storage_key(0, 0x36)
    assert [x.tolist() for x in guest.cond_set_storage_key(0, 0x30, True, True)] == [[0], [0x36]]
    assert [x.tolist() for x in guest.cond_set_storage_key(0, 0x34, False, True)] == [[0], [0x36]]
    assert [x.tolist() for x in guest.cond_set_storage_key(0, 0x30, False, True)] == [[1], [0x36]]
    # without MR and MC the kernel neither compares nor tells
    assert [x.tolist() for x in guest.cond_set_storage_key(0, 0x30, False, False)] == [[1], [0]]
    assert guest.get_storage_key(0)[0] == 0x30


# ---- when a guest begins to use keys


def test_keys_are_enabled_by_the_first_instruction() -> None:
    for call in ("insert_storage_key", "reset_reference"):
        guest = pgste.Guest(2)
        guest.get_storage_key(0)
        assert not guest.uses_storage_keys
        getattr(guest, call)(0)
        assert guest.uses_storage_keys
        assert guest.get_storage_key(1)[0] == R | C


def test_enabling_twice_keeps_keys() -> None:
    guest = pgste.Guest(2)
    guest.enable_storage_keys()
    guest.set_storage_key(0, 0x70)
    guest.enable_storage_keys()
    assert guest.get_storage_key(0)[0] == 0x70
    guest.reset_storage_keys()
    assert guest.get_storage_key(slice(None)).tolist() == [R | C] * 2


def test_pages_outside_every_slot() -> None:
    guest = pgste.Guest(8, slots=[(0, 4)])
    calls: list[Callable[[], object]] = [
        lambda: guest.set_storage_key([0, 5], 0x30),
        lambda: guest.insert_storage_key(5),
        lambda: guest.get_storage_key(5),
        lambda: guest.reset_reference(5),
    ]
    for call in calls:
        with pytest.raises(pgste.AddressingException, match="outside every memory slot"):
            call()
    assert not guest.uses_storage_keys


def test_refusals() -> None:
    zvm = pgste.Guest(4, generation="zvm")
    for call in (
        lambda: zvm.set_storage_key(0, 1),
        lambda: zvm.get_storage_key(0),
        lambda: zvm.enable_storage_keys(),
        lambda: pgste.Guest(4, generation="zvm", storage_keys=True),
    ):
        with pytest.raises(pgste.ArgumentError, match="zvm"):
            call()
    guest = pgste.Guest(4)
    with pytest.raises(pgste.ArgumentError, match="256 is not in 0"):
        guest.set_storage_key(0, 256)
    with pytest.raises(pgste.ArgumentError, match="2 values for 3 gfns"):
        guest.set_storage_key(range(3), [1, 2])
    with pytest.raises(pgste.GfnError, match="4"):
        guest.set_storage_key([0, 4], 0x30)
    assert not guest.uses_storage_keys
    host = pgste.Host(4, 4)
    with pytest.raises(pgste.GfnError, match="9"):
        host.frame_key([1, 9])
    with pytest.raises(pgste.ArgumentError, match="keys"):
        host.set_frame_key(0, -1)
