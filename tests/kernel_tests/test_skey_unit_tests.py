# SPDX-License-Identifier: MIT
"""What s390x/skey.c and s390x/migration-skey.c of kvm-unit-tests check, asked of the model.

| program | checks | here |
|---|---|---|
| skey.c, test_priv | SSKE and ISKE in problem state: privileged operation | `test_priv` |
| | the key did not change | the same |
| test_invalid_address | SSKE, ISKE and RRBE outside memory: addressing | `test_invalid_address` |
| test_set | ACC and F are what was set | `test_set` |
| test_set_mb | a multi-block SSKE sets both pages of a row | `test_set_mb` |
| test_chg | a store sets C | `test_chg` |
| test_test_protection | key 0; the page's; another, without and with fetch protection | `TPROT` |
| | page 0: override off; on, below 2048; on, from 2048 on | the same |
| | storage-protection override (ACC 9) | the same |
| test_store_cpu_address | six: key 0, matching, another; override on and off | `STORES` |
| | the store happened, or did not | the same |
| test_diag_308 | an operand that no key protects is read | `test_diag_308` |
| test_channel_subsystem_call | seven keys: block read and stored to, or refused | `UPDATES` |
| test_set_prefix | key 0, matching, no fetch protection, fetch protection | `FETCHES` |
| | page 0 maps the page: protected; override applies; not from 2048 on | the same |
| | the prefix was set, or kept | the same |
| test_msch | as test_set_prefix, of another instruction | the same |
| | the operand was fetched, or the subchannel kept | the same |
| all protection exceptions | the code names a fetch or a store | `Cpu.refuse` |
| migration-skey.c, sequential | 128 keys are the same afterwards, R apart | `test_sequential` |
| parallel | keys set and read while migration runs | `test_parallel`, during |
| | the last keys set are there after it | after |

The package executes no programs.  `Cpu` is the part of a simulator that these checks need: what a
key lets an instruction do, with the keys and contents of the engine.  Not here: exits to the
hypervisor, what STORE CPU ADDRESS, DIAGNOSE 308, CHSC, SET PREFIX and MODIFY SUBCHANNEL do with
their operands, the storage key removal facility.
"""

from __future__ import annotations

import threading

import numpy as np
import pytest

import pgste

ACC, F, R, C = 0xF0, 0x08, 0x04, 0x02
PAGE = 5
OUTSIDE = 2**40
READ_WRITE, READ, PROTECTED = 0, 1, 2  # condition codes of TPROT
GENERATIONS = ["pgtable", "dat"]

generations = pytest.mark.parametrize("generation", GENERATIONS)


class ProtectionException(Exception):
    """Code 4.  What was refused: "fetch", or "store"."""


class Cpu:
    """A virtual CPU without DAT, but that page 0 may be mapped to another page."""

    def __init__(self, generation: str, pages: int = 16) -> None:
        self.guest = pgste.Guest(pages, pgste.Host(pages, pages), generation=generation)
        self.fetch_override = self.storage_override = False
        self.zero_maps = 0
        self.guest.write(range(pages), 1)

    def page(self, address: int) -> int:
        return self.zero_maps if address < 4096 else address >> 12

    def sske(self, page: int, key: int) -> None:
        self.guest.set_storage_key(page, key, vcpu=0)

    def iske(self, page: int) -> int:
        return int(self.guest.insert_storage_key(page, vcpu=0)[0])

    def allowed(self, address: int, key: int, what: str) -> bool:
        """Key-controlled protection: Principles of Operation, chapter 3."""
        page_key = self.iske(self.page(address))
        if key in (0, page_key >> 4) or (self.storage_override and page_key >> 4 == 9):
            return True
        if what == "store":
            return False
        return not page_key & F or (self.fetch_override and address < 2048)

    def refuse(self, address: int, key: int, what: str) -> None:
        if not self.allowed(address, key, what):
            raise ProtectionException(what)

    def tprot(self, address: int, key: int) -> int:
        if self.allowed(address, key, "store"):
            return READ_WRITE
        return READ if self.allowed(address, key, "fetch") else PROTECTED

    def fetch(self, address: int, key: int) -> int:
        self.refuse(address, key, "fetch")
        return int(self.guest.read(self.page(address))[0])

    def store(self, address: int, key: int, value: int) -> None:
        self.refuse(address, key, "store")
        self.guest.write(self.page(address), value)

    def update(self, address: int, key: int, value: int) -> None:
        """An operand that is read and stored to."""
        self.fetch(address, key)
        self.store(address, key, value)


# ---- skey.c: the instructions


@generations
def test_priv(generation: str) -> None:
    guest = pgste.Guest(4, generation=generation)
    guest.set_storage_key(0, 0)
    guest.set_problem_state(0, True)
    with pytest.raises(pgste.PrivilegedOperationException) as caught:
        guest.set_storage_key(0, 0x30, vcpu=0)
    assert caught.value.code == 2
    assert guest.get_storage_key(0)[0] & ACC != 0x30
    with pytest.raises(pgste.PrivilegedOperationException):
        guest.insert_storage_key(0, vcpu=0)
    with pytest.raises(pgste.PrivilegedOperationException):
        guest.reset_reference(0, vcpu=0)
    assert guest.get_storage_key(0)[0] & ACC != 0x30


@generations
def test_invalid_address(generation: str) -> None:
    """The page is one that the machine's tables have, and that is in no slot."""
    guest = pgste.Guest(8, generation=generation, slots=[(0, 4)])
    for call in (
        lambda: guest.set_storage_key(7, 0, vcpu=0),
        lambda: guest.insert_storage_key(7, vcpu=0),
        lambda: guest.reset_reference(7, vcpu=0),
    ):
        with pytest.raises(pgste.AddressingException) as caught:
            call()
        assert caught.value.code == 5
    with pytest.raises(pgste.GfnError):
        guest.insert_storage_key(OUTSIDE, vcpu=0)


@generations
@pytest.mark.parametrize("mapped", [False, True])
def test_set(generation: str, mapped: bool) -> None:
    guest = pgste.Guest(4, generation=generation)
    if mapped:
        guest.write(0, 1)
    guest.insert_storage_key(0, vcpu=0)
    guest.set_storage_key(0, 0x30, vcpu=0)
    assert guest.insert_storage_key(0, vcpu=0)[0] & (ACC | F) == 0x30


@generations
def test_set_mb(generation: str) -> None:
    """The last two pages of 64 KiB; the first is mapped."""
    guest = pgste.Guest(16, generation=generation)
    guest.write(14, 1)
    guest.set_storage_key(range(14, 16), 0x30, vcpu=0)
    keys = guest.insert_storage_key([15, 14], vcpu=0) & (ACC | F)
    assert keys.tolist() == [0x30, 0x30]


@generations
def test_chg(generation: str) -> None:
    cpu = Cpu(generation)
    cpu.sske(PAGE, 0x30)
    assert not cpu.iske(PAGE) & C
    cpu.store(PAGE << 12, 0, 3)
    assert cpu.iske(PAGE) & C


# ---- skey.c: what keys let others do

#: Of the page: key, address, access key, overrides of fetch and of storage, condition code.
TPROT = [
    (0x10, PAGE << 12, 0, False, False, READ_WRITE),  # zero key
    (0x10, PAGE << 12, 1, False, False, READ_WRITE),  # matching key
    (0x10, PAGE << 12, 2, False, False, READ),  # mismatching, no fetch protection
    (0x18, PAGE << 12, 2, False, False, PROTECTED),  # mismatching, fetch protection
    (0x18, 0, 2, False, False, PROTECTED),  # page 0, fetch-protection override off
    (0x18, 0, 2, True, False, READ),  # on
    (0x18, 2048, 2, True, False, PROTECTED),  # on, and from 2048 on it does not apply
    (0x90, PAGE << 12, 2, False, True, READ_WRITE),  # storage-protection override
]


@generations
@pytest.mark.parametrize("case", TPROT, ids=str)
def test_test_protection(generation: str, case: tuple[int, int, int, bool, bool, int]) -> None:
    key, address, access_key, fetch, storage, code = case
    cpu = Cpu(generation)
    cpu.fetch_override, cpu.storage_override = fetch, storage
    cpu.sske(address >> 12, key)
    assert cpu.tprot(address, access_key) == code


#: STORE CPU ADDRESS.  Key of the page, access key, storage-protection override, is it stored?
STORES = [
    (0x20, 0, False, True),
    (0x10, 1, False, True),
    (0x20, 1, False, False),
    (0x20, 1, True, False),
    (0x90, 1, True, True),
    (0x90, 1, False, False),
]


@generations
@pytest.mark.parametrize("case", STORES, ids=str)
def test_store_cpu_address(generation: str, case: tuple[int, int, bool, bool]) -> None:
    key, access_key, override, stored = case
    cpu = Cpu(generation)
    cpu.storage_override = override
    cpu.store(PAGE << 12, 0, 0xBEEF)
    cpu.sske(PAGE, key)
    if stored:
        cpu.store(PAGE << 12, access_key, 7)
    else:
        with pytest.raises(ProtectionException, match="store"):
            cpu.store(PAGE << 12, access_key, 7)
    assert cpu.guest.peek(PAGE).tolist() == [7 if stored else 0xBEEF]
    # what was refused left no trace in the key
    assert bool(cpu.iske(PAGE) & C) == stored


@generations
def test_diag_308(generation: str) -> None:
    """Key-controlled protection does not apply, so it is fetched as with key 0."""
    cpu = Cpu(generation)
    cpu.store(PAGE << 12, 0, 0)
    cpu.sske(PAGE, 0x28)
    with pytest.raises(ProtectionException):
        cpu.fetch(PAGE << 12, 1)
    assert cpu.fetch(PAGE << 12, 0) == 0


#: CHANNEL SUBSYSTEM CALL.  Key, access key, override, what is refused.
UPDATES = [
    (0x10, 0, False, None),
    (0x10, 1, False, None),
    (0x20, 1, False, "store"),
    (0x28, 1, False, "fetch"),
    (0x20, 1, True, "store"),
    (0x90, 1, True, None),
    (0x90, 1, False, "store"),
]


@generations
@pytest.mark.parametrize("case", UPDATES, ids=str)
def test_channel_subsystem_call(generation: str, case: tuple[int, int, bool, str | None]) -> None:
    key, access_key, override, refused = case
    cpu = Cpu(generation)
    cpu.storage_override = override
    cpu.sske(PAGE, key)
    if refused is None:
        cpu.update(PAGE << 12, access_key, 7)
    else:
        with pytest.raises(ProtectionException, match=refused):
            cpu.update(PAGE << 12, access_key, 7)
    assert cpu.guest.peek(PAGE).tolist() == [7 if refused is None else 1]


#: SET PREFIX, MODIFY SUBCHANNEL.  Key, access key, address, is it page 0 that maps the page, does
#: the fetch-protection override apply, is the operand fetched?
FETCHES = [
    (0x20, 0, PAGE << 12, False, False, True),
    (0x28, 0, PAGE << 12, False, False, True),
    (0x10, 1, PAGE << 12, False, False, True),
    (0x18, 1, PAGE << 12, False, False, True),
    (0x20, 1, PAGE << 12, False, False, True),
    (0x28, 1, PAGE << 12, False, False, False),
    (0x28, 1, 0, True, False, False),
    (0x28, 1, 0, True, True, True),
    (0x28, 1, 2048, True, True, False),
]


@generations
@pytest.mark.parametrize("case", FETCHES, ids=str)
def test_set_prefix_and_modify_subchannel(
    generation: str, case: tuple[int, int, int, bool, bool, bool]
) -> None:
    key, access_key, address, remapped, override, fetched = case
    cpu = Cpu(generation)
    cpu.fetch_override = override
    cpu.zero_maps = PAGE if remapped else 0
    cpu.store(PAGE << 12, 0, 0x6000)
    cpu.sske(PAGE, key)
    prefix = 0x2000
    if fetched:
        prefix = cpu.fetch(address, access_key)
    else:
        with pytest.raises(ProtectionException, match="fetch"):
            prefix = cpu.fetch(address, access_key)
    assert prefix == (0x6000 if fetched else 0x2000)


# ---- migration-skey.c

PAGES = 128


def pattern(seed: int) -> np.ndarray:
    return ((np.arange(PAGES) ^ (seed & 0x7F)) * 2).astype(np.uint8)


def set_pattern(guest: pgste.Guest, seed: int) -> None:
    guest.set_storage_key(range(PAGES), pattern(seed), nq=True, vcpu=0)


def wrong(guest: pgste.Guest, seed: int) -> int:
    """Keys that are not those of the pattern; R is the machine's, and left out."""
    found = guest.insert_storage_key(range(PAGES), vcpu=0)
    return int(np.count_nonzero((found ^ pattern(seed)) & (ACC | F | C)))


def machine(generation: str) -> pgste.Guest:
    """Half of the pages are mapped, a quarter of them on swap."""
    host = pgste.Host(PAGES, PAGES)
    guest = pgste.Guest(PAGES, host, generation=generation)
    guest.write(range(0, PAGES, 2), 1)
    host.swap_out(guest, range(0, PAGES, 8))
    return guest


def migrate(source: pgste.Guest, target: pgste.Guest) -> None:
    """KVM_S390_GET_SKEYS here, KVM_S390_SET_SKEYS there."""
    target.set_storage_key(range(PAGES), source.get_storage_key(range(PAGES)))


@pytest.mark.parametrize("target", GENERATIONS)
@pytest.mark.parametrize("source", GENERATIONS)
def test_sequential(source: str, target: str) -> None:
    guest, other = machine(source), machine(target)
    set_pattern(guest, 0)
    guest.host.swap_out(guest, range(0, PAGES, 6))
    migrate(guest, other)
    assert wrong(other, 0) == 0
    # pages that come and go at the target take their keys along
    other.read(range(1, PAGES, 3))
    other.host.swap_out(other, range(0, PAGES, 3))
    assert wrong(other, 0) == 0


@pytest.mark.parametrize("target", GENERATIONS)
@pytest.mark.parametrize("source", GENERATIONS)
def test_parallel(source: str, target: str) -> None:
    guest, other = machine(source), machine(target)
    rounds: list[int] = []
    failed: list[int] = []
    enough, stop = threading.Event(), threading.Event()

    def second_cpu() -> None:
        while not stop.is_set():
            set_pattern(guest, len(rounds))
            failed.append(wrong(guest, len(rounds)))
            rounds.append(0)
            if len(rounds) == 3:
                enough.set()

    thread = threading.Thread(target=second_cpu)
    thread.start()
    try:
        assert enough.wait(60)
        for _ in range(5):  # keys are read again and again; the last time with the CPU stopped
            migrate(guest, other)
    finally:
        stop.set()
        thread.join()
    migrate(guest, other)
    assert set(failed) == {0}  # during
    assert wrong(other, len(rounds) - 1) == 0  # after
