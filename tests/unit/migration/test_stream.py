# SPDX-License-Identifier: MIT
"""QEMU's stream of page states: its bytes, its refusals, and guests that change meanwhile."""

from __future__ import annotations

import io
import os
import random
import struct
import threading
import time
import tracemalloc
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import pgste
from pgste import Orc, StreamError, migration
from pgste.migration import Flag

CASES = int(os.environ.get("PGSTE_CASES", "2000"))
REVISIONS = [("pgtable", "pgtable"), ("dat", "dat"), ("dat", "dat_new")]
NAME = b"s390-storage_attributes"
Unchanged = Callable[..., AbstractContextManager[None]]


def word(page: int, flag: int) -> bytes:
    return struct.pack(">Q", page * 4096 + flag)


def values_of(page: int, *values: int) -> bytes:
    return word(page, 2) + struct.pack(">Q", len(values)) + bytes(values)


EOS, DONE = word(0, 1), word(0, 8)


def framed(*sections: bytes, number: int = 7) -> bytes:
    """By hand, from migration/savevm.c."""
    whole = b"QEVM\0\0\0\3"
    identity = struct.pack(">I", number)
    for i, section in enumerate(sections):
        kind = 1 if i == 0 else 3 if i == len(sections) - 1 else 2
        head = bytes([len(NAME)]) + NAME + bytes(8) if i == 0 else b""
        whole += bytes([kind]) + identity + head + section + b"\x7e" + identity
    return whole + b"\0"


SMALL = (EOS, values_of(2, 1, 0, 0x42) + EOS, values_of(3, 3) + DONE + EOS)


def attributes(guest: pgste.Guest) -> npt.NDArray[np.uint8]:
    """Usage and no-DAT of every page, from the PGSTEs themselves."""
    return (guest.pgste() >> np.uint64(24) & np.uint64(0x43)).astype(np.uint8)


def some_guest(pages: int, generation: str = "pgtable", revision: str | None = None) -> pgste.Guest:
    guest = pgste.Guest(pages, generation=generation, log_revision=revision, nodat=True)
    guest.essa(Orc.SET_UNUSED, range(1, pages, 3))
    guest.essa(Orc.SET_STABLE_NODAT, range(0, pages, 7))
    guest.essa(Orc.SET_VOLATILE, range(2, pages, 5))
    return guest


# ---- bytes


def test_small_stream_by_hand_is_read(unchanged: Unchanged) -> None:
    target = pgste.Guest(8)
    loaded = migration.load(target, io.BytesIO(framed(*SMALL)))
    assert attributes(target).tolist() == [0, 0, 1, 3, 0x42, 0, 0, 0]
    assert (loaded.sections, loaded.records, loaded.pages, loaded.pages_set) == (3, 2, 4, 8)
    again = pgste.Guest(8, generation="dat")
    migration.load(again, io.BytesIO(b"".join(SMALL)))
    assert (attributes(again) == attributes(target)).all()


def test_written_bytes() -> None:
    guest = pgste.Guest(4)
    guest.essa_page(Orc.SET_UNUSED, 3)
    for whole, by_hand in (
        (True, framed(EOS, values_of(0, 0, 0, 0, 1) + EOS, DONE + EOS, number=0)),
        (False, EOS + values_of(0, 0, 0, 0, 1) + EOS + DONE + EOS),
    ):
        stream = io.BytesIO()
        saved = migration.save(guest, stream, framed=whole)
        assert stream.getvalue() == by_hand
        assert saved == (1, 1, 4, len(by_hand), 0)
        assert not guest.migration_mode


def test_records() -> None:
    data = framed(*SMALL)
    found = list(migration.records(io.BytesIO(data)))
    kinds = [Flag.EOS, Flag.MORE, Flag.EOS, Flag.MORE, Flag.DONE, Flag.EOS]
    assert [record.flag for record in found] == kinds
    assert [record.section for record in found] == [0, 1, 1, 2, 2, 2]
    assert [record.values.tolist() for record in found if record.flag == Flag.MORE] == [
        [1, 0, 0x42],
        [3],
    ]
    for record in found:
        assert data[record.offset : record.offset + 8] == word(record.gfn, record.flag)


def test_a_page_that_no_record_names_becomes_stable_and_a_stream_of_none_sets_nothing() -> None:
    target = pgste.Guest(8)
    target.essa(Orc.SET_UNUSED, range(8))
    migration.load(target, io.BytesIO(framed(EOS, DONE + EOS)))
    assert attributes(target).tolist() == [1] * 8
    migration.load(target, io.BytesIO(framed(*SMALL)))
    assert attributes(target).tolist() == [0, 0, 1, 3, 0x42, 0, 0, 0]


def test_paths(tmp_path: Path) -> None:
    path = tmp_path / "stream"
    migration.save(some_guest(100), path)
    target = pgste.Guest(100)
    migration.load(target, path)
    assert (attributes(target) == attributes(some_guest(100))).all()
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(StreamError, match="after the end"):
        migration.load(target, path)


def test_a_file_object_is_read_to_the_end_of_the_stream_and_no_further() -> None:
    stream = io.BytesIO(framed(*SMALL) + b"something else")
    migration.load(pgste.Guest(8), stream)
    assert stream.read() == b"something else"


def test_files_that_take_and_give_little_at_a_time() -> None:
    class Slow(io.RawIOBase):
        def __init__(self, data: bytes = b"") -> None:
            self.data = bytearray(data)

        def read(self, size: int = -1) -> bytes:
            piece, self.data = bytes(self.data[: min(size, 3)]), self.data[min(size, 3) :]
            return piece

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.data += data[:5]
            return min(len(data), 5)

    slow = Slow()
    source, target = some_guest(300), pgste.Guest(300)
    migration.save(source, slow)  # type: ignore[arg-type]
    migration.load(target, Slow(bytes(slow.data)))  # type: ignore[arg-type]
    assert (attributes(target) == attributes(source)).all()


# ---- damage


def check_damaged(data: bytes, target: pgste.Guest, before: bytes) -> bool:
    """Refused with an offset inside the data and nothing changed, or accepted as what it says."""
    error = None
    try:
        migration.load(target, io.BytesIO(data))
    except StreamError as refusal:
        error = refusal
    if error is not None:
        assert error.offset is not None
        assert 0 <= error.offset <= len(data)
        assert f"byte {error.offset}: " in str(error)
        assert target.pgste().tobytes() == before
        return False
    expected = np.zeros(target.pages, np.uint8)
    nr = 0
    for record in migration.records(io.BytesIO(data)):
        if record.flag == Flag.MORE:
            expected[record.gfn : record.gfn + len(record.values)] = record.values
            nr += 1
    if nr:
        assert (attributes(target) == expected).all()
    return True


@pytest.mark.parametrize("whole", [framed(*SMALL), b"".join(SMALL)], ids=["framed", "bare"])
def test_every_truncation_is_refused_where_it_ends(whole: bytes, unchanged: Unchanged) -> None:
    target = some_guest(8)
    with unchanged(target):
        for length in range(len(whole)):
            with pytest.raises(StreamError) as caught:
                migration.load(target, io.BytesIO(whole[:length]))
            assert caught.value.offset == length


@pytest.mark.parametrize("whole", [framed(*SMALL), b"".join(SMALL)], ids=["framed", "bare"])
def test_every_bit_that_flips(whole: bytes) -> None:
    target = some_guest(8)
    accepted = 0
    for bit in range(8 * len(whole)):
        data = bytearray(whole)
        data[bit >> 3] ^= 1 << (bit & 7)
        target.set_cmma_bits(0, [1] * 8, 2**64 - 1)
        accepted += check_damaged(bytes(data), target, target.pgste().tobytes())
    assert 0 < accepted < len(whole)  # values, and pages that are in the guest


def test_random_damage() -> None:
    rng = random.Random(11)
    target = some_guest(64)
    stream = io.BytesIO()
    migration.save(some_guest(64), stream, rate_limit=1, iterations=3)
    wholes = [stream.getvalue(), framed(*SMALL), b"".join(SMALL)]
    for _ in range(CASES):
        data = bytearray(rng.choice(wholes))
        for _ in range(rng.choice([1, 1, 2, 5])):
            at, length = rng.randrange(len(data)), rng.choice([1, 1, 2, 8, 16])
            kind = rng.randrange(4)
            if kind == 0:
                data[at : at + 1] = bytes([rng.randrange(256)])
            elif kind == 1:
                del data[at : at + min(length, len(data) - 1)]
            elif kind == 2:
                data[at:at] = rng.randbytes(length)
            else:
                data[at:at] = rng.choice([EOS, DONE, word(0, 4), values_of(3, 0), word(1, 2)])
        check_damaged(bytes(data), target, target.pgste().tobytes())


@pytest.mark.parametrize(
    ("data", "offset", "why"),
    [
        (b"".join([EOS, word(5, 4), EOS]), 8, "incomplete"),
        (EOS + word(0, 3), 8, "unknown flags 0x3"),
        (EOS + word(0, 0), 8, "unknown flags 0x0"),
        (EOS + word(0, 0x10), 8, "unknown flags 0x10"),
        (word(4, 1), 0, "EOS with page 0x4"),
        (DONE + DONE + EOS, 8, "DONE after DONE"),
        (DONE + values_of(0, 0) + EOS, 8, "MORE after DONE"),
        (values_of(7, 0, 0), 8, "there are 0x8 pages"),
        (word(2**52 - 1, 2) + bytes([255] * 8), 8, "there are 0x8 pages"),
        (values_of(0, 0, 0, 0x80), 18, "value 0x80 of page 0x2"),
        (framed(EOS, DONE + EOS, DONE + EOS), 71, "DONE before the last section"),
        (framed(EOS, EOS), 63, "last section without DONE"),
        (framed(*SMALL).replace(b"QEVM\0\0\0\3", b"QEVM\0\0\0\2"), 4, "version of the file"),
        (framed(*SMALL).replace(NAME, NAME[::-1]), 13, "not of b's390-storage"),
        (framed(*SMALL).replace(b"\x7e", b"\x7d", 1), 53, "the footer of a section"),
        (framed(EOS, DONE + EOS).replace(b"\3\0\0\0\7", b"\3\0\0\0\6"), 59, "6, not 7"),
        (b"QEVM\0\0\0\3\4", 8, "type of section 0x4"),
        (b"QEVM\0\0\0\3\2", 8, "type of section 0x2"),
    ],
)
def test_what_is_refused_where(data: bytes, offset: int, why: str, unchanged: Unchanged) -> None:
    target = some_guest(8)
    with unchanged(target), pytest.raises(StreamError, match=why) as caught:
        migration.load(target, io.BytesIO(data))
    assert caught.value.offset == offset


def test_a_count_takes_no_memory_before_its_bytes_come() -> None:
    huge = EOS + word(0, 2) + struct.pack(">Q", 1 << 40) + b"x"
    tracemalloc.start()
    try:
        for most in (1 << 26, 1 << 50):
            with pytest.raises(StreamError):
                list(migration.records(io.BytesIO(huge), most=most))
        target = pgste.Guest(1 << 20)
        with pytest.raises(StreamError):
            migration.load(target, io.BytesIO(huge))
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_most_values_of_a_record() -> None:
    data = EOS + values_of(0, 0, 1, 0) + DONE + EOS
    assert len(list(migration.records(io.BytesIO(data), most=3))) == 4
    with pytest.raises(StreamError, match="3 values in a record, and 2 are allowed") as caught:
        list(migration.records(io.BytesIO(data), most=2))
    assert caught.value.offset == 16


# ---- refusals


def test_bad_arguments() -> None:
    guest = pgste.Guest(4)
    stream = io.BytesIO()
    with pytest.raises(pgste.ArgumentError, match="rate_limit: 0"):
        migration.save(guest, stream, rate_limit=0)
    with pytest.raises(pgste.ArgumentError, match="iterations: 0"):
        migration.save(guest, stream, iterations=0)
    with pytest.raises(pgste.ArgumentTypeError, match="guest"):
        migration.save(5, stream)  # type: ignore[arg-type]
    with pytest.raises(pgste.ArgumentTypeError, match="guest"):
        migration.load(5, stream)  # type: ignore[arg-type]
    with pytest.raises(pgste.ArgumentTypeError, match="file"):
        migration.load(guest, 5)  # type: ignore[arg-type]
    with pytest.raises(pgste.ArgumentTypeError, match="file"):
        migration.save(guest, 5)  # type: ignore[arg-type]
    with pytest.raises(pgste.ArgumentTypeError, match="not bytes"):
        migration.load(guest, io.StringIO("x"))  # type: ignore[arg-type]
    with pytest.raises(pgste.ArgumentError, match="most: -1"):
        migration.records(stream, most=-1)
    assert stream.getvalue() == b""


def test_what_kvm_refuses_is_refused_before_a_byte() -> None:
    stream = io.BytesIO()
    for guest, error in (
        (pgste.Guest(4, cmma=False), pgste.NoCmmaError),
        (pgste.Guest(4, mechanism="none"), pgste.NoCmmaError),
        (pgste.Guest(4, slots=[]), pgste.KvmArgumentError),
        (pgste.Guest(4, slots=[(0, 4)]), pgste.KvmArgumentError),  # logs nothing
    ):
        with pytest.raises(error):
            migration.save(guest, stream)
    with pytest.raises(pgste.NoCmmaError):
        migration.load(pgste.Guest(4, cmma=False), io.BytesIO(framed(*SMALL)))
    guest = pgste.Guest(4)
    guest.start_migration()
    with pytest.raises(pgste.StateError, match="already"):
        migration.save(guest, stream)
    assert guest.migration_mode  # it is somebody else's
    assert stream.getvalue() == b""


def test_steps_in_another_order_are_refused() -> None:
    guest = pgste.Guest(4)
    saver = migration.Saver(guest, io.BytesIO())
    with pytest.raises(pgste.StateError, match="it is new"):
        saver.iterate()
    saver.setup()
    saver.complete()
    with pytest.raises(pgste.StateError, match="it is complete"):
        saver.iterate()
    assert guest.migration_mode
    saver.cleanup()
    assert not guest.migration_mode


def test_a_file_that_fails_ends_migration_mode(tmp_path: Path) -> None:
    class Full(io.RawIOBase):
        def write(self, data: object) -> int:
            raise OSError(28, "full")

    guest = pgste.Guest(4)
    with pytest.raises(OSError, match="full"):
        migration.save(guest, Full())  # type: ignore[arg-type]
    assert not guest.migration_mode
    path = tmp_path / "kept"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError):
        migration.save(guest, path, between=lambda done: 1 // 0)
    assert path.read_bytes() == b"old"
    assert not guest.migration_mode


# ---- rate limit, slots, revisions


@pytest.mark.parametrize(("generation", "revision"), REVISIONS)
def test_rate_limit(generation: str, revision: str) -> None:
    source = some_guest(1 << 16, generation, revision)
    passes: list[migration.Pass] = []

    def between(done: migration.Pass) -> None:
        passes.append(done)
        source.essa(Orc.SET_UNUSED, [done.section + 100 * i for i in range(50)])

    stream = io.BytesIO()
    saved = migration.save(source, stream, rate_limit=40, iterations=6, between=between)
    assert len(passes) == saved.iterations == 6
    assert passes[0].pages == 1 << 16
    # 17 bytes a record or a few more: the last is begun below the limit, and ends above it
    assert all(one.records in (2, 3) for one in passes[1:])
    assert passes[-1].remaining > 100
    stream.seek(0)
    target = pgste.Guest(1 << 16)
    migration.load(target, stream)
    assert (attributes(target) == attributes(source)).all()


@pytest.mark.parametrize(("generation", "revision"), REVISIONS)
def test_slots_with_holes(generation: str, revision: str) -> None:
    slots = [(256, 256, None, True), (768, 700, 2000, True), (1536, 24, None, True)]
    source, target = (
        pgste.Guest(2048, generation=generation, log_revision=revision, slots=slots)
        for _ in range(2)
    )
    inside = [*range(256, 512), *range(768, 1468), *range(1536, 1560)]
    source.essa(Orc.SET_UNUSED, inside[::3])
    stream = io.BytesIO()
    migration.save(source, stream)
    stream.seek(0)
    loaded = migration.load(target, stream)
    assert loaded.pages_set == len(inside)
    assert (attributes(target)[inside] == attributes(source)[inside]).all()
    assert attributes(target)[inside].sum() == len(inside[::3])


def test_a_slot_that_linux_7_cannot_set_leaves_the_others_as_they_were(
    unchanged: Unchanged,
) -> None:
    """dat_set_cmma_bits needs the first page of the page table, which is in no slot."""
    slots = [(0, 256, None, True), (520, 10, None, True)]
    source = pgste.Guest(1024, slots=slots)
    source.essa(Orc.SET_UNUSED, [*range(100, 256), 522])
    stream = io.BytesIO()
    migration.save(source, stream)
    target = pgste.Guest(1024, generation="dat", slots=slots)
    target.essa(Orc.SET_VOLATILE, [5, 525])
    stream.seek(0)
    with unchanged(target), pytest.raises(pgste.KvmFaultError):
        migration.load(target, stream)
    stream.seek(0)
    migration.load(pgste.Guest(1024, slots=slots), stream)


def lost(generation: str, revision: str, as_qemu: bool) -> int:
    """Pages that differ after one page in the first half was set between the passes."""
    source = some_guest(4096, generation, revision)
    stream = io.BytesIO()
    with migration.Saver(source, stream, rate_limit=1, as_qemu=as_qemu) as saver:
        saver.setup()
        saver.iterate()
        source.essa(Orc.SET_POT_VOLATILE, [3000])
        saver.iterate()  # the position is behind page 3000 now
        source.essa(Orc.SET_POT_VOLATILE, [10, 3000, 3500])
        saver.complete()
    stream.seek(0)
    target = pgste.Guest(4096)
    migration.load(target, stream)
    return int(np.count_nonzero(attributes(target) != attributes(source)))


@pytest.mark.parametrize(("generation", "revision"), REVISIONS)
def test_what_qemu_loses(generation: str, revision: str) -> None:
    """QEMU's last pass ends where nothing is found; only "dat_new" goes around to what is left."""
    assert lost(generation, revision, as_qemu=False) == 0
    assert (lost(generation, revision, as_qemu=True) > 0) == (revision != "dat_new")


@pytest.mark.parametrize(("generation", "revision"), [REVISIONS[0], REVISIONS[2]])
def test_what_linux_from_7_0_on_loses(generation: str, revision: str) -> None:
    """Clean pages between dirty ones are sent as stable, whatever they are."""
    for as_qemu, lost_pages in ((False, 0), (True, 0 if generation == "pgtable" else 3)):
        source = pgste.Guest(64, generation=generation, log_revision=revision)
        source.essa(Orc.SET_UNUSED, range(11, 14))
        stream = io.BytesIO()

        def between(done: migration.Pass, source: pgste.Guest = source) -> None:
            source.essa(Orc.SET_STABLE, [10, 14])

        migration.save(source, stream, iterations=1, between=between, as_qemu=as_qemu)
        stream.seek(0)
        target = pgste.Guest(64)
        migration.load(target, stream)
        assert np.count_nonzero(attributes(target) != attributes(source)) == lost_pages


def test_a_first_essa_in_migration_mode_is_lost() -> None:
    """The kernel does not know that such a guest uses CMMA (`uses_cmm`), and answers nothing."""
    source = pgste.Guest(16)
    stream = io.BytesIO()
    migration.save(source, stream, between=lambda done: source.essa(Orc.SET_UNUSED, [3]))
    stream.seek(0)
    target = pgste.Guest(16)
    assert migration.load(target, stream).records == 0
    assert (attributes(source)[3], attributes(target)[3]) == (1, 0)


# ---- guests that run meanwhile


def migrate_while_running(pages: int, generation: str, revision: str, iterations: int) -> None:
    """Three threads change the guest during the iterations; the end is equal all the same."""
    host = pgste.Host(max(pages // 4, 64), pages)
    source = pgste.Guest(
        pages, host=host, generation=generation, log_revision=revision, vcpus=3, nodat=True
    )
    source.essa(Orc.SET_UNUSED, range(0, pages, 5))
    over = threading.Event()
    errors: list[BaseException] = []
    changes = [0, 0, 0]

    def run(vcpu: int) -> None:
        rng = np.random.default_rng(vcpu)
        orcs = [orc for orc in Orc if orc != Orc.GET_STATE]
        try:
            while not over.is_set():
                gfns = rng.integers(0, pages, 300).astype(np.uint64)
                kind = changes[vcpu] % 3
                if kind == 0:
                    source.essa(orcs[int(rng.integers(len(orcs)))], gfns, vcpu)
                elif kind == 1:
                    source.free(gfns, vcpu=vcpu)
                else:
                    source.alloc(gfns, vcpu=vcpu)
                changes[vcpu] += 1
                time.sleep(0.0005)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(vcpu,)) for vcpu in range(3)]
    passes: list[migration.Pass] = []

    def between(done: migration.Pass) -> None:
        passes.append(done)
        before, until = changes.copy(), time.monotonic() + 20
        while not errors and time.monotonic() < until:
            if all(now > was for now, was in zip(changes, before, strict=True)):
                return
            time.sleep(0.001)

    def stop() -> None:
        over.set()
        for thread in threads:
            thread.join()

    stream = io.BytesIO()
    try:
        for thread in threads:
            thread.start()
        saved = migration.save(
            source,
            stream,
            rate_limit=1 << 20,
            iterations=iterations,
            between=between,
            stop=stop,
        )
    finally:
        stop()
    assert not errors
    assert min(changes) >= len(passes)
    assert saved.pages > pages  # some were sent again
    assert any(one.pages for one in passes[1:])
    stream.seek(0)
    target = pgste.Guest(pages, generation=generation)
    loaded = migration.load(target, stream)
    assert loaded.pages_set == pages
    assert loaded.pages == saved.pages
    assert (attributes(target) == attributes(source)).all()
    host.validate()


@pytest.mark.parametrize(("generation", "revision"), REVISIONS)
def test_a_guest_that_runs(generation: str, revision: str) -> None:
    migrate_while_running(1 << 14, generation, revision, 20)


@pytest.mark.parametrize(("generation", "revision"), [REVISIONS[0], REVISIONS[2]])
def test_a_guest_of_4_million_pages_that_runs(generation: str, revision: str) -> None:
    """16 GiB of guest memory."""
    migrate_while_running(1 << 22, generation, revision, 12)


# ---- Ctrl-C, at the worst moments ---------------------------------------------------------------


class Interrupted(pgste.Guest):
    """KeyboardInterrupt right after a call was carried out, as the binding raises it."""

    after: str = ""
    calls = 0

    def _called(self, name: str) -> None:
        if name == self.after:
            self.calls -= 1
            if self.calls == 0:
                raise KeyboardInterrupt

    def set_cmma_bits(self, *args: object) -> None:
        super().set_cmma_bits(*args)  # type: ignore[arg-type]
        self._called("set_cmma_bits")

    def start_migration(self) -> None:
        super().start_migration()
        self._called("start_migration")


@pytest.mark.parametrize("calls", [1, 2, 3, 4])
def test_a_load_that_is_interrupted_sets_nothing(calls: int) -> None:
    pages = (1 << 20) + 100  # three calls with values, and one before them that sets none
    source = pgste.Guest(pages)
    source.essa(Orc.SET_UNUSED, slice(None))
    stream = io.BytesIO()
    migration.save(source, stream)
    guest = Interrupted(pages)
    guest.essa(Orc.SET_VOLATILE, [0, 5, pages - 1])
    before = attributes(guest)
    guest.after, guest.calls = "set_cmma_bits", calls
    with pytest.raises(KeyboardInterrupt):
        migration.load(guest, io.BytesIO(stream.getvalue()))
    assert (attributes(guest) == before).all()
    migration.load(guest, io.BytesIO(stream.getvalue()))
    assert (attributes(guest) == 1).all()


def test_a_save_that_is_interrupted_leaves_migration_mode() -> None:
    guest = Interrupted(64)
    guest.after, guest.calls = "start_migration", 1
    with pytest.raises(KeyboardInterrupt):
        migration.save(guest, io.BytesIO())
    assert not guest.migration_mode
    migration.save(guest, io.BytesIO())


def test_a_read_that_gives_more_than_was_asked_for_is_refused() -> None:
    class Generous(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return bytes(super().read(size) + b"\0")

    with pytest.raises(pgste.ArgumentTypeError, match=r"read\(4\) gives 5 bytes"):
        list(migration.records(Generous(framed(*SMALL))))
