# SPDX-License-Identifier: MIT
"""QEMU's stream of page states, against bytes put together here from its description."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest

from pgste import Guest, migration
from pgste.errors import ArgumentTypeError, NoCmmaError, StreamError

PAGES = 40
EOS, MORE, ERROR, DONE = 1, 2, 4, 8


def _source(generation: str = "pgtable", pages: int = PAGES) -> Guest:
    guest = Guest(pages, generation=generation, nodat=True, slots=[(0, pages, 0, True)])
    guest.essa(2, range(0, pages, 3))
    guest.essa(7, range(1, pages, 5))
    guest.essa(3, range(2, pages, 7))
    return guest


def _values(guest: Guest) -> bytes:
    """(pgste >> 24) & 0x43 of every page."""
    return bytes(int(word) >> 24 & 0x43 for word in guest.pgste())


def _word(gfn: int, flag: int) -> bytes:
    return struct.pack(">Q", gfn << 12 | flag)


def _more(gfn: int, values: bytes) -> bytes:
    return _word(gfn, MORE) + struct.pack(">Q", len(values)) + values


def _bare(*records: bytes) -> bytes:
    """Sections without QEMU's framing: setup, then one with these records and DONE."""
    return _word(0, EOS) + b"".join(records) + _word(0, DONE) + _word(0, EOS)


def _saved(guest: Guest, **options: object) -> bytes:
    file = io.BytesIO()
    migration.save(guest, file, **options)  # type: ignore[arg-type]
    return file.getvalue()


@pytest.mark.parametrize("generation", ["pgtable", "dat"])
def test_bytes_of_a_stream(generation: str) -> None:
    guest = _source(generation)
    data = _saved(guest, framed=False)
    # Everything is dirty when migration starts: one record has all of it, in the first iteration.
    expected = _word(0, EOS) + _more(0, _values(guest)) + _word(0, EOS)
    assert data == expected + _word(0, DONE) + _word(0, EOS)
    assert not guest.migration_mode


@pytest.mark.parametrize("framed", [True, False])
@pytest.mark.parametrize("generation", ["pgtable", "dat"])
def test_target_gets_what_the_source_has(generation: str, framed: bool, tmp_path: Path) -> None:
    source, target = _source(generation, 5000), Guest(5000, generation=generation, nodat=True)
    target.essa(3, range(100))  # whatever it had is replaced
    path = tmp_path / "stream"
    migration.save(source, path, framed=framed, rate_limit=100)
    migration.load(target, path)
    assert _values(target) == _values(source)
    assert path.read_bytes().startswith(b"QEVM") == framed


@pytest.mark.parametrize("generation", ["pgtable", "dat"])
def test_what_changes_meanwhile_is_sent_again(generation: str) -> None:
    source, target = _source(generation, 5000), Guest(5000, generation=generation, nodat=True)
    rng = np.random.default_rng(5)
    changes = 0

    def run(_: migration.Pass) -> None:
        nonlocal changes
        changes += 1
        source.essa(int(rng.integers(1, 4)), rng.integers(0, 5000, 50))

    file = io.BytesIO()
    migration.save(source, file, iterations=5, rate_limit=2000, between=run)
    assert changes > 1
    file.seek(0)
    migration.load(target, file)
    assert _values(target) == _values(source)


def test_values_are_set_at_the_end_only() -> None:
    target = Guest(PAGES)
    migration.load(target, io.BytesIO(_bare(_more(3, b"\1\2\3"), _more(4, b"\1"))))
    assert _values(target)[:7] == bytes([0, 0, 0, 1, 1, 3, 0])


def test_every_truncation_is_refused_with_its_offset() -> None:
    for framed in (True, False):
        data = _saved(_source(), framed=framed, rate_limit=1)
        for size in range(len(data)):
            target = _source()
            before = target.pgste().tolist()
            with pytest.raises(StreamError) as refusal:
                migration.load(target, io.BytesIO(data[:size]))
            assert str(size) in str(refusal.value)
            assert target.pgste().tolist() == before


def test_a_changed_byte_is_refused_or_has_a_meaning() -> None:
    data = _saved(_source(), framed=True)
    refused = 0
    for at in range(len(data)):
        for bit in (0, 3, 7):
            damaged = bytearray(data)
            damaged[at] ^= 1 << bit
            target = Guest(PAGES)
            try:
                migration.load(target, io.BytesIO(bytes(damaged)))
            except StreamError:
                refused += 1
                assert not target.pgste().any()
    assert refused > len(data)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (_bare(_word(0, ERROR)), "ERROR"),
        (_bare(_word(0, 16)), "unknown flags 0x10"),
        (_bare(_word(0, MORE | EOS)), "unknown flags 0x3"),
        (_bare(_more(PAGES - 1, b"\0\0")), "there are 0x28 pages"),
        (_bare(_more(1 << 51, b"\0")), "there are 0x28 pages"),
        (_bare(_word(0, MORE) + struct.pack(">Q", 1 << 63)), "there are 0x28 pages"),
        (_bare(_more(0, b"\4")), "0x04"),
        (_word(0, EOS) + _more(0, b"\1") + _word(0, EOS), "cut off"),
        (b"", "cut off"),
    ],
)
def test_what_is_refused(data: bytes, why: str) -> None:
    target = Guest(PAGES)
    with pytest.raises(StreamError, match=why):
        migration.load(target, io.BytesIO(data))
    assert not target.pgste().any()


def test_records_and_bad_arguments() -> None:
    data = _bare(_more(3, b"\1\2"))
    found = [(r.flag, r.gfn, bytes(r.values)) for r in migration.records(io.BytesIO(data))]
    assert found == [(EOS, 0, b""), (MORE, 3, b"\1\2"), (DONE, 0, b""), (EOS, 0, b"")]
    with pytest.raises(ArgumentTypeError, match="guest"):
        migration.load("x", io.BytesIO(data))  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="file"):
        migration.load(Guest(1), 5)  # type: ignore[arg-type]
    with pytest.raises(NoCmmaError):
        migration.load(Guest(1, mechanism="none"), io.BytesIO(data))
