# SPDX-License-Identifier: MIT
"""The PTE layer and storage keys: whole tables at a time, against bare loops over as many bytes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from benchmarks import limits, workloads
from benchmarks.harness import Limit, Measure, Plan
from pgste import Guest, Host, PgsteBits

NONE = 0x400
#: Low bits of a PTE that is mapped, writable and dirty; of the guest's in `dat`.
RW = {"pgtable": np.uint64(0x13F), "dat": np.uint64(0x02D)}
#: Bytes of the tables of one page: state, PTE, rest, and the host's own PTE.
TABLES = {"pgtable": 11, "dat": 13}


def mapped_guest(
    pages: int, storage_keys: bool, generation: str = "pgtable"
) -> tuple[Guest, np.ndarray]:
    """A guest whose memory is the caller's, page n in frame n; and its PTEs."""
    guest = Guest(
        pages,
        Host(pages, 0),
        generation=generation,
        memory="caller",
        storage_keys=storage_keys,
    )
    words = (np.arange(pages, dtype=np.uint64) << np.uint64(12)) | RW[generation]
    guest.set_words(range(pages), pte=words)
    return guest, words


def change_protection(guest: Guest, words: np.ndarray) -> None:
    everything = range(guest.pages)
    guest.modify_prot_start(everything)
    guest.modify_prot_commit(everything, words)


def shadow_and_back(guest: Guest, shadow: Guest) -> None:
    everything = range(guest.pages)
    guest.shadow_pte(everything, shadow, everything, np.uint64(0x200))
    shadow.unshadow_pte(everything)


def notify(guest: Guest) -> None:
    """Bits are set, and told of by the change that fires them."""
    dat = guest.generation == "dat"
    guest.set_notify(range(guest.pages), int(PgsteBits.DAT_PREFIX if dat else PgsteBits.IN))
    guest.age(range(guest.pages))
    guest.notifications()


def calls(guest: Guest, words: np.ndarray) -> dict[str, tuple[Callable[[], object], int]]:
    """Batch operations by name, and the bytes of arguments and results of a page."""
    everything = range(guest.pages)
    keys = np.full(guest.pages, 0x36, np.uint8)
    shadow = Guest(guest.pages, guest.host, generation=guest.generation, memory="caller")
    return {
        "set_pte_at": (lambda: guest.set_pte_at(everything, words), 8),
        "xchg_pte": (lambda: guest.xchg_pte(everything, NONE), 8),
        "age": (lambda: guest.age(everything), 9),
        "modify_prot_start, _commit": (lambda: change_protection(guest, words), 16),
        "clear_soft_dirty": (lambda: guest.clear_soft_dirty(everything), 0),
        "map_pte": (lambda: guest.map_pte(everything, words), 8),
        "unmap_pte": (lambda: guest.unmap_pte(everything), 8),
        "test_and_clear_dirty": (lambda: guest.test_and_clear_dirty(everything), 1),
        "force_prot": (lambda: guest.force_prot(everything, 1), 1),
        "set_pgste_bits": (
            lambda: guest.set_pgste_bits(everything, int(PgsteBits.ZERO), int(PgsteBits.ZERO)),
            0,
        ),
        "set_storage_key": (lambda: guest.set_storage_key(everything, keys), 2),
        "zap_key": (lambda: guest.zap_key(everything), 1),
        "get_storage_key": (lambda: guest.get_storage_key(everything), 2),
        "cond_set_storage_key": (
            lambda: guest.cond_set_storage_key(everything, 0x30, True, True),
            3,
        ),
        "insert_storage_key": (lambda: guest.insert_storage_key(everything), 2),
        "reset_reference": (lambda: guest.reset_reference(everything), 2),
        "reset_storage_keys": (guest.reset_storage_keys, 1),
        "soft_dirty": (lambda: guest.soft_dirty(everything), 1),
        "set_notify, age, notifications": (lambda: notify(guest), 9 + 3 * 16),
        "shadow_pte, unshadow_pte": (
            lambda: shadow_and_back(guest, shadow),
            TABLES[guest.generation] + 1,
        ),
        "notifier_unmap": (lambda: guest.notifier_unmap(everything), 0),
        "set_host_ptes": (lambda: guest.set_host_ptes(everything, words), 8),
        "host_ptes": (lambda: guest.host_ptes(everything), 8),
    }


NAMES = list(calls(Guest(1), np.zeros(1, np.uint64)))
ONLY = {
    **dict.fromkeys(
        ("map_pte", "unmap_pte", "notifier_unmap", "set_host_ptes", "host_ptes"), "dat"
    ),
    "zap_key": "pgtable",
}


@pytest.mark.most(22)
@pytest.mark.parametrize(
    ("name", "generation"),
    [
        (name, generation)
        for name in NAMES
        for generation in TABLES
        if ONLY.get(name, generation) == generation
    ],
)
def bench_in_order(measure: Measure, exponent: int, name: str, generation: str) -> None:
    """Every page in order.  The bare loop reads and writes all bytes that the call must touch."""
    pages = 1 << exponent
    guest, words = mapped_guest(pages, "key" in name or "reference" in name, generation)
    call, outside = calls(guest, words)[name]
    nr_bytes = pages * (TABLES[generation] + outside)
    beside = np.ones(nr_bytes, np.uint8)
    bare = limits.load()

    measure(
        Plan(
            call,
            items=pages,
            bytes=nr_bytes,
            prepare=lambda: guest.set_words(range(pages), pte=words),
            limits={"bare change": Limit(lambda: bare.change(beside), pages)},
            series=f"{name}, {generation}",
        )
    )


@pytest.mark.most(22)
@pytest.mark.parametrize("name", ["set_storage_key", "reset_reference"])
def bench_in_random_order(measure: Measure, exponent: int, name: str) -> None:
    pages = 1 << exponent
    guest, _ = mapped_guest(pages, storage_keys=True)
    gfns = workloads.random_gfns(pages)
    beside = np.ones(pages, np.uint8)
    bare = limits.load()

    measure(
        Plan(
            lambda: (
                guest.set_storage_key(gfns, 0x30)
                if name == "set_storage_key"
                else guest.reset_reference(gfns)
            ),
            items=gfns.size,
            bytes=gfns.size * (8 + TABLES["pgtable"] + 1),
            limits={"bare update": Limit(lambda: bare.update(beside, gfns), gfns.size)},
            series=name,
        )
    )


@pytest.mark.most(24)
@pytest.mark.parametrize("name", ["set_frame_key", "frame_key"])
def bench_frame_keys(measure: Measure, exponent: int, name: str) -> None:
    """The host's keys by frame: a byte each, and a byte of the array."""
    frames = 1 << exponent
    host = Host(frames, 0)
    keys = np.full(frames, 0x36, np.uint8)
    host.set_frame_key(range(frames), keys)
    bare = limits.load()
    measure(
        Plan(
            lambda: (
                host.set_frame_key(range(frames), keys)
                if name == "set_frame_key"
                else host.frame_key(range(frames))
            ),
            items=frames,
            bytes=2 * frames,
            limits={"bare change": Limit(lambda: bare.change(keys), frames)},
            series=name,
        )
    )


@pytest.mark.most(22)
@pytest.mark.parametrize("generation", TABLES)
def bench_loads_of_the_zero_page(measure: Measure, exponent: int, generation: str) -> None:
    """Loads of pages that have nothing; limit: the same where each gets a frame."""
    pages = 1 << exponent
    shared, private = (
        Guest(
            pages,
            Host(pages, 0),
            "madv_dontneed",
            generation=generation,
            allow_cow_sharing=allowed,
        )
        for allowed in (True, False)
    )
    everything = range(pages)

    def check(loaded: np.ndarray) -> None:
        assert not loaded.any()
        assert shared.host.stats()["frames_free"] == pages

    measure(
        Plan(
            lambda: shared.read(everything),
            items=pages,
            bytes=pages * (TABLES[generation] + 4),
            prepare=lambda: shared.free(everything),
            check=check,
            limits={
                "frames": Limit(
                    lambda: private.read(everything), pages, lambda: private.free(everything)
                )
            },
            series=f"loads of nothing, {generation}",
        )
    )


@pytest.mark.most(22)
def bench_faults_with_keys(measure: Measure, exponent: int) -> None:
    """Stores to swapped pages, which take their keys along; limit: the same without keys."""
    pages = 1 << exponent
    with_keys, without = (
        Guest(pages, Host(pages, pages), storage_keys=keys) for keys in (True, False)
    )
    everything = range(pages)

    def refill(guest: Guest) -> None:
        guest.write(everything, 7)
        guest.host.swap_out(guest, everything)

    measure(
        Plan(
            lambda: with_keys.write(everything, 8),
            items=pages,
            bytes=pages * (TABLES["pgtable"] + 24 + 12 + 1),
            prepare=lambda: refill(with_keys),
            limits={
                "without keys": Limit(
                    lambda: without.write(everything, 8), pages, lambda: refill(without)
                )
            },
        )
    )
